"""Measure what is asked for, tell it, and write it into a folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from ultralytics.utils import LOGGER, TQDM
from ultralytics.utils.files import increment_path

from .. import log
from ..comparison.formats import one_line
from ..files import replace_bytes, replace_text
from . import models, plots, timing, wording
from .cases import Case
from .startup import import_ms
from .timing import Row, Setting

Found = TypeVar("Found")


@dataclass(frozen=True)
class Result:
    """What was measured.

    Attributes:
        setting: How.
        rate: GFLOP/s of matrix products.
        modules: Rows of modules, by module and then from small to large maps.
        models: Rows of models, the stock one first.
        startup: Milliseconds of imports; empty where not measured.
    """

    setting: Setting
    rate: float
    modules: list[Row]
    models: list[Row]
    startup: dict[str, float]

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return [{"kind": "module", **row} for row in self.modules] + [{"kind": "model", **row} for row in self.models]

    def parts(self, style: str) -> list[str]:
        """What is said of it."""
        said = [wording.heading(self.setting, self.rate)]
        for rows, words in ((self.modules, wording.modules), (self.models, wording.models)):
            measured = [row for row in rows if not row.get("failed")]
            said += [words(measured, style)] if measured else []
        said += wording.limits(self.modules)
        return said + ([wording.startup(self.startup)] if self.startup else [])


def run(cases: Sequence[Case], names: Sequence[str], setting: Setting, with_import: bool) -> Result:
    """Measure modules, models, and on demand the import; what fails has rows without figures."""
    found: list[Row] = []
    whole: list[Row] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    bar = TQDM(total=1 + len(cases) + bool(names) + with_import, desc="matrix product", unit="case")
    try:
        rate = timing.matrix_rate(setting)
        bar.update(1)
        for case in cases:
            bar.set_description(case.name)
            found += _tried(case.name, partial(timing.rows, case, setting)) or _failed(case.name)
            bar.update(1)
        if names:
            bar.set_description("models")
            whole = _tried("models", partial(models.rows, names, setting)) or _failed(*names)
            bar.update(1)
        if with_import:
            bar.set_description("import")
        startup = (_tried("import", import_ms) if with_import else None) or {}
        bar.update(with_import)
    finally:
        bar.close()
        torch.set_num_threads(threads)
    return Result(setting, rate, found, whole, startup)


def _tried(what: str, measure: Callable[[], Found]) -> Found | None:
    """What is measured, or None: what one thing raises does not take the figures of the others with it."""
    try:
        return measure()
    except Exception as error:
        LOGGER.warning(f"\n{what} failed: {type(error).__name__}: {one_line(error)}")
        return None


def _failed(*names: str) -> list[Row]:
    return [{"name": name, "failed": True} for name in names]


def save(result: Result, folder: Path, command: str, also: Path | None = None) -> None:
    """Print the tables, and write them into a new folder with a picture; each file whole or not at all."""
    log.result("\n" + "\n\n".join(result.parts("simple")) + "\n")
    folder = increment_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / "bench.csv", table(result))
    said = wording.markdown(command, result.parts("github"))
    replace_text(folder / "bench.md", said)
    if drawn := [row for row in result.modules if not row.get("failed")]:
        picture = io.BytesIO()
        plots.draw(drawn, picture)
        replace_bytes(folder / "bench.png", picture.getvalue())
    try:
        if also:
            replace_text(also, said)
    except OSError as error:
        raise OSError(f"write: {also} could not be written ({error.strerror}). The results are in {folder}.") from None
    log.result(f"The results are in {folder}{f' and {also}' if also else ''}.")


def table(result: Result) -> str:
    """The content of bench.csv."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, wording.COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    on = result.setting
    where = {"device": wording.processor(on.device), "dtype": on.dtype, "batch": on.batch, "threads": on.threads}
    writer.writerows({**where, **row} for row in result.rows)
    return text.getvalue()
