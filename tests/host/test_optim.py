"""The groups of the real optimizer: what does not decay, what Muon leaves alone, faster gates, and resumed runs."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn.tasks import DetectionModel
from yolo_attn.patches import optim

import yolo_attn
from yolo_attn import registry
from yolo_attn.modules import Residual

# An optimizer, and the number of iterations by which "auto" chooses one
OPTIMIZERS = [("AdamW", 100), ("SGD", 100), ("auto", 100), ("auto", 20_000)]
MUON = find_spec("ultralytics.optim") is not None  # from 8.4 on
OPTIMIZERS += [("MuSGD", 100)] * MUON
DECLARED = {  # of each YAML
    "gct": r"model\.10\.(alpha|beta|gamma)",
    "dattn": r"model\.10\.gamma",
    "slpt": r"model\.7\.(gamma|fn\.(initial_points|log_radius|Transformer\.(structure_encoding|landmark_query)))",
    "local": r"model\.10\.(gamma|fn\.relative_position_bias_table)",
    "datblock": r"model\.10\.gamma",
    "depatch": r"model\.\d+\.box_coder\.wh_bias",
    "sifa": r"model\.\d+\.scale\.weight",
}
Settings = dict[str, dict[str, Any]]


@cache
def built(name: str) -> DetectionModel:
    return DetectionModel(f"yolov8n-{name}.yaml" if name else "yolov8n.yaml", verbose=False)


def optimizer(model: nn.Module, name: str, iterations: int = 100, stock: bool = False) -> torch.optim.Optimizer:
    """What Ultralytics makes for a model; without the plugin where stock is set."""
    own = SimpleNamespace(
        args=SimpleNamespace(lr0=0.01, momentum=0.9, warmup_bias_lr=0.1, optimizer=name), data={"nc": 3}
    )
    build = BaseTrainer.build_optimizer.__wrapped__ if stock else BaseTrainer.build_optimizer
    return build(own, model, name=name, lr=0.01, momentum=0.9, decay=5e-4, iterations=iterations)


def settings(model: nn.Module, found: torch.optim.Optimizer) -> Settings:
    """The settings of each parameter's group by the parameter's name; a parameter must be in exactly one."""
    names = {id(p): name for name, p in model.named_parameters()}
    listed = [(names[id(p)], i) for i, group in enumerate(found.param_groups) for p in group["params"]]
    assert sorted(name for name, _ in listed) == sorted(names.values())
    own = {"params", "fused"}  # the latter is read again on resume
    groups = [{k: v for k, v in group.items() if k not in own} for group in found.param_groups]
    first = {} if "param_group" in groups[0] else {"first": True}  # where groups have no names, biases are the first
    return {name: {**groups[i], **(first if i == 0 else {})} for name, i in listed}


@pytest.mark.parametrize("model", DECLARED)
@pytest.mark.parametrize("name, iterations", OPTIMIZERS)
def test_what_is_declared(model: str, name: str, iterations: int) -> None:
    """Gates and tables of positions would be pulled to zero, or made orthogonal as if they were matrices."""
    found = settings(built(model), optimizer(built(model), name, iterations))
    declared = {k: v for k, v in found.items() if re.fullmatch(DECLARED[model], k)}
    assert declared
    for each in declared.values():
        assert each["weight_decay"] == 0 and not each.get("use_muon") and "first" not in each
        assert each.get("param_group", "bn") == "bn"  # a retry after lack of memory lets others decay, by their names
    if name == "MuSGD":
        assert any(each["use_muon"] for each in found.values())


@pytest.mark.parametrize("model", DECLARED)
@pytest.mark.parametrize("name, iterations", OPTIMIZERS)
def test_all_others_are_as_ever(model: str, name: str, iterations: int) -> None:
    """Weights would stop to decay, or biases of stock layers to warm up as Ultralytics wants it."""
    ours, stock = (settings(built(model), optimizer(built(model), name, iterations, s)) for s in (False, True))
    inserted = {f"model.{i}." for i, layer in enumerate(built(model).model) if registry.find(type(layer))}
    for key in ours:
        if not re.fullmatch(DECLARED[model], key):
            if key.startswith(tuple(inserted)):  # their biases warm up like weights
                stock[key].pop("first", None)
                if stock[key].get("param_group") == "bias":
                    stock[key]["param_group"] = "bn"
            assert ours[key] == stock[key], key


@pytest.mark.parametrize("name, iterations", OPTIMIZERS)
def test_gates_learn_faster(name: str, iterations: int) -> None:
    """A gate would stay so small that the module behind it neither acts nor learns."""
    model = built("dattn-neck")
    gates = [f"{k}.gamma" for k, m in model.named_modules() if isinstance(m, Residual)]
    ours, stock = (settings(model, optimizer(model, name, iterations, s)) for s in (False, True))
    factor = {k: ours[k]["lr"] / stock[k]["lr"] for k in ours}
    assert len(gates) == 3 and factor == {k: pytest.approx(optim.GATE_LR_FACTOR if k in gates else 1) for k in ours}


@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_biases_warm_up_from_zero(name: str) -> None:
    """Offsets of deformable modules would be thrown out of the map in the first steps of an explicit optimizer."""
    found = settings(built("msda"), optimizer(built("msda"), name))
    warm = {k for k, v in found.items() if v.get("param_group") == "bias" or "first" in v}
    ours = {
        f"{k}.{n}" for k, m in built("msda").named_modules() if isinstance(m, Residual) for n, _ in m.named_parameters()
    }
    assert warm and not warm & ours
    offsets = found["model.22.fn.sampling_offsets.bias"]
    assert offsets["weight_decay"] == 0 and offsets["lr"] == pytest.approx(0.01)


@pytest.mark.parametrize("name, iterations", OPTIMIZERS)
def test_the_optimizer_of_a_stock_model_is_untouched(name: str, iterations: int) -> None:
    """A vanilla training would be another one with the plugin installed."""
    ours, stock = (optimizer(built(""), name, iterations, s).state_dict() for s in (False, True))
    assert ours == stock


# ------------------------------------------------------------------------------------------ modules of a user


class Factor(nn.Module):
    """A layer that declares, and is not registered itself."""

    no_weight_decay: Any = frozenset({"table", "tables", "gain", "linear"})

    def __init__(self) -> None:
        super().__init__()
        self.table, self.gain, self.linear = nn.Parameter(torch.ones(4, 4)), None, nn.Linear(4, 4)
        self.tables = nn.ParameterList([torch.ones(2, 2, 3, 3)])


class Outer(nn.Module):
    def __init__(self, dim: int = 4) -> None:
        super().__init__()
        self.factor = Factor()


@pytest.fixture
def outer(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setattr(registry, "_listeners", [])
    return yolo_attn.register(Outer)()


def test_a_layer_inside_a_module_declares(outer: nn.Module) -> None:
    """A table, or one of several, in a layer of a user's module would decay; a layer in a table's place would not."""
    found = settings(outer, optimizer(outer, "AdamW"))
    decay = {k: v["weight_decay"] for k, v in found.items()}
    assert decay == {"factor.table": 0, "factor.tables.0": 0, "factor.linear.weight": 5e-4, "factor.linear.bias": 0}


@pytest.mark.parametrize("declared, error, message", [
    (("tabel",), ValueError, "Factor: no_weight_decay must name own parameters, got 'tabel'. Did you mean table?"),
    ("table", TypeError, r"Factor: no_weight_decay must be a tuple or frozenset .*, got 'table'. Write \(\"gamma\",\)"),
])  # fmt: skip
def test_a_wrong_declaration(outer: nn.Module, declared, error, message: str, monkeypatch) -> None:
    """A misspelt name would decay, and nobody would know."""
    monkeypatch.setattr(Factor, "no_weight_decay", declared)
    with pytest.raises(error, match=message):
        optimizer(outer, "AdamW")


def test_a_method_of_timm_is_none_of_ours(outer: nn.Module, monkeypatch) -> None:
    """A user's module with a network of timm inside could not be trained."""
    monkeypatch.setattr(Factor, "no_weight_decay", lambda self: {"blocks.0.table"})
    assert settings(outer, optimizer(outer, "AdamW"))["factor.table"]["weight_decay"] == 5e-4


