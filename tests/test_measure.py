"""What a model costs, against counts by hand, and that a measurement leaves the model as it was."""

from __future__ import annotations

import copy
import io
import math
import time
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import flop_counter
from torchvision.ops import DeformConv2d
from ultralytics import YOLO

from yolo_attn import measure


class Sampling(nn.Module):
    """Samples of an image at a grid of 5 x 7 points."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        return F.grid_sample(x, x.new_zeros(1, 5, 7, 2), self.mode, align_corners=False)


class Deform(nn.Module):
    """A deformable convolution in two groups: 3 x 3 at stride 2 from 4 to 6 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1, bias=False)
        self.second = DeformConv2d(4, 6, 3, stride=2, padding=1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(x, x.new_zeros(1, 18, x.shape[2] // 2, x.shape[3] // 2))


class Attention(nn.Module):
    """Attention of all pixels to all pixels, in two heads of 4 channels, as a function or as PyTorch's own layer."""

    def __init__(self, layer: bool) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 1, bias=False)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True) if layer else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).mT
        if self.attn is not None:
            return self.attn(x, x, x, need_weights=False)[0]
        x = x.unflatten(2, (2, 4)).transpose(1, 2)
        return F.scaled_dot_product_attention(x, x, x)


EMBED = 2 * 3 * 8 * 48
PRODUCTS = 2 * 2 * 48 * 48 * 8  # of queries and keys, and of weights and values
BY_HAND = {
    "convolution": (nn.Conv2d(3, 5, 3, stride=2, padding=1), 2 * 3 * 9 * 5 * 12),
    "grouped convolution": (nn.Conv2d(3, 6, 1, groups=3), 2 * 1 * 6 * 48),
    "matrix product": (nn.Linear(8, 10), 2 * 8 * 10 * 3 * 6),
    "element-wise": (nn.Sequential(nn.BatchNorm2d(3), nn.SiLU(), nn.Upsample(scale_factor=2)), 0),
    "attention": (Attention(layer=False), EMBED + PRODUCTS),
    "attention layer": (Attention(layer=True), EMBED + PRODUCTS + 2 * 4 * 8 * 8 * 48),
    "deformable convolution": (Deform(), 2 * 3 * 4 * 48 + 2 * 2 * 9 * 6 * 12 + 8 * 9 * 4 * 12),
    "bilinear sampling": (Sampling("bilinear"), 8 * 3 * 5 * 7),
    "nearest sampling": (Sampling("nearest"), 0),
}


@pytest.fixture(scope="module")
def stock() -> nn.Module:
    return YOLO("yolov8n.yaml").model


# -------------------------------------------------------------------------------------------------------- FLOPs


@pytest.mark.parametrize("case", BY_HAND)
def test_flops_by_hand(case: str) -> None:
    """A kind of work would be free, or counted twice, and a comparison of models be unfair to the others."""
    model, expected = BY_HAND[case]
    assert measure.flops(model, (6, 8)) * 1e9 == pytest.approx(expected)


