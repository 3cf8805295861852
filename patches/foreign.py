"""Checkpoints of other people's Ultralytics, read as data: nothing that they name is imported, and nothing is run.

A checkpoint is a pickle that names classes and functions. PyTorch's restricted loading is given a stand-in for each of
them, which keeps what it is called with and does nothing. What remains are tensors, numbers, texts, and the tree of
layers that they belong to. Whatever names a function that no model needs is refused.
"""

from __future__ import annotations

import _compat_pickle
import pickletools
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import ultralytics
from torch import Tensor

from ..files import whole
from .host import Model
from .stubs import MISSING, Stub, budget, mapping, plain

DATA = {  # of the standard library, what a checkpoint may name, None for all of a module
    "_codecs": {"encode"},
    "argparse": {"Namespace"},
    "builtins": {
        *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "getattr", "int", "list", "object"),
        *("range", "set", "slice", "str", "tuple"),
    },
    "collections": None,
    "copyreg": {"_reconstructor"},
    "datetime": None,
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "functools": {"partial"},
    "pathlib": None,
    "types": {"SimpleNamespace"},
    "uuid": {"UUID"},
}
DEEPEST = 50  # levels of modules in modules; a model has five or six
LARGEST = 2**28  # bytes of the pickle that names the layers; that of a YOLOv8 has 10**5
LIBRARIES = ("timm", "torch", "torchvision")  # whose layers are there, imported or not
REDEFINED = {  # classes that Ultralytics has, and forks write anew under the same name, by the tensors of Ultralytics'
    "CBAM": {"channel_attention.fc.weight", "channel_attention.fc.bias", "spatial_attention.cv1.weight"},
    "ChannelAttention": {"fc.weight", "fc.bias"},
    "SpatialAttention": {"cv1.weight"},
}
METADATA = ("train_metrics", "train_results", "version")


@dataclass(frozen=True)
class Piece:
    """A layer of a model, or a layer inside one.

    Attributes:
        name: Full name of its class.
        values: Attributes that are numbers, texts, and lists and dictionaries of these.
        tensors: All parameters and buffers by name, those inside too.
        parts: The layers inside, by the name under which the tensors of each begin.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    parts: dict[str, Piece] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The class name alone."""
        return self.name.rpartition(".")[2]

    def kinds(self) -> set[str]:
        """Class names of all layers inside."""
        return {inner for part in self.parts.values() for inner in ({part.kind} | part.kinds())}

    def all(self) -> Iterator[Piece]:
        """This layer and all inside."""
        yield self
        for part in self.parts.values():
            yield from part.all()


@dataclass(frozen=True)
class Foreign:
    """A checkpoint, as data.

    Attributes:
        model: The whole model, from its average of weights where there is one.
        layers: Its layers, by number.
        train_args: What it was trained with.
        metadata: Results of its training.
        dtype: Type of its weights.
    """

    model: Piece
    layers: list[Piece]
    train_args: dict[str, Any]
    metadata: dict[str, Any]
    dtype: torch.dtype


def read(path: Path) -> Foreign:
    """Read a checkpoint of a model of Ultralytics, whatever classes it was saved with.

    Raises:
        ValueError: If the file is no such checkpoint, or names what no model needs.
    """
    saved = _load(path)
    if not isinstance(saved, Mapping):
        raise ValueError(f"{path} holds {_kind(saved)}, no checkpoint of Ultralytics. Give best.pt of a training.")
    source = saved.get("ema") or saved.get("model")
    if _kind(source).startswith("models."):
        raise ValueError(
            f"{path} is a model of YOLOv5 or YOLOv7 ({_kind(source)}), whose rows Ultralytics' YOLOv8 doesn't build. "
            "Train a YOLOv8 with the same module: yolo-attn insert."
        )
    if not isinstance(source, Stub):
        raise ValueError(
            f"{path} holds no model, only {_kind(source)}: layers can't be told from weights alone. Give best.pt of a "
            "training, which holds both."
        )
    left = budget()
    try:
        model = _piece(source, left)
        args = plain(saved.get("train_args") or {}, left)
        metadata = {key: value for key in METADATA if (value := plain(saved.get(key), left)) not in (None, MISSING)}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    layers = model.parts.get("model")
    rows = model.values.get("yaml")
    if layers is None or not isinstance(rows, dict) or not {"backbone", "head"} <= rows.keys():
        raise ValueError(f"{path} is no model that Ultralytics built from a YAML ({model.name}). Give another file.")
    dtypes = [t.dtype for t in model.tensors.values() if t.is_floating_point()]
    return Foreign(
        model,
        list(layers.parts.values()),
        args if isinstance(args, dict) else {},
        metadata,
        max(set(dtypes), key=dtypes.count, default=torch.float32),
    )


