"""Moving from edited forks: rows of YAMLs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from yolo_attn.patches import host

from yolo_attn.migration import migrate, text

HEAD = """\
# a fork's model
nc: 3 # classes
scales:
  n: [0.33, 0.25, 1024] # nano
  s: [0.33, 0.50, 1024]
backbone:
  # [from, repeats, module, args]
  - [-1, 1, Conv, [64, 3, 2]] # 0-P1/2
  - [-1, 1, Conv, [256, 3, 2]] # 1-P2/4
"""
TAIL = """\
head:
  - [-1, 1, Conv, [128, 3, 2]]   # 3-P3
  - [[-1], 1, Detect, [nc]]
"""


def model(row: str) -> str:
    """A YAML with a row whose input is 256 wide, 64 at scale n."""
    return f"{HEAD}  - {row} # 2 the fork's own\n{TAIL}"


@pytest.fixture
def moved(tmp_path: Path):
    """Migrate a YAML with a row: the row that it becomes, and what was said."""

    def move(row: str) -> tuple[str, str]:
        old = tmp_path / "yolov8n-fork.yaml"
        old.write_text(model(row), encoding="utf-8")
        result = migrate(old)
        if result.out is None:
            return row, text(result)
        lines = result.out.read_text(encoding="utf-8").split("\n")
        assert old.read_text(encoding="utf-8").split("\n")[:9] == lines[:9]
        return lines[9].removeprefix("  - ").removesuffix(" # 2 the fork's own"), text(result)

    return move


ROWS = {  # as forks of objectdetection_script, ultralytics_pro and yoloair, and articles, write them
    "[-1, 1, SEAttention, [256]]": "[-1, 1, SE, []]",
    "[-1, 1, SEAttention, [16]]": "[-1, 1, SE, []]",
    "[-1, 1, SEAttention, []]": "[-1, 1, SE, []]",
    "[-1, 1, SEAttention, [256, 8]]": "[-1, 1, SE, [8]]",
    "[-1, 1, SELayer, [256, 8]]": "[-1, 1, SE, [8]]",
    "[-1, 1, SE, [256, 256]]": "[-1, 1, SE, []]",
    "[-1, 1, CBAM, [256]]": "[-1, 1, CBAM, []]",
    "[-1, 1, CBAM, [64]]": "[-1, 1, CBAM, []]",  # the width at scale n
    "[-1, 1, CBAM, [256, 7]]": "[-1, 1, CBAM, []]",
    "[-1, 1, CBAM, [256, 3]]": "[-1, 1, CBAM, [{kernel_size: 3}]]",
    "[-1, 1, CBAM, [7]]": "[-1, 1, CBAM, []]",
    "[-1, 1, CBAM, [3]]": "[-1, 1, CBAM, [{kernel_size: 3}]]",
    "[-1, 1, CBAMBlock, [256, 8, 3]]": "[-1, 1, CBAM, [8, 3]]",
    "[-1, 1, ECAAttention, [256]]": "[-1, 1, ECA, []]",
    "[-1, 1, ECAAttention, [3]]": "[-1, 1, ECA, [3]]",
    "[-1, 1, ECA, [384]]": "[-1, 1, ECA, []]",  # a width, and no b
    "[-1, 1, ECA, [2, 1]]": "[-1, 1, ECA, [{b: 2, gamma: 1}]]",
    "[-1, 1, MHSA, [14, 14, 4]]": "[-1, 1, MHSA, [4]]",
    "[-1, 1, MHSA, [256, 20, 20, 4]]": "[-1, 1, MHSA, [4]]",
    "[-1, 1, MHSA, [256, 4]]": "[-1, 1, MHSA, [4]]",
    "[-1, 1, CoordAtt, [128, 64]]": "[-1, 1, CoordAtt, []]",
    "[-1, 1, EMA, [256]]": "[-1, 1, EMA, []]",
    "[-1, 1, EMA_attention, [256, 8]]": "[-1, 1, EMA, [8]]",
    "[-1, 1, CoordAtt, [256, 256]]": "[-1, 1, CoordAtt, []]",
    "[-1, 1, CoordAtt, [256, 256, 16]]": "[-1, 1, CoordAtt, [16]]",
    "[-1, 1, CA, [256, 16]]": "[-1, 1, CoordAtt, [16]]",
    "[-1, 1, GAM_Attention, [256, 256]]": "[-1, 1, GAM, []]",
    "[-1, 1, GAM_Attention, [256, True, 8]]": "[-1, 1, GAM, [8]]",
    "[-1, 1, SimAM, [256]]": "[-1, 1, SimAM, []]",
    "[-1, 1, SimAM, [256, 1e-3]]": "[-1, 1, SimAM, [0.001]]",
    "[-1, 1, TripletAttention, [256]]": "[-1, 1, TripletAttention, []]",
    "[-1, 1, TripletAttention, [True]]": "[-1, 1, TripletAttention, [{no_spatial: true}]]",
    "[-1, 1, ShuffleAttention, [256, 16, 4]]": "[-1, 1, ShuffleAttention, [4]]",
    "[-1, 1, ShuffleAttention, [256]]": "[-1, 1, ShuffleAttention, [8]]",
    "[-1, 1, SKAttention, [256, [3, 5], 8, 4]]": "[-1, 1, SK, [{dilations: [1, 2], num_groups: 4, reduction: 8}]]",
    "[-1, 1, SKAttention, [256]]": "[-1, 1, SK, []]",
    "[-1, 1, MLCA, [256, 7]]": "[-1, 1, MLCA, [7]]",
    "[-1, 1, LSKblock, []]": "[-1, 1, LSK, []]",
    "[-1, 1, LSKA, [256, 11]]": "[-1, 1, LSKA, [11]]",
    "[-1, 1, LSKA, [256]]": "[-1, 1, LSKA, [7]]",
    "[-1, 1, CPCA, [256]]": "[-1, 1, CPCA, []]",
    "[-1, 1, ELA, [256, S]]": "[-1, 1, ELA, [5, {group_size: 8}]]",
    "[-1, 1, CAA, [256, 11, 9]]": "[-1, 1, CAA, [{v_kernel_size: 9}]]",
    "[-1, 1, BAMBlock, [256]]": "[-1, 1, BAM, []]",
    "[-1, 1, EffectiveSEModule, [256]]": "[-1, 1, ESE, []]",
    "[-1, 1, NAMAttention, [256]]": "[-1, 1, NAM, []]",
    "[-1, 1, BiLevelRoutingAttention, [256, 5, 4]]": "[-1, 1, BiLevelRouting, [4, 5, {side_dwconv: 3}]]",
    "[-1, 1, BiLevelRoutingAttention_nchw, []]": "[-1, 1, BiLevelRouting, [{side_dwconv: 3}]]",
    "[-1, 1, DAttention, [256, [20, 20]]]": "[-1, 1, DAttention, [{num_groups: 4, offset_range: 4}]]",
    "[-1, 1, DAttention, [256, [20, 20], 4]]": "[-1, 1, DAttention, [{num_heads: 4, num_groups: 4, offset_range: 4}]]",
    "[-1, 1, DAttention, [256, 20, 8, 4, 0, 0, 2, -1]]": "[-1, 1, DAttention, [{num_groups: 4, stride: 2}]]",
    "[-1, 1, DCNv2, [256, 3, 2]]": "[-1, 1, DeformConv, [256, 3, 2]]",
    "[-1, 3, C2f_DCN, [256, True]]": "[-1, 3, C2fDCN, [256, True]]",
    "[-1, 3, C2f_DCNv2, [256]]": "[-1, 3, C2fDCN, [256]]",
}


@pytest.mark.parametrize(("old", "new"), ROWS.items())
def test_rows_of_forks(old: str, new: str, moved) -> None:
    """A fork's channel count would be taken for a reduction, or a name not be found."""
    row, said = moved(old)
    assert yaml.safe_load(row) == yaml.safe_load(new)
    assert "changed" in said
    assert host.measure(host.scaled(yaml.safe_load(model(new))))[2].channels == 64


