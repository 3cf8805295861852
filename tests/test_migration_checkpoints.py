"""Moving from edited forks: checkpoints, read as data."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.modules.conv import Conv
from yolo_attn.patches import foreign, host, stubs

from yolo_attn.migration import migrate, text
from yolo_attn.migration.likeness import differences

from . import forks
from .conftest import ROOT
from .models import WEIGHTS, needs_weights

ROWS = [  # by their forks' names, with channels as a fork's parse_model, or its user, passes them on at scale n
    [-1, 1, "Conv", [64, 3, 2]],
    [-1, 1, "Conv", [128, 3, 2]],
    [-1, 1, "SEAttention", [32, 8]],
    [-1, 1, "CBAMBlock", [32, 8]],
    [-1, 1, "Conv", [128, 3, 2]],
    [-1, 2, "C2f", [128, True]],
    [-1, 1, "CoordAtt", [32, 32]],
    [-1, 1, "EMA", [32, 8]],
    [-1, 1, "ECAAttention", [3]],
    [-1, 1, "DAttention", [32, [20, 20]]],
    [-1, 1, "C2f_DCN", [32, 32, 2, True]],
    [-1, 6, "SimAM", []],
    [-1, 3, "TripletAttention", []],
    [-1, 1, "ShuffleAttention", [32, 16, 4]],
]
OURS = ["Conv", "Conv", "SE", "CBAM", "Conv", "C2f", "CoordAtt", "EMA", "ECA", "DAttention", "C2fDCN", "SimAM"]
OURS += ["TripletAttention", "ShuffleAttention"]
HEAD = [[-1, 1, "Conv", [256, 3, 2]], [[-2, -1], 1, "Detect", ["nc"]]]


def model(*rows: list, head: list = HEAD, **keys) -> dict:
    begin = [[-1, 1, "Conv", [64, 3, 2]], [-1, 1, "Conv", [128, 3, 2]]]
    scales = {"n": [0.33, 0.25, 1024]}
    return {"nc": 3, "scale": "n", "scales": scales, "backbone": [*begin, *rows], "head": head} | keys


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return tmp_path / "old.pt"


def difference(new: Path) -> float:
    """Largest difference of what a migrated model gives from what the fork's gave for an image, in parts of it."""
    seen = torch.load(new.with_name("seen.pt"), weights_only=True)
    with torch.no_grad():
        y = YOLO(str(new)).model.eval()(seen["x"])[0]
    return float(((y - seen["y"]).abs() / seen["y"].abs().clamp(min=1)).max())


USE = """
import numpy as np, sys
from ultralytics import YOLO
model = YOLO(sys.argv[1])
model.predict(np.zeros((64, 64, 3), np.uint8), imgsz=64, verbose=False)
print(sorted({type(m).__module__.partition(".")[0] for m in model.model.modules()}))
print(model.export(format="torchscript", imgsz=64))
"""


def test_a_checkpoint_of_a_fork(old: Path, run) -> None:
    """Months of training would be lost, or only look as if they were kept."""
    make = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests import forks; from pathlib import Path; "
    run("python", "-c", f"{make}forks.save({model(*ROWS[2:])!r}, Path({str(old)!r}))")
    with pytest.raises(AttributeError):
        torch.load(old, weights_only=False)
    result = migrate(old)
    assert result.out == old.with_name("old-migrated.pt")
    assert difference(result.out) < 1e-5
    said, total = text(result), len(foreign.read(old).model.tensors)
    assert "lost" not in said and f"{total} of {total} tensors kept" in said
    assert "row 3 (CBAMBlock): there was no BatchNorm" in said
    yolo = YOLO(str(result.out))
    assert yolo.names == {i: f"kind {i}" for i in range(3)} and yolo.task == "detect"
    assert yolo.ckpt["train_args"]["data"] == "mine.yaml" and yolo.ckpt["train_metrics"] == {"fitness": 0.5}
    assert yolo.ckpt["epoch"] == -1 and yolo.ckpt["optimizer"] is None
    assert [row[2] for row in yolo.model.yaml["backbone"]] == OURS
    done = run("python", "-c", USE, str(result.out), ULTRALYTICS_SAFE_LOAD="1")
    assert "['torch', 'ultralytics', 'yolo_attn']" in done.stdout and "old-migrated.torchscript" in done.stdout


