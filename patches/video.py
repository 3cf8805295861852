"""Prediction and tracking on videos: consecutive frames of a file in one batch are neighbours, for SIFA."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ultralytics.utils import LOGGER

from ..modules import clips
from ..modules._clips import clip_modules
from ._wrap import wrap_when_imported

NAME = "ultralytics.engine.predictor"


def apply() -> None:
    """Extend the predictor, now or once it is imported. Calling it again does nothing."""
    wrap_when_imported(NAME, "BasePredictor", "inference", _in_clips)


def _in_clips(stock: Callable) -> Callable:
    def inference(self, im, *args, **kwargs):
        lengths = runs(self.batch[0], self.batch[2])
        if max(lengths, default=1) > 1:
            modules = clip_modules(self.model)
            if modules and not any(module.clips for module in modules):  # a block of the user's own counts
                with clips(self.model, lengths):
                    return stock(self, im, *args, **kwargs)
        elif self.args.batch == 1 and self.seen == 0 and frame_number(self.batch[2][0]) and clip_modules(self.model):
            kinds = ", ".join(sorted({type(module).__name__ for module in clip_modules(self.model)}))
            LOGGER.info(f"{kinds} looks at neighbouring frames, and batch=1 holds none; try batch=8.")
        return stock(self, im, *args, **kwargs)

    return inference


def runs(paths: Sequence[str], infos: Sequence[str]) -> list[int]:
    """Lengths of the runs of consecutive frames of one video in a batch; 1 for an image or a stream's frame.

    Args:
        paths: The file of each image.
        infos: What Ultralytics logs of it: "video 1/2 (frame 3/20) path: " for a video's frame.
    """
    lengths: list[int] = []
    last = None
    for path, info in zip(paths, infos, strict=False):
        frame = frame_number(info)
        if frame and last == (path, frame - 1):
            lengths[-1] += 1
        else:
            lengths.append(1)
        last = (path, frame)
    return lengths


def frame_number(info: str) -> int:
    """Number of a video's frame from 1; 0 for anything else."""
    found = re.match(r"video \d+/\d+ \(frame (\d+)/", info)
    return int(found[1]) if found else 0
