"""An Ultralytics that has changed where the plugin reaches in: it works all the same, or says what it misses, and stock
models never notice."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import ultralytics

TREE = Path(ultralytics.__file__).parent
REPORT = """
import hashlib, json, torch, ultralytics
from ultralytics.nn.tasks import DetectionModel

def digest(name):
    torch.manual_seed(0)
    state = DetectionModel(name, verbose=False).state_dict()
    return [len(state), hashlib.sha256(b"".join(v.numpy().tobytes() for v in state.values())).hexdigest()]

def tried(what, *args):
    try:
        return what(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

found = {"file": ultralytics.__file__, "first": tried(digest, "yolov8n-se.yaml")}
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionPredictor, DetectionTrainer
YOLO("yolov8n.yaml")
found |= {"stock": digest("yolov8n.yaml"), "ours": tried(digest, "yolov8n-se.yaml")}
found["import"] = tried(lambda: __import__("yolo_attn").__version__)
print(json.dumps(found))
"""


def chain_of(tree: ast.Module) -> tuple[ast.FunctionDef, ast.For, int]:
    """parse_model, its loop over the rows, and where in that the channel chain is."""
    function = next(x for x in tree.body if isinstance(x, ast.FunctionDef) and x.name == "parse_model")
    loop = next(x for x in function.body if isinstance(x, ast.For))
    at = next(i for i, x in enumerate(loop.body) if isinstance(x, ast.If) and "c2" in ast.unparse(x) and x.orelse)
    return function, loop, at


def renamed(old: str, new: str) -> Callable[[ast.Module], None]:
    """Another name for a variable of parse_model."""

    def change(tree: ast.Module) -> None:
        for node in ast.walk(chain_of(tree)[0]):
            if isinstance(node, ast.Name) and node.id == old:
                node.id = new

    return change


def other_ch(tree: ast.Module) -> None:
    """The list of channels gets a name of its own, which its argument doesn't have."""
    function, _, _ = chain_of(tree)
    for node in (n for statement in function.body for n in ast.walk(statement)):
        if isinstance(node, ast.Name) and node.id == "ch":
            node.id = "widths"
    function.body.insert(1, ast.parse("widths = ch").body[0])


def in_a_helper(tree: ast.Module) -> None:
    """The channel chain is a function of its own."""
    function, loop, at = chain_of(tree)
    helper = ast.parse("def channels():\n    nonlocal args, c2, n, legacy\n    pass").body[0]
    helper.body[1:], loop.body[at] = [loop.body[at]], ast.parse("channels()").body[0]
    function.body.insert(function.body.index(loop), helper)


def as_match(tree: ast.Module) -> None:
    """The channel chain is a match statement."""
    _, loop, at = chain_of(tree)
    cases, rest = [], [loop.body[at]]
    while len(rest) == 1 and isinstance(rest[0], ast.If):
        cases.append(ast.match_case(ast.MatchAs(), rest[0].test, rest[0].body))
        rest = rest[0].orelse
    loop.body[at] = ast.Match(ast.Name("m", ast.Load()), [*cases, ast.match_case(ast.MatchAs(), None, rest)])


def over(rows: str, before: str = "") -> Callable[[ast.Module], None]:
    """Another way to write the rows that the loop goes through."""

    def change(tree: ast.Module) -> None:
        function, loop, _ = chain_of(tree)
        loop.iter = ast.parse(f"enumerate({rows})", mode="eval").body
        at = function.body.index(loop)
        function.body[at:at] = ast.parse(before).body

    return change


def other_default(tree: ast.Module) -> None:
    """Another last branch of the channel chain."""
    _, loop, at = chain_of(tree)
    last = loop.body[at]
    while isinstance(last.orelse[0], ast.If):
        last = last.orelse[0]
    last.orelse = ast.parse("c2 = ch[f] if isinstance(f, int) else ch[f[0]]").body


def in_tasks(change: Callable[[ast.Module], None]) -> Callable[[Path], None]:
    """A change of nn/tasks.py."""

    def apply(folder: Path) -> None:
        file = folder / "nn" / "tasks.py"
        tree = ast.parse(file.read_text(encoding="utf-8"))
        before = ast.unparse(tree)
        change(tree)
        after = ast.unparse(ast.fix_missing_locations(tree))
        assert after != before
        file.write_text(after, encoding="utf-8")

    return apply


def in_all_files(*changes: tuple[str, str]) -> Callable[[Path], None]:
    """Texts replaced wherever they occur."""

    def apply(folder: Path) -> None:
        missing = {old for old, _ in changes}
        for file in folder.rglob("*.py"):
            before = text = file.read_text(encoding="utf-8")
            for old, new in changes:
                missing -= {old} if re.search(old, text) else set()
                text = re.sub(old, new, text)
            if text != before:
                file.write_text(text, encoding="utf-8")
        assert not missing

    return apply


def word(name: str) -> Callable[[Path], None]:
    """Another name for a function, wherever it is called."""
    return in_all_files((rf"\b{name}\b", f"new_{name}"))


LOADS = r"(?<=model)\.load\(weights\)"
IMPORTED = "__import__('ultralytics.utils.checks').utils.checks.check_yaml("


NO_BRANCH = "yolo_attn cannot extend ultralytics.nn.tasks.parse_model of ultralytics {version}: "
INACTIVE = "yolo_attn is installed but inactive: RuntimeError: yolo_attn cannot extend ultralytics {version}: "
MUTATIONS: dict[str, tuple[Callable[[Path], None], str]] = {  # and what is said, "" where all works
    "ch renamed": (in_tasks(other_ch), f"{NO_BRANCH}the channel chain no longer uses ['ch']"),
    "width renamed": (in_tasks(renamed("width", "gain")), f"{NO_BRANCH}the channel chain no longer uses ['width']"),
    "i renamed": (in_tasks(renamed("i", "number")), ""),
    "chain in a helper": (in_tasks(in_a_helper), f"{NO_BRANCH}found 0 channel chains"),
    "chain as match": (in_tasks(as_match), f"{NO_BRANCH}found 0 channel chains"),
    "rows made first": (in_tasks(over("rows", "rows = d['backbone'] + d['head']")), ""),
    "rows chained": (in_tasks(over("itertools.chain(d['backbone'], d['head'])", "import itertools")), ""),
    "other default": (in_tasks(other_default), ""),
    "parse_model renamed": (word("parse_model"), f"{INACTIVE}ultralytics.nn.tasks has no parse_model"),
    "yaml_model_load renamed": (word("yaml_model_load"), f"{INACTIVE}ultralytics.nn.tasks has no yaml_model_load"),
    "torch_safe_load renamed": (word("torch_safe_load"), f"{INACTIVE}ultralytics.nn.tasks has no torch_safe_load"),
    "load renamed": (
        in_all_files((r"def load\(self, weights, verb", "def take(self, weights, verb"), (LOADS, ".take(weights)")),
        f"{INACTIVE}BaseModel has no load",
    ),
    "check_file renamed": (word("check_file"), f"{INACTIVE}ultralytics.utils.checks has no check_file"),
    "check_yaml gone from tasks": (
        in_all_files((r", check_yaml\n", "\n"), (r"\bcheck_yaml\((?=\w*path)", IMPORTED)),
        "",
    ),
    "generate_ddp_file gone": (word("generate_ddp_file"), f"{INACTIVE}ultralytics.utils.dist has no generate_ddp_file"),
    "setup_model renamed": (word("setup_model"), f"{INACTIVE}BaseTrainer has no setup_model"),
    "build_optimizer renamed": (word("build_optimizer"), f"{INACTIVE}BaseTrainer has no build_optimizer"),
    "inference renamed": (word("inference"), f"{INACTIVE}BasePredictor has no inference"),
}


def reported(folder: Path) -> tuple[dict, str]:
    """What a new process finds, with the packages of a folder in front, and what it writes to stderr."""
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", REPORT]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory) -> dict:
    """What is found with Ultralytics as it is."""
    found, stderr = reported(tmp_path_factory.mktemp("unchanged"))
    assert found["first"] == found["ours"] != found["stock"] and len(found["ours"]) == 2 and "yolo_attn" not in stderr
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_mutated(name: str, unchanged: dict, tmp_path: Path) -> None:
    """A changed Ultralytics would build wrong models, stop stock models and training, or leave a user with KeyError."""
    shutil.copytree(TREE, tmp_path / "ultralytics", ignore=shutil.ignore_patterns("__pycache__"))
    change, said = MUTATIONS[name]
    change(tmp_path / "ultralytics")
    found, stderr = reported(tmp_path)
    assert found["file"].startswith(str(tmp_path)) and found["stock"] == unchanged["stock"]
    said = said.replace("{version}", ultralytics.__version__)
    if not said:
        assert found | {"file": ""} == unchanged | {"file": ""} and "yolo_attn" not in stderr
    elif "inactive" in said:
        assert stderr.count("yolo_attn is installed but inactive") == 1 and f"WARNING {said}. Models without" in stderr
        assert re.fullmatch(r"FileNotFoundError: 'yolov8n?-se.yaml' does not exist", found["ours"])
    else:
        assert found["first"] == found["ours"] and found["ours"].startswith(f"RuntimeError: {said}. Models without")
        assert "yolo_attn" not in stderr and found["import"] == unchanged["import"]
