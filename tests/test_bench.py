"""`yolo-attn bench`: what it measures, and what it says and writes of it. No test depends on how fast anything is."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import yolo_attn
from yolo_attn.benchmarks import cases, memory, models, plots, run, startup, timing, wording, work
from yolo_attn.benchmarks.cases import LEVELS, Case
from yolo_attn.benchmarks.published import FORMS, published
from yolo_attn.measure import MIB, Latency

from .tiny import NAMES, each_module

CPU = torch.device("cpu")


def setting(**other: object) -> timing.Setting:
    return timing.Setting(
        **{"device": CPU, "dtype": "float32", "seconds": 0.0, "threads": 1, "batch": 1, "imgsz": 64, **other}
    )


@pytest.fixture
def untimed(monkeypatch) -> dict[str, list]:
    """Every call runs once, and the nth one of a round takes n milliseconds; which were timed together is noted."""
    noted: dict[str, list] = {"calls": []}

    def in_turn(timers: dict, seconds: float, least: int) -> dict[str, Latency]:
        for timer in timers.values():
            timer.timeit(1)
        noted["calls"].append((list(timers), seconds, least))
        return {name: Latency(n, 0.5, n) for n, name in enumerate(timers, 1)}

    monkeypatch.setattr(timing, "in_turn", in_turn)
    return noted


# ------------------------------------------------------------------------------------------------------- cases


@each_module
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_module_can_be_measured(name: str, dtype: str) -> None:
    """A module would fail at a map of yolov8n, or in half precision, or in its published form, after long minutes."""
    for case in (c for c in cases.cases(None) if c.spec.name == name):
        for level in LEVELS:
            module, x = case.build(level, 64, 1)
            x = [each.to(getattr(torch, dtype)) for each in x]
            slow = published(module)
            with cases.as_clips(module, *([slow] if slow else [])):
                for form in filter(None, (module, slow)):
                    timing._forward(form.eval(), x, setting(dtype=dtype))
                    timing._step(form.train(), x, setting(dtype=dtype))


def test_maps_are_those_of_yolov8n() -> None:
    """Figures would be of other maps than a row of a model sees."""
    from yolo_attn.patches import host

    maps = host.maps(host.build(host.load_yaml("yolov8n.yaml")))
    for (stride, channels), row in zip((LEVELS[level] for level in ("P3", "P4", "P5")), (15, 18, 21), strict=True):
        assert (maps[row].stride, maps[row].channels) == (stride, channels)
    _, x = Case(yolo_attn.get("MSDeformAttn")).build("P4", 640, 2)
    assert [tuple(each.shape) for each in x] == [(2, 128, 40, 40), (2, 64, 80, 80), (2, 256, 20, 20)]
    _, x = Case(yolo_attn.get("iAFF")).build("P3", 640, 1)
    assert [tuple(each.shape) for each in x] == [(1, 64, 80, 80)] * 2
    _, x = Case(yolo_attn.get("SIFA")).build("P5", 640, 2)
    assert [tuple(each.shape) for each in x] == [(8, 256, 20, 20)]


def test_cases_by_default_and_by_name() -> None:
    """Modules would be missing, or arguments of a row be lost."""
    names = [case.name for case in cases.cases(None)]
    assert set(NAMES) <= {name.split()[0] for name in names} and "DAttention pe=log_cpb" in names
    assert [c.name for c in cases.cases("SE")] == ["SE"]
    one, two = cases.cases(["GCT", ["DAttention", {"pe": "table", "stride": 2}]])
    assert (one.name, two.name) == ("GCT", "DAttention pe=table stride=2")
    module, _ = two.build("P4", 640, 1)
    assert (module.pe, module.stride, module.q_size) == ("table", 2, (40, 40))
    block = ["CrossFormerBlock", 4, 7, 8]
    distinct = cases.cases(["SE", "SE", ["SE", {}], [*block, True], [*block, False]])
    assert [c.name for c in distinct] == ["SE", "CrossFormerBlock 4 7 8 True", "CrossFormerBlock 4 7 8 False"]
    assert type(cases.cases([["Residual", "SE"]])[0].build("P5", 64, 1)[0].fn).__name__ == "SE"


def test_a_wrong_case_is_said_at_once() -> None:
    """A misspelt name would be told after minutes of measuring the others."""
    with pytest.raises(ValueError, match="Write SE"):
        cases.cases(["GCT", "se"])
    with pytest.raises(TypeError, match="num_heads"):
        cases.cases([["DAttention", {"num_head": 2}]])


def test_clips_are_clips() -> None:
    """SIFA would be measured as the identity, which it is on images."""
    module, (x,) = Case(yolo_attn.get("SIFA")).build("P5", 64, 1)
    with cases.as_clips(module), torch.no_grad():
        assert not torch.equal(module(x), x)


# ------------------------------------------------------------------------------------------------------ memory


def test_peak_of_known_allocations(capfd) -> None:
    """Peak memory would be a sum, or what is left at the end, or hold what was there before."""
    x = torch.zeros(MIB)  # 4 MiB

    def call() -> None:
        a = x + 1  # 4
        b = a + 1  # 8
        del a
        c = torch.cat([b, b])  # 12
        del b
        c.add_(1)  # 8

    assert memory.peak(call, CPU) == pytest.approx(12 * MIB, rel=1e-3)
    assert memory.peak(lambda: x.sum(), CPU) < 1000
    assert capfd.readouterr().err == ""


def test_the_matrix_of_attention_is_seen() -> None:
    """The figure that tells attention with a matrix from that without would not tell them apart."""
    module, x = Case(yolo_attn.get("DAttention")).build("P4", 640, 1)
    taken = memory.peak(partial(timing._forward, published(module).eval(), x, setting()), CPU)
    assert taken >= 2 * 8 * 1600**2 * 4  # logits and weights of 8 heads


def test_traffic() -> None:
    """A module would seem to be limited by memory that no operation goes through, or that a product does."""

    def traffic(call: Callable[[], object]) -> int:
        return work.work_of(call).nbytes

    a, b = torch.randn(2, 64, 64).unbind(0)
    matrix = 4 * 64 * 64
    assert traffic(lambda: a.t().contiguous()) == 2 * matrix  # a copy
    assert traffic(lambda: a.view(-1).expand(5, -1)) == 0
    assert traffic(lambda: torch.empty(3, 64)) == 0
    assert traffic(lambda: (a @ b, nn.functional.conv2d(a[None, None], b[None, None]))) == 0
    assert traffic(lambda: nn.functional.scaled_dot_product_attention(a[None], a[None], b[None])) == 0
    assert traffic(lambda: torch.add(a, b)) == 3 * matrix
    row = torch.randn(1, 64)
    assert traffic(lambda: row.expand(64, -1) + b) == 2 * matrix + matrix / 64


def test_products() -> None:
    """A module would seem to be limited by other products than its own: of another shape, layout or number."""
    a, b = torch.randn(6, 4), torch.randn(4, 9)
    bias = torch.randn(9).expand(6, 9)
    image, kernel = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last), torch.randn(5, 3, 3, 3)

    def call() -> None:
        _ = a @ b, a @ b, b.t() @ a.t(), torch.addmm(bias, a, b), torch.zeros(0, 4) @ b
        nn.functional.conv2d(image, kernel, stride=2, padding=1).relu()
        nn.functional.scaled_dot_product_attention(a[None, None], *torch.randn(2, 1, 1, 7, 4))

    found = work.work_of(call)
    assert found.attention_gflops == pytest.approx(2e-9 * 6 * 7 * (4 + 4))
    assert sorted(found.calls.values()) == [1, 1, 1, 1, 2]
    again = work.work_of(found.products())
    assert again.calls == found.calls and not again.attention_gflops and not again.nbytes


def test_room_is_foreseen() -> None:
    """A published form would take more memory than there is, and the process be killed."""
    assert memory.fits([], 0)
    assert memory.fits([10], 230) and not memory.fits([10], 220)  # 16 times 10 in 70 %
    assert memory.fits([10, 40], 230) and not memory.fits([10, 40], 220)  # 4 times more again
    assert not memory.fits([1, 100], 2000)  # no more than 16 times more


def test_what_has_no_room_is_left_out(untimed, monkeypatch) -> None:
    """The small maps of such a form would be lost with the large ones, or ours with it."""
    monkeypatch.setattr(timing, "fits", lambda known, free: len(known) < 2)
    found = timing.rows(Case(yolo_attn.get("DAttention")), setting())
    assert ["forward_ratio" in row for row in found] == [True, True, False]
    assert [row["level"] for row in found] == list(LEVELS) and "forward_ms" not in found[2]


# ------------------------------------------------------------------------------------------------------ figures


def test_rows_of_a_module(untimed) -> None:
    """A figure would be put down to the other form, or to the other of forward and step."""
    small, *_, large = timing.rows(Case(yolo_attn.get("DAttention")), setting(imgsz=128, seconds=0.5))
    step = (["ours", "published"], 1.0, timing.ROUNDS)
    forward = ([*step[0], "product", "copy", "products"], 2.5, timing.ROUNDS)
    assert untimed["calls"] == [forward, step] * 3
    for mode in ("forward", "step"):
        assert (large[f"{mode}_ms"], large[f"published_{mode}_ms"], large[f"{mode}_ratio"]) == (1, 2, 2)
        ours, theirs = large[f"{mode}_peak_mib"], large[f"published_{mode}_peak_mib"]
        assert large[f"{mode}_memory_ratio"] == pytest.approx(theirs / ours) and theirs != ours > 0
    assert large["step_peak_mib"] > large["forward_peak_mib"]
    assert (large["channels"], large["height"], large["width"], large["level"]) == (64, 16, 16, "P3")
    assert large["forward_of_product"] == pytest.approx(3 * large["gflops"] / (2 * timing.PRODUCT["cpu"] ** 3 / 1e9))
    module, x = Case(yolo_attn.get("DAttention")).build("P3", 128, 1)
    done = work.work_of(partial(timing._forward, module.eval(), x, setting()))
    beside = 4 * done.nbytes / (2 * 4 * timing.COPIED["cpu"] ** 2)
    inside = large["forward_of_product"] * done.attention_gflops / large["gflops"]
    assert large["forward_of_limit"] == pytest.approx(5 + inside + beside, rel=1e-3) and inside
    assert small["gflops"] != large["gflops"] > 0


def test_rows_of_a_module_without_published_form(untimed) -> None:
    """A module would be compared with itself."""
    for row in timing.rows(Case(yolo_attn.get("SK")), setting()):
        assert "forward_ms" in row and not any("ratio" in key or "published" in key for key in row)


def test_modes_of_measurement() -> None:
    """Forward would be timed with a graph behind it, or in training mode; a step without the gradient of its input."""
    seen = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * self.weight
            seen.append((self.training, y.requires_grad, y.dtype))
            if y.requires_grad:
                y.register_hook(lambda g: seen.append(("backward", x.requires_grad, g.dtype)))
            return y

    timing._forward(Watched().eval(), [torch.ones(2, 2)], setting())
    timing._step(Watched().train(), [torch.ones(2, 2)], setting())
    kind = torch.float32
    assert seen == [(False, False, kind), (True, True, kind), ("backward", True, kind)]


def test_modes_of_both_forms(untimed, monkeypatch) -> None:
    """Steps would be without dropout and the statistics of a batch, or predictions with them."""
    seen = set()
    for name in ("_forward", "_step"):
        monkeypatch.setattr(timing, name, lambda module, *_, name=name: seen.add((name, module.training)))
    timing.rows(Case(yolo_attn.get("SE")), setting())
    assert seen == {("_forward", False), ("_step", True)}


def test_long_calls_are_not_warmed_up(monkeypatch) -> None:
    """A benchmark with an attention matrix of P3 would last three times as long, or short calls be timed cold."""
    short, long, slow = [], [], []
    monkeypatch.setattr(
        timing.Once, "timeit", lambda once, number: once.call() or SimpleNamespace(mean=once.call.args[1])
    )
    calls = {"short": partial(list.append, short, timing.LONG / 2), "long": partial(list.append, long, timing.LONG * 2)}
    found = setting().times(calls)
    assert len(long) == 1 + 1 + timing.ROUNDS and len(short) == 1 + 3 * (1 + timing.ROUNDS)
    assert found["long"].median_ms == pytest.approx(2e3 * timing.LONG)
    setting().times({"slow": partial(list.append, slow, timing.SLOW)})
    assert len(slow) == 1 + 1 + timing.FEW


def test_time_of_one_call() -> None:
    """The time would be in other units than Timer's, or of no call."""
    import time

    assert 0.02 <= timing.Once(partial(time.sleep, 0.02)).timeit(1).mean < 2


