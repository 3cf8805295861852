"""Check: what is installed, and whether a plain `yolo` knows the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from .. import __version__
from ..patches import host
from .finding import Finding, error, ok, warning
from .subject import Subject

TRIED = ("8.3.20", "8.3.100", "8.3.200", "8.4.0", "8.4.100", "8.4.190")  # by the tests, in full
FRESH = "import sys; print('_yolo_attn_autoload' in sys.modules)"
OFF = ("0", "false", "no", "off")


def versions(subject: Subject) -> Iterator[Finding]:
    """Versions of what a training runs on, and a start of Python as `yolo` makes it."""
    have = host.versions()
    release = have["ultralytics"]
    required = host.required("ultralytics")
    if required and not host.satisfies(release, required):
        yield error(
            f"Ultralytics {release} is not supported, {required} is",
            "Install one of these: pip install -U ultralytics.",
        )
    listed = ", ".join(f"{name} {version}" for name, version in have.items())
    yield ok(f"yolo-attn {__version__}, {listed}; {_tried(release)}")
    if subject.model is None or not host.inserted(subject.model):
        return
    if os.environ.get("YOLO_ATTN_AUTOLOAD", "1").lower() in OFF:
        yield warning(
            f"YOLO_ATTN_AUTOLOAD={os.environ['YOLO_ATTN_AUTOLOAD']} keeps plain `yolo` from knowing this model's rows",
            "Unset it, or write yolo-attn train in the place of yolo train.",
        )
    elif not _starts():
        yield warning(
            f"{sys.executable} starts without the plugin, so plain `yolo` doesn't know this model's rows",
            "Install yolo-attn with pip into this environment, or write yolo-attn train in the place of yolo train.",
        )
    else:
        yield ok("plain `yolo` knows the rows of this model")


def _tried(release: str) -> str:
    """Where a release stands among those that were tried."""
    if release in TRIED:
        return "this Ultralytics was tried"
    older = [each for each in TRIED if host.satisfies(release, f">={each}")]
    newer = [each for each in TRIED if each not in older]
    if not newer:
        return f"this Ultralytics is newer than {older[-1]}, the newest that was tried"
    return f"of Ultralytics {' and '.join([*older[-1:], newer[0]])} were tried"


def _starts() -> bool:
    """Whether a new process of this Python reads the plugin's start-up file."""
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True)
    return done.stdout.strip() == "True"