def test_flops_of_an_uncounted_kernel(monkeypatch) -> None:
    """Attention would be free on a device or in a release whose fused kernel PyTorch doesn't count."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    monkeypatch.delitem(flop_counter.flop_registry, kernel, raising=False)
    test_flops_by_hand("attention")


def test_size_of_the_stock_model(stock: nn.Module) -> None:
    """Figures would not stand beside those that everybody knows: 3.2 M parameters and 8.7 GFLOPs at 640 pixels."""
    assert measure.parameters(stock) == 3_157_200
    assert measure.flops(stock, 640) == pytest.approx(8.7, abs=0.05)


def test_flops_grow_with_the_image(stock: nn.Module) -> None:
    """The size of images would be ignored, or its sides mixed up; attention alone grows faster than the image."""
    small = measure.flops(stock, 320)
    assert measure.flops(stock, 640) == pytest.approx(4 * small, rel=1e-6)
    assert measure.flops(stock, (320, 640)) == pytest.approx(2 * small, rel=1e-6)
    attention = YOLO("yolov8n-dattn.yaml").model
    assert measure.flops(attention, 640) > 4.01 * measure.flops(attention, 320)
    assert measure.flops(attention, 640) > measure.flops(stock, 640)


@pytest.mark.parametrize("task", ["seg", "pose", "obb", "cls"])
def test_flops_of_other_tasks(task: str) -> None:
    """A model with the head of another task could not be compared."""
    assert measure.flops(YOLO(f"yolov8n-{task}.yaml").model, 64) > 0


def test_flops_of_an_unused_head() -> None:
    """A model that trains with a second head, which predictions are without, would seem dearer than it is."""
    model = YOLO("yolov10n.yaml").model
    fused = copy.deepcopy(model).fuse(verbose=False)
    assert measure.flops(model, 64) == measure.flops(fused, 64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_flops_of_other_types(stock: nn.Module, dtype: torch.dtype) -> None:
    """Counting would need float32, and checkpoints hold halves."""
    assert measure.flops(copy.deepcopy(stock).to(dtype), 64) == measure.flops(stock, 64)


def test_flops_of_grey_images() -> None:
    """Counting would need three channels."""
    assert measure.flops(nn.Conv2d(1, 4, 1), 8) * 1e9 == pytest.approx(2 * 4 * 64)


# ------------------------------------------------------------------------------------------------------ latency


class Clock:
    """In the place of Timer: models take the milliseconds that they are given for each round."""

    order: list[list[float]]

    def __init__(self, stmt: str, globals: dict, num_threads: int) -> None:
        self.ms, self.rounds = globals["model"].ms, 0

    def timeit(self, number: int) -> SimpleNamespace:
        self.order.append(self.ms)
        self.rounds += 1
        return SimpleNamespace(mean=self.ms[self.rounds - 1] / 1e3)


def taking(ms: list[float]) -> nn.Module:
    model = nn.Linear(1, 1)
    model.ms = ms
    return model


def test_latency_of_known_times(monkeypatch) -> None:
    """The round that warms up would count, or the ratio not be taken within each round, where a drift cancels."""
    monkeypatch.setattr(Clock, "order", [], raising=False)
    monkeypatch.setattr("torch.utils.benchmark.Timer", Clock)
    rising = [float(k) for k in range(1, 11)]
    times = {"rising": rising, "falling": rising[::-1], "twice": [2 * k for k in rising]}
    found = measure.latency({k: taking([1000.0, *ms]) for k, ms in times.items()}, 8, seconds=0)
    assert found["rising"] == measure.Latency(pytest.approx(5.5), pytest.approx(7.75 - 3.25), 1)
    assert found["falling"] == measure.Latency(
        pytest.approx(5.5), pytest.approx(4.5), pytest.approx((6 / 5 + 5 / 6) / 2)
    )
    assert found["twice"] == measure.Latency(pytest.approx(11), pytest.approx(9), pytest.approx(2))


def test_order_of_timings(monkeypatch) -> None:
    """A model would always run behind the same other one, or several times before the next."""
    monkeypatch.setattr(Clock, "order", [], raising=False)
    monkeypatch.setattr("torch.utils.benchmark.Timer", Clock)
    measure.latency({str(i): taking([i] * 11) for i in (1, 2, 3)}, 8, seconds=0)
    order = [ms[0] for ms in Clock.order]
    rounds = [tuple(order[i : i + 3]) for i in range(0, len(order), 3)]
    assert len(rounds) == 11 and all(sorted(each) == [1, 2, 3] for each in rounds) and len(set(rounds)) > 2


class Repeated(nn.Module):
    """The same matrix product several times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.layer, self.times = nn.Linear(256, 256), times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.layer(x)
        return x


def test_latency_of_a_model_that_does_more() -> None:
    """Timings would be of something else than the model: here 8 times the work, and at least 2 times the time."""
    models = {"once": Repeated(1), "often": Repeated(8)}
    found = measure.latency(models, 256, seconds=0.5, threads=1)
    assert list(found) == ["once", "often"] and found["once"].ratio == 1
    assert found["often"].ratio > 2 and found["often"].median_ms > found["once"].median_ms > 0
    assert all(each.iqr_ms >= 0 for each in found.values())


