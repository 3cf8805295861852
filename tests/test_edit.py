"""Insertions into every model that Ultralytics ships: nothing changes at step 0, and no weight is lost."""

from __future__ import annotations

import copy
import logging
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import ultralytics
import yaml
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.utils import LOGGER
from yolo_attn.patches import host, lookup

import yolo_attn
from yolo_attn import document, edit, graph

from .conftest import SHARED

MODELS = {p.name: p for p in sorted((Path(ultralytics.__file__).parent / "cfg" / "models").rglob("*.yaml"))}
CANNOT = {"yolo11-cls-resnet18.yaml": "downloads torchvision's weights when it is built"}
WEIGHTS = SHARED / "weights" / "yolov8n.pt"
needs_weights = pytest.mark.skipif(not WEIGHTS.exists(), reason="needs the checkpoint of the shared folder")
RESIDUAL = [n for n in sorted(p.name for p in lookup.CFG.glob("*.yaml")) if not re.search(r"plain|aff", n)]


@contextmanager
def logged():
    """What Ultralytics logs meanwhile."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    LOGGER.addHandler(handler)
    try:
        yield lines
    finally:
        LOGGER.removeHandler(handler)


def transferred(model: nn.Module, source: nn.Module) -> tuple[int, int]:
    """Load, and read the counts from the log."""
    with logged() as lines:
        model.load(source)
    (line,) = [x for x in lines if x.startswith("Transferred")]
    return tuple(map(int, re.match(r"Transferred (\d+)/(\d+) ", line).groups()))


def outputs(model: nn.Module) -> list[Tensor]:
    """All tensors that a model gives for one 64-pixel image."""
    torch.manual_seed(3)

    def flat(value) -> list[Tensor]:
        if isinstance(value, Tensor):
            return [value]
        values = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
        return [t for each in values for t in flat(each)]

    with torch.no_grad():
        return flat(model.eval()(torch.rand(1, 3, 64, 64)))


def seeded(d: dict, like: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0 if like is None else 1)
    model = host.build(d)
    if hasattr(like, "txt_feats"):  # stands for the text of an open-vocabulary model, drawn at random
        model.txt_feats = like.txt_feats
    return model


def scaled(d: dict) -> dict:
    return {**d, "scale": d.get("scale") or next(iter(d.get("scales") or {}), "")}


@pytest.mark.parametrize("name", [n for n in MODELS if n not in CANNOT])
def test_every_shipped_model(name: str) -> None:
    """Somewhere in Ultralytics' models an insertion would move a layer, lose a weight or change an output."""
    d = scaled(host.load_yaml(str(MODELS[name])))
    places = edit.places(d, host.measure(d))
    assert any(p.startswith("p") for p in places)
    assert "neck" in places or d["head"][-1][2] == "Classify"
    layers = sorted({*places["backbone"], *places.get("neck", [])})
    stock = seeded(d)
    want = outputs(stock)
    other = {**d, "nc": 3}
    few = transferred(seeded(other), stock)
    for module in ("SE", "DAttention"):
        changed, changed_few = copy.deepcopy(d), copy.deepcopy(other)
        for layer in reversed(layers):
            for model in (changed, changed_few):
                graph.insert(model, layer, [-1, 1, "Residual", [module]])
        model = seeded(changed, like=stock)
        tensors = len(stock.state_dict())
        assert transferred(model, stock) == (tensors, tensors)
        got = outputs(model)
        assert len(got) == len(want) > 0 and all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
        if module == "SE":
            assert transferred(seeded(changed_few), stock) == few


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in MODELS if n not in CANNOT])
def test_each_place_of_every_shipped_model(name: str) -> None:
    """The same with one insertion at a time, by the public function."""
    d = scaled(host.load_yaml(str(MODELS[name])))
    stock = seeded(d)
    want = outputs(stock)
    for place in edit.places(d, host.measure(d)):
        if place.startswith(("p", "neck-", "sppf")):
            for module in ("SE", "DAttention"):
                model = seeded(yolo_attn.insert(d, module, place), like=stock)
                model.load(stock, verbose=False)
                assert all(torch.equal(a, b) for a, b in zip(outputs(model), want, strict=True)), (place, module)