def test_half_precision_is_autocast() -> None:
    """Figures said to be of half precision would be of float32."""
    layer = nn.Linear(2, 2)
    with setting(dtype="bfloat16").autocast():
        assert layer(torch.ones(1, 2)).dtype is torch.bfloat16
    with setting().autocast():
        assert layer(torch.ones(1, 2)).dtype is torch.float32


def test_rate_of_a_product(untimed) -> None:
    """Shares of the rate would be off by a factor: two FLOPs for each multiply-add, and 1e9 in a GFLOP."""
    n = timing.PRODUCT["cpu"]
    assert timing.matrix_rate(setting()) == pytest.approx(2 * n**3 / 1e9 / 1e-3)


def test_rows_of_models(untimed) -> None:
    """A model would be compared with another one than the stock model, or without its loss or build."""
    names = models.named("yolov8n-gct.yaml")
    assert names == ["yolov8n.yaml", "yolov8n-gct.yaml"]
    stock, gct = models.rows(names, setting())
    assert stock["parameters"] == 3_157_200 and gct["parameters"] > stock["parameters"]
    for mode in ("forward", "step", "build"):
        assert (stock[f"{mode}_ratio"], gct[f"{mode}_ratio"], gct[f"{mode}_ms"]) == (1, 2, 2)
    assert gct["step_peak_mib"] > gct["forward_peak_mib"] > 0
    assert [calls for calls, *_ in untimed["calls"]] == [names] * 3