# ------------------------------------------------------------------------------------------------- a real run


class Killed(Exception):
    pass


def test_a_run_is_resumed(tmp_path: Path) -> None:
    """Warm-up or a resumed run would stop at the groups, or begin them anew."""
    rates: list[dict[str, float]] = []
    states: list[tuple[Settings, torch.Tensor]] = []

    def rate(trainer: Any) -> None:
        rates.append({k: v["lr"] for k, v in settings(trainer.model, trainer.optimizer).items()})

    def kill(trainer: Any) -> None:
        momentum = trainer.optimizer.state[trainer.model.model[10].gamma]["momentum_buffer"]
        states.append((settings(trainer.model, trainer.optimizer), momentum.clone()))
        raise Killed

    options = {"epochs": 2, "imgsz": 64, "batch": 4, "nbs": 4, "fraction": 8 / 384, "workers": 0, "warmup_epochs": 1}
    model = YOLO("yolov8n-local.yaml")
    model.add_callback("on_train_batch_end", rate)
    model.add_callback("on_model_save", kill)
    name = "MuSGD" if MUON else "SGD"
    with pytest.raises(Killed):
        model.train(data="shapes.yaml", optimizer=name, plots=False, val=False, project=str(tmp_path), **options)
    again = YOLO(tmp_path / "train" / "weights" / "last.pt")
    again.add_callback("on_train_start", kill)
    with pytest.raises(Killed):
        again.train(resume=True)
    (first, second), ((before, momentum), (after, restored)) = rates, states
    assert first["model.10.gamma"] == first["model.10.fn.proj_out.bias"] == first["model.0.conv.weight"] == 0
    assert second["model.10.gamma"] == pytest.approx(optim.GATE_LR_FACTOR * second["model.0.bn.weight"])
    assert before == after and momentum.any()
    torch.testing.assert_close(restored, momentum, rtol=1e-3, atol=1e-7)  # a checkpoint holds it in half precision
