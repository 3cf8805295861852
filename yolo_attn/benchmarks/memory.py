"""Peak memory of one call, beyond what was there before."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

SHARE = 0.7  # of the free memory that a call may fill
GROWTH = 16  # of the memory from one map to the next at most: four times the pixels, squared


def peak(call: Callable[[], object], device: torch.device) -> int | None:
    """Bytes that tensors took at most during a call, more than before it.

    On CUDA those of the caching allocator; on the CPU every allocation of PyTorch, also inside its operators; None on
    another device.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        return None
    with _silent(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    events = recorded.profiler.kineto_results.events()  # type: ignore[union-attr]
    steps = sorted((e.start_ns(), i, e.nbytes()) for i, e in enumerate(events) if e.name() == "[memory]")
    return max(accumulate((nbytes for *_, nbytes in steps), initial=0))


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing on standard error: the profiler of some releases writes there when it starts and stops."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def fits(known: Sequence[int], free: int) -> bool:
    """Whether the next larger map has room, judged by the peaks of the smaller ones in turn."""
    if not known:
        return True
    growth = min(known[-1] / max(known[-2], 1), GROWTH) if len(known) > 1 else GROWTH
    return growth * known[-1] <= SHARE * free
