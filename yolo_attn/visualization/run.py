"""One run of `viz`: its arguments, its images, its pictures."""

from __future__ import annotations

import glob
import io
import os
import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from itertools import chain, count
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context
from torch import Tensor, nn
from ultralytics.engine.model import Model
from ultralytics.utils import LOGGER

from .. import log
from ..files import replace_bytes
from ..modules._clips import ClipModule, clip_modules
from ..patches import host
from ..patches.predict import OURS, TASKS, Predicted, predict, run_folder
from ..registry import suggest
from . import deformable, gates, softmax  # noqa: F401 (they tell `looks`)
from .draw import draw
from .geometry import Letterbox
from .watch import Watched, showing, watch

CLIP = 8  # frames at once, where a module looks at the next one
PLAIN: Any = {"text.parse_math": False, "text.usetex": False}  # a file may be called a$b$.jpg
WORDS = ("boxes", "all")
Query = str | int | tuple[float, float]


def draw_all(
    model: str | Path | Model,
    source: str | Path,
    layer: int | Sequence[int] | None,
    query: str | int | Sequence[float],
    project: str | Path | None,
    name: str | None,
    arguments: Mapping[str, Any],
) -> list[Path]:
    """`viz`."""
    asked = _query(query)
    if taken := sorted(set(arguments) & set(OURS)):
        raise ValueError(f"{taken[0]} is not yours to set here. Leave it out.")
    path = _source(source)
    yolo = _model(model)
    wanted = _layers(yolo.model, layer)
    folder = run_folder(project, name, str(yolo.task), bool(arguments.get("exist_ok")))
    if clip_modules(yolo):
        arguments = {"batch": CLIP, **arguments}
    watched: list[Watched] = []
    pictures: dict[Path, None] = {}
    without: list[str] = []  # which images have no picture, and why
    unseen: dict[Watched, int] = {}  # how many images have no picture of a module
    images = 0
    with log.progress(None, "viz", "image") as bar:
        for each in predict(yolo, path, lambda network: watched.extend(watch(network, wanted)), **arguments):
            bar.total = each.total
            box = Letterbox(each.result.orig_shape, each.target, each.padded, each.stretched)
            try:
                looking = _positions(each.result, asked)
            except ValueError as error:
                without.append(f"{_name(each)}: {error}")
            else:
                for one in watched:
                    if picture := _picture(each, box, one, looking, folder, pictures):
                        pictures[picture] = None
                    else:
                        unseen[one] = unseen.get(one, 0) + 1
            images += 1
            bar.update()
    if not images:
        raise ValueError(f"source: no image of {source} can be read. Give another.")
    _tell(without, unseen, images, bool(pictures))
    return [*pictures]


def _picture(
    each: Predicted, box: Letterbox, watched: Watched, looking: Tensor | None, folder: Path, others: Collection[Path]
) -> Path | None:
    """Draw what a module looks at in an image; the file is there as a whole or not at all."""
    queries = None if looking is None else box.to_map(looking, watched.size)
    looks = watched.look(each.number, each.followed, queries)
    if not looks:
        return None
    image = Path(each.result.path)
    end = f"{_frame(each)}-{watched.layer}-{watched.name.replace(' ', '-')}.png"
    starts = chain((image.stem, image.name), (f"{image.name} {i}" for i in count(2)))  # a.jpg, a.png, another a.jpg
    path = next(path for start in starts if (path := folder / f"{start}{end}") not in others)
    title = f"{_name(each)}, layer {watched.layer}: {watched.name}{' (adds nothing yet)' * watched.silent}"
    picture = io.BytesIO()
    with rc_context(PLAIN), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the font's, of a file's name
        image, detections = (
            each.result.plot(**style)[..., ::-1] for style in ({**each.style, "boxes": False}, each.style)
        )
        figure = draw(looks, image, detections, box, looking, title)
        figure.savefig(picture, format="png", bbox_inches="tight")
    folder.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, picture.getvalue())
    return path


def _name(each: Predicted) -> str:
    return f"{Path(each.result.path).name}{_frame(each)}"


def _frame(each: Predicted) -> str:
    return f"-{each.frame:06d}" if each.frame else ""


