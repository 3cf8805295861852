"""Prediction by Ultralytics with a look at the running model: its layers, and how an image was made to fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import nn
from ultralytics.cfg import get_save_dir
from ultralytics.engine.model import Model
from ultralytics.models.rtdetr import RTDETRPredictor

from .video import frame_number, runs

OURS = (
    *("augment", "embed", "mode", "model", "save", "save_crop", "save_frames", "save_txt"),
    *("show", "source", "stream", "verbose", "visualize"),
)
TASKS = ("detect", "obb", "pose", "segment")


@dataclass(frozen=True)
class Predicted:
    """What a model says of an image.

    Attributes:
        result: Ultralytics' Results.
        number: Number of the image in its batch.
        frame: Number of the frame in its video from 1; 0 for an image.
        followed: Whether the next image of the batch is the video's next frame.
        target: Height and width that the image was scaled to fit into.
        padded: Height and width of the network's input.
        stretched: Whether the image was stretched to that, as RT-DETR does, and not padded.
        total: Number of images and frames in all, None where that isn't known beforehand.
        style: Arguments of the result's `plot`, as asked for.
    """

    result: Any
    number: int
    frame: int
    followed: bool
    target: tuple[int, int]
    padded: tuple[int, int]
    stretched: bool
    total: int | None
    style: Mapping[str, Any]


def predict(
    model: Model, source: str | Path, begin: Callable[[nn.Module], None], **arguments: Any
) -> Iterator[Predicted]:
    """What `yolo predict` finds in each image or frame, without files and logs.

    Args:
        model: The model; it is left as it is.
        source: An image, a folder or a video.
        begin: Is called with the running model, which may be a copy, before the first image.
        **arguments: Those of `yolo predict`.
    """
    kept: dict[str, Any] = {}

    def start(predictor: Any) -> None:
        network = predictor.model.model
        kept["handle"] = network.register_forward_pre_hook(
            lambda module, inputs: kept.__setitem__("padded", tuple(inputs[0].shape[2:]))
        )
        kept["predictor"] = predictor
        begin(network)

    def batch(predictor: Any) -> None:
        lengths = runs(predictor.batch[0], predictor.batch[2])
        kept["number"], kept["followed"] = 0, [k < n for n in lengths for k in range(1, n + 1)]

    events = {"on_predict_start": start, "on_predict_postprocess_end": batch}
    for event, listener in events.items():
        model.add_callback(event, listener)
    try:
        for result in model.predict(str(source), stream=True, save=False, verbose=False, **arguments):
            number, predictor = kept["number"], kept["predictor"]
            kept["number"] += 1
            frame = frame_number(predictor.batch[2][number]) * predictor.args.vid_stride
            target = (int(predictor.imgsz[0]), int(predictor.imgsz[1]))
            fits = target, kept["padded"], isinstance(predictor, RTDETRPredictor)
            followed, total = kept["followed"][number], _total(predictor.dataset)
            yield Predicted(result, number, frame, followed, *fits, total, _style(predictor.args))
    finally:
        if "handle" in kept:
            kept["handle"].remove()
        for event, listener in events.items():
            model.callbacks[event].remove(listener)


def run_folder(project: str | Path | None, name: str | None, task: str, exist_ok: bool) -> Path:
    """The folder of a run, where `yolo predict` would have its own; one that does not exist yet unless `exist_ok`."""
    wanted = SimpleNamespace(
        project=str(project or ""), name=name, exist_ok=exist_ok, task=task, mode="viz", save_dir=None
    )
    return Path(get_save_dir(wanted))


def _style(args: Any) -> dict[str, Any]:
    return {
        "boxes": args.show_boxes,
        "conf": args.show_conf,
        "labels": args.show_labels,
        "line_width": args.line_width,
    }


def _total(dataset: Any) -> int | None:
    images, videos = dataset.ni, dataset.nf - dataset.ni
    if not videos:
        return images
    return images + dataset.frames if videos == 1 and hasattr(dataset, "frames") else None