def test_models_that_cannot_be_handled_are_known() -> None:
    """A model would be left out without a reason."""
    assert set(CANNOT) <= set(MODELS) and len(MODELS) - len(CANNOT) >= 48


def test_the_dictionary() -> None:
    """The result would not be what Ultralytics reads from a YAML."""
    d = yolo_attn.insert("yolov8s.yaml", "DAttention", "sppf", {"num_heads": 4})
    assert d["scale"] == "s" and d["yaml_file"] == "yolov8s.yaml"
    assert d["backbone"][10] == [-1, 1, "Residual", ["DAttention", {"num_heads": 4}]]
    assert d["head"][-1][0] == [16, 19, 22] and d["head"][7] == [[-1, 13], 1, "Concat", [1]]
    assert yolo_attn.remove(d, 10) == host.load_yaml("yolov8s.yaml") == yolo_attn.remove(d, "DAttention")
    assert yolo_attn.insert("yolov8s.yaml", "DAttention", "sppf", 20, "plain")["backbone"][10][2:] == [
        "DAttention",
        [20],
    ]
    assert yolo_attn.insert("yolov8s.yaml", "GCT", "sppf")["backbone"][10][2:] == ["GCT", []]  # needs no wrapper


def test_several_at_once() -> None:
    """Several modules or places would move each other."""
    d = yolo_attn.insert("yolov8n.yaml", ["SE", "DAttention"], ["p3", "neck", 9])
    rows = graph.rows(d)
    inserted = [i for i, row in enumerate(rows) if row[2] == "Residual"]
    assert [rows[i][3][0] for i in inserted] == ["SE", "DAttention"] * 5
    assert [i - 2 * k for k, i in enumerate(inserted[::2])] == [5, 10, 16, 19, 22]


def test_fusion_beside_a_concat() -> None:
    """A fusion would cost the weights behind the Concat, or change the output at the start."""
    d = scaled(host.load_yaml("yolov8.yaml"))
    stock = seeded(d)
    model = seeded(yolo_attn.insert(d, "iAFF", "concat", 256))
    assert transferred(model, stock) == (355, 355)
    assert all(torch.equal(a, b) for a, b in zip(outputs(model), outputs(stock), strict=True))
    with torch.no_grad():
        model.model[12].gamma.fill_(1)
    assert not torch.equal(outputs(model)[0], outputs(stock)[0])
    plain = yolo_attn.insert(d, "iAFF", 11, 512, mode="plain")
    assert plain == yolo_attn.replace(d, "iAFF", 11, 512) and plain["head"][1] == [[-1, 6], 1, "iAFF", [512]]
    assert yolo_attn.replace(plain, "Concat", 11, 1) == d


@pytest.mark.parametrize("name", [n for n in MODELS if n not in CANNOT])
def test_text(name: str) -> None:
    """Comments or other bytes of a YAML would be lost, or its text would say another model than its dictionary."""
    text = MODELS[name].read_text(encoding="utf-8")
    d = host.load_yaml(str(MODELS[name]))
    last = len(graph.rows(d)) - 2

    def insert(model) -> None:
        for layer in (last, len(d["backbone"]) - 1, 2, 0):
            graph.insert(model, layer, [-1, 1, "Residual", ["SE", {"reduction": 4}]])

    changed = document.edited(text, d, insert)
    again = {k: v for k, v in d.items() if k not in ("scale", "yaml_file")}
    assert yaml.safe_load(changed) == again  # by the reader that Ultralytics uses
    kept = [line for line in text.splitlines() if "[" not in line]
    assert [line for line in changed.splitlines() if "[" not in line] == kept

    def remove(model) -> None:
        while found := [i for i, row in enumerate(graph.rows(model)) if row[2] == "Residual"]:
            graph.remove(model, found[0])

    assert document.edited(changed, d, remove) == text


