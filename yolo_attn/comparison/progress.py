"""How far the runs of a comparison are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ultralytics.utils import TQDM

SECONDS = 2  # between looks at the runs


@contextmanager
def progress(parts: Sequence[Path], epochs: int, done: int) -> Iterator[Callable[[Path, str], None]]:
    """A progress bar over the epochs of all runs, moved by those under way too where their folders are on this machine.

    Args:
        parts: The folders that the runs to be done work in.
        epochs: Of each run.
        done: Number of runs that are done before.

    Yields:
        A function that is told when a run has ended, by its folder, and what is to be said of it.
    """
    began, under_way, lock, stopped = time.time(), set(parts), threading.Lock(), threading.Event()
    bar = TQDM(total=(done + len(parts)) * epochs, initial=done * epochs, desc="runs", unit="epoch")

    def show() -> None:
        with lock:
            ended = done + len(parts) - len(under_way)
            bar.update(ended * epochs + sum(trained(part, began) for part in under_way) - bar.n)

    def watch() -> None:
        while not stopped.wait(SECONDS):
            show()

    def end(part: Path, said: str) -> None:
        with lock:
            under_way.discard(part)
            bar.set_description(said)
        show()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield end
    finally:
        stopped.set()
        thread.join()
        bar.close()


def trained(part: Path, since: float) -> int:
    """Number of epochs that a run has trained; none in what is left of one that was interrupted before."""
    table = part / "train" / "results.csv"
    try:
        lines = table.read_text(encoding="utf-8").splitlines() if table.stat().st_mtime >= since else []
    except OSError:  # not yet, or just put away
        return 0
    return max(len(lines) - 1, 0)
