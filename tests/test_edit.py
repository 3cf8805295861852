"""insert, replace and remove: as functions, as a command, and as the text of a YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ultralytics import YOLO
from yolo_attn.patches import host

import yolo_attn
from yolo_attn import cli, graph
from yolo_attn.rows import renamed


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


def test_maps_that_meet() -> None:
    """A fusion at several places would leave one of the maps out, or get one that another has changed already."""
    d = yolo_attn.insert("yolov8n.yaml", "MSDeformAttn", "neck", [256, {"num_heads": 4}])
    module = ["MSDeformAttn", 256, {"num_heads": 4}]
    assert d["head"][12:] == [
        [[15, 15, 18, 21], 1, "Residual", module],
        [[18, 18, 15, 21], 1, "Residual", module],
        [[21, 21, 15, 18], 1, "Residual", module],
        [[22, 23, 24], 1, "Detect", ["nc"]],
    ]
    assert d["head"][6] == [-1, 1, "Conv", [256, 3, 2]]  # layers in between use what they used
    assert yolo_attn.remove(d, "MSDeformAttn") == host.load_yaml("yolov8n.yaml")
    plain = yolo_attn.insert("yolov8n.yaml", "MSDeformAttn", ["p4", "sppf"], mode="plain")
    assert plain["backbone"][10:] == [[[6, 9], 1, "MSDeformAttn", []], [[9, 6], 1, "MSDeformAttn", []]]
    assert plain["head"][:2] == [[-1, 1, "nn.Upsample", ["None", 2, "nearest"]], [[-1, 10], 1, "Concat", [1]]]


def test_a_module_keeps_the_row_of_the_layer_that_it_stands_for(tmp_path: Path) -> None:
    """A replaced stage would lose its depth and width, and with them its weights."""
    d = host.load_yaml("yolov8n.yaml")
    dcn = yolo_attn.replace("yolov8n.yaml", "C2fDCN", [6, 8], out=tmp_path / "yolov8n-my.yaml")
    assert dcn["backbone"][6] == [-1, 6, "C2fDCN", [512, True]]
    assert "[-1, 6, C2fDCN, [512, True]]" in (tmp_path / "yolov8n-my.yaml").read_text()
    assert yolo_attn.replace(dcn, "C2f", [6, 8]) == d
    assert yolo_attn.replace(d, "C2fDCN", 6, [512])["backbone"][6] == [-1, 6, "C2fDCN", [512]]
    assert yolo_attn.replace(d, "DeformConv", 7)["backbone"][7] == [-1, 1, "DeformConv", [1024, 3, 2]]
    assert yolo_attn.replace(d, "AFF", 11)["head"][1] == [[-1, 6], 1, "AFF", []]  # [1], an axis, is no width
    assert yolo_attn.replace(d, "Conv", 4, [256])["backbone"][4] == [-1, 1, "Conv", [256]]


def test_arguments_follow_by_name() -> None:
    """A kernel size would be taken for a stride, by a module that has other arguments than the layer."""
    rows = {"DePatch": (7, [1024, 2]), "CrossScaleEmbed": (7, [1024, {"stride": 2}]), "DATStage": (8, [])}
    for module, (layer, args) in rows.items():
        d = yolo_attn.replace("yolov8n.yaml", module, layer)
        assert d["backbone"][layer][2:] == [module, args]
        with pytest.raises(ValueError, match=f"needs other arguments than {module} has"):
            yolo_attn.replace(d, "Conv" if layer == 7 else "C2f", layer)
    with_keyword = yolo_attn.replace("yolov8n.yaml", "DeformConv", 7, [1024, {"stride": 2, "act": False}])
    again = renamed(with_keyword["backbone"][7][3], *map(host.row_parameters, ("DeformConv", "DeformConv")))
    assert again == [1024, {"stride": 2, "act": False}]


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


@pytest.mark.parametrize("call, message", [
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", "p7"), r"no place 'p7'.* There are sppf \(9\), p2 \(2\), p3 \(4\)"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", "nek"), "no place 'nek'. Did you mean neck"),
    (lambda: yolo_attn.insert("yolov8-cls.yaml", "SE", "neck"), "no place 'neck'"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", 22), "no place 22.* the numbers 0 to 21"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", -1), "no place -1"),
    (lambda: yolo_attn.insert("yolov8-world.yaml", "SE", 16), r"layer 16 \(ImagePoolingAttn\) puts out a list or text"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SEE", 9), "no module named 'SEE'. Did you mean SE"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "SE", 9, mode="gated"), "mode must be one of residual, plain, got"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "iAFF", 9), r"fuses several maps, and layer 9 \(SPPF\) is no C"),
    (lambda: yolo_attn.insert("yolov8n.yaml", ["SE", "iAFF"], "neck"), "iAFF fuses several maps, and layer 21"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "iAFF", "neck"), "iAFF: in_channels must hold two widths, got 3"),
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
    (lambda: yolo_attn.replace("yolov8n.yaml", "SE", 5), "at 5: the model can.t be built: Sizes .* Give other args"),
    (lambda: yolo_attn.replace("yolov8n.yaml", "Concat", 4), "the model can't be built: "),
    (lambda: yolo_attn.remove("yolov8n.yaml", 0), "remove: a layer that reads the image"),
])  # fmt: skip
def test_bad_input(call, message: str) -> None:
    """A user would not learn what exists."""
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call()


TEXT = "nc: 1\nbackbone:\n  - [-1, 1, Conv, [16, 3, 2]]\n  - [-1, 1, Conv, [16]]\nhead:\n  - [[1], 1, Detect, [nc]]\n"
FILES = {
    "good.yaml": TEXT.encode(),
    "binary.yaml": bytes(range(256)) * 20,
    "empty.yaml": b"",
    "utf16.yaml": TEXT.encode("utf-16"),
    "latin.yaml": b"# \xe9\n" + TEXT.encode(),
    "tag.yaml": TEXT.encode() + b"x: !!python/object/apply:os.mkdir [ran]\n",
    "digits.yaml": TEXT.encode() + b"x: " + b"9" * 5000,
    "empty.pt": b"",
    "binary.pt": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("arguments, message", [
    ("base=binary.yaml module=SE at=0 out=o.yaml", "binary.yaml"),
    ("base=empty.yaml module=SE at=0", "empty.yaml: a model YAML must be a mapping with lists"),
    ("base=utf16.yaml module=SE at=0 out=o.yaml", "utf16.yaml: a model YAML must be text in UTF-8: 'utf-8' codec"),
    ("base=latin.yaml module=SE at=0 out=o.yaml", "latin.yaml: a model YAML must be text in UTF-8: 'utf-8' codec"),
    ("base=tag.yaml module=SE at=0", "could not determine a constructor for the tag 'tag:yaml.org,2002:python/object"),
    ("base=digits.yaml module=SE at=0", "Exceeds the limit"),
    ("base=folder.yaml module=SE at=0", "folder.yaml"),
    (f"base={'x' * 300}.yaml module=SE at=0", "File name too long"),
    ("base=good.yaml module=SE at=0 out=folder.yaml", "out: folder.yaml exists. Remove it"),
    ("base=good.yaml module=SE at=0 out=good.yaml/o.yaml", "out: there is no folder good.yaml"),
    ("base=good.yaml module=SE at=0 weights=empty.pt out=o.pt", "empty.pt"),
    ("base=good.yaml module=SE at=0 weights=binary.pt out=o.pt", "binary.pt"),
    ("base=good.yaml module=SE at=0 weights=list.pt out=o.pt", "weights: list.pt must be a checkpoint of Ultralytics"),
    (f"base=good.yaml module=SE at={10**30}", f"at: there is no place {10**30}"),
    (f"base=good.yaml module=SE at={'9' * 5000}", "Exceeds the limit"),
    ("base=good.yaml module=SE at=1e400", "at: there is no place"),
    (f"base=good.yaml module=SE at=0 args={10**30}", f"SE: reduction must be a positive integer, got {10**30}"),
    ("base=good.yaml module=SE at=0 args=&a_[*a]", "args must hold at most 1000000 values and characters"),
    (f"base=good.yaml module=SE at=0 args={'[' * 900}{']' * 900}", "a value must have fewer brackets in one another"),
    ("base=good.yaml module=SE at=0 args=!!python/object:os.system_{}", "could not determine a constructor"),
    ("base=good.yaml module={a:_b} at=0", "a module must be named by a text, got {'a': 'b'}"),
    ("base=good.yaml module=../../evil at=0", "there is no module named '../../evil'"),
], ids=lambda x: str(x)[:60])  # fmt: skip
def test_hostile_files_and_numbers(arguments: str, message: str, tmp_path: Path, monkeypatch) -> None:
    """A file that is no model, or a number that is too large, would end in a traceback or in lines that say nothing."""
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_bytes(content)
    Path("folder.yaml").mkdir()
    torch.save([1], "list.pt")
    before = {*tmp_path.iterdir()}
    monkeypatch.setattr("sys.argv", ["yolo-attn", "insert", *(a.replace("_", " ") for a in arguments.split())])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = str(stopped.value)
    assert told.startswith("yolo-attn insert: ") and "\n" not in told and message in told
    assert {*tmp_path.iterdir()} == before


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
        (["insert", "base=yolov8n.yaml", "at=9", "module=SE", "mode=x"], "yolo-attn insert: mode must be one of"),
        (["remove", "base=nowhere.yaml", "at=9"], "yolo-attn remove: "),
    ):
        done = run("yolo-attn", *arguments, check=False)
        assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith(message), done.stderr
        assert "Traceback" not in done.stderr
    assert "Where: `sppf`" in run("yolo-attn", "insert", "-h").stdout
    assert "yolo-attn remove base=my.yaml" in run("yolo-attn").stdout