def test_written_file(tmp_path: Path, monkeypatch) -> None:
    """A written YAML would be read at another scale, half written, or overwrite a file."""
    monkeypatch.chdir(tmp_path)
    d = yolo_attn.insert("yolov8s.yaml", "SE", "sppf", out="my.yaml")
    again = host.load_yaml("my.yaml")
    assert graph.rows(again) == graph.rows(d)
    small = sum(p.numel() for p in YOLO("my.yaml").model.parameters())
    assert small == sum(p.numel() for p in host.build(d).parameters()) > 11_000_000
    text = Path("my.yaml").read_text()
    assert "# cat backbone P4" in text and "# 16 (P3/8-small)" in text and "[-1, 3, C2f, [128, True]]" in text
    with pytest.raises(FileExistsError, match=r"my.yaml exists. Remove it, or choose another name"):
        yolo_attn.insert("yolov8s.yaml", "SE", "sppf", out="my.yaml")
    with pytest.raises(ValueError, match=r"would read yolov8n-my.yaml at scale n, and the base is at scale s"):
        yolo_attn.insert("yolov8s.yaml", "SE", "sppf", out="yolov8n-my.yaml")
    with pytest.raises(ValueError, match="num_heads must divide dim"):
        yolo_attn.insert("yolov8s.yaml", "DAttention", "sppf", {"num_heads": 5}, out="bad.yaml")
    yolo_attn.remove("my.yaml", "SE", out="back.yaml")
    assert graph.rows(host.load_yaml("back.yaml")) == graph.rows(host.load_yaml("yolov8s.yaml"))
    yolo_attn.insert(d, "GCT", "p3", out="twice.yaml")
    assert host.load_yaml("twice.yaml")["backbone"][5] == [-1, 1, "GCT", []]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["back.yaml", "my.yaml", "twice.yaml"]


ODD = {
    "aliases": "nc: 1\nbackbone:\n  - [-1, 1, Conv, [16, 3, 2]]\n  - &c [-1, 1, Conv, [16]]\n  - *c\n  - *c\n"
    "head:\n  - [[3], 1, Detect, [nc]]\n",
    "an alias in from": "nc: 1\nsrc: &s [-1, 0]\nbackbone:\n  - [-1, 1, Conv, [16]]\n  - [-1, 1, Conv, [16]]\n"
    "head:\n  - [*s, 1, Concat, [1]]\n  - [[2], 1, Detect, [nc]]\n",
    "flow lists": "nc: 1\nbackbone: [[-1, 1, Conv, [16, 3, 2]], [-1, 1, Conv, [16]]]\nhead: [[[1], 1, Detect, [nc]]]\n",
    "a row under its dash": "nc: 1\nbackbone:\n  -   # note\n    [-1, 1, Conv, [16, 3, 2]]\n  - [-1, 1, Conv, [16]]\n"
    "head:\n  - [[1], 1, Detect, [nc]]\n",
    "head first, no last newline": "nc: 1\nhead:\n  - [[1], 1, Detect, [nc]]\nbackbone:\n"
    "  - [-1, 1, Conv, [16, 3, 2]]\n  - [-1, 1, Conv, [16]] # 1",
    "scales in flow": "nc: 1\nscales: {n: [1, 0.25, 1024], s: [1, 0.5, 1024]}\nbackbone:\n"
    "  - [-1, 1, Conv, [64, 3, 2]]\n  - [-1, 1, Conv, [64]]\nhead:\n  - [[1], 1, Detect, [nc]]\n",
    "block rows": "nc: 1\nbackbone:\n  - - -1\n    - 1\n    - Conv\n    - [16, 3, 2]\n  - [-1, 1, Conv, [16]]\n"
    "head:\n  - [[1], 1, Detect, [nc]]\n",
    "other line ends": "nc: 1 # one\r\nbackbone:\r\n  - [-1, 1, Conv, [16, 3, 2]] # 0\r\n"
    "  - [-1, 1, Conv, [16]] # 1\r\nhead:\r\n  - [[1], 1, Detect, [nc]] # 2\r\n",
}


