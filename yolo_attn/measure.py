"""What a model costs: parameters, FLOPs, latency, and the peak memory of a process that trains it."""

from __future__ import annotations

import copy
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torchvision  # noqa: F401  registers torch.ops.torchvision
from torch import Tensor, nn
from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from ultralytics.nn.tasks import BaseModel

from .modules._export import plain

if TYPE_CHECKING:
    from torch.utils.benchmark import Timer

Size = int | Sequence[int]  # pixels: one number, or height and width
MIN_ROUNDS = 10
MIB = 2**20  # bytes


@dataclass(frozen=True)
class Latency:
    """How long one forward pass takes, over the rounds of a measurement.

    Args:
        median_ms: Median.
        iqr_ms: Interquartile range.
        ratio: Median of the time over that of the first model in the same round.
    """

    median_ms: float
    iqr_ms: float
    ratio: float


def parameters(model: nn.Module) -> int:
    """Number of a model's parameters; one that several layers share counts once."""
    return sum(p.numel() for p in model.parameters())


def flops(model: nn.Module, imgsz: Size) -> float:
    """Count the FLOPs of a prediction for one image.

    What counts is matrix products, convolutions, the products of queries, keys and values in attention, and bilinear
    sampling at computed points, that of a deformable convolution too: 4 multiply-adds a value. Element-wise work,
    normalisation and resizing don't. Layers that the model is without once Ultralytics fused it don't count either.

    Args:
        model: A model, on any device and in any mode; it stays as it is.
        imgsz: Size of the image in pixels, or height and width.

    Returns:
        GFLOPs: 1e9 FLOPs, of which one multiply-add has 2.
    """
    model = predicting(model)
    image = _image(model, imgsz, batch=1)
    return flops_of(lambda: model(image))


def flops_of(call: Callable[[], object]) -> float:
    """Count the FLOPs of a call, without gradients, as `flops` counts those of a prediction.

    Args:
        call: Computes something.

    Returns:
        GFLOPs.
    """
    aten = torch.ops.aten
    more = {
        torch.ops.torchvision.deform_conv2d: _deform_conv_flops,
        aten.grid_sampler_2d: _sampling_flops,
        aten.cudnn_grid_sampler: _sampling_flops,
    }
    counter = FlopCounterMode(display=False, custom_mapping=more)
    with torch.no_grad(), _plain_attention(), plain(), counter:
        call()
    return counter.get_total_flops() / 1e9


def latency(
    models: Mapping[str, nn.Module],
    imgsz: Size,
    batch: int = 1,
    seconds: float = 10.0,
    half: bool | None = None,
    threads: int | None = None,
) -> dict[str, Latency]:
    """Time predictions of several models in turn, so that a drift of the machine meets all of them alike.

    In each round every model runs once, in an order drawn anew; the first round is thrown away. Ultralytics' models are
    fused as they are for predictions.

    Args:
        models: The models by name, on one device; they stay as they are.
        imgsz: Size of the images in pixels, or height and width.
        batch: Number of images.
        seconds: Time for all rounds, of which there are at least 10.
        half: Whether in float16 or float32; by default in float16 on CUDA.
        threads: Number of CPU threads; by default PyTorch's setting.

    Returns:
        The latency of each model for the whole batch.

    Raises:
        ValueError: If there is no model.
    """
    from torch.utils.benchmark import Timer  # says on import where no CUDA was found

    if not models:
        raise ValueError("latency: models must hold at least one model, got none. Give a name and a model.")
    copies = {name: predicting(model) for name, model in models.items()}
    image = _image(next(iter(copies.values())), imgsz, batch)
    dtype = torch.float16 if (image.is_cuda if half is None else half) else torch.float32
    image = image.uniform_(generator=torch.Generator(image.device).manual_seed(0)).to(dtype)
    timers = {
        name: Timer(
            "model(image)",
            globals={"model": model.to(dtype), "image": image},
            num_threads=threads or torch.get_num_threads(),
        )
        for name, model in copies.items()
    }
    with torch.inference_mode(), torch.cuda.device_of(image):  # Timer waits for the current device only
        return in_turn(timers, seconds)


def in_turn(timers: Mapping[str, Timer], seconds: float, least: int = MIN_ROUNDS) -> dict[str, Latency]:
    """Time several calls in turn: each runs once in each round, in an order drawn anew; the first round doesn't count.

    Args:
        timers: The calls by name.
        seconds: Time for all rounds.
        least: Number of rounds that there are at least.

    Returns:
        The latency of each call.
    """
    rounds: list[list[float]] = []
    shuffled, start = random.Random(0), time.perf_counter()
    while len(rounds) <= least or time.perf_counter() - start < seconds:
        order = shuffled.sample(list(timers), len(timers))
        taken = {name: 1e3 * timers[name].timeit(1).mean for name in order}  # behind two calls that warm up
        rounds.append([taken[name] for name in timers])
    ms = np.array(rounds[1:])
    low, median, high = np.percentile(ms, (25, 50, 75), axis=0)
    ratio = np.median(ms / ms[:, :1], axis=0)
    figures = np.stack([median, high - low, ratio], axis=1).tolist()
    return {name: Latency(*each) for name, each in zip(timers, figures, strict=True)}


def peak_mib(device: torch.device | str) -> float:
    """Peak of the memory that this process took.

    Args:
        device: Where it trained.

    Returns:
        MiB: on CUDA those of tensors, since the start or torch.cuda.reset_peak_memory_stats; on the CPU those of the
        whole process since its start, without its children; nan for another device.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    if device.type != "cpu":
        return nan
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / MIB
    if sys.platform == "linux":  # where ru_maxrss begins at the peak of the process that started this one
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
        if found:
            return int(found[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB if sys.platform == "darwin" else 1024)


def predicting(model: nn.Module) -> Any:
    """A copy of a model as it predicts, in float32: in eval mode, and fused where it is Ultralytics'."""
    model = copy.deepcopy(model).float().eval()  # older releases fuse in float32 only
    if isinstance(model, BaseModel):
        with torch.random.fork_rng(devices=[]):  # older releases make, and so draw, new convolutions
            model.fuse(verbose=False)
    return model


def _image(model: nn.Module, imgsz: Size, batch: int) -> Tensor:
    """Black images that a model takes, on its device; sides are rounded up to its stride, as Ultralytics does."""
    stride = int(max(getattr(model, "stride", (1,))))
    height, width = (-(-side // stride) * stride for side in ((imgsz, imgsz) if isinstance(imgsz, int) else imgsz))
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    return next(model.parameters(), torch.zeros(())).new_zeros(batch, channels, height, width)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention by matrix products, which are counted: fused kernels of some devices and releases are not."""
    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(before)


def _deform_conv_flops(x: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Sequence[int]) -> int:
    """Those of the convolution, and of the samples that it takes: one for each place, tap and input channel."""
    batch, _channels, height, width = out_shape
    return batch * height * width * (2 * prod(weight) + 8 * x[1] * prod(weight[2:]))


def _sampling_flops(x: Sequence[int], grid: Sequence[int], mode: int = 0, *_: Any, out_shape: Sequence[int]) -> int:
    return (8, 0, 32)[mode] * prod(out_shape)  # bilinear, nearest, bicubic
