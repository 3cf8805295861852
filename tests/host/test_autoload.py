"""The plugin is there without an import by the user, costs nothing elsewhere, and breaks nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

BUILD = (
    "from ultralytics.nn.tasks import DetectionModel; DetectionModel('yolov8n-se.yaml', verbose=False); print('built')"
)
VANILLA = (
    "import hashlib, torch; from ultralytics.nn.tasks import DetectionModel; torch.manual_seed(0); "
    "m = DetectionModel('yolov8n.yaml', verbose=False); "
    "print(sum(p.numel() for p in m.parameters()), torch.rand(1).item(), "
    "hashlib.sha256(b''.join(v.numpy().tobytes() for v in m.state_dict().values())).hexdigest())"
)


def test_no_import_by_the_user(run) -> None:
    """`yolo train model=yolov8n-dattn.yaml` would stop with KeyError."""
    assert "built" in run("python", "-c", BUILD).stdout
    assert "built" in run("python", "-I", "-c", BUILD).stdout


def test_spawned_and_distributed_workers(run, tmp_path: Path) -> None:
    """Workers would not know the modules of the model that they are given."""
    (tmp_path / "spawned.py").write_text(
        "import multiprocessing, sys\n"
        "def work(_):\n    import ultralytics.nn.tasks as t\n    return t.DAttention.__name__\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n        print(pool.map(work, range(2)))\n"
    )
    assert "['DAttention', 'DAttention']" in run("python", "spawned.py").stdout
    (tmp_path / "worker.py").write_text(BUILD)
    done = run("python", "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "worker.py")
    assert done.stdout.count("built") == 2


def test_a_process_without_ultralytics_imports_nothing(run) -> None:
    """Every Python start would pay for the plugin."""
    done = run(
        "python", "-X", "importtime", "-c", "import sys; print([m for m in sys.modules if 'yolo' in m or 'torch' in m])"
    )
    assert done.stdout.strip() == "['_yolo_attn_autoload']"
    us = [
        x.removeprefix("import time:").split("|") for x in done.stderr.splitlines() if x.endswith("_yolo_attn_autoload")
    ]
    assert len(us) == 1 and us[0][0].strip() == us[0][1].strip()  # its own time is all of it: it imports nothing more


def test_turned_off(run) -> None:
    """YOLO_ATTN_AUTOLOAD=0 would not turn it off."""
    code = "import ultralytics.nn.tasks as t, sys; print(hasattr(t, 'DAttention'), 'yolo_attn' in sys.modules)"
    assert run("python", "-c", code).stdout.split()[-2:] == ["True", "True"]
    assert run("python", "-c", code, YOLO_ATTN_AUTOLOAD="0").stdout.split()[-2:] == ["False", "False"]
    assert "built" in run("python", "-c", f"import yolo_attn; {BUILD}", YOLO_ATTN_AUTOLOAD="0").stdout


def test_vanilla_models_are_the_same(run) -> None:
    """A stock model would have other parameters, seeded weights or random numbers than without the plugin."""
    on, off = run("python", "-c", VANILLA).stdout, run("python", "-c", VANILLA, YOLO_ATTN_AUTOLOAD="0").stdout
    assert on.splitlines()[-1] == off.splitlines()[-1]
    assert on.splitlines()[-1].startswith("3157200 ")


def test_a_broken_plugin_warns(run, tmp_path: Path) -> None:
    """Stock models would stop working because of the plugin."""
    (tmp_path / "yolo_attn.py").write_text("raise ImportError('half an installation')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run("python", "-c", VANILLA, PYTHONPATH=path)
    assert "WARNING yolo_attn is installed but inactive: ImportError: half an installation" in done.stderr
    assert "3157200 " in done.stdout


@pytest.mark.parametrize("first", [
    "import yolo_attn.modules", "from yolo_attn import names", "from ultralytics.nn.modules import Conv",
    "import ultralytics.nn", "import ultralytics.data.utils", "from ultralytics.engine.trainer import BaseTrainer",
    "import ultralytics.utils.dist", "import ultralytics.cfg", "import ultralytics.models.yolo.detect",
])  # fmt: skip
def test_any_order_of_imports(run, first: str) -> None:
    """Two sets of classes, or a half-initialised package, would depend on what is imported first."""
    code = "; import ultralytics.nn.tasks as t, yolo_attn.modules as m; assert t.SE is m.SE; "
    done = run("python", "-c", first + code + BUILD)
    assert "built" in done.stdout and "inactive" not in done.stderr


def test_late_import_in_a_notebook(run) -> None:
    """A kernel where Ultralytics is loaded and a model is built could not use the plugin without a restart."""
    code = (
        "from ultralytics import YOLO; first = YOLO('yolov8n.yaml'); import yolo_attn; "
        "second = YOLO('yolov8n-dattn-plain.yaml'); print(type(second.model.model[10]).__name__)"
    )
    assert run("python", "-c", code, YOLO_ATTN_AUTOLOAD="0").stdout.split()[-1] == "DAttention"


def test_folder_on_the_path_only(run, tmp_path: Path) -> None:
    """Where no start-up file is read (pip --target, a zipapp's neighbour), importing the plugin would not be enough."""
    import yolo_attn

    root = Path(yolo_attn.__file__).parents[1]
    target = tmp_path / "target"
    shutil.copytree(root / "yolo_attn", target / "yolo_attn", ignore=shutil.ignore_patterns("__pycache__"))
    for beside in ("cfg", "patches"):
        shutil.copytree(root / beside, target / "yolo_attn" / beside, ignore=shutil.ignore_patterns("__pycache__"))
    code = f"import sys; sys.path.insert(0, {str(target)!r}); import yolo_attn; print(yolo_attn.__file__); {BUILD}"
    done = run("python", "-c", code, YOLO_ATTN_AUTOLOAD="0")
    assert str(target) in done.stdout and "built" in done.stdout


def test_all_that_wait_for_one_module(run) -> None:
    """Of two seams in one file of Ultralytics that is imported late, only the last would be applied."""
    code = (
        "import yolo_attn; from ultralytics.engine.trainer import BaseTrainer as T; "
        "print(*(hasattr(f, '__wrapped__') for f in (T.setup_model, T.build_optimizer)))"
    )
    assert run("python", "-c", code, YOLO_ATTN_AUTOLOAD="0").stdout.split()[-2:] == ["True", "True"]
