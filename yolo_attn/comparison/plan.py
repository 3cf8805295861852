"""What a comparison will do, checked before anything runs: models, controls, seeds and one recipe for all."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import ultralytics
from ultralytics.cfg import DEFAULT_CFG_DICT, get_cfg

from .. import __version__, document, log
from ..measure import flops, parameters
from ..patches import host
from ..patches import weights as checkpoints
from ..places import several
from ..registry import suggest
from .control import control as control_of
from .datasets import Data, check_data
from .formats import one_line
from .machine import Machine

OURS = {
    "seed": "seeds=5 trains with the seeds 0 to 4",
    "save": "the last checkpoint of every run is kept",
    "exist_ok": "the same name= goes on with what it holds",
    "patience": "every run has the full schedule, because a stop that looks at a split favours it",
    "time": "every run has the same number of epochs",
    "model": "models= names them, the baseline first",
    "mode": "every run trains and then validates",
    "task": "the models' heads tell it",
    "cfg": "write its arguments here",
}
TASKS = ("detect", "segment", "pose", "obb")


@dataclass(frozen=True)
class Arm:
    """One model of a comparison.

    Attributes:
        name: File name of its YAML without the ending; that of a control is its candidate's with -control behind it.
        yaml: Text of the YAML, with the one scale that is meant.
        role: "baseline", "candidate" or "control".
        of: The candidate that a control belongs to.
        parameters: Number of parameters, with the data set's classes and the pretrained weights in place.
        gflops: GFLOPs of a forward pass of one image, by torch's counter.
        transferred: Number of the checkpoint's tensors that have their place in the model.
        freeze: Numbers of its layers that are frozen.
    """

    name: str
    yaml: str
    role: str
    of: str = ""
    parameters: int = 0
    gflops: float = 0.0
    transferred: int = 0
    freeze: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A comparison: every arm with every seed, by one recipe.

    Attributes:
        arms: The baseline, the candidates, the controls.
        seeds: Number of seeds, which are 0, 1 and so on.
        test: Name of the candidate that was asked about beforehand, or "".
        recipe: All that must be the same for runs to be comparable, by name.
        train: Ultralytics' train arguments.
        data: The data set.
        pretrained: Path of the checkpoint, or "".
        tensors: Number of its tensors.
        machine: Where the runs are done.
        models: Built models by name, pretrained weights in place.
    """

    arms: tuple[Arm, ...]
    seeds: int
    test: str
    recipe: dict[str, Any]
    train: dict[str, Any]
    data: Data
    pretrained: str
    tensors: int
    machine: Machine
    models: dict[str, Any] = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """What args.yaml keeps of it."""
        arms = [{k: v for k, v in asdict(arm).items() if k not in ("yaml", "freeze")} for arm in self.arms]
        asked = {"test": self.test} if self.test else {}
        return {"recipe": self.recipe, "seeds": self.seeds, **asked, "tensors": self.tensors, "models": arms}


def plan(
    models: str | Sequence[str],
    data: str | Path,
    pretrained: str | Path | None,
    seeds: int,
    control: bool | str | Sequence[str],
    test: str | None,
    machine: Machine,
    train: Mapping[str, Any],
) -> Plan:
    """Check the arguments of a comparison by building everything that it needs.

    Args:
        models, data, pretrained, seeds, control, test: As for `compare`.
        machine: Where the runs are done.
        train: Ultralytics' train arguments.

    Raises:
        ValueError, TypeError: If an argument is not possible.
        FileNotFoundError: If a model, the data set or the checkpoint is missing.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"seeds: a number of at least 1 is needed, got {seeds!r}. Write seeds=5.")
    train = _checked(train)
    dictionaries = _dictionaries(models)
    names = list(dictionaries)
    task = _task(dictionaries)
    chosen = _candidates("control", control, names) if not isinstance(control, bool) else names[1:] * control
    asked = _candidates("test", test, names) if test else []
    if len(asked) > 1:
        raise ValueError(f"test: one candidate can be asked about beforehand, got {test}. Give one.")
    dataset = check_data(data, task, train)
    source, path = _source(pretrained)
    roles = {name: ("candidate" if i else "baseline", "") for i, name in enumerate(names)}
    for name in chosen:
        if (plain := control_of(dictionaries[names[0]], dictionaries[name])) is not None:
            dictionaries[f"{name}-control"], roles[f"{name}-control"] = plain, ("control", name)
        else:
            roles[name] = ("candidate", names[0])  # an identity row is what the baseline has there
    built = {}
    arms = []
    for name, d in log.progress(dictionaries.items(), "building the models"):
        try:
            model, kept = _build({**d, "nc": len(dataset.names)}, source)
            cost = parameters(model), round(flops(model, train.get("imgsz", DEFAULT_CFG_DICT["imgsz"])), 3)
        except Exception as error:  # whatever a module raises that is built or run
            raise ValueError(f"models: {name}: {one_line(error) or type(error).__name__}") from error
        built[name] = model
        freeze = tuple(_frozen(train.get("freeze"), model))
        arms.append(Arm(name, document.dump(_one_scale(d)), *roles[name], *cost, kept, freeze))
    recipe = _recipe(dataset, path, train, machine)
    tensors = len(source.state_dict()) if source is not None else 0
    return Plan(tuple(arms), seeds, asked[0] if asked else "", recipe, train, dataset, path, tensors, machine, built)


def _checked(train: Mapping[str, Any]) -> dict[str, Any]:
    """Ultralytics' train arguments, if they are some and not ours to set."""
    from . import compare

    own = [name for name in inspect.signature(compare).parameters if name != "train"]
    for name in train:
        if name in OURS:
            raise ValueError(f"{name} is not yours to set here: {OURS[name]}.{suggest(name, own)}")
        if name not in DEFAULT_CFG_DICT:
            near = suggest(name, [*own, *(k for k in DEFAULT_CFG_DICT if k not in OURS)])
            raise ValueError(f"there is no argument {name!r}.{near} Those of `yolo train` and {', '.join(own)} are.")
    given = dict(train)
    try:
        get_cfg(overrides=given)
    except (TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"{error}") from error
    batch = given.get("batch", 16)
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch: one number for all models is needed, got {batch!r}. Write batch=16.")
    if not isinstance(size := given.get("imgsz", 640), int) or size < 32:
        raise ValueError(f"imgsz: one number of at least 32 is needed, got {size!r}. Write imgsz=640.")
    return given