def lacking(model: Piece) -> list[str]:
    """Full names of the classes of a model that this Python does not have, or has otherwise; nothing is imported."""
    return sorted({piece.name for piece in model.all() if not _is_here(piece)})


def _is_here(piece: Piece) -> bool:
    """Whether the class of a layer can be taken to be the one that it was saved with."""
    package = piece.name.partition(".")[0]
    if package in LIBRARIES:
        return True
    tensors = REDEFINED.get(piece.kind) if package == "ultralytics" else None
    here = hasattr(sys.modules.get(piece.name.rpartition(".")[0]), piece.kind)
    return here and (tensors is None or tensors == piece.tensors.keys())


def save(model: Model, source: Foreign, out: Path) -> None:
    """Write a model as the checkpoint that a training ends with, whole or not at all."""
    model.args, model.criterion = dict(source.train_args), None
    for parameter in model.parameters():
        parameter.requires_grad = False
    checkpoint = {
        "epoch": -1,
        "best_fitness": None,
        "model": model.to(source.dtype),
        "ema": None,
        "updates": None,
        "optimizer": None,
        "train_args": source.train_args,
        **source.metadata,
        "date": datetime.now().astimezone().isoformat(),
        "version": ultralytics.__version__,
        "license": "AGPL-3.0 (https://ultralytics.com/license)",
        "docs": "https://docs.ultralytics.com",
    }
    with whole(out) as temporary:
        temporary.touch()  # PyTorch's error of a folder that can't be written in doesn't name it
        torch.save(checkpoint, temporary)


def _load(path: Path) -> Any:
    """The content of a checkpoint, with a stand-in for everything that it names."""
    names = _named(path)
    for module, name in sorted(names):
        package = module.partition(".")[0]
        allowed = DATA.get(module, set())
        if package in sys.stdlib_module_names and package != "__main__" and not (allowed is None or name in allowed):
            raise ValueError(
                f"{path} asks for {module}.{name} when it is read, which no model needs: it may want to run something. "
                "Nothing of it was run. Don't open it by other means."
            )
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        torch.serialization.add_safe_globals([_stand_in(*name) for name in names])
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken file gives
        raise ValueError(f"{path} can't be read as data alone: {' '.join(str(error).split())[:300]}") from error
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _named(path: Path) -> set[tuple[str, str]]:
    """Module and name of everything that a checkpoint names, as in the file and as Python 3 calls it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
            if len(members) != 1:
                raise ValueError(f"it must hold one data.pkl, got {len(members)}.")
            if members[0].file_size > LARGEST:
                raise ValueError(
                    f"its data.pkl, which names layers and holds no weights, has {members[0].file_size} bytes."
                )
            content = archive.read(members[0])
        found: set[tuple[str, str]] = set()
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in ("GLOBAL", "INST"):
                module, _, name = str(argument).partition(" ")
                now = _compat_pickle.NAME_MAPPING.get((module, name))
                found |= {(module, name), now or (_compat_pickle.IMPORT_MAPPING.get(module, module), name)}
            elif opcode.name == "STACK_GLOBAL":
                raise ValueError("it is pickled in another form than torch.save writes.")
        return found
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path} is no checkpoint that torch.save has written as a zip file. Give best.pt of a training."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{path} is no checkpoint that torch.save has written: {error} Give best.pt of a training."
        ) from error


def _stand_in(module: str, name: str) -> type:
    return type(name.rpartition(".")[2], (Stub,), {"__module__": module, "__qualname__": name})


def _kind(value: Any) -> str:
    """Full name of what a value is, or was."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _piece(stub: Stub, left: Iterator[int], depth: int = 0) -> Piece:
    """A pickled torch.nn.Module as data."""
    next(left)
    state = stub.state[0] if isinstance(stub.state, tuple) and stub.state else stub.state
    state = state if isinstance(state, Mapping) else {}
    if depth > DEEPEST:
        raise ValueError(f"its layers hold one another more than {DEEPEST} levels deep: it is no model.")
    inside = mapping(state.get("_modules")).items()
    parts = {str(key): _piece(part, left, depth + 1) for key, part in inside if isinstance(part, Stub)}
    passing = plain(state.get("_non_persistent_buffers_set") or (), left)
    own = {**mapping(state.get("_parameters")), **mapping(state.get("_buffers"))}
    tensors = {key: value.detach() for key, value in own.items() if isinstance(value, Tensor) and key not in passing}
    for key, part in parts.items():
        tensors |= {f"{key}.{name}": tensor for name, tensor in part.tensors.items()}
    values = {key: plain(value, left) for key, value in state.items() if not str(key).startswith("_")}
    return Piece(_kind(stub), {k: v for k, v in values.items() if v is not MISSING}, tensors, parts)
