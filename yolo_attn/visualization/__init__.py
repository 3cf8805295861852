"""Pictures of what the attention of a model looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ultralytics.engine.model import Model


def viz(
    model: str | Path | Model,
    source: str | Path,
    layer: int | Sequence[int] | None = None,
    query: str | int | Sequence[float] = "boxes",
    project: str | Path | None = None,
    name: str | None = None,
    **predict: Any,
) -> list[Path]:
    """Draw what the attention of a model looks at in images, one picture (PNG) for each image and layer.

    Of deformable modules the sampled points or boxes, of softmax attention the weights of pixels, both as seen by the
    query, and of gates what each channel and pixel is multiplied by; all over the image with its detections. A pixel
    of a map is drawn as the part of the image that the detector's head holds it for. The model is left as it is.

    Args:
        model: A checkpoint (.pt), or a YOLO or RTDETR object, of a model that finds objects in images: for detect, obb,
            pose or segment.
        source: An image, a folder or a video; a picture for each image or frame.
        layer: Number of a layer, or several; all that have something to show by default.
        query: Which pixels look: (320, 240), query=320,240 on the command line, is the one at x = 320, y = 240 in the
            image; "boxes" are those in the middle of the detections, or all where there is none; 0 is the one in the
            middle of the surest detection; and "all" gives the mean over all.
        project: Folder of runs, that of Ultralytics by default.
        name: Folder of this run in it.
        **predict: Arguments of `yolo predict`, such as imgsz, conf, device, vid_stride, exist_ok, line_width.

    Returns:
        The pictures' paths.

    Raises:
        ValueError: If an argument is not possible, or the model or the layer has nothing to show.
        FileNotFoundError: If there is no such model or source.
    """
    from .run import draw_all

    return draw_all(model, source, layer, query, project, name, predict)
