"""Moving from an edited fork of Ultralytics: `yolo_attn.migrate`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from .report import Finding, Migration, text

__all__ = ["Finding", "Migration", "migrate", "text"]


def migrate(old: str | os.PathLike, out: str | os.PathLike | None = None) -> Migration:
    """Rewrite a model of an edited fork of Ultralytics for this plugin, which runs with an unmodified Ultralytics.

    A YAML's rows are rewritten in place, comments stay. A checkpoint, whose classes may be nowhere any more, is read as
    data, without running anything of it: its model is built anew from the rewritten rows, with the weights of every
    layer that computes the same here. A layer that doesn't starts as the identity, and is listed.

    Args:
        old: A model YAML, or a checkpoint (.pt), of a fork.
        out: The new file; `<name>-migrated` beside the old one by default.

    Returns:
        What was done, row by row, and what is to be known; `text` writes it for a terminal. Its `out` is None where the
        file can be used as it is, and nothing was written.

    Raises:
        ValueError: If a row has no equal here, or the file is none that can be migrated.
        FileNotFoundError: If there is no such file.
        FileExistsError: If `out` exists.
    """
    from .. import document

    path = Path(old)
    if path.suffix not in (".pt", ".yaml", ".yml"):
        raise ValueError(f"migrate: old must be a model YAML or a checkpoint (.pt), got {path}. Give one of these.")
    if not path.is_file():
        raise FileNotFoundError(f"migrate: there is no file {path}. Give the path of the old one.")
    target = Path(out) if out is not None else path.with_name(f"{path.stem}-migrated{path.suffix}")
    endings = (".pt",) if path.suffix == ".pt" else (".yaml", ".yml")
    if target.suffix not in endings:
        raise ValueError(f"out: {target} must end in {endings[0]}, as the old file does. Give that ending.")
    document.refuse_existing(target)
    if path.suffix == ".pt":
        from .checkpoints import migrated

        return migrated(path, target)
    return _yaml(path, target)


def _yaml(path: Path, target: Path) -> Migration:
    from .. import document, edit, graph
    from ..patches import host
    from .rewriting import all_rewritten

    d = edit.opened(path)
    rows, new = graph.rows(d), all_rewritten(d, str(path))
    findings = [Finding(level, i, row[2], what) for i, row in enumerate(rows) for level, what in new[i].said]
    if [result.row for result in new] == rows:
        host.measure(d)
        return Migration(None, d, findings)
    scale = edit.first_scale(d, target)

    def change(model: graph.Model) -> None:
        for row, result in zip(graph.rows(model), new, strict=True):
            row[:] = result.row

    try:
        content = document.edited(document.read(host.yaml_path(path)), d, change, scale)
    except document.NotInPlace as error:
        content = document.dump(d)
        warnings.warn(f"{target} is without the comments of {path}: {error}", stacklevel=3)
    host.measure(d)
    document.write(target, content)
    return Migration(target, d, findings)
