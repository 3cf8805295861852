"""One run of `viz`: its arguments, its images, its pictures."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.utils import LOGGER, TQDM

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
WORDS = ("boxes", "all")
Query = str | int | tuple[float, float]


def draw_all(
    model: str | Path | YOLO,
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
    folder = run_folder(project, name, str(yolo.task))
    if clip_modules(yolo):
        arguments = {"batch": CLIP, **arguments}
    watched: list[Watched] = []
    pictures: list[Path] = []
    shown: set[int] = set()
    without: dict[str, str] = {}
    with TQDM(desc="viz", unit="image") as bar:
        for each in predict(yolo, path, lambda network: watched.extend(watch(network, wanted)), **arguments):
            bar.total = each.total
            box = Letterbox(each.result.orig_shape, each.target, each.padded)
            try:
                looking = _positions(each.result, asked)
            except ValueError as error:
                without[str(each.result.path)] = str(error)
            else:
                for one in watched:
                    if picture := _picture(each, box, one, looking, folder, pictures):
                        pictures.append(picture)
                        shown.add(id(one))
            bar.update()
    _tell(without, [] if without and not shown else [one for one in watched if id(one) not in shown], bool(pictures))
    return pictures


def _picture(
    each: Predicted, box: Letterbox, watched: Watched, looking: Tensor | None, folder: Path, others: Sequence[Path]
) -> Path | None:
    """Draw what a module looks at in an image; the file is there as a whole or not at all."""
    queries = None if looking is None else box.to_map(looking, watched.size)
    looks = watched.look(each.number, queries)
    if not looks:
        return None
    image = Path(each.result.path)
    frame = f"-{each.frame:06d}" if each.frame else ""
    path = folder / f"{image.stem}{frame}-{watched.layer}-{watched.name.replace(' ', '-')}.png"
    if path in others:  # a.jpg and a.png of one folder
        path = path.with_name(f"{image.name}{path.name.removeprefix(image.stem)}")
    title = f"{image.name}{frame}, layer {watched.layer}: {watched.name}{' (adds nothing yet)' * watched.silent}"
    figure = draw(looks, each.result.plot()[..., ::-1], box, looking, title)
    folder.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight")
    replace_bytes(path, picture.getvalue())
    return path


def _tell(without: Mapping[str, str], silent: Sequence[Watched], any_picture: bool) -> None:
    """Say what was not drawn and why; an error where nothing was."""
    said = []
    if without:
        path, why = next(iter(without.items()))
        others = f" {len(without) - 1} more images have no picture either." if len(without) > 1 else ""
        said.append(f"{Path(path).name}: {why}{others}")
    for one in silent:
        clip = isinstance(one.module, ClipModule)
        why = "looks at the next frame. Give a video, and batch=2 or more" if clip else "has nothing to show"
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
    elif len(query) == 2 and all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in query):
        return float(query[0]), float(query[1])
    near = suggest(str(query), WORDS)
    raise ValueError(
        f"query: x,y in pixels of the image, boxes, all or the number of a detection is needed, got {query!r}.{near} "
        "Write query=320,240, say."
    )


def _source(source: str | Path) -> str:
    """An image, a folder or a video of this machine, or a pattern of files."""
    path = Path(source) if isinstance(source, (str, os.PathLike)) else Path()
    if not isinstance(source, (str, os.PathLike)) or not (path.exists() or glob.glob(str(path), recursive=True)):
        near = suggest(path.name, [p.name for p in path.parent.glob("*")])
        raise FileNotFoundError(f"source: there is no image, folder or video {source}.{near}")
    return str(path)


def _model(model: str | Path | YOLO) -> YOLO:
    """A model of our own, to be watched."""
    if isinstance(model, YOLO):
        yolo = deepcopy(model)
    else:
        path = Path(model) if isinstance(model, (str, os.PathLike)) else Path()
        if path.suffix != ".pt":
            raise ValueError(f"model: a checkpoint (.pt) is needed, got {model}. Write model=best.pt, say.")
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
        raise ValueError("model: there is nothing to show, because no layer of it is an attention of yolo-attn.")
    wanted = [*possible] if layer is None else [layer] if isinstance(layer, int) else list(layer)
    for each in wanted:
        if isinstance(each, bool) or each not in possible:
            choice = ", ".join(f"{i} ({names})" for i, names in possible.items())
            raise ValueError(f"layer: {each} has nothing to show. Choose of {choice}.")
    return wanted
