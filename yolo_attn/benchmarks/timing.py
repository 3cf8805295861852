"""Time, memory and work of one case: its forward, and its training step, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from ..inspection.memory import free
from ..measure import MIB, Latency, flops_of, in_turn, parameters
from .cases import LEVELS, Case, as_clips
from .memory import fits, peak
from .published import published
from .work import work_of

Row = dict[str, Any]
ROUNDS = 5  # at least
FEW = 2  # of a round that is slow, as with an attention matrix of P3 and a position bias of its size
SLOW = 5.0  # seconds that such a round takes at least
LONG = 0.1  # seconds that a call takes from which on it is not warmed up
MODES = ("forward", "step")
PRODUCT = {"cpu": 512, "cuda": 8192}  # rows and columns of the matrices that are multiplied
COPIED = {"cpu": 2048, "cuda": 8192}  # of the matrix that is copied: more than the caches of a core hold


@dataclass(frozen=True)
class Setting:
    """How is measured.

    Attributes:
        device: Where.
        dtype: Type of the inputs, "float32" or the half type of autocast; parameters are in float32.
        seconds: Time of one measurement.
        threads: CPU threads.
        batch: Images, or clips.
        imgsz: Height and width of an image in pixels.
    """

    device: torch.device
    dtype: str
    seconds: float
    threads: int
    batch: int
    imgsz: int

    @property
    def type(self) -> torch.dtype:
        """The dtype itself."""
        return getattr(torch, self.dtype)

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision as in a training, or nothing."""
        half = self.type is not torch.float32
        return torch.autocast(self.device.type, self.type) if half else nullcontext()

    def times(self, calls: Mapping[str, Callable[[], object]]) -> dict[str, Latency]:
        """Latencies of calls in turn."""
        from torch.utils.benchmark import Timer  # says on import where no CUDA was found

        timers: dict[str, Any] = {}
        taken = 0.0
        with torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext():
            for name, call in calls.items():
                once = Once(call)
                mean = once.timeit(1).mean
                taken += mean
                fast = mean < LONG
                timers[name] = Timer("call()", globals={"call": call}, num_threads=self.threads) if fast else once
            return in_turn(timers, self.seconds * len(calls), ROUNDS if taken < SLOW else FEW)