@pytest.mark.parametrize(
    "row",
    [
        "[-1, 1, C2f, [256, True]]",
        "[-1, 1, nn.Identity, []]",
        "[-1, 1, SE, [8]]",
        "[-1, 1, SE, [{reduction: 8}]]",
        "[-1, 1, yolo_attn.PSA, []]",
        "[-1, 1, Residual, [CBAM, 8]]",
        "[-1, 1, DAttention, [[20, 20]]]",
        "[-1, 1, ShuffleAttention, [8]]",
        "[-1, 1, DeformConv, [256, 3]]",
        "[[-1, 0], 1, Concat, [1]]",
    ],
)
def test_known_rows_stay(row: str, moved) -> None:
    """A row that works as it is would be changed into something else."""
    row = row.replace("yolo_attn.PSA", "yolo_attn.SE")
    row, said = moved(row) if "Concat" not in row else moved("[-1, 1, Conv, [256]]")
    assert said.endswith("Nothing was written: the file can be used as it is.")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("[-1, 1, EMA, [256]]", "8 or 32 in forks"),
        ("[-1, 1, SEAttention, [512]]", "512 channels, and its input has 256"),
        ("[-1, 1, CoordAtt, [256, 128]]", "128 channels of its output"),
        ("[-1, 1, CBAM, [256, 16, 7, sigmoid]]", "sigmoid left out"),
        ("[-1, 1, CBAM, [256, 7]]", "no max pooling"),
        ("[-1, 1, NAMAttention, [256, 3]]", "3 left out"),
        ("[-1, 1, ShuffleAttention, [256, 16, 8]]", "its reduction of 16 left out, which has no effect"),
        ("[-1, 1, DAttention, [[20, 20]]]", "num_groups is 4 and offset_range is 4"),
        ("[-1, 1, SKAttention, [256, [1, 3, 5, 7]]]", "1, 3, 5 and 7 pixels in most forks"),
        ("[-1, 1, CAA, [256]]", "BatchNorm and SiLU"),
        ("[-1, 1, BiFormerBlock, []]", "BiFormerBlock is taken for BiLevelRouting by its name alone"),
        ("[-1, 1, MHSA, [14, 14, 4]]", "its width of 14 left out, which has no effect"),
    ],
)
def test_what_is_not_sure_is_said(row: str, says: str, moved) -> None:
    """A guess would look like a fact."""
    assert says in " ".join(moved(row)[1].split())


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("[-1, 3, C2f_CBAM, [256, True]]", "there is no such block. Write C2f there, and behind it [-1, 1, CBAM, []]."),
        ("[-1, 3, C2f_EMA, [256]]", "Write C2f there, and behind it [-1, 1, EMA, []]."),
        ("[-1, 3, C3_SE, [256]]", "Write C3 there, and behind it [-1, 1, SE, []]."),
        ("[-1, 3, ResBlock_CBAM, [256]]", "Write a row of Ultralytics there, and behind it [-1, 1, CBAM, []]."),
        ("[-1, 1, SPDConv, [256]]", "there is no module named 'SPDConv'"),
        ("[-1, 1, PolarizedSelfAttention, [256]]", "Write PolarizedParallel or PolarizedSequential."),
    ],
)
def test_what_has_no_equal_is_refused(row: str, says: str, moved, tmp_path: Path) -> None:
    """Half a model would be written, or one with a hole."""
    with pytest.raises(ValueError) as error:
        moved(row)
    assert "row 2 (" in str(error.value) and says in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["yolov8n-fork.yaml"]