@pytest.mark.filterwarnings("ignore:.*without the comments")
@pytest.mark.parametrize("name", ODD)
def test_odd_texts(name: str, tmp_path: Path) -> None:
    """The written file would say another model than the dictionary, or none."""
    base = tmp_path / "yolov8s-odd.yaml"
    (tmp_path / "yolov8-odd.yaml").write_bytes(ODD[name].encode())
    for at in (0, 1):
        d = yolo_attn.insert(base, "SE", at, out=tmp_path / f"out{at}.yaml")
        again = host.load_yaml(tmp_path / f"out{at}.yaml")
        assert graph.rows(again) == graph.rows(d) and graph.rows(d)[at + 1][2] == "Residual"
        assert next(iter(again.get("scales", {"s": 0}))) == "s"
        back = yolo_attn.remove(tmp_path / f"out{at}.yaml", "SE", out=tmp_path / f"back{at}.yaml")
        assert graph.rows(host.load_yaml(tmp_path / f"back{at}.yaml")) == graph.rows(back)
        assert graph.rows(back) == graph.rows(host.load_yaml(base))
    if name == "other line ends":
        written = (tmp_path / "out0.yaml").read_bytes()
        assert written.count(b"\r\n") == written.count(b"\n") == 7 and b"# 3\r\n" in written


def test_own_module_in_a_fresh_process(run, tmp_path: Path) -> None:
    """A YAML would name a user's module in a way that only this process understands."""
    (tmp_path / "my_gates.py").write_text(
        "import torch, yolo_attn\n\n@yolo_attn.register\nclass Gate(torch.nn.Module):\n"
        "    def __init__(self, dim):\n        super().__init__()\n    def forward(self, x):\n        return x\n"
    )
    edit = ("yolo-attn", "insert", "base=yolov8n.yaml", "module=my_gates.Gate", "at=sppf", "out=my.yaml")
    run(*edit, PYTHONPATH=str(tmp_path))
    assert "Residual, [my_gates.Gate]]" in (tmp_path / "my.yaml").read_text()
    run("python", "-c", "from ultralytics import YOLO; YOLO('my.yaml')")
    run("yolo-attn", "remove", "base=my.yaml", "at=my_gates.Gate", "out=back.yaml", PYTHONPATH=str(tmp_path))
    assert graph.rows(host.load_yaml(tmp_path / "back.yaml")) == graph.rows(host.load_yaml("yolov8n.yaml"))


def checkpoint(model: nn.Module, path: Path) -> Path:
    torch.save({"model": model, "train_args": {}}, path)
    return path


def test_all_of_a_checkpoint_follows(tmp_path: Path) -> None:
    """What a checkpoint holds beside its weights would be lost: keypoints, channels, the text of open vocabularies."""
    pose = scaled({**host.load_yaml("yolov8-pose.yaml"), "kpt_shape": [4, 2], "nc": 2, "channels": 1})
    source = checkpoint(seeded(pose), tmp_path / "pose.pt")
    yolo_attn.insert("yolov8n-pose.yaml", "SE", "sppf", weights=source, out=tmp_path / "pose_se.pt")
    made = YOLO(str(tmp_path / "pose_se.pt")).model
    assert made.yaml["kpt_shape"] == [4, 2] and made.yaml["channels"] == 1 and len(made.names) == 2
    world = checkpoint(seeded(scaled(host.load_yaml("yolov8-world.yaml"))).half().float(), tmp_path / "world.pt")
    yolo_attn.insert("yolov8n-world.yaml", "SE", "sppf", weights=world, out=tmp_path / "world_se.pt")
    want, got = (YOLO(str(p)).model for p in (world, tmp_path / "world_se.pt"))
    assert torch.equal(want.txt_feats, got.txt_feats)
    assert all(torch.equal(a, b) for a, b in zip(outputs(want), outputs(got), strict=True))


