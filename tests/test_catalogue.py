"""What `yolo-attn list` and `yolo-attn info` tell of the modules."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

import yolo_attn
from yolo_attn import catalogue, cli
from yolo_attn.modules import SE

from .tiny import NAMES


def told(*arguments: str) -> str:
    """What a command prints."""
    done = subprocess.run([sys.executable, "-m", "yolo_attn", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_list_has_all_modules() -> None:
    """A module could not be found, or its line lack what one chooses by."""
    heading, _, *lines = told("list").splitlines()
    assert heading.split() == ["Module", "Kind", "Parameters", "GFLOPs", "Paper", "Year"]
    assert [line.split()[0] for line in lines] == NAMES
    line = next(line for line in lines if line.startswith("SE "))
    weights, hidden = sum(p.numel() for p in SE(256).parameters()), 256 // 16
    gflops = 2 * 2 * 256 * hidden / 1e9
    assert line.split() == ["SE", "channel", "gate", f"{weights:,}", f"{gflops:.2g}", "arXiv:1709.01507", "2018"]


@pytest.mark.parametrize("name", ["SE", "Residual", "iAFF", "TimmAttn"])
def test_info(name: str) -> None:
    """The row that `info` shows would not build, or the arguments, the paper or the difference to it be missing."""
    text, spec = catalogue.about(name), yolo_attn.get(name)
    assert all(p in text for p in spec.parameters)
    assert spec.paper in text and "Differs:" in text and str(spec.year) in text
    assert f"[{spec.row[0]}, 1, {name}, [" in text


def test_info_on_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Who asks for a module under another name would not be told what to write."""
    monkeypatch.setattr(sys, "argv", ["yolo-attn", "info", "SE", "GCT"])
    cli.main()
    assert capsys.readouterr().out == catalogue.about("SE") + "\n" + catalogue.about("GCT")
    monkeypatch.setattr(sys, "argv", ["yolo-attn", "info", "SEAttention"])
    with pytest.raises(SystemExit, match=r"^yolo-attn info: there is no module named 'SEAttention'. Write SE\.$"):
        cli.main()


def test_a_module_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Own modules, which declare no paper, year or kind and may need arguments, would stop the list."""
    ours = {name: yolo_attn.get(name) for name in ("SE", "iAFF")}  # the tests register others, for other purposes
    monkeypatch.setattr(yolo_attn.registry, "_specs", ours)

    class MyGate(nn.Identity):
        """A gate."""

        def __init__(self, dim: int) -> None:
            super().__init__()

    class Needy(MyGate):
        """A gate."""

        def __init__(self, dim: int, width: int) -> None:
            super().__init__(dim)

    yolo_attn.register(MyGate)
    yolo_attn.register(Needy)
    assert "MyGate" in catalogue.table() and "[-1, 1, MyGate, []]" in catalogue.about("MyGate")
    assert "Needy" in catalogue.table() and "GFLOPs" not in catalogue.about("Needy")