def test_a_width_behind_a_concat_is_known(tmp_path: Path) -> None:
    """A width that a user had counted by hand, at a scale, would be called one that isn't the input's."""
    old = tmp_path / "yolov8n-old.yaml"
    old.write_text(
        model("[[-1, -1, -1, -1, -1], 1, Concat, [1]]").replace("head:\n", "head:\n  - [-1, 1, ECA, [320]]\n")
    )
    assert [(f.level, f.row) for f in migrate(old).findings] == [("changed", 3)]


def test_a_file_that_does_not_build_is_not_called_good(tmp_path: Path) -> None:
    """A user would be told that a file can be used as it is, and meet an error in training."""
    old = tmp_path / "yolov8n-old.yaml"
    old.write_text(model("[-1, 1, SE, [{reduction: 0}]]"))
    with pytest.raises(ValueError, match="reduction must"):
        migrate(old)


def test_several_rows_without_an_equal_are_told_at_once(tmp_path: Path) -> None:
    """A user would mend one row, and be told of the next."""
    old = tmp_path / "old.yaml"
    old.write_text(model("[-1, 3, C2f_CBAM, [256]]").replace("[-1, 1, Conv, [64, 3, 2]]", "[-1, 1, Stem, [64]]"))
    with pytest.raises(ValueError, match=r"row 0 \(Stem\): .* row 2 \(C2f_CBAM\): "):
        migrate(old)


def test_a_model_of_yolov5_is_refused(tmp_path: Path) -> None:
    """Its rows would be built as those of another family."""
    old = tmp_path / "old.yaml"
    old.write_text(model("[-1, 1, CBAM, [256]]") + "anchors:\n  - [10, 13]\n")
    with pytest.raises(ValueError, match="YOLOv5 or YOLOv7"):
        migrate(old)


def test_rows_within_brackets(tmp_path: Path) -> None:
    """Models in the way of YOLOv5 and YOLOv7, one list in brackets, would be written anew, without their comments."""
    old = tmp_path / "yolov8n-old.yaml"
    old.write_text(
        "nc: 3\nscales: {n: [0.33, 0.25, 1024]}\nbackbone:\n  [[-1, 1, Conv, [64, 3, 2]],  # 0\n"
        "   [-1, 1, CBAM, [64]],  # mine\n  ]\nhead:\n  [[-1, 1, SELayer, [64, 4]],\n   [[-1], 1, Detect, [nc]],\n  ]\n"
    )
    content = migrate(old).out.read_text()
    assert content == old.read_text().replace("CBAM, [64]", "CBAM, []").replace("SELayer, [64, 4]", "SE, [4]")


def test_where_the_new_file_goes(tmp_path: Path) -> None:
    """A file would be written over, or at another scale."""
    old = tmp_path / "yolov8s-old.yaml"
    old.write_text(model("[-1, 1, CBAM, [256]]"))
    assert migrate(old).out == tmp_path / "yolov8s-old-migrated.yaml"
    with pytest.raises(FileExistsError, match=r"yolov8s-old-migrated\.yaml exists"):
        migrate(old)
    assert migrate(old, tmp_path / "new.yaml").out == tmp_path / "new.yaml"
    assert next(iter(yaml.safe_load((tmp_path / "new.yaml").read_text())["scales"])) == "s"
    with pytest.raises(ValueError, match=r"must end in \.yaml"):
        migrate(old, tmp_path / "new.pt")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        migrate(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="model YAML or a checkpoint"):
        migrate(tmp_path / "model.onnx")