def test_a_migrated_model_can_be_rebuilt_from_its_rows(old: Path) -> None:
    """A training, which builds the model anew and loads the weights, would begin somewhere else."""
    forks.save(model(*ROWS[2:]), old)
    source = YOLO(str(migrate(old).out)).model
    again = host.build(source.yaml)
    again.load(source)
    for key, tensor in source.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("module", ["__main__", "ultralytics.nn.tasks"])
def test_where_the_classes_were(module: str, old: Path) -> None:
    """A checkpoint of a notebook, or of a fork with other folders, could not be migrated."""
    forks.save(model([-1, 1, "CBAM", [32, 32, 8]], [-1, 1, "EMA", [32]]), old, module=module)
    assert difference(migrate(old).out) < 1e-5


def test_a_class_that_the_host_has_too(old: Path) -> None:
    """A fork's CBAM in the place of Ultralytics' own would be taken for that one, and not run."""
    forks.save(model([-1, 1, "CBAM", [32, 32, 8]]), old, module="ultralytics.nn.modules.conv")
    assert difference(migrate(old).out) < 1e-5


def test_the_class_of_the_host_itself(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics' own CBAM works as it is, and nobody would know that a training exchanges it."""
    from ultralytics.nn.modules.conv import CBAM

    monkeypatch.setattr(forks, "CBAM", CBAM)
    monkeypatch.setattr(forks, "OWN", [CBAM])
    forks.save(model([-1, 1, "CBAM", [32]]), old)
    result = migrate(old)
    assert result.out is None
    assert "would take yolo_attn.modules.cbam.CBAM" in " ".join(text(result).split())


def test_half_precision_and_an_average_only(old: Path) -> None:
    """A checkpoint in the middle of a training, which has no `model`, would be refused, or double its size."""
    forks.save(model([-1, 1, "SEAttention", [32]], [-1, 1, "GAM_Attention", [32]]), old, ema=True, dtype=torch.half)
    new = migrate(old).out
    saved = torch.load(new, weights_only=False)
    assert saved["ema"] is None and {p.dtype for p in saved["model"].parameters()} == {torch.half}
    assert difference(new) < 1e-5


def test_another_function_starts_as_the_identity(old: Path) -> None:
    """A layer that computes something else would take its weights, or random ones, without a word."""
    forks.save(model([-1, 1, "SKConv", [32, 2, 4, 16, 32, False]]), old)
    result = migrate(old)
    said = " ".join(text(result).split())
    assert "lost row 2 (SKConv): it chooses between kernels of [3, 5] pixels" in said
    assert "starts as the identity" in said and "Train it before you use it" in said
    layer = YOLO(str(result.out)).model.model[2]
    x = torch.randn(1, 32, 8, 8)
    assert torch.equal(layer(x), x)


def test_layers_of_the_host_that_a_fork_has_changed_are_told(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tensors would be kept, and the model compute something else: another activation is in no tensor."""
    with monkeypatch.context() as patch:
        patch.setattr(Conv, "default_act", nn.Mish())
        forks.save(model([-1, 1, "SEAttention", [32]], [-1, 1, "C2f", [128, True]]), old)
    with forks.installed():
        saved = torch.load(old, weights_only=False)
        saved["model"].model[3].m[0].add = False
        saved["model"].model[3].m[0].extra = nn.Hardtanh()
        torch.save(saved, old)
    lost = [(f.row, f.what) for f in migrate(old).findings if f.level == "lost"]
    assert (0, "act: Mish in the file, SiLU here") in lost
    assert (3, "cv1.act, cv2.act, m.0.cv1.act, ...: Mish in the file, SiLU here") in lost
    assert (3, "m.0: add is False in the file, True here") in lost
    assert (3, "m.0.extra: Hardtanh in the file, and there is no such layer here") in lost


@needs_weights
def test_layers_of_an_older_release_are_alike() -> None:
    """A checkpoint of years ago would be said to compute something else."""
    source = foreign.read(WEIGHTS)
    built = host.build(source.model.values["yaml"])
    assert [differences(*pair) for pair in zip(built.model, source.layers, strict=True)] == [[]] * 23


def test_what_can_be_kept_of_a_block_is_kept(old: Path) -> None:
    """A stage would lose the convolutions that it shares with ours."""
    forks.save(model([-1, 1, "C2f_DCN", [32, 32, 1, False, True]]), old)
    source = foreign.read(old)
    result = migrate(old)
    lost = [f.what for f in result.findings if f.level == "lost"]
    assert "both convolutions of its bottlenecks are deformable" in lost[0]
    assert any("m.0.cv1.weight" in what for what in lost), lost
    kept = YOLO(str(result.out)).model.model[2].state_dict()
    torch.testing.assert_close(kept["cv1.conv.weight"], source.layers[2].tensors["cv1.conv.weight"])


def test_a_block_without_an_equal_is_refused(old: Path) -> None:
    """A model with a hole would be written."""
    forks.save(model([-1, 1, "SEAttention", [32]]), old)
    _with_yaml(old, model([-1, 1, "C2f_CBAM", [32]]))
    with pytest.raises(ValueError, match=r"row 2 \(C2f_CBAM\): there is no such block\. Write C2f there"):
        migrate(old)
    assert not old.with_name("old-migrated.pt").exists()


@needs_weights
def test_a_stock_checkpoint_needs_nothing() -> None:
    """A copy would be written of what works as it is."""
    result = migrate(WEIGHTS, Path(os.devnull).with_name("none.pt"))
    assert result.out is None
    assert "it loads as it is" in text(result) and "Nothing was written" in text(result)


def test_a_checkpoint_of_this_plugin_needs_nothing(old: Path) -> None:
    """A migrated file would be migrated again."""
    forks.save(model([-1, 1, "CBAM", [32, 32]]), old)
    new = migrate(old).out
    assert migrate(new).out is None
    with pytest.raises(FileExistsError):
        migrate(old)


class Evil:
    def __init__(self, function, *args) -> None:
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, r"(posix|nt)\.system"), (eval, r"builtins\.eval"), (pickle.loads, r"_?pickle\.loads")],
)
def test_a_file_that_would_run_something_is_refused(function, name: str, old: Path, tmp_path: Path) -> None:
    """A checkpoint from a stranger would run a command."""
    mark = tmp_path / "ran"
    argument = b"" if function is pickle.loads else f"touch {mark}"
    torch.save({"model": Evil(function, argument)}, old)
    with pytest.raises(ValueError, match=rf"asks for {name} when it is read.* Nothing of it was run"):
        migrate(old)
    assert not mark.exists()


@pytest.mark.parametrize("names", [b"c__builtin__\neval\n.", b"(i__builtin__\neval\n."])
def test_names_of_python_2_are_known(names: bytes, old: Path) -> None:
    """A function under its old name, or named by an old instruction, would not be recognised."""
    with zipfile.ZipFile(old, "w") as archive:
        archive.writestr("old/data.pkl", b"\x80\x02" + names)
    with pytest.raises(ValueError, match=r"asks for builtins\.eval when it is read"):
        migrate(old)


@pytest.mark.parametrize(
    "number", [np.float64(0.3), np.float32(0.5), np.float16(2), np.int64(-7), np.uint8(9), np.bool_(1)]
)
def test_numbers_of_numpy_are_kept(number, old: Path) -> None:
    """Results of a training would be lost, or be other numbers."""
    forks.save(model([-1, 1, "SEAttention", [32]]), old)
    with forks.installed():
        saved = torch.load(old, weights_only=False)
        torch.save({**saved, "train_metrics": {"fitness": number}}, old)
    assert foreign.read(old).metadata["train_metrics"] == {"fitness": number.item()}


def test_nothing_that_a_file_names_is_called(old: Path, tmp_path: Path) -> None:
    """A function of an installed package would be as good as one of the standard library."""
    mark = tmp_path / "ran"
    torch.save({"model": Evil(torch.hub.load_state_dict_from_url, f"file://{mark}")}, old)
    with pytest.raises(ValueError, match=r"no model that Ultralytics built from a YAML \(torch\.hub"):
        migrate(old)
    torch.save({"model": Evil(torch.save, "text", str(mark))}, old)
    with pytest.raises(ValueError, match="no model that Ultralytics built"):
        migrate(old)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"activation": "__import__('os').system('true')"}, "activation must name a layer of torch.nn"),
        ({"act": "nn.SiLU().__class__.__base__"}, "act must name a layer of torch.nn"),
        ({"act": "nn.Linear(*(1).__dir__())"}, "act must name a layer of torch.nn"),
    ],
)
def test_code_in_the_model_is_refused(keys: dict, says: str, old: Path) -> None:
    """Ultralytics evaluates the activation of a model that it builds."""
    forks.save(model([-1, 1, "SEAttention", [32]]), old)
    _with_yaml(old, model([-1, 1, "SEAttention", [32]], **keys))
    with pytest.raises(ValueError, match=says):
        migrate(old)


@pytest.mark.parametrize("row", [[-1, 1, "my.own.Gate", []], [-1, 1, "Residual", ["my.own.Gate"]]])
def test_names_that_would_be_imported_are_refused(row: list, old: Path) -> None:
    """A checkpoint could make Python import a file."""
    forks.save(model([-1, 1, "SEAttention", [32]]), old)
    _with_yaml(old, model(row))
    with pytest.raises(ValueError, match=r"names my\.own\.Gate, whose file would have to be imported"):
        migrate(old)


@pytest.mark.parametrize("names", [None, "abc", {0: "one"}, ["one", "two"]])
def test_names_that_do_not_suit_the_classes(names, old: Path) -> None:
    """A prediction would end in a KeyError after the first detection."""
    forks.save(model([-1, 1, "SEAttention", [32]]), old)
    _changed(old, "names", names)
    result = migrate(old)
    assert "lost     the names of its 3 classes: they are numbers now" in text(result)
    assert YOLO(str(result.out)).names == {0: "0", 1: "1", 2: "2"}


def test_names_as_a_list(old: Path) -> None:
    """Checkpoints of YOLOv5's time have one."""
    forks.save(model([-1, 1, "SEAttention", [32]]), old)
    _changed(old, "names", ["one", "two", "three"])
    assert YOLO(str(migrate(old).out)).names == {0: "one", 1: "two", 2: "three"}


def test_a_folder_that_takes_no_file_is_named(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's own error is a riddle."""
    forks.save(model([-1, 1, "SEAttention", [32]]), old)

    def full(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(PermissionError, match=r"Permission denied: '.*old-migrated"):
        migrate(old)


def test_activations_of_torch_are_kept(old: Path) -> None:
    """A fork with another activation could not be migrated."""
    forks.save(model([-1, 1, "SEAttention", [32]], activation="nn.LeakyReLU(0.1)"), old)
    assert difference(migrate(old).out) < 1e-5


def _with_yaml(path: Path, d: dict) -> None:
    """Put another YAML into a checkpoint."""
    _changed(path, "yaml", d)


def _changed(path: Path, name: str, value: object) -> None:
    """Give the model of a checkpoint another attribute."""
    with forks.installed():
        saved = torch.load(path, weights_only=False)
        setattr(saved["model"], name, value)
        torch.save(saved, path)


@pytest.mark.parametrize("twice", [lambda x: [x, x], lambda x: nn.ModuleDict({"a": x, "b": x})])
def test_what_holds_itself_twice_again_and_again_is_refused(twice, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a few kilobytes would fill the memory."""
    monkeypatch.setattr(stubs, "MOST", 20_000)
    forks.save(model([-1, 1, "SEAttention", [32]]), old)
    inner = nn.Identity()
    for _ in range(30):
        inner = twice(inner)
    _changed(old, "more", inner)
    with pytest.raises(ValueError, match=r"old\.pt: it holds more than 20000 values and layers"):
        migrate(old)


def test_a_pickle_that_unpacks_to_gigabytes_is_refused(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed file would fill the memory before anything is looked at."""
    forks.save(model([-1, 1, "SEAttention", [32]]), old)
    monkeypatch.setattr(foreign, "LARGEST", 10)
    with pytest.raises(ValueError, match=r"data\.pkl, which names layers and holds no weights, has \d+ bytes"):
        migrate(old)


def test_other_files_are_refused(old: Path, tmp_path: Path) -> None:
    """What is no checkpoint would give a riddle of PyTorch."""
    torch.save({"model": {"conv.weight": torch.zeros(1)}}, old)
    with pytest.raises(ValueError, match="holds no model"):
        migrate(old)
    torch.save([1], old)
    with pytest.raises(ValueError, match="holds list"):
        migrate(old)
    torch.save(nn.Conv2d(1, 1, 1), old)
    with pytest.raises(ValueError, match="no checkpoint of Ultralytics"):
        migrate(old)
    torch.save({"model": nn.Conv2d(1, 1, 1)}, old)
    with pytest.raises(ValueError, match="no model that Ultralytics built"):
        migrate(old)
    old.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"no checkpoint that torch\.save"):
        migrate(old)
    with zipfile.ZipFile(old, "w") as archive:
        archive.writestr("old/data.pkl", pickle.dumps({"model": pickle.PickleBuffer}, protocol=4))
    with pytest.raises(ValueError, match="another form"):
        migrate(old)
    with zipfile.ZipFile(old, "w") as archive:
        archive.writestr("old/model.json", "{}")
    with pytest.raises(ValueError, match=r"it must hold one data\.pkl, got 0\. Give best\.pt"):
        migrate(old)


def test_yolov5_is_refused(old: Path) -> None:
    """Its layers would be taken for those of YOLOv8."""
    import sys
    from types import ModuleType

    with pytest.MonkeyPatch.context() as patch:
        for name in ("models", "models.yolo"):
            patch.setitem(sys.modules, name, ModuleType(name))
        cls = type("Model", (nn.Module,), {"__module__": "models.yolo"})
        patch.setattr(sys.modules["models.yolo"], "Model", cls, raising=False)
        torch.save({"model": cls()}, old)
    with pytest.raises(ValueError, match=r"YOLOv5 or YOLOv7 \(models\.yolo\.Model\)"):
        migrate(old)


def test_the_list_of_allowed_classes_is_as_before(old: Path) -> None:
    """After a migration restricted loading would take stand-ins for layers."""
    before = set(torch.serialization.get_safe_globals())
    forks.save(model([-1, 1, "SEAttention", [32]]), old)
    migrate(old)
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_file_is_written_whole_or_not_at_all(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a checkpoint would stand beside the old one."""
    forks.save(model([-1, 1, "SEAttention", [32]]), old)
    files = {p.name for p in old.parent.iterdir()}

    def full(_content, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space left"):
        migrate(old)
    assert {p.name for p in old.parent.iterdir()} == files


@pytest.mark.slow
def test_the_host_uses_a_migrated_checkpoint(old: Path, run) -> None:
    """A file that loads might still not train, validate, predict or be exported, least of all under restricted
    loading."""
    forks.save(model(*ROWS[2:], nc=6), old, dtype=torch.half)
    new = migrate(old).out
    common = (f"model={new}", "imgsz=64", "device=cpu")
    for verb in (("val", "data=shapes.yaml", "workers=0"), ("train", "data=shapes.yaml", "epochs=1", "workers=0")):
        run("yolo", *verb[:1], *common, *verb[1:], ULTRALYTICS_SAFE_LOAD="1")
    done = run("yolo", "export", *common, "format=torchscript", ULTRALYTICS_SAFE_LOAD="1")
    assert "old-migrated.torchscript" in done.stdout