def test_models_by_default() -> None:
    """A packaged detector would not be measured, or one with another head be."""
    names = models.named(None)
    assert names[0] == "yolov8n.yaml" and {"yolov8n-dattn.yaml", "yolov8n-se.yaml", "yolov8n-sifa.yaml"} < set(names)
    assert "yolov8n-slpt-pose.yaml" not in names and len(names) > 20
    with pytest.raises(FileNotFoundError, match="yolov8-nothing"):
        models.named("yolov8n-nothing.yaml")


def test_import_is_timed_without_the_plugin(monkeypatch) -> None:
    """The time of Ultralytics alone would hold the plugin's, which its start-up file imports; or one start decide."""
    times = iter([900, 900, 1, 5, 2, 7, 30, 6])

    def fresh(command: list[str], env: dict[str, str], **_: object) -> SimpleNamespace:
        assert env["YOLO_ATTN_AUTOLOAD"] == "0" and command[0] == sys.executable
        return SimpleNamespace(stdout=f"{'yolo_attn' in command[2]}\n{next(times)}\n")

    monkeypatch.setattr(startup.subprocess, "run", fresh)
    monkeypatch.setattr(startup, "ROUNDS", 3)
    assert startup.import_ms() == {"ultralytics": 2, "yolo_attn": 6}


