"""Which frames of a batch are neighbours in a video: `clips` tells the modules that look at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ._constants import constant


class ClipModule(nn.Module):
    """A module whose images see one another inside `clips`, and only there.

    Attributes:
        clips: How its batches are cut; empty, as it nearly always is, where every image stands for itself.
    """

    clips: _Clips | tuple

    def __init__(self) -> None:
        super().__init__()
        self.clips = ()

    def neighbours(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """For every frame but the first one of each clip: its number in the batch x, its predecessor's, and its number
        in the clip. None where there is no such frame."""
        lengths = self.clips.cut(len(x)) if isinstance(self.clips, _Clips) and self.clips else ()
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        frames = [(start + t, t) for start, length in zip(starts, lengths, strict=True) for t in range(1, length)]
        if not frames:
            return None
        later, time = _numbers(x, *frames).unbind(1)
        return later, later - 1, time


@constant
def _numbers(like: Tensor, *rows: tuple[int, ...]) -> Tensor:
    return torch.tensor(rows, device=like.device)


class _Clips:
    """The length of the clips in a batch, or of each one; empty once the block is left.

    Copies of a model share it, so that a predictor's copy made inside a block acts, and stops, as the model does. A
    checkpoint made inside a block holds an empty torch.Size in its place, which every kind of loading knows.
    """

    def __init__(self, length: int | tuple[int, ...]) -> None:
        self.length = length

    def __bool__(self) -> bool:
        return bool(self.length)

    def __deepcopy__(self, memo: dict) -> _Clips:
        return self

    def __reduce__(self) -> tuple:
        return torch.Size, ()

    def cut(self, frames: int) -> tuple[int, ...]:
        """The lengths of the clips in a batch of so many frames."""
        if not isinstance(self.length, int):
            if sum(self.length) != frames:
                raise ValueError(
                    f"clips: the batch must hold {sum(self.length)} frames, for clips of {list(self.length)}, got "
                    f"{frames}. Give the length of every clip in the batch."
                )
            return self.length
        if frames % self.length:
            rest = [self.length] * (frames // self.length) + [frames % self.length]
            raise ValueError(
                f"clips: the batch must hold whole clips of {self.length} frames, got {frames}. Drop the rest, or give "
                f"the length of every clip, clips(model, {rest})."
            )
        return (self.length,) * (frames // self.length)


@contextmanager
def clips(model: Any, length: int | Sequence[int]) -> Iterator[None]:
    """Inside this block a batch is consecutive frames of videos, and modules such as SIFA look at neighbouring frames.

    Outside, and for every other module, each image stands for itself. Blocks nest; the inner one counts. `yolo predict`
    and `yolo track` enter such a block by themselves on a video.

    Args:
        model: A model with such modules: any torch.nn.Module, or a YOLO object.
        length: Frames per clip: a batch is one clip or several of that length, one after another. Or the length of
            each clip in the batch, [4, 4, 3].

    Raises:
        ValueError: If the model has no such module, or a length is not positive. Inside the block, if a batch cannot
            be cut into such clips.
    """
    modules = clip_modules(model)
    if not modules:
        raise ValueError(
            "clips: the model must have a module that looks at neighbouring frames, such as SIFA, got none. Insert "
            "one, or leave the block out."
        )
    handle = _Clips(_checked(length))
    outer = [module.clips for module in modules]
    for module in modules:
        module.clips = handle
    try:
        yield
    finally:
        handle.length = ()  # for copies that were made inside
        for module, before in zip(modules, outer, strict=True):
            module.clips = before


def clip_modules(model: Any) -> list[ClipModule]:
    """The modules of a model that `clips` acts on; also of the copy that a YOLO object's predictor keeps, and of the
    model behind Ultralytics' AutoBackend."""
    holders = [model, getattr(getattr(model, "predictor", None), "model", None)]
    roots = [*holders, *(getattr(each, "model", None) for each in holders)]
    found = (m for root in roots if isinstance(root, nn.Module) for m in root.modules() if isinstance(m, ClipModule))
    return list(dict.fromkeys(found))


def _checked(length: int | Sequence[int]) -> int | tuple[int, ...]:
    each = (length,) if isinstance(length, int) else tuple(length) if isinstance(length, Sequence) else ()
    if not each or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in each):
        raise ValueError(
            f"clips: length must be a positive integer or a list of them, got {length!r}. Give the number of frames "
            "per clip."
        )
    return length if isinstance(length, int) else each