def test_latency_lasts_as_long_as_it_may() -> None:
    """A budget would be ignored, and figures be noisier than they need to be."""
    start = time.perf_counter()
    measure.latency({"small": nn.Linear(8, 8)}, 8, seconds=0.4)
    assert time.perf_counter() - start >= 0.4


@pytest.mark.parametrize("half, dtype", [(None, torch.float32), (False, torch.float32), (True, torch.float16)])
def test_latency_is_that_of_predictions(half: bool | None, dtype: torch.dtype) -> None:
    """Models would be timed with BatchNorms or gradients, or in another type or size than said."""
    seen = set()

    def note(model: nn.Module, inputs: tuple[Tensor]) -> None:
        norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
        seen.add((model.training, torch.is_grad_enabled(), norms, inputs[0].dtype, tuple(inputs[0].shape)))

    model = YOLO("yolov8n.yaml").model.double().train()
    model.register_forward_pre_hook(note)
    measure.latency({"n": model}, (32, 64), batch=2, seconds=0, half=half)
    assert seen == {(False, False, 0, dtype, (2, 3, 32, 64))}


def test_threads_of_a_latency() -> None:
    """Timings would be those of one thread whatever was asked for, or the process stay with another number."""
    seen, threads, model = [], torch.get_num_threads(), nn.Linear(8, 8)
    model.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    for asked in (threads + 1, None):
        measure.latency({"it": model}, 8, seconds=0, threads=asked)
        assert set(seen) == {asked or threads} and torch.get_num_threads() == threads
        seen.clear()


def test_no_models() -> None:
    """The message would be one about an iterator."""
    with pytest.raises(ValueError, match=r"^latency: models must .*, got none\. Give"):
        measure.latency({}, 64)


# ------------------------------------------------------------------------------------------------- side effects


def saved(model: nn.Module) -> bytes:
    """All that a model holds: weights, statistics, modes and attributes."""
    torch.save(model, buffer := io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize("call", ["flops", "latency"])
@pytest.mark.parametrize("name", ["yolov8n", "yolov8n-slpt", "yolov8n-dcn"])
def test_a_model_stays_as_it_is(name: str, call: str) -> None:
    """A measurement amid a training would change what is trained: modes, statistics, fused layers, random numbers."""
    model = YOLO(f"{name}.yaml").model.train()
    model.model[0].eval()  # as a frozen layer is
    before, random_state = saved(model), torch.get_rng_state()
    switches = attention_switches()
    measure.flops(model, 64) if call == "flops" else measure.latency({"it": model}, 64, seconds=0)
    assert saved(model) == before and torch.equal(torch.get_rng_state(), random_state)
    assert attention_switches() == switches


def attention_switches() -> tuple[bool, ...]:
    cuda = torch.backends.cuda
    kernels = (cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled())
    return (*kernels, torch.backends.mha.get_fastpath_enabled())


def test_a_model_that_fails() -> None:
    """One bad size would leave the attention of the whole process without its fast kernels."""
    switches = attention_switches()
    assert all(switches)
    with pytest.raises(RuntimeError):
        measure.flops(nn.Linear(3, 3), 64)
    assert attention_switches() == switches


# ------------------------------------------------------------------------------------------------------- memory

PEAKS = """
import torch
from yolo_attn import measure
print(measure.peak_mib("cpu"))
torch.ones(512, 2**20, dtype=torch.uint8)
print(measure.peak_mib("cpu"))
"""


def test_peak_memory(run) -> None:
    """The peak would be that of the process that started this one, forget what was freed, or have another unit."""
    large = bytearray(b"x") * (3 * 2**29)
    before, after = map(float, run("python", "-c", PEAKS).stdout.split()[-2:])
    assert 50 < before < len(large) / 2**20 and 450 < after - before < 600


def test_peak_memory_of_an_unknown_device() -> None:
    """The memory of the process would stand for that of the device."""
    assert math.isnan(measure.peak_mib("meta"))