def _dictionaries(models: str | Sequence[str]) -> dict[str, dict[str, Any]]:
    """The model dictionaries by name, the baseline first."""
    paths = several("models", _split(models))
    if len(paths) < 2:
        raise ValueError(
            f"models: a baseline and at least one candidate are needed, got {paths[0]}. "
            "Write models=yolov8n.yaml,yolov8n-dattn.yaml."
        )
    found: dict[str, dict[str, Any]] = {}
    for path in map(str, paths):
        if not path.endswith((".yaml", ".yml")):
            raise ValueError(
                f"models: a model YAML is needed, got {path}. All start from one checkpoint, pretrained=yolov8n.pt."
            )
        name = Path(path).stem
        if name in found:
            raise ValueError(f"models: two are called {name}. Rename one: the name tells them apart in the results.")
        found[name] = host.load_yaml(path)
        if name.endswith("-control"):
            raise ValueError(f"models: {name} has the name of a control. Rename it.")
    return found


def _split(given: Any) -> Any:
    """The parts of a text with commas."""
    return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given


def _task(dictionaries: Mapping[str, Mapping[str, Any]]) -> str:
    tasks = {name: host.task_of(d) for name, d in dictionaries.items()}
    if len(set(tasks.values())) > 1:
        listed = ", ".join(f"{name} ({task})" for name, task in tasks.items())
        raise ValueError(f"models: all must have one task, got {listed}. Leave out those of another.")
    task = next(iter(tasks.values()))
    if task not in TASKS:
        raise ValueError(f"models: mAP is compared, of the tasks {', '.join(TASKS)}, got {task}. Take other models.")
    return task


def _candidates(what: str, given: Any, names: Sequence[str]) -> list[str]:
    """Names of candidates, which may be written without the baseline's name in front."""
    short = {name.removeprefix(f"{names[0]}-"): name for name in names[1:]} | {name: name for name in names[1:]}
    found = []
    for each in several(what, _split(given)):
        if each not in short:
            raise ValueError(
                f"{what}: there is no candidate {each!r}.{suggest(str(each), short)} There are {names[1:]}."
            )
        found.append(short[each])
    return found


def _source(pretrained: str | Path | None) -> tuple[Any, str]:
    """The model of the checkpoint, and its path."""
    if not pretrained:
        return None, ""
    if not isinstance(pretrained, (str, Path)) or not str(pretrained).endswith(".pt"):
        raise ValueError(
            f"pretrained: a checkpoint (.pt) is needed, got {pretrained!r}. Leave it out for random weights."
        )
    try:
        yolo = ultralytics.YOLO(str(pretrained))
    except (FileNotFoundError, ConnectionError) as error:
        raise FileNotFoundError(f"pretrained: there is no checkpoint {pretrained}: {error}") from error
    return yolo.model, str(Path(str(yolo.ckpt_path)).resolve())


def _build(d: Mapping[str, Any], source: Any) -> tuple[Any, int]:
    """The model with the pretrained weights, and how many of the checkpoint's tensors found their place."""
    host.measure(d)
    model = host.build(d)
    if source is None:
        return model, 0
    model.load(source, verbose=False)
    return model, checkpoints.placed(model, source)


def _one_scale(d: Mapping[str, Any]) -> dict[str, Any]:
    """The dictionary with the scale that is meant as its only one, so that no file name can choose another."""
    scales = d.get("scales") or {}
    scale = d.get("scale") or next(iter(scales), "")
    return {**d, "scales": {scale: scales[scale]}} if scale in scales else dict(d)


def _frozen(freeze: int | Sequence[int] | None, model: Any) -> list[int]:
    """The stock layers that `freeze` means, by their numbers in a model; what was inserted learns."""
    numbers = range(freeze) if isinstance(freeze, int) else freeze or ()
    return host.stock_layers(numbers, host.inserted(model), len(model.model), host.stand_ins(model))


def _digest(path: str | Path) -> str:
    """The beginning of a file's SHA-256, which tells it from others of its name."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]


def _recipe(data: Data, pretrained: str, train: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    """What must not change between the runs of one comparison."""
    return {
        "data": f"{Path(data.yaml).name} {_digest(data.yaml)}",
        "images": dict(data.images),
        "labels": data.digest,
        "classes": list(data.names),
        "pretrained": f"{Path(pretrained).name} {_digest(pretrained)}" if pretrained else None,
        **{f"train.{name}": list(v) if isinstance(v := train[name], tuple) else v for name in sorted(train)},
        "device": machine.kind,
        "threads": machine.threads,
        "torch": str(torch.__version__),
        "ultralytics": ultralytics.__version__,
        "yolo-attn": __version__,
    }
