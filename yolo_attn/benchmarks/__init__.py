"""Benchmarks of modules and models on this machine: `yolo-attn bench`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

DTYPES = ("float32", "bfloat16", "float16")
DEFAULTS = {"imgsz": 640, "batch": 1, "dtype": "float32", "seconds": 1.0, "threads": 1, "project": "runs/bench"}


def bench(
    modules: str | Sequence[Any] | None = None,
    imgsz: int = 640,
    device: str | int | None = None,
    batch: int = 1,
    dtype: str = "float32",
    seconds: float = 1.0,
    threads: int = 1,
    models: str | Sequence[str] | None = None,
    project: str = "runs/bench",
    name: str | None = None,
    write: str | None = None,
) -> list[dict[str, Any]]:
    """Measure modules at the maps of yolov8n, and whole models: time, memory, FLOPs, and ratios to the published forms.

    Without `modules` and `models` it measures all modules, all packaged detectors, and the import of the plugin. A
    published form computes the same from the same parameters as the authors' code does, in the same rounds. Results lie
    in project/name: bench.csv, bench.md and bench.png, time against the size of the map.

    Args:
        modules: Modules by name (SE,DAttention), or with the arguments of a row: "[SE, [DAttention, {pe: table}]]".
        imgsz: Height and width of the images in pixels, a multiple of 32.
        device: cpu or the number of a GPU; by default the first GPU if there is one.
        batch: Number of images.
        dtype: float32, or bfloat16 or float16 by autocast.
        seconds: Time of each measurement, which has at least 5 rounds.
        threads: CPU threads.
        models: Model YAMLs, measured beside yolov8n: yolov8n-dattn.yaml,yolov8n-se.yaml.
        project: Folder of benchmarks.
        name: Folder of this one in it, by default that of device and dtype; a number is added if there is one already.
        write: A Markdown file that gets bench.md too.

    Returns:
        One row per module and map, and one per model: the columns of bench.csv.

    Raises:
        ValueError, TypeError, OSError: If an argument is not possible, before anything runs.
        RuntimeError: If nothing could be measured.
    """
    given = {k: v for k, v in locals().items() if v is not None}
    from . import cases as chosen
    from . import models as whole
    from .run import run, save
    from .timing import Setting

    on = Setting(_device(device), _one_of("dtype", dtype), _positive("seconds", seconds, float), *(
        _positive(key, value, int) for key, value in (("threads", threads), ("batch", batch), ("imgsz", imgsz))
    ))  # fmt: skip
    if imgsz % 32:
        raise ValueError(f"imgsz: a multiple of 32 is needed, got {imgsz}. Write imgsz={imgsz // 32 * 32 + 32}.")
    if threads > (cores := os.cpu_count() or threads):
        raise ValueError(f"threads: there are {cores} CPU cores here, got {threads}. Write threads={cores}.")
    if name is not None and Path(str(name)).name != str(name):
        raise ValueError(f"name: the name of a folder is needed, got {name!r}. A path goes into project=.")
    folder = Path(project, name or f"{on.device.type}-{dtype}")
    _writable("project", folder.absolute().parent)
    if write is not None:
        _file(Path(write))
    everything = modules is None and models is None
    todo = chosen.cases(modules) if everything or modules is not None else []
    names = whole.named(models) if everything or models is not None else []
    result = run(todo, names, on, with_import=everything)
    if all(row.get("failed") for row in result.rows):
        raise RuntimeError("nothing could be measured, and nothing was written. The lines above say why.")
    save(result, folder, _command(given), Path(write) if write else None)
    return result.rows


def _device(device: str | int | None) -> Any:
    from ..inspection.subject import one_device

    return one_device(device)


def _one_of(key: str, value: str) -> str:
    if value not in DTYPES:
        raise ValueError(f"{key}: one of {', '.join(DTYPES)} is needed, got {value!r}. Write {key}=float32.")
    return value


def _positive(key: str, value: Any, kind: type) -> Any:
    allowed = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed) or not 0 < value < float("inf"):
        what = "whole number from 1" if kind is int else "number above 0"
        raise ValueError(f"{key}: a {what} is needed, got {value!r}. Write {key}={DEFAULTS[key]}.")
    return value


def _file(path: Path) -> None:
    """Raise OSError where no file can be written; after the measurements it would be too late."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"write: there is no folder {path.parent}. Make it, or give another file.")
    if path.is_dir():
        raise IsADirectoryError(f"write: a file is needed, got the folder {path}. Write write={path / 'bench.md'}.")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"write: {path} is no file that can be replaced. Write write=bench.md.")
    _writable("write", path.absolute().parent)


def _writable(key: str, folder: Path) -> None:
    """Raise OSError where nothing can be written into a folder, which may be one that is still to be made."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError:
        raise PermissionError(f"{key}: nothing can be written into {there}. Give another folder.") from None


def _command(given: dict[str, Any]) -> str:
    """The command line of a call."""
    parts = [f"{key}={_plain(value)}" for key, value in given.items() if DEFAULTS.get(key) != value]
    return shlex.join(["yolo-attn", "bench", *parts])


def _plain(value: Any) -> str:
    """A value as it is written on a command line."""
    simple = isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)
    return ",".join(value) if simple else str(value)
