"""parse_model builds registered modules, and everything else as it did."""

from __future__ import annotations

import importlib.util
import logging
import pickle
import re
import warnings
from copy import deepcopy

import pytest
import torch
import ultralytics
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER
from yolo_attn.patches import _wrap, parser

import yolo_attn

with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    from . import layers

SCALES = {"n": [0.33, 0.25, 1024], "m": [0.67, 0.75, 768], "x": [1.0, 1.25, 512]}
STOCK = {
    "nc": 3,
    "scales": SCALES,
    "backbone": [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 3, "C2f", [128, True]],
        [-1, 1, "Conv", [2048, 3, 2]],
        [-1, 6, "C2f", [256, True]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 2], 1, "Concat", [1]],
        [-1, 3, "C2f", [128]],
        [[7, 4], 1, "Detect", ["nc"]],
    ],
}


def model(head: list, backbone: list | None = None, scale: str = "n", **more) -> DetectionModel:
    d = {**deepcopy(STOCK), **more, "scale": scale, "head": [*head, [[-1], 1, "Detect", ["nc"]]]}
    return DetectionModel(d | ({"backbone": backbone} if backbone else {}), verbose=False)


def built(d: dict, scale: str) -> tuple[DetectionModel, list[str]]:
    """A seeded model, and the table that was printed."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.extend(record.getMessage().splitlines())
    LOGGER.addHandler(handler)
    try:
        torch.manual_seed(0)
        return DetectionModel({**deepcopy(d), "scale": scale}, verbose=True), [
            x for x in lines if re.match(r" *\d+ ", x)
        ]
    finally:
        LOGGER.removeHandler(handler)


@pytest.mark.parametrize("scale", SCALES)
def test_a_row_is_what_upstreams_own_branch_would_make(scale: str) -> None:
    """from, repeats, widths, parameters, seeded weights or the printed table would differ from a stock layer's."""
    twins = deepcopy(STOCK)
    for row in twins["backbone"] + twins["head"]:
        row[2] = {"Conv": "TwinConv", "C2f": "TwinC2f"}.get(row[2], row[2])
    (stock, table), (twin, twin_table) = built(STOCK, scale), built(twins, scale)
    assert [(m.i, m.f, m.np) for m in twin.model] == [(m.i, m.f, m.np) for m in stock.model]
    assert {type(m.f) for m in twin.model} == {int, list}
    assert twin.save == stock.save
    assert twin.model[0].type == "tests.host.layers.TwinConv"
    assert [re.sub(r"[\w.]+\.(?:Twin)?(\w+) +\[", r"\1 [", x) for x in twin_table] == [
        re.sub(r"[\w.]+\.(\w+) +\[", r"\1 [", x) for x in table
    ]
    assert all(torch.equal(a, b) for a, b in zip(twin.state_dict().values(), stock.state_dict().values(), strict=True))