@pytest.mark.parametrize("call, message", [
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", "p7"), r"no place 'p7'.* There are sppf \(9\), p2 \(2\), p3 \(4\)"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", "nek"), "no place 'nek'. Did you mean neck"),
    (lambda: yolo_attn.insert("yolov8-cls.yaml", "SE", "neck"), "no place 'neck'"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", 22), "no place 22.* the numbers 0 to 21"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", -1), "no place -1"),
    (lambda: yolo_attn.insert("yolov8-world.yaml", "SE", 16), r"layer 16 \(ImagePoolingAttn\) puts out a list or text"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SEE", 9), "no module named 'SEE'. Did you mean SE"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", 9, mode="gated"), "mode must be one of residual, plain, got"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "iAFF", 9), r"fuses two maps, and layer 9 \(SPPF\) is no Concat"),
    (lambda: yolo_attn.replace("yolov8n.yaml", "SE", 11), r"SE takes one input, and layer 11 \(Concat\) has 2"),
    (lambda: yolo_attn.replace("yolov8n.yaml", "iAFF", 9), r"iAFF takes several inputs, and layer 9 \(SPPF\) has 1"),
    (lambda: yolo_attn.remove("yolov8n.yaml", 11), r"layer 11 \(Concat\) merges several inputs"),
    (lambda: yolo_attn.remove("yolov8n.yaml", "SE"), "no place 'SE'"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", 9, out="my.pt"), "must end in .pt with weights"),
    (lambda: yolo_attn.insert("nothing.yaml", "SE", 9), "nothing.yaml"),
    (lambda: yolo_attn.insert("yolov8n.pt", "SE", 9), "base: a model YAML is needed, got yolov8n.pt"),
    (lambda: yolo_attn.insert({}, "SE", 9), "base: backbone must be a list of rows"),
    (lambda: yolo_attn.insert("yolov8n.yaml", [], 9), "module must be a name or number, or several, got"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", None), "at must be a name or number, or several, got None"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", 9.0), "no place 9.0"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", 9, out="nofolder/x.yaml"), "out: there is no folder nofolder"),
    (lambda: yolo_attn.replace("yolov8n.yaml", "SE", 5), "the model can't be built: Sizes of tensors"),
    (lambda: yolo_attn.replace("yolov8n.yaml", "Concat", 4), "the model can't be built: "),
    (lambda: yolo_attn.remove("yolov8n.yaml", 0), "remove: a layer that reads the image"),
])  # fmt: skip
def test_bad_input(call, message: str) -> None:
    """A user would not learn what exists."""
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call()


def test_weights_that_cannot_be_aligned() -> None:
    """Weights would be guessed, or dropped without a word."""
    source = seeded(scaled(host.load_yaml("yolo11.yaml")))
    model = host.build(yolo_attn.insert(scaled(host.load_yaml("yolov8.yaml")), "SE", "sppf"))
    with logged() as lines:
        model.load(source)
    assert any("matched by layer number only" in x and "row 2 (C2f) is the first that does" in x for x in lines)


def test_our_own_checkpoint_as_the_source() -> None:
    """Adding a second module to a trained model would cost the first one's weights."""
    d = scaled(host.load_yaml("yolov8.yaml"))
    first = yolo_attn.insert(d, "DAttention", "sppf")
    trained = seeded(first)
    with torch.no_grad():
        trained.model[10].gamma.fill_(0.5)
    second = seeded(yolo_attn.insert(first, "SE", "neck"))
    with logged() as lines:
        second.load(trained)
    assert all(torch.equal(a, b) for a, b in zip(outputs(second), outputs(trained), strict=True))
    (line,) = [x for x in lines if x.startswith("Transferred")]
    assert (
        line == "Transferred 371/371 tensors from the given model; 15 new in 3 inserted layers (17: SE, 21: SE, 25: SE)"
    )
    with logged() as lines:
        seeded(d).load(trained)
    assert "Transferred 355/355 tensors from the given model; 1 removed layer (10: DAttention) left out" in lines


@needs_weights
@pytest.mark.parametrize("name", RESIDUAL)
def test_the_real_checkpoint(name: str) -> None:
    """On the official weights a shipped YAML would not compute what yolov8n computes, or not know a person."""
    stock, model = YOLO(str(WEIGHTS)), YOLO(name.replace("yolov8", "yolov8n"))
    with logged() as lines:
        model.load(str(WEIGHTS))
    assert any(x.startswith("Transferred 355/355 tensors from yolov8n.pt; ") for x in lines)
    assert model.names[0] == "person"
    assert all(torch.equal(a, b) for a, b in zip(outputs(model.model), outputs(stock.model.float()), strict=True))