def _tell(without: Sequence[str], unseen: Mapping[Watched, int], images: int, any_picture: bool) -> None:
    """Say what was not drawn and why; an error where nothing was."""
    said = []
    if without:
        others = f" {len(without) - 1} more images have no picture either." if len(without) > 1 else ""
        said.append(without[0] + others)
    for one, n in unseen.items():
        why = "has nothing to show"
        if isinstance(one.module, ClipModule):
            why = "looks at the next frame"
            some = n < images - len(without)
            why += (
                f", which {n} of {images} don't have in their batch" if some else ". Give a video, and batch=2 or more"
            )
        said.append(f"layer {one.layer} ({one.name}) {why}.")
    if said and not any_picture:
        raise ValueError(" ".join(said))
    for line in said:
        LOGGER.warning(line)


def _positions(result: Any, query: Query) -> Tensor | None:
    """Positions (Q, 2) as (x, y) in the image of the pixels that look; None for all."""
    if query == "all":
        return None
    if isinstance(query, tuple):
        h, w = result.orig_shape
        if not (0 <= query[0] < w and 0 <= query[1] < h):
            raise ValueError(f"query: x must be from 0 to {w - 1} and y from 0 to {h - 1}, got {query[0]},{query[1]}.")
        return torch.tensor([query], dtype=torch.float64)
    found = result.boxes if result.boxes is not None else result.obb
    surest = found.conf.argsort(descending=True).cpu()
    centres = (found.xywh if result.boxes is not None else found.xywhr)[:, :2].double().cpu()[surest]
    if not isinstance(query, int):
        return centres if len(centres) else None
    if query >= len(centres):
        raise ValueError(f"query: there are {len(centres)} detections, got {query}. The surest one is 0.")
    return centres[query : query + 1]


def _query(query: str | int | Sequence[float]) -> Query:
    if isinstance(query, (str, int)):
        if query in WORDS or (isinstance(query, int) and not isinstance(query, bool) and query >= 0):
            return query
    elif isinstance(query, Sequence) and [type(n) in (int, float) for n in query] == [True, True]:
        return float(query[0]), float(query[1])
    near = suggest(str(query), WORDS)
    raise ValueError(
        f"query: x,y in pixels of the image, boxes, all or the number of a detection is needed, got {query!r}.{near} "
        "Write query=320,240, say."
    )


def _source(source: str | Path) -> str:
    """An image, a folder or a video of this machine, or a pattern of files."""
    is_path = isinstance(source, (str, os.PathLike)) and source != ""
    path = Path(source) if is_path else Path()
    if not is_path or not (path.exists() or glob.glob(str(path), recursive=True)):
        near = suggest(path.name, [p.name for p in path.parent.glob("*")])
        raise FileNotFoundError(f"source: there is no image, folder or video {source}.{near}")
    return str(path)


def _model(model: str | Path | Model) -> Model:
    """A model of our own, to be watched."""
    if isinstance(model, Model):
        listeners = defaultdict(list, {event: [*each] for event, each in model.callbacks.items()})
        running = {id(each): None for each in (model.predictor, model.trainer)}  # with locks, which have no copies
        yolo: Model = deepcopy(model, {**running, id(model.callbacks): listeners})
    else:
        path = Path(model) if isinstance(model, (str, os.PathLike)) else Path()
        if path.suffix != ".pt":
            got = model if isinstance(model, (str, os.PathLike)) else type(model).__name__
            raise ValueError(f"model: a checkpoint (.pt) or a YOLO is needed, got {got}. Write model=best.pt, say.")
        found = host.checkpoint(path)
        if found is None:
            near = suggest(path.name, [p.name for p in path.parent.glob("*.pt")])
            raise FileNotFoundError(f"model: there is no checkpoint {model}, and none is downloaded.{near}")
        yolo = host.open_yolo(found)
    if yolo.task not in TASKS or not isinstance(yolo.model, nn.Module):
        raise ValueError(f"model: one for {', '.join(TASKS)} is needed, got one for {yolo.task}. Take another.")
    return yolo


def _layers(network: Any, layer: int | Sequence[int] | None) -> list[int]:
    """The numbers of the layers to show, checked."""
    possible = {
        i: ", ".join(type(m).__name__ for _, m in found)
        for i, each in enumerate(network.model)
        if (found := showing(each))
    }
    if not possible:
        raise ValueError("model: there is nothing to show, because no layer of it is one that viz has a picture of.")
    several = isinstance(layer, Sequence) and not isinstance(layer, str) and len(layer) > 0
    wanted: list[Any] = [*possible] if layer is None else [*layer] if several else [layer]  # type: ignore[misc]
    for each in wanted:
        if not isinstance(each, int) or isinstance(each, bool) or each not in possible:
            choice = ", ".join(f"{i} ({names})" for i, names in possible.items())
            raise ValueError(f"layer: {each!r} has nothing to show. Choose of {choice}.")
    return wanted
