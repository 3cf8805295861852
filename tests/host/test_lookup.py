"""Packaged YAMLs by bare name; the user's own files first."""

from __future__ import annotations

from pathlib import Path

import pytest
from ultralytics.data.utils import check_file
from ultralytics.nn.tasks import DetectionModel, yaml_model_load
from yolo_attn.patches.lookup import CFG, unscaled

MODELS = sorted(p.name for p in CFG.glob("*.yaml"))
TINY = "nc: 1\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\nhead:\n  - [[0], 1, Detect, [nc]]\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", MODELS)
def test_packaged_models_build_by_bare_name(name: str) -> None:
    """A shipped YAML would not be found from another directory, or not build at a scale."""
    for scale in "nx":
        scaled = name.replace("yolov8", f"yolov8{scale}")
        assert yaml_model_load(scaled)["scale"] == scale
        assert yaml_model_load(f"cfg/{scaled}")["yaml_file"] == str(Path(f"cfg/{scaled}"))
    model = DetectionModel(name.replace("yolov8", "yolov8n"), nc=2, verbose=False)
    assert [m.type.split(".")[0] for m in model.model].count("yolo_attn") > 0


def test_names_of_models_have_no_other_scale_letter() -> None:
    """Upstream would take a digit followed by n, s, m, l or x in a name for the scale."""
    for name in MODELS:
        assert unscaled(name) == name
        assert unscaled(name.replace("yolov8", "yolov8x")) == name


def test_a_local_file_wins(elsewhere: Path) -> None:
    """A user's edited copy would be ignored."""
    (elsewhere / "yolov8-se.yaml").write_text(TINY)
    assert yaml_model_load("yolov8n-se.yaml")["nc"] == 1
    (elsewhere / "yolov8n-gct.yaml").write_text(TINY)
    assert yaml_model_load("yolov8n-gct.yaml")["nc"] == 1


def test_folders_whose_names_look_like_a_scale(elsewhere: Path) -> None:
    """Upstream would look for /x2/... in the place of /x2n/..."""
    folder = elsewhere / "x2n"
    folder.mkdir()
    (folder / "yolov8-mine.yaml").write_text(TINY)
    assert yaml_model_load(str(folder / "yolov8n-mine.yaml"))["scale"] == "n"


def test_no_packaged_file_for_other_folders(elsewhere: Path) -> None:
    """A typo in a path would silently give the packaged file."""
    outside = f"cfg/../{CFG.parent.name}/pyproject.toml".replace(".toml", ".yaml")
    for wrong in ("other/yolov8n-se.yaml", str(elsewhere / "yolov8n-se.yaml"), "cfg/../../se.yaml", outside):
        with pytest.raises(FileNotFoundError):
            yaml_model_load(wrong)
    with pytest.raises(FileNotFoundError, match=r"does not exist. Did you mean yolov8-dattn.yaml"):
        yaml_model_load("yolov8n-datn.yaml")


@pytest.mark.parametrize(
    "content", ["- a\n- b\n", "just text\n", "", "nc: 1\n", "backbone: []\nhead: []\n", "backbone: 1\nhead: 2\n"]
)
def test_a_yaml_that_is_no_model(elsewhere: Path, content: str) -> None:
    """A user would read TypeError: list indices must be integers."""
    (elsewhere / "broken.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"broken.yaml.*mapping"):
        DetectionModel("broken.yaml", verbose=False)


def test_the_data_set_by_name() -> None:
    """data=shapes.yaml would not be found; model and dataset names are looked up at two places."""
    assert Path(check_file("shapes.yaml")) == CFG / "datasets" / "shapes.yaml"
    assert check_file("coco8.yaml").endswith("coco8.yaml")
    with pytest.raises(FileNotFoundError):
        check_file("shapess.yaml")


@pytest.mark.parametrize("row, message", [
    ("&x [*x]", "row 0: a row "), ("[-1, Conv, [64]]", r"row 0: a row must be \[from, repeats, module, arguments\]"),
])  # fmt: skip
def test_what_is_no_row(row: str, message: str, tmp_path) -> None:
    """Upstream would index into it, and say that a list index is out of range."""
    from ultralytics import YOLO

    (tmp_path / "mine.yaml").write_text(f"nc: 1\nbackbone: [{row}]\nhead: [[-1, 1, Detect, [nc]]]\n")
    with pytest.raises(ValueError, match=f"mine.yaml, {message}"):
        YOLO(tmp_path / "mine.yaml")
