"""The result folder of a comparison: what was asked in args.yaml, one row for each finished run in results.csv."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from ..files import replace_text

Row = dict[str, Any]
FIRST = ("model", "seed", "status", "reason", "resumed", "mAP50-95", "mAP50")  # of the columns; those of splits follow
LAST = ("train_s", "peak_mib")
TEXT = ("model", "status", "reason", "resumed")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a result folder for this process; the lock of a killed process is gone with it.

    Raises:
        BlockingIOError: If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise BlockingIOError(
            f"{folder} is in use by another comparison that runs now. Wait for it, or give another name=."
        ) from None


def read(folder: Path) -> dict[tuple[str, int], Row]:
    """The last row of every run, by model and seed; the beginning of a row that a killed process left is ignored."""
    rows = csv.DictReader(io.StringIO(_whole_rows(folder / "results.csv"), newline=""))
    return {(row["model"], int(row["seed"])): _typed(row) for row in rows}


def append(folder: Path, row: Mapping[str, Any], columns: Iterable[str]) -> None:
    """Add a row to results.csv, whole and on the disk when this returns.

    Args:
        folder: The result folder, locked by the caller.
        row: Values by column; None and what is missing become empty fields.
        columns: Columns of the splits, for a file that doesn't exist yet.

    Raises:
        ValueError: If the row has a value for which the file has no column.
    """
    path = folder / "results.csv"
    whole = _whole_rows(path)
    known = next(csv.reader(io.StringIO(whole, newline="")), None) or [*FIRST, *columns, *LAST]
    line = io.StringIO(newline="")
    writer = csv.DictWriter(line, known, lineterminator="\n")
    if not whole:
        writer.writeheader()
    writer.writerow({name: "" if value is None else value for name, value in row.items()})
    with open(path, "r+b" if path.exists() else "xb") as file:
        file.truncate(len(whole.encode()))  # a row that a killed process began
        file.seek(0, os.SEEK_END)
        file.write(line.getvalue().encode())
        file.flush()
        os.fsync(file.fileno())


def load_arguments(folder: Path) -> dict[str, Any] | None:
    """What args.yaml of a result folder holds, or None if there is none yet.

    Raises:
        ValueError: If it is that of something else, as Ultralytics' own folders have one.
    """
    path = folder / "args.yaml"
    if not path.exists():
        return None
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or "recipe" not in found:
        raise ValueError(f"{folder} holds no comparison: its args.yaml is of something else. Give another folder.")
    return found


def save_arguments(folder: Path, arguments: Mapping[str, Any]) -> None:
    """Write args.yaml, or leave the old one where the process is killed on the way."""
    replace_text(folder / "args.yaml", yaml.safe_dump(dict(arguments), sort_keys=False, allow_unicode=True, width=120))


def claim(folder: Path, arguments: Mapping[str, Any], models: Mapping[str, str]) -> None:
    """Make a result folder that of a comparison, unless its runs could not be compared with those that it holds.

    Args:
        folder: The result folder, locked by the caller.
        arguments: For args.yaml; what is under `recipe` must be what it was, and once there are runs `test` too.
            Numbers of seeds that it had when there were runs already are kept as `seeds_before`.
        models: Texts of the model YAMLs by name; those of models that the folder knows must be what they were.

    Raises:
        ValueError: If they are not; the message names the keys.
    """
    known = load_arguments(folder) or dict(arguments)
    before, now = known["recipe"], arguments["recipe"]
    if has_runs := bool(read(folder)):  # what was asked about is asked before there are results
        before, now = {**before, "test": known.get("test")}, {**now, "test": arguments.get("test")}
    changed = [f"{k} ({before.get(k)}, now {now.get(k)})" for k in {**before, **now} if before.get(k) != now.get(k)]
    paths = {name: folder / "models" / f"{name}.yaml" for name in models}
    changed += [
        f"the model {name}" for name, path in paths.items() if path.exists() and path.read_text("utf-8") != models[name]
    ]
    if changed:
        raise ValueError(
            f"{folder} holds runs with another recipe: {', '.join(changed)}. Give another name=, or what it was."
        )
    (folder / "models").mkdir(exist_ok=True)
    for name, path in paths.items():
        replace_text(path, models[name])
    earlier = known.get("seeds_before", [])
    if has_runs and arguments.get("seeds", 0) > known.get("seeds", 0):
        earlier = [*earlier, known["seeds"]]
    save_arguments(folder, {**arguments, **({"seeds_before": earlier} if earlier else {})})


def load_latency(folder: Path) -> dict[str, dict[str, Any]]:
    """What latency.csv of a result folder holds, by model; empty before it was measured."""
    path = folder / "latency.csv"
    if not path.exists():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        return {
            row.pop("model"): {k: v if k == "device" else float(v) for k, v in row.items()}
            for row in csv.DictReader(file)
        }


def save_latency(folder: Path, latency: Mapping[str, Mapping[str, Any]]) -> None:
    """Write latency.csv."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["model", *next(iter(latency.values()))], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"model": name, **values} for name, values in latency.items())
    replace_text(folder / "latency.csv", text.getvalue())


def _whole_rows(path: Path) -> str:
    """The text of a file, if there is one, up to its last complete row; fields have no line breaks."""
    text = path.read_bytes().decode() if path.exists() else ""
    return text[: text.rfind("\n") + 1]


def _typed(row: Mapping[str, str]) -> Row:
    numbers = {name: float(text) if text else None for name, text in row.items() if name not in TEXT}
    return {**row, **numbers, "seed": int(row["seed"]), "resumed": row["resumed"] == "True"}