class Once:
    """A Timer without the two calls that warm up in front of each measurement, which long ones don't need."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def timeit(self, number: int) -> Any:
        """The time of one call, whatever the number, as Timer gives it."""
        from torch.utils.benchmark import timer  # waits for the device

        start = timer()
        self.call()
        return SimpleNamespace(mean=timer() - start)


def matrix_rate(setting: Setting) -> float:
    """GFLOP/s of a product of two square matrices of the type that is measured."""
    product, gflops = matrix_product(setting)
    return gflops / (1e-3 * setting.times({"product": product})["product"].median_ms)


def matrix_product(setting: Setting) -> tuple[Callable[[], object], float]:
    """That product, and its GFLOPs."""
    n = PRODUCT.get(setting.device.type, 512)
    a, b = torch.randn(2, n, n, device=setting.device, dtype=setting.type).unbind(0)
    return partial(torch.matmul, a, b), 2 * n**3 / 1e9


def matrix_copy(setting: Setting) -> tuple[Callable[[], object], int]:
    """A copy of a matrix, and the bytes that it reads and writes."""
    n = COPIED.get(setting.device.type, 2048)
    a, b = torch.randn(2, n, n, device=setting.device, dtype=setting.type).unbind(0)
    return partial(a.copy_, b), 2 * a.nbytes


def rows(case: Case, setting: Setting) -> list[Row]:
    """The figures of a case at all levels, small maps first; what has no room in memory has none.

    Args:
        case: The module.
        setting: How is measured.
    """
    known: dict[tuple[str, str], list[int]] = {}
    (product, gflops), (copy, nbytes) = matrix_product(setting), matrix_copy(setting)
    found = []
    for level in LEVELS:
        module, inputs = case.build(level, setting.imgsz, setting.batch)
        module, inputs = module.to(setting.device), [x.to(setting.device, setting.type) for x in inputs]
        slow = published(module)
        forms = {"ours": module} if slow is None else {"ours": module, "published": slow}
        height, width = inputs[0].shape[2:]
        row: Row = {"name": case.name, "level": level, "channels": inputs[0].shape[1], "height": height, "width": width}
        row["parameters"] = parameters(module)
        with as_clips(*forms.values()):
            call = partial(_forward, module.eval(), inputs, setting)
            row["gflops"] = _gflops(module, inputs, setting)
            call()  # what is made once
            work = work_of(call)
            measures = {"product": product, "copy": copy, "products": work.products()}
            for mode in MODES:
                row |= _figures(forms, inputs, mode, setting, known, measures)
        if "forward_of_product" in row:
            rate = row["forward_of_product"] / gflops
            row["forward_of_product"] = rate * row["gflops"]
            row["forward_of_limit"] = (
                row.pop("forward_of_products")
                + rate * work.attention_gflops
                + row.pop("forward_of_copy") * work.nbytes / nbytes
            )
        found.append(row)
    return found


def _gflops(module: nn.Module, inputs: Sequence[Tensor], setting: Setting) -> float:
    """FLOPs are counted of plain attention, whose matrices there may be no room for: no tensor is really made."""
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        return flops_of(partial(_forward, module, [fake.from_tensor(x) for x in inputs], setting))


def _figures(
    forms: Mapping[str, nn.Module],
    inputs: Sequence[Tensor],
    mode: str,
    setting: Setting,
    known: dict[tuple[str, str], list[int]],
    measures: Mapping[str, Callable[[], object]],
) -> Row:
    """Time and memory of all forms that have room, in one mode, and of measures of the machine beside predictions.

    `known` holds the peaks of smaller maps, and gets those of this one.
    """
    calls = {}
    for name, form in forms.items():
        peaks = known.setdefault((name, mode), [])
        if len(peaks) and not fits(peaks, free(setting.device)):
            continue
        call = partial(_forward if mode == "forward" else _step, form.train(mode == "step"), inputs, setting)
        try:
            call()  # what is made once
            peaks.append(peak(call, setting.device) or 0)
        except torch.cuda.OutOfMemoryError:
            continue
        calls[name] = call
    row: Row = {f"{_prefix(k)}{mode}_peak_mib": known[k, mode][-1] / MIB for k in calls}
    if not calls:
        return row
    beside = measures if mode == "forward" and "ours" in calls else {}
    taken = setting.times({**calls, **beside})
    for name in beside:
        row[f"forward_of_{name}"] = taken.pop(name).ratio  # of times; a drift of the machine meets both
    for name, latency in taken.items():
        row[f"{_prefix(name)}{mode}_ms"], row[f"{_prefix(name)}{mode}_iqr_ms"] = latency.median_ms, latency.iqr_ms
    if len(taken) == 2:
        row[f"{mode}_ratio"] = taken["published"].ratio
        row[f"{mode}_memory_ratio"] = known["published", mode][-1] / max(known["ours", mode][-1], 1)
    return row


def _prefix(form: str) -> str:
    return "" if form == "ours" else f"{form}_"


def _forward(module: nn.Module, inputs: Sequence[Tensor], setting: Setting) -> None:
    with torch.no_grad(), setting.autocast():
        module(*inputs)


def _step(module: nn.Module, inputs: Sequence[Tensor], setting: Setting) -> None:
    """Forward, and gradients of inputs and parameters."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with setting.autocast():
        out = module(*leaves)
    wanted = [p for p in module.parameters() if p.requires_grad]
    torch.autograd.grad(out, [*leaves, *wanted], torch.ones_like(out), allow_unused=True)
