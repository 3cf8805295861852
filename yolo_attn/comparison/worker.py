"""The process of one run: `python -m yolo_attn.comparison.worker FOLDER`, the job as one line on its input.

The input stays open as long as the parent lives; when it ends, however the parent died, so does this process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from filelock import FileLock

from .formats import one_line
from .train import Job, RunFailed, train

WAIT_S = 60  # for a process of a killed comparison that is about to notice it


def main() -> None:
    given = json.loads(sys.stdin.buffer.readline())
    pipe = os.dup(
        0
    )  # for us alone: on Windows whatever looks at it, a process that inherits it too, waits for our read
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_die_with_parent, args=(pipe,), daemon=True).start()
    folder = Path(sys.argv[1])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock_of(folder), timeout=WAIT_S):
        row = attempt(Job(**{**given, "splits": tuple(given["splits"])}), folder)
        (folder / "result.json").write_text(json.dumps(row), encoding="utf-8")


def attempt(job: Job, folder: Path) -> dict[str, Any]:
    """Do a run; the row of one that fails says why."""
    try:
        return train(job, folder)
    except Exception as error:
        traceback.print_exc()
        folder.mkdir(parents=True, exist_ok=True)
        return failed(job, error)


def failed(job: Job, error: BaseException | str) -> dict[str, Any]:
    """The row of a run that failed."""
    text = one_line(error)
    known = isinstance(error, (RunFailed, str))
    reason = text if known else f"{type(error).__name__}: {text}"
    return {"model": job.model, "seed": job.seed, "status": "failed", "reason": reason}


def lock_of(folder: Path) -> Path:
    """The file that a run locks while it works in a folder."""
    return folder.with_name(f".{folder.name}.lock")


def _die_with_parent(pipe: int) -> None:
    while os.read(pipe, 1):  # not through a file object, whose lock the end of the interpreter would wait for
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
