"""Which part of the package may import which."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [*sorted((ROOT / "yolo_attn").rglob("*.py")), *sorted((ROOT / "patches").rglob("*.py"))]
KNOWS_ULTRALYTICS = (
    "patches/",
    "yolo_attn/benchmarks/",
    "yolo_attn/comparison/",
    "yolo_attn/visualization/",
    "yolo_attn/cli/",
    "yolo_attn/log.py",
    "yolo_attn/measure.py",
)
STANDARD_ONLY = ("yolo_attn/registry.py", "yolo_attn/rows.py", "patches/autoload/")
ALLOWED = {
    "yolo_attn/modules/": {"torch", "torchvision", "einops"},
    "yolo_attn/modules/timm_attn.py": {"torch", "timm"},
    "yolo_attn/data.py": {"cv2", "numpy"},
    "yolo_attn/comparison/stats.py": {"numpy", "scipy"},
    "yolo_attn/__init__.py": set(),
}  # third-party packages, where fewer are allowed than pyproject.toml names


def imported(path: Path) -> set[str]:
    """Absolute imports of a file, by top-level package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module and not n.level}
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports(path: Path) -> None:
    """Knowledge of Ultralytics' internals, or a heavy import, would leak to where it does not belong."""
    import sys

    name = path.relative_to(ROOT).as_posix()
    third = imported(path) - set(sys.stdlib_module_names) - {"yolo_attn"}
    if not name.startswith(KNOWS_ULTRALYTICS):
        assert "ultralytics" not in third
    if name.startswith(STANDARD_ONLY):
        assert third == set()
    allowed = [packages for part, packages in ALLOWED.items() if name.startswith(part)]
    assert not allowed or third <= allowed[-1]
    assert "timm" not in third or name == "yolo_attn/modules/timm_attn.py"


def test_importing_the_plugin_imports_no_timm(run) -> None:
    """Every start of Ultralytics would take a second longer."""
    done = run(
        "python", "-c", "import yolo_attn, sys; print([m for m in sys.modules if m.partition('.')[0] == 'timm'])"
    )
    assert done.stdout.strip().endswith("[]")
