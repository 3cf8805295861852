"""What README.md and the pages of docs/ say can be done."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import yolo_attn
from yolo_attn import cli

from . import forks, pages
from .conftest import HOME, ROOT, SHARED
from .pages import PAGES
from .tiny import NAMES

WEIGHTS = SHARED / "weights" / "yolov8n.pt"
BCCD = SHARED / "data" / "bccd"
TESTS = 'pip install -e ".[test]" && pytest'
INSTALL = "pip install -e . && "
ELSEWHERE = {  # commands in text that no test below runs, and why
    'pip install -e ".[ray]"': "the tests are installed with it",
    "pip uninstall yolo-attn": "tests/test_package.py does it",
    "pip install --target": "tests/host/test_autoload.py has such a folder",
    'pip install "ultralytics<=8.4.190"': "would change what the tests run with",
    "pytest -m slow": "the tests that are not these",
    "YOLO_ATTN_WRITE=1 pytest -m slow tests/test_versions.py": "takes an hour, and writes a page",
    "python -X importtime": "tests/host/test_autoload.py does it",
    "pytest tests/contract -k Gate": "the contract runs with all modules, and the package has no Gate",
    "yolo-attn bench device=cpu seconds=0.4 write=docs/bench.md": "test_benchmarks runs it, with small images",
    "yolo-attn bench device=0 dtype=bfloat16 write=docs/bench-gpu.md": "needs a GPU",
    "python -m tests.contract.exports": "measures for minutes, and writes the README's table",
    "python -m tests.contract.test_state": "writes a file of the tests",
    "yolo-attn report docs/bccd": "test_comparison does it with a copy",
}
HERE = "insert|replace|remove|list|info|preflight|bench|migrate|viz|graph"  # start no other process; fast in this one


def commands() -> list[str]:
    listed = pages.lines()
    assert TESTS in listed  # this very run
    listed = [line.removeprefix(INSTALL) for line in listed if line != TESTS]
    listed = [*dict.fromkeys(quick(line) for line in [*listed, *(x for x in pages.inline() if x not in ELSEWHERE)])]
    return [line for line in listed if not any(other.startswith(f"{line} && ") for other in listed)]


def quick(command: str) -> str:
    """The same with as little work as there can be."""
    command = re.sub(r"\bimgsz=\d+", "imgsz=64", re.sub(r"\b(seeds|epochs)=\d+", r"\1=1", command))
    command = re.sub(r"(models=yolov8n.yaml,yolov8n-dattn.yaml)\S*", r"\1", command)
    return re.sub(r"\bepochs=1", "epochs=1 fraction=0.1", command)


def checkpoint(path: Path) -> None:
    """A checkpoint of yolov8n-dattn.yaml."""
    from ultralytics import YOLO

    torch.manual_seed(0)
    torch.save({"model": YOLO("yolov8n-dattn.yaml").model, "train_args": {}}, path)


def own_row(path: Path) -> None:
    """A model with the row that docs/own-module.md shows."""
    row = re.search(r"`(\[-1, 1, my_gates.Gate.*?\])`", PAGES["docs/own-module.md"])[1]
    yolo_attn.insert("yolov8n.yaml", "SE", "sppf", mode="plain", out=path)
    text = path.read_text()
    assert "[-1, 1, SE, []]" in text
    path.write_text(text.replace("[-1, 1, SE, []]", row))


def fork_rows(path: Path) -> None:
    """A model of an edited copy, whose row begins with the number of channels."""
    yolo_attn.insert("yolov8n.yaml", "SE", "sppf", mode="plain", out=path)
    path.write_text(path.read_text().replace("SE, []", "SEAttention, [1024, 16]"))


def fork_checkpoint(path: Path) -> None:
    rows = [[-1, 1, "Conv", [64, 3, 2]], [-1, 1, "SEAttention", [16, 8]], [-1, 1, "Conv", [128, 3, 2]]]
    scales = {"n": [0.33, 0.25, 1024]}
    forks.save(
        {"nc": 3, "scale": "n", "scales": scales, "backbone": rows, "head": [[[0, 2], 1, "Detect", ["nc"]]]}, path
    )


def video(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 96))
    for shade in range(0, 250, 25):
        writer.write(np.full((96, 96, 3), shade, np.uint8))
    writer.release()


def files(page: str, folder: Path) -> None:
    """Write the blocks of a page that are files, as their first line says."""
    for block in pages.blocks(page, "python"):
        if named := re.match(r"# (\w+\.py)\n", block):
            (folder / named[1]).write_text(block)


GIVEN: dict[str, Callable[[Path], object]] = {  # files that a command takes, which a reader has or has just made
    "my.yaml": own_row,
    "best.pt": checkpoint,
    "image.jpg": lambda path: cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (480, 640, 3))),
    "video.mp4": video,
    "old.yaml": fork_rows,
    "old.pt": fork_checkpoint,
    **{
        f"yolov8n-{name}.yaml": lambda path: yolo_attn.insert("yolov8n.yaml", "DAttention", "sppf", out=path)
        for name in ("mine", "small")
    },
}


def prepare(command: str, folder: Path) -> None:
    """Put what a command needs into a folder."""
    made = re.search(r"\bout=(\S+)", command)
    for name, make in GIVEN.items():
        if re.search(rf"[=, ]{re.escape(name)}(\s|,|$)", command) and not (made and made[1] == name):
            make(folder / name)
    if command.startswith("PYTHONPATH=. "):
        files("docs/own-module.md", folder)
    if "yolov8n.pt" in command:
        if not WEIGHTS.exists():
            pytest.skip("needs the checkpoint of the shared folder, which Ultralytics would download")
        shutil.copy(WEIGHTS, folder)
    if "bccd" in command:
        if not BCCD.exists():
            pytest.skip("needs the blood cells of the shared folder")
        shutil.copytree(BCCD, folder / "bccd")  # Ultralytics writes caches beside the labels


@pytest.mark.parametrize("command", commands())
def test_command(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of README.md or a page would not work."""
    prepare(command, tmp_path)
    if re.match(f"yolo-attn ({HERE}) ?", command) and "&&" not in command:
        monkeypatch.setattr("ultralytics.cfg.entrypoint", lambda: pytest.fail("this is no command of ours"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        try:
            cli.main()
        except SystemExit as end:
            assert not end.code
        return
    if command.startswith("PYTHONPATH=. ") and os.name == "nt":
        pytest.skip("the shell of Windows sets variables in another way")
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    cwd = ROOT if "cfg/" in command else tmp_path
    done = subprocess.run(command, shell=True, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if command.startswith("yolo train") and "pretrained=" in command:
        line = re.search(r"^Transferred 355/355 tensors from yolov8n.pt; (.*)$", PAGES["README.md"], re.MULTILINE)
        assert line[1] in done.stdout


@pytest.mark.slow
def test_benchmarks(tmp_path: Path) -> None:
    """docs/bench.md could not be written anew by the command that it names."""
    command = re.match(r"# Benchmarks\n\n`(.*)`", PAGES["docs/bench.md"])[1]
    (tmp_path / "docs").mkdir()
    words = [word for word in shlex.split(command)[1:] if not word.startswith("seconds=")]
    argv = [sys.executable, "-m", "yolo_attn", *words, "imgsz=64", "seconds=0.01"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "docs" / "bench.md").read_text(encoding="utf-8")
    for measured in (*NAMES, "yolov8n-dattn.yaml", "`from ultralytics import YOLO` takes"):
        assert measured in written


def test_nothing_is_left_out() -> None:
    """A command that no test runs would be excused that isn't there."""
    assert set(ELSEWHERE) <= set(pages.inline())


@pytest.mark.parametrize("page", [page for page in PAGES if pages.blocks(page, "python")])
def test_python(page: str, tmp_path: Path) -> None:
    """The lines of Python of a page would not run, one block after the other."""
    files(page, tmp_path)
    code = [block for block in pages.blocks(page, "python") if not re.match(r"# \w+\.py\n", block)]
    (tmp_path / "use.py").write_text("\n".join(code))
    done = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_looks_in_the_file_of_a_module(tmp_path: Path) -> None:
    """`yolo-attn viz` imports a module's file alone: what the page says to put there would not be found, or run."""
    (gates,) = [block for block in pages.blocks("docs/own-module.md", "python") if block.startswith("# my_gates.py")]
    looks = pages.blocks("docs/own-module.md", "python")[-1]
    first = "from my_gates import Gate\n"
    assert looks.startswith(first)
    (tmp_path / "my_gates.py").write_text(gates + looks.removeprefix(first))
    code = "import torch, my_gates; from yolo_attn.visualization.looks import shows; print(shows(my_gates.Gate(8)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.endswith("True\n"), done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if pages.blocks(page, "yaml")])
def test_rows(page: str) -> None:
    """A row would not build."""
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import YAML

    rows = [line for block in pages.blocks(page, "yaml") for line in block.strip().splitlines()]
    assert rows and all(line.startswith("- [") for line in rows)
    head = "".join(f"  {line}\n" for line in rows).replace("[-1, 6]", "[-1, -2]")
    path = HOME / "readme.yaml"
    path.write_text(
        f"nc: 1\nbackbone:\n  - [-1, 1, Conv, [64, 3, 2]]\nhead:\n{head}  - [[{len(rows)}], 1, Detect, [nc]]\n"
    )
    DetectionModel(YAML.load(path) if hasattr(YAML, "load") else str(path), verbose=False)


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    """A link or a picture would lead nowhere."""
    for link in pages.links(page):
        path, _, anchor = link.partition("#")
        file = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert file.exists(), link
        if anchor:
            assert anchor in pages.anchors(file.relative_to(ROOT).as_posix()), link


def test_every_page_is_found() -> None:
    """A page would be there that nobody gets to."""
    assert {link.partition("#")[0] for link in pages.links("README.md")} >= {*PAGES} - {"README.md"}


def test_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module or model would be missing from the pages, be described as it once was, or a table be edited by hand."""
    ours = {name: yolo_attn.get(name) for name in NAMES}  # other tests register modules too
    monkeypatch.setattr(yolo_attn.registry, "_specs", ours)
    make = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    for page in make["PARTS"]:
        assert make["generated"](page) == PAGES[page], f"{page}: run `python docs/generate.py`"


def test_comparison(tmp_path: Path) -> None:
    """The comparison would not be what its results say, or README.md judge it otherwise."""
    shutil.copytree(ROOT / "docs" / "bccd", tmp_path / "bccd")
    (tmp_path / "bccd" / "summary.md").unlink()
    yolo_attn.report(tmp_path / "bccd")
    said = (tmp_path / "bccd" / "summary.md").read_text(encoding="utf-8")
    assert said == (ROOT / "docs" / "bccd" / "summary.md").read_text(encoding="utf-8")
    assert re.search("^`(.*)`$", said, re.MULTILINE)[1] in pages.lines()
    verdicts = dict(re.findall(r"^- yolov8n-(\S+): .*: (.*)\.$", said, re.MULTILINE))
    assert sum(verdict == "no difference is shown" for verdict in verdicts.values()) == 5
    assert {name for name, verdict in verdicts.items() if verdict == "worse"} == {"iaff", "msda"}


def test_citation() -> None:
    """The version that is to be cited would be another than the one in use."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {yolo_attn.__version__}\n" in text


def test_patches() -> None:
    """docs/inside.md would leave out a seam, or name one that is gone."""
    listed = set(re.findall(r"^\| `([\w./]+)` \|", PAGES["docs/inside.md"], re.MULTILINE))
    there = {p.name + "/" * p.is_dir() for p in (ROOT / "patches").iterdir() if p.name != "__pycache__"}
    assert listed == there


def test_ci_runs_the_readme() -> None:
    """CI would test something else than the README promises."""
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
