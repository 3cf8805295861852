"""The headings of docs/troubleshooting.md are messages as they are given, word for word."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from .conftest import ROOT
from .pages import PAGES

PAGE = PAGES["docs/troubleshooting.md"]
STOCK, OURS = (re.findall(r"^### (.+)$", part, re.MULTILINE) for part in PAGE.split("\n## ")[1:])
NOT_TRIED = {  # headings of stock messages that aren't seen here, and why
    "KeyError only with two GPUs": "needs two; tests/host/test_ddp.py has two processes",
    "Weights that were moved by hand are gone after train()": "no message",
    "RuntimeError: \"…\" not implemented for 'Half'": "of a device, an operation and a version",
    "best.pt appears to require 'yolo_attn', which is not in Ultralytics requirements.": "needs to be without it",
    "nan in box_loss, cls_loss or dfl_loss": "no message",
    "torch.OutOfMemoryError: CUDA out of memory": "needs a GPU",
    "UserWarning: grid_sampler_2d_backward_cuda does not have a deterministic implementation": "needs a GPU",
    "No gain, or a drop": "no message",
}


def test_stock_messages(tmp_path: Path) -> None:
    """Who searches for a message of Ultralytics or PyTorch would not find it, because it is another one."""
    script = Path(__file__).with_name("stock_errors.py")
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "YOLO_ATTN_AUTOLOAD": "0"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert set(NOT_TRIED) <= set(STOCK)
    for heading in set(STOCK) - set(NOT_TRIED):
        pattern = ".*".join(map(re.escape, heading.removeprefix("_pickle.").split("…")))
        assert re.search(pattern, done.stdout), heading


@cache
def literals() -> list[str]:
    """The texts in the code, with … in the place of what is put in."""
    files = [file for folder in ("yolo_attn", "patches") for file in (ROOT / folder).rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    formed = [
        "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
        for node in nodes
        if isinstance(node, ast.JoinedStr)
    ]
    return formed + [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.mark.parametrize("heading", OURS)
def test_our_messages(heading: str) -> None:
    """A heading would be a message that is given no longer, or was never."""
    parts = [part.strip() for part in heading.split("…") if part.strip()]
    assert any(all(part in text for part in parts) for text in literals())