@pytest.mark.parametrize("scale", SCALES)
def test_every_kind_of_row(scale: str) -> None:
    """A kind of row would not build, or have other channels than its rule says."""
    backbone = [
        [-1, 1, "SpaceToDepth", []],  # layer 0, c2 = f(c1)
        [-1, 1, "TwinConv", [2048, 3, 2]],  # scaled, max_channels
        [-1, 3, "TwinC2f", [128]],  # repeats as an argument
        [-1, 3, "Same", [3]],  # stacked
        [-1, 1, "SpaceToDepth", [{"stride": 4}]],
    ]
    head = [
        [[-2, 2], 1, "Add", [256]],  # two widths, c2 scaled, negative indices
        [[-1, -3, 2], 1, "Add", []],  # three inputs, c2 of the first
        [6, 1, "Same", [5, {"bias": "False"}]],
        [-1, 1, "yolo_attn.PSA", []],
    ]
    depth, width, most = SCALES[scale]
    big, c2f, fused = (int(-(-min(c, most) * width // 8) * 8) for c in (2048, 128, 256))
    m = model(head, backbone, scale)
    rows = m.model
    assert rows[1].conv.in_channels == 3 * 4 and rows[1].conv.out_channels == big
    n = max(round(3 * depth), 1)
    assert len(rows[2].m) == n and rows[2].cv2.conv.out_channels == c2f
    assert isinstance(rows[3], torch.nn.Sequential) == (n > 1)
    assert [c.in_channels for c in rows[5].convs] == [c2f, c2f] and rows[5].convs[0].out_channels == fused
    assert [c.in_channels for c in rows[6].convs] == [fused, c2f, c2f]
    assert rows[7].conv.kernel_size == (5, 5) and rows[7].conv.bias is None
    assert isinstance(rows[8], layers.Pixel)
    assert rows[5].f == [-2, 2] and rows[7].f == 6
    m(torch.zeros(1, 3, 64, 64))
    assert b"_yolo_attn" not in pickle.dumps(m)


def test_the_copied_form_of_dattention() -> None:
    """The row of the tutorials, with its feature-size hint, would not build."""
    m = model([[-1, 1, "DAttention", [[20, 20]]]])
    assert m.model[5].q_size == (20, 20)
    m.train()(torch.zeros(2, 3, 96, 64))


def test_stock_function_runs_for_stock_models(monkeypatch) -> None:
    """A YAML without registered modules would depend on the plugin's branch."""
    monkeypatch.setattr(parser, "_with_branch", lambda stock: pytest.fail("the branch was compiled"))
    stock = tasks.parse_model.__wrapped__
    assert "_yolo_attn" not in stock.__code__.co_names
    monkeypatch.setattr(tasks, "parse_model", parser._extended(stock))
    DetectionModel(deepcopy(STOCK), verbose=False)


def test_names() -> None:
    """A class would take a name that Ultralytics resolves, or miss one that is free."""
    assert tasks.DAttention is ultralytics.nn.modules.DAttention is yolo_attn.get("DAttention").cls
    assert tasks.PSA is not layers.Pixel
    assert any("PSA in a YAML is Ultralytics' own. Write tests.host.layers.Pixel" in str(w.message) for w in told)
    assert tasks.CBAM is yolo_attn.get("CBAM").cls  # a YAML doesn't reach Ultralytics' own
    assert ultralytics.nn.modules.CBAM.__module__.startswith("ultralytics.")


def test_own_module_by_full_name(run, tmp_path) -> None:
    """A user's registered class would need an import before the stock command sees it."""
    (tmp_path / "my_gates.py").write_text(
        "import torch, yolo_attn\n\n@yolo_attn.register\nclass Gate(torch.nn.Module):\n"
        "    def __init__(self, dim):\n        super().__init__()\n"
        "        self.gate = torch.nn.Conv2d(dim, dim, 1)\n\n"
        "    def forward(self, x):\n        return x * self.gate(x).sigmoid()\n"
    )
    code = (
        "from ultralytics.nn.tasks import DetectionModel; DetectionModel({'nc': 1, "
        "'backbone': [[-1, 1, 'Conv', [16, 3, 2]]], "
        "'head': [[-1, 1, 'my_gates.Gate', []], [[1], 1, 'Detect', ['nc']]]})"
    )
    run("python", "-c", f"import yolo_attn; {code}")
    failed = run("python", "-c", f"import sys; sys.path.remove(''); import yolo_attn; {code}", check=False)
    assert "model, row 1: my_gates.Gate: Python finds no 'my_gates' to import. Install the file" in failed.stderr


def test_a_class_of_a_file_that_was_loaded_by_path(tmp_path) -> None:
    """A class whose file Python doesn't list in sys.modules would be half registered."""
    (tmp_path / "loose.py").write_text(
        "import torch, yolo_attn\n\n@yolo_attn.register\nclass Loose(torch.nn.Module):\n"
        "    def __init__(self, dim):\n        super().__init__()\n    def forward(self, x):\n        return x\n"
    )
    spec = importlib.util.spec_from_file_location("loose", tmp_path / "loose.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert type(model([[-1, 1, "Loose", []]]).model[5]).__name__ == "Loose"


def test_a_seam_that_is_gone(monkeypatch) -> None:
    """Half of the plugin would stay active, behind a message that it is not."""
    from ultralytics.utils import dist

    from yolo_attn import patches

    before = tasks.parse_model
    monkeypatch.setattr(patches, "_applied", False)
    monkeypatch.delattr(dist, "generate_ddp_file")
    monkeypatch.setattr(_wrap, "_replaced", [])
    with pytest.raises(RuntimeError, match=r"yolo_attn cannot extend ultralytics .*generate_ddp_file.*Models without"):
        patches.apply()
    assert tasks.parse_model is before


@pytest.mark.parametrize("row, message", [
    ([-1, 1, "DAtention", []], "row 5: there is no module named 'DAtention'. Did you mean DAttention"),
    ([-1, 1, "cbma", []], "row 5: there is no module named 'cbma'."),
    ([-1, 1, "yolo_attn.Se", []], "row 5: there is no module named 'yolo_attn.Se'. Write SE"),
    ([-1, 1, "torch.nn.Identity", []], "row 5: torch.nn.Identity is not registered."),
    ([-1, 1, "SE", [16, True, 4, 3, 2]], r"row 5 .SE.: SE: got 5 arguments, at most 3 are .* takes \(reduction=16, "),
    ([-1, 1, "SE", [{"redaction": 4}]], "row 5 .SE.: SE: there is no argument 'redaction'. Did you mean reduction"),
    ([-1, 1, "SE", [4, {"reduction": 4}]], "row 5 .SE.: SE: reduction is given twice"),
    ([-1, 1, "TwinConv", []], r"row 5 .TwinConv.: TwinConv: c2 must be given. TwinConv takes \(c2, k=1, s=1\)"),
    ([-1, 1, "iAFF", [64]], r"row 5 .iAFF.: iAFF fuses several inputs, got one. Write `from` as a list"),
    ([[-1, 2], 1, "SE", []], "row 5 .SE.: SE takes one input, got a list of 2. Write `from` as one index"),
    ([[-1, 2, 3], 1, "iAFF", [64]], "row 5 .iAFF.: iAFF: in_channels must hold two widths, got 3"),
    ([[-1, 2], 1, "iAFF", [64]], "iAFF: inputs must have the same height and width, got "),
    ([-1, 1, "DAttention", [{"num_heads": 5}]], "row 5 .DAttention.: DAttention: num_heads must divide dim, got "),
    ([40, 1, "SE", []], "row 5 .SE.: `from` must name an earlier layer, got 40. Layers 0 to 4 come before it"),
    ([-9, 1, "SE", []], "row 5 .SE.: `from` must name an earlier layer, got -9"),
    ([-1, 3, "SpaceToDepth", []], "row 5 .SpaceToDepth.: .*repeats must be 1 where the channels change"),
    ([-1, 1, "SE", 16], r"row 5 .SE.: arguments must be a list, got 16. Write \[16\]"),
    ([-1, 1, "SE", {"reduction": 4}], "row 5 .SE.: arguments must be a list, got {'reduction': 4}"),
    ([True, 1, "SE", []], "row 5 .SE.: `from` must name an earlier layer, got True"),
    ([[-1], 1, "SE", []], "row 5 .SE.: SE takes one input, got a list of 1"),
    ([[-1, 2], 1, "Add", [0]], "row 5 .Add.: Add: dim must be a positive integer, got 0"),
    ([[-1, 2], 1, "Add", [[64]]], r"row 5 .Add.: Add: dim must be a positive integer, got \[64\]"),
    ([-1, 1, "Residual", []], "row 5 .Residual.: Residual: the first argument must name a module"),
    ([-1, 1, "Residual", ["SEE"]], "row 5 .Residual.: there is no module named 'SEE'. Did you mean SE"),
    ([-1, 1, "Residual", ["SpaceToDepth"]], "row 5 .Residual.: .*SpaceToDepth must keep the channels, got 64 in"),
    ([-1, 1, "SE", ["4 4"]], "row 5 .SE.: argument '4 4' must be a name, a number or a list"),
    ([-1, 1, "SE", [""]], "row 5 .SE.: argument '' must be a name, a number or a list"),
    ([-1, 1, "SE", ["-" * 10**5 + "1"]], "row 5 .SE.: argument '-----"),
    ([-1, 1, "SE", [{"reduction": "{[]: 1}"}]], "row 5 .SE.: SE: reduction must be a positive integer, got '{.*}'"),
    ([-1, 0, "SE", []], "row 5 .SE.: repeats must be an integer from 1 to 1000, got 0"),
    ([-1, 10**9, "SE", []], "row 5 .SE.: repeats must be an integer from 1 to 1000, got 1000000000"),
    ([-1, "1", "SE", []], "row 5 .SE.: repeats must be an integer from 1 to 1000, got '1'"),
    ([-1, 1, "DAttention", [{"kernel_size": 2**31 - 1}]], "row 5 .DAttention.: "),  # more memory than there is
    ([-1, 1, "Residual", ["Residual"] * 10_000 + ["SE"]], "row 5 .Residual.: RecursionError: maximum recursion depth"),
    ([-1, "SE", []], r"row 5: a row must be \[from, repeats, module, arguments\]"),
], ids=lambda x: str(x)[:40])  # fmt: skip
def test_bad_rows(row: list, message: str) -> None:
    """A user would read KeyError: 'DAtention', or an error from deep inside."""
    with pytest.raises((ValueError, TypeError), match=message):
        model([row], scale="m" if "repeats must" in message else "n")


def test_a_stock_row_of_an_extended_model_is_checked_too() -> None:
    """The commonest slip, a stale index in Concat or Detect after an insertion, would be an IndexError."""
    with pytest.raises(ValueError, match=r"row 6 .Concat.: `from` must name an earlier layer, got 12"):
        model([[-1, 1, "SE", []], [[-1, 12], 1, "Concat", [1]]])
    with pytest.raises(ValueError, match=r"row 6 .Conv.: repeats must be an integer from 1 to 1000, got '1'"):
        model([[-1, 1, "SE", []], [-1, "1", "Conv", [8]]])
    with pytest.raises(ValueError, match=r"row 6 .Conv.: argument '\{\[\]: 1\}' must be a name, a number or a list"):
        model([[-1, 1, "SE", []], [-1, 1, "Conv", ["{[]: 1}"]]])


def test_an_error_has_the_number_of_its_own_row() -> None:
    """What is wrong with a stock row would be blamed on the registered module before it, or on none."""
    with pytest.raises(TypeError, match=r"^model, row 6 .Conv.: "):
        model([[-1, 1, "SE", []], [-1, 1, "Conv", [[]]]])
    with pytest.raises(ValueError, match=r"^model, row 6 .nn.Nothing.: AttributeError: module 'torch.nn' has no attr"):
        model([[-1, 1, "SE", []], [-1, 1, "nn.Nothing", []]])
    with pytest.raises(ValueError, match=r"^model, row 6 .Conv.: IndexError: "):
        model([[-1, 1, "SE", []], [-1, 1, "Conv", []]])


def test_a_file_that_cannot_be_imported(tmp_path, monkeypatch) -> None:
    """A user would not learn which row's module it is whose file has a mistake."""
    (tmp_path / "half_done.py").write_text("raise NameError('nmae')\n")
    monkeypatch.syspath_prepend(tmp_path)
    message = "row 5: half_done.Gate: importing half_done failed, NameError: nmae. Mend it"
    with pytest.raises(ValueError, match=message):
        model([[-1, 1, "half_done.Gate", []]])


def changed_upstream(d, ch, verbose=True):
    """A parse_model whose chain no longer uses the variables that the branch needs."""
    for _i, (_f, _n, m, args) in enumerate(d["backbone"] + d["head"]):
        if m == "Concat":
            c2 = sum(ch)
        elif m == "Detect":
            c2 = args
    return c2


def another_upstream(d, ch, verbose=True):
    """A parse_model without a chain."""
    return [d, ch]


@pytest.mark.parametrize("stock, reason", [
    (changed_upstream, "the channel chain no longer uses .'f', 'max_channels', 'n', 'width'"),
    (another_upstream, "found 0 channel chains"),
])  # fmt: skip
def test_an_ultralytics_that_cannot_be_extended(stock, reason: str) -> None:
    """An upstream that changed its loop would give wrong models, or stop stock models."""
    extended = parser._extended(stock)
    message = rf"cannot extend .*parse_model of ultralytics {re.escape(ultralytics.__version__)}: {reason}"
    with pytest.raises(RuntimeError, match=message):
        extended({**STOCK, "head": [[-1, 1, "SE", []]]}, [3])
    assert extended(STOCK, [3]) == stock(STOCK, [3])