@needs_weights
def test_written_checkpoint(tmp_path: Path) -> None:
    """The checkpoint would not be what every stock command takes, or lose weights without a word."""
    out = tmp_path / "my.pt"
    yolo_attn.insert("yolov8n.yaml", "SE", "neck", weights=WEIGHTS, out=out)
    model = YOLO(str(out))
    assert model.names[0] == "person" and model.task == "detect"
    assert all(torch.equal(a, b) for a, b in zip(outputs(model.model), outputs(YOLO(str(WEIGHTS)).model), strict=True))
    with pytest.raises(ValueError, match=r"tensors of .*yolov8n.pt have no place in the model, model.0"):
        yolo_attn.insert("yolov8s.yaml", "SE", "neck", weights=WEIGHTS, out=tmp_path / "bad.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["my.pt"]


@needs_weights
def test_map_before_any_training(run, tmp_path: Path) -> None:
    """Inserted layers would change mAP before they have learned anything, or stock commands not take the checkpoint."""
    shutil.copytree(SHARED / "data" / "coco8", tmp_path / "coco8")  # Ultralytics writes a cache beside the labels
    data = tmp_path / "coco8" / "coco8.yaml"
    options = {"data": str(data), "plots": False, "workers": 0, "verbose": False, "project": str(tmp_path)}
    want = YOLO(str(WEIGHTS)).val(**options).box.map
    assert want > 0.3
    for name in RESIDUAL:
        assert YOLO(name.replace("yolov8", "yolov8n")).load(str(WEIGHTS)).val(**options).box.map == want, name
    run("yolo-attn", "insert", "base=yolov8n.yaml", "module=DAttention", "at=sppf", f"weights={WEIGHTS}", "out=my.pt")
    printed = [run("yolo", "val", f"model={m}", f"data={data}", "plots=False").stdout for m in ("my.pt", WEIGHTS)]
    mine, stock = (re.search(r"\n +all +4 +17.*", text)[0] for text in printed)
    assert mine == stock


def test_command_line(run, tmp_path: Path) -> None:
    """The command would not do what the function does, or a mistake would end in a traceback."""
    run(
        "yolo-attn",
        "insert",
        "base=yolov8n.yaml",
        "module=DAttention",
        "at=sppf,neck-p3",
        "args={num_heads: 4}",
        "out=my.yaml",
    )
    d = host.load_yaml(tmp_path / "my.yaml")
    assert d["backbone"][10] == [-1, 1, "Residual", ["DAttention", {"num_heads": 4}]] == d["head"][6]
    assert (
        "[-1, 1, Residual, [SE]]" in run("yolo-attn", "insert", "base", "=", "yolov8n.yaml", "module=SE", "at=9").stdout
    )
    run("yolo-attn", "remove", "base=my.yaml", "at=DAttention", "out=back.yaml")
    assert graph.rows(host.load_yaml(tmp_path / "back.yaml")) == graph.rows(host.load_yaml("yolov8n.yaml"))
    for arguments, message in (
        (
            ["insert", "base=yolov8n.yaml", "modul=SE"],
            "yolo-attn insert: there is no argument 'modul=SE'. Did you mean module",
        ),
        (["insert", "base=yolov8n.yaml", "at=9"], "yolo-attn insert: module must be given, such as base=yolov8n.yaml"),
        (["insert", "base=yolov8n.yaml", "at=9", "at=8"], "yolo-attn insert: at is given twice"),
        (["insert", "base=yolov8n.yaml", "at=p9", "module=SE"], "yolo-attn insert: at: there is no place 'p9'"),
        (["remove", "base=nowhere.yaml", "at=9"], "yolo-attn remove: "),
    ):
        done = run("yolo-attn", *arguments, check=False)
        assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith(message), done.stderr
        assert "Traceback" not in done.stderr
    assert "Where: `sppf`" in run("yolo-attn", "insert", "-h").stdout
    assert "yolo-attn remove base=my.yaml" in run("yolo-attn").stdout