# ------------------------------------------------------------------------------------------------- what is said


def rows(name: str, power: float, **more: float) -> list[dict]:
    return [
        {
            **{"name": name, "level": level, "channels": c, "height": 640 // s, "width": 640 // s, "gflops": 0.5},
            **{"forward_ms": 3.0 * (640 // s) ** (2 * power), "forward_iqr_ms": 0.1, **more},
        }
        for level, (s, c) in LEVELS.items()
    ]


def result(**other: object) -> run.Result:
    return run.Result(
        **{"setting": setting(), "rate": 100.0, "modules": rows("SE", 0.5), "models": [], "startup": {}, **other}
    )


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_slope(power: float) -> None:
    """The slope would be that over the side of a map, or of logarithms of different bases."""
    assert plots.slope(rows("SE", power), "forward_ms") == pytest.approx(power, abs=1e-9)


def test_files(tmp_path: Path) -> None:
    """A second benchmark would overwrite the first one, or a file be missing, empty or left over."""
    for folder in ("cpu", "cpu-2"):
        run.save(result(), tmp_path / "cpu", "yolo-attn bench", tmp_path / "docs.md")
        assert sorted(p.name for p in (tmp_path / folder).iterdir()) == ["bench.csv", "bench.md", "bench.png"]
    assert (tmp_path / "cpu" / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "docs.md").read_text() == (tmp_path / "cpu" / "bench.md").read_text()
    with open(tmp_path / "cpu" / "bench.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["level"] for row in table] == ["P5", "P4", "P3"] and float(table[0]["forward_ms"]) == pytest.approx(60)
    assert table[0]["kind"] == "module" and table[0]["forward_ratio"] == "" and table[0]["dtype"] == "float32"


def test_columns_hold_every_figure(untimed) -> None:
    """A figure would be measured and not written."""
    found = timing.rows(Case(yolo_attn.get("SE")), setting()) + models.rows(["yolov8n.yaml"], setting())
    assert {key for row in found for key in row} | {"kind", "device", "dtype", "batch", "threads"} == set(
        wording.COLUMNS
    )


def test_tables() -> None:
    """A figure would stand in another one's column."""
    row = {
        "step_ms": 123.4,
        "step_iqr_ms": 0.0123,
        "forward_peak_mib": 7.04,
        "step_peak_mib": 8.06,
        "forward_of_product": 0.615,
        "forward_of_limit": 0.71,
    }
    row |= {"forward_ratio": 2.344, "step_ratio": 1.5, "forward_memory_ratio": 9.96, "step_memory_ratio": 4.0}
    line = wording.modules(rows("SE", 0.0, **row)).splitlines()[2]
    expected = "SE|P5 256x20x20|3 (0.1)|123 (0.012)|7.0|8.1|0.500|62%|71%|2.34|1.50|10.0|4.0"
    assert [cell.strip() for cell in line.strip("|").split("|")] == expected.split("|")
    whole = {
        "name": "yolov8n.yaml",
        "parameters": 3157200,
        "gflops": 8.7,
        "forward_ms": 50.0,
        "forward_iqr_ms": 1.0,
        "forward_ratio": 1.0,
    }
    assert "| 3,157,200" in (said := wording.models([whole])) and "50 (1)" in said and "1.000" in said


def test_what_is_said_of_the_machine() -> None:
    """Figures would stand without the card, the thread or the releases that they belong to."""
    said = wording.markdown(
        "yolo-attn bench", result(startup={"ultralytics": 900.0, "yolo_attn": 950.4}).parts("github")
    )
    for part in (
        "1 CPU thread;",
        "float32",
        f"torch {torch.__version__}",
        "ultralytics 8",
        "100 GFLOP/s",
        "+50 ms",
        "`yolo-attn bench`",
    ):
        assert part in said


@pytest.mark.parametrize("ratio, share, told", [
    (1.2, 0.7, "SE P3 (1.20, 70%) reach at least 60%"), (1.2, 0.3, "SE P3 (1.20, 30%) stay below 60%"),
    (1.6, 0.3, None),
])  # fmt: skip
def test_limits(ratio: float, share: float, told: str | None) -> None:
    """A module that is no faster than published would have no reason, or the wrong one."""
    said = " ".join(result(modules=rows("SE", 0.5, forward_ratio=ratio, forward_of_limit=share)).parts("github"))
    assert told in said if told else "stay below" not in said and "reach at least" not in said


def test_picture_of_one_map_and_of_two_forms(tmp_path: Path) -> None:
    """A map that stands alone, or a form without figures, would stop the picture."""
    some = [*rows("SE", 0.5, published_forward_ms=4.0)[:1], {**rows("GCT", 1)[2], "step_ms": 2.0}]
    with open(tmp_path / "a.png", "wb") as file:
        plots.draw(some, file)
    assert (tmp_path / "a.png").stat().st_size > 10_000


# --------------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    "given, said",
    [
        ({"imgsz": 100}, "imgsz: a multiple of 32 is needed, got 100. Write imgsz=128."),
        ({"imgsz": 0}, "imgsz: a whole number from 1"),
        ({"batch": 1.5}, "batch: a whole number from 1"),
        ({"threads": True}, "threads: a whole number from 1"),
        ({"seconds": 0}, "seconds: a number above 0"),
        ({"dtype": "half"}, "dtype: one of float32, bfloat16, float16 is needed, got 'half'"),
        ({"device": "gpu"}, "device: cpu or the number"),
        ({"write": "nowhere/bench.md"}, "write: there is no folder nowhere"),
        ({"write": "."}, "write: a file is needed, got the folder"),
        ({"write": "/dev/null" if Path("/dev/null").exists() else "."}, "write: "),
        ({"project": "broken.yaml"}, "project: nothing can be written into"),
        ({"name": "../elsewhere"}, "name: the name of a folder is needed, got '../elsewhere'"),
        ({"threads": 10**6}, "threads: there are"),
        ({"modules": [[]]}, "a module must be named by a text, got []"),
        ({"modules": "Nothing"}, "there is no module named 'Nothing'"),
        ({"modules": []}, "modules: a name or a list of them is needed, got []"),
        ({"modules": 3}, "modules: a name or a list of them is needed, got 3"),
        ({"models": "nothing.yaml"}, "nothing.yaml"),
        ({"models": "yolov8n.pt"}, "models: a model YAML is needed, got 'yolov8n.pt'"),
        ({"models": [8]}, "models: a model YAML is needed, got 8"),
        ({"models": []}, "models: a YAML or a list of them is needed, got []"),
        ({"models": "broken.yaml"}, "there is no module named 'SEE'"),
    ],
)
def test_impossible_arguments(given: dict, said: str, monkeypatch, tmp_path: Path) -> None:
    """A mistake would be told after minutes, or not in words."""
    monkeypatch.setattr(run, "run", lambda *_, **__: pytest.fail("it ran"))
    monkeypatch.chdir(tmp_path)
    rows = "backbone: [[-1, 1, SEE, []]]\nhead: [[[0], 1, Detect, [nc]]]\n"
    Path("broken.yaml").write_text(f"nc: 2\nscales: {{n: [1, 1, 64]}}\n{rows}", "utf-8")
    with pytest.raises((TypeError, ValueError, OSError)) as error:
        yolo_attn.bench(**given)
    assert said in str(error.value)


def test_what_is_measured(monkeypatch, tmp_path: Path) -> None:
    """Naming modules would measure all models too, or the other way round."""
    asked = []

    def note(todo: list[Case], names: list[str], on: timing.Setting, with_import: bool) -> run.Result:
        asked.append((len(todo), len(names), with_import))
        return result()

    monkeypatch.setattr(run, "run", note)
    for given in ({"modules": ["SE", "GCT"]}, {"models": "yolov8n-se.yaml"}, {}):
        yolo_attn.bench(**given, device="cpu", project=str(tmp_path))
    assert asked[:2] == [(2, 0, False), (0, 2, False)]
    assert asked[2][0] > len(NAMES) and asked[2][1] > 20 and asked[2][2]


def test_an_interrupted_benchmark_leaves_nothing(monkeypatch, tmp_path: Path) -> None:
    """Ctrl-C would leave a folder with half of the figures."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(timing, "rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        yolo_attn.bench("SE", device="cpu", seconds=0.001, project=str(tmp_path / "bench"))
    assert not list(tmp_path.iterdir())


def test_a_module_that_fails(monkeypatch, tmp_path: Path, untimed) -> None:
    """One module would take all other figures with it, or its failure go unnoticed."""
    build = Case.build

    def failing(case: Case, level: str, imgsz: int, batch: int):
        if case.spec.name == "GCT" and imgsz > 32:
            raise RuntimeError("no such kernel")
        return build(case, level, imgsz, batch)

    monkeypatch.setattr(Case, "build", failing)
    found = yolo_attn.bench(["GCT", "SE"], 64, "cpu", project=str(tmp_path))
    assert [row["name"] for row in found] == ["GCT", "SE", "SE", "SE"] and found[0]["failed"]
    assert len(list(tmp_path.glob("*/bench.png"))) == 1
    with pytest.raises(RuntimeError, match="nothing could be measured, and nothing was written"):
        yolo_attn.bench("GCT", 64, "cpu", project=str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1


def test_models_that_fail(monkeypatch, tmp_path: Path, untimed) -> None:
    """One model would take the figures of all modules with it, those of many minutes."""

    def failing(*_: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(models, "rows", failing)
    found = yolo_attn.bench("SE", 32, "cpu", models="yolov8n-se.yaml", project=str(tmp_path))
    assert [row.get("failed") for row in found] == [None] * 3 + [True] * 2
    assert found[-1]["name"] == "yolov8n-se.yaml" and len(list(tmp_path.glob("*/bench.png"))) == 1


def test_function_beside_its_package() -> None:
    """`yolo_attn.bench` would be a package after its first use."""
    assert yolo_attn.bench is yolo_attn.bench and callable(yolo_attn.bench) and FORMS


def test_command(run, tmp_path: Path) -> None:
    """The command line would not reach it."""
    done = run(
        *("yolo-attn", "bench", "modules=[SE, [DAttention, {pe: table}]]", "imgsz=32"),
        *("device=cpu", "seconds=0.01", "write=docs.md", "name=try"),
    )
    assert {p.name for p in (tmp_path / "runs" / "bench" / "try").iterdir()} == {"bench.csv", "bench.md", "bench.png"}
    said = (tmp_path / "docs.md").read_text()
    assert "DAttention pe=table" in said and "GFLOP/s" in said
    assert "DAttention pe=table" in done.stdout + done.stderr
    assert "`yolo-attn bench 'modules=[" in said
