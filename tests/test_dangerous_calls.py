"""What can run code that came with data: each use in the package is declared here, with its reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
BUILTINS = {"eval", "exec", "compile", "__import__"}
MODULES = {
    "asyncio.subprocess", "builtins", "cloudpickle", "code", "ctypes", "dill", "imp", "importlib", "joblib", "marshal",
    "multiprocessing", "pickle", "pty", "ray", "requests", "runpy", "shelve", "socket", "subprocess", "urllib",
}  # fmt: skip
CALLS = re.compile(
    r"^(?!json\.).*(^|\.)(load|loads|Unpickler|load_state_dict_from_url|load_url|unsafe_load|full_load|load_all|import_module)$"
    r"|^os\.(system|popen|exec\w*|spawn\w*|posix_spawn\w*|startfile|fork\w*)$|^(types|ast)\.\w*(Function|Code)Type$"
)
HARMLESS = {("typ", "'safe'"), ("typ", "'rt'")}  # loaders of ruamel.yaml
DECLARED = {
    ("patches/parser.py", "exec"): "the host's own parse_model, with one branch more",
    ("patches/parser.py", "compile"): "the same",
    ("yolo_attn/__init__.py", "importlib"): "parts of this package, by names that stand in a table",
    ("yolo_attn/__init__.py", "importlib.import_module"): "the same",
    ("yolo_attn/registry.py", "importlib"): "the file of a user's own module that a row names in full",
    ("yolo_attn/registry.py", "importlib.import_module"): "the same; never under restricted loading",
    ("yolo_attn/comparison/local.py", "subprocess"): "a worker for each run of a comparison: this Python, this package",
    ("yolo_attn/comparison/on_ray.py", "ray"): "runs spread over the user's own cluster",
    ("yolo_attn/comparison/on_ray.py", "socket"): "whether anything answers at the cluster's address",
    ("yolo_attn/comparison/summary.py", "np.load"): "arrays of a comparison; without allow_pickle it unpickles nothing",
    ("yolo_attn/comparison/render.py", "Comparison.load"): "tables of a comparison, as text",
    ("yolo_attn/comparison/plan.py", "model.load"): "the host's transfer of weights from a model in memory",
    ("patches/weights.py", "model.load"): "the same",
    ("patches/host.py", "importlib"): "versions of installed packages",
    ("yolo_attn/inspection/building.py", "model.load"): "the host's transfer of weights from a model in memory",
    ("yolo_attn/inspection/exporting.py", "importlib.util"): "whether onnx is installed",
    ("yolo_attn/inspection/versions.py", "subprocess"): "a fresh Python that says whether it knows the plugin",
    ("yolo_attn/comparison/__init__.py", "subprocess"): "how Windows quotes a command that is shown",
    ("yolo_attn/benchmarks/startup.py", "subprocess"): "fresh Pythons that import this package, to be timed",
    ("patches/foreign.py", "torch.load"): "a stranger's checkpoint, with weights_only and a stand-in for all it names",
    ("yolo_attn/cli/arguments.py", ".load"): "ruamel.yaml with typ='safe'",
}


def dotted(node: ast.expr) -> str:
    """The name that is called: exec, torch.load, or .load of something that has no name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def uses(source: str) -> Iterator[str]:
    """Whatever in a file can run code, by name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in MODULES or a.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f for f in (node.module,) if f in MODULES or f.partition(".")[0] in MODULES)
            yield from (f"{node.module}.{a.name}" for a in node.names if CALLS.search(f"{node.module}.{a.name}"))
        elif isinstance(node, ast.Name) and node.id in BUILTINS:
            yield node.id
        elif isinstance(node, ast.Attribute) and CALLS.search(name := dotted(node)):
            yield name
        elif isinstance(node, ast.keyword) and (node.arg, ast.unparse(node.value)) not in HARMLESS:
            yield from (f"{name}=" for name in ("shell", "allow_pickle", "typ") if name == node.arg)


def test_every_use_is_declared() -> None:
    """Data from strangers could be evaluated, unpickled or run as a command, and nobody would have looked at where."""
    files = [path for part in ("yolo_attn", "patches", "cfg") for path in (ROOT / part).rglob("*.py")]
    assert len(files) > 60
    found = {(p.relative_to(ROOT).as_posix(), use) for p in files for use in uses(p.read_text(encoding="utf-8"))}
    assert found == set(DECLARED)


def test_checkpoints_are_read_as_data() -> None:
    """A checkpoint from a stranger could run what it names."""
    files = [path for part in ("yolo_attn", "patches", "cfg") for path in (ROOT / part).rglob("*.py")]
    calls = [n for p in files for n in ast.walk(ast.parse(p.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    loads = [call for call in calls if dotted(call.func) == "torch.load"]
    assert loads
    assert all(("weights_only", "True") in [(k.arg, ast.unparse(k.value)) for k in call.keywords] for call in loads)


def test_uses_are_seen() -> None:
    """The search would overlook a way to write what it looks for."""
    for source, use in {
        "eval(text)": "eval",
        "run = exec": "exec",
        "import pickle": "pickle",
        "from pickle import loads as f": "pickle",
        "import os.path, subprocess as s": "subprocess",
        "def f():\n    from torch import load": "torch.load",
        "torch.load(path)": "torch.load",
        "os.system(command)": "os.system",
        "import os\nos.execv(a, b)": "os.execv",
        "YAML(typ='unsafe')": "typ=",
        "yaml.unsafe_load(text)": "yaml.unsafe_load",
        "np.load(path, allow_pickle=True)": "allow_pickle=",
        "importlib.import_module(name)": "importlib.import_module",
    }.items():
        assert use in set(uses(source)), source
    assert not set(uses("json.loads(text); re.compile(text); model.eval(); YAML(typ='rt')"))


def test_what_the_host_runs_of_shipped_files() -> None:
    """Ultralytics runs `download` of a data set and evaluates `activation` of a model: a file of ours could do more
    there than draw its images."""
    runs = {}
    for path in (ROOT / "cfg").rglob("*.yaml"):
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        runs |= {f"{path.name}: {key}": read[key] for key in ("download", "activation", "act") if key in read}
    line = 'from yolo_attn.data import draw_shapes; draw_shapes(yaml["path"])\n'
    assert runs == {"shapes.yaml: download": line}
