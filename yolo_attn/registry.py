"""The registry: one frozen Spec per module, filled by `@register`. Standard library only."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

KINDS = (
    "channel gate",
    "spatial gate",
    "channel and spatial gate",
    "attention",
    "deformable",
    "convolution",
    "fusion",
    "wrapper",
)
STOCK = "BottleneckCSP|Bottleneck|C1|C2f|C2PSA|C3k2|C3k|C3|SPPF"  # inside which collections put an attention
CHANNEL_RULES = ("same", "out", "fuse", "wrap")
# parse_model, checkpoint loading or export write these on every layer, so a class may not use them for itself.
RESERVED = frozenset({"f", "i", "np", "type", "inplace"})


@dataclass(frozen=True)
class Spec:
    """What the plugin knows of one module.

    Attributes:
        name: The name that a YAML row uses.
        cls: The `torch.nn.Module` class; its first parameter is the number of channels.
        paper: Where the mechanism is defined.
        year: When it was published, 0 where it was not.
        kind: What sort of mechanism it is, one of KINDS; "" where it is none of them.
        known_as: Other names, of the paper's text and code or of collections of modules. A YAML row can't use them; who
            does is told the right one.
        channels: How a row's channels follow from its inputs: "same" (c2 = c1), "out" (the row's first argument is c2,
            scaled by width and max_channels), "fuse" (several inputs; the row's first argument is c2, by default the
            width of the first input; the class takes `in_channels`), "wrap" (the row's arguments are the row of another
            module, inside; c2 = c1), or a function (c1, *arguments) -> c2.
        stride: Name of the constructor argument that divides height and width, rounded up; "" where they stay.
        rest: Name of a constructor argument, a mapping, that takes the keyword arguments of a row that the constructor
            does not name itself; "" where there is none.
        repeats: Whether the class takes the depth-scaled number of repeats itself, as the argument after the channels.
        tiny: Constructor arguments of the smallest instance worth testing.
        example: Arguments of a row that shows the module, where there must be some; "out" and "fuse" show 256 channels,
            and "wrap" SE.
        identity: Whether a new instance passes its input on unchanged, as a gate that starts open does.
        stands_for: Stock class in whose place the module may be put, "*" for any; pretrained layers are aligned by it,
            and give it their tensors of equal name and shape.
        licence: Licence of the official implementation, "none" where it has no licence file, "" where there is no
            implementation or its licence isn't known.
    """

    name: str
    cls: type
    paper: str = ""
    year: int = 0
    kind: str = ""
    known_as: tuple[str, ...] = ()
    channels: str | Callable[..., int] = "same"
    stride: str = ""
    rest: str = ""
    repeats: bool = False
    tiny: tuple = (8,)
    example: tuple = ()
    identity: bool = False
    stands_for: str = ""
    licence: str = ""

    @property
    def full_name(self) -> str:
        """The importable name, which a YAML row may use too."""
        return f"{self.cls.__module__}.{self.cls.__qualname__}"

    @property
    def row(self) -> list[Any]:
        """A row that shows the module."""
        shown = {"out": [256], "fuse": [256], "wrap": ["SE"]}.get(str(self.channels), [])
        return [[-1, 6] if self.channels == "fuse" else -1, 1, self.name, list(self.example) or shown]

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Constructor parameters in order, without self."""
        return dict(inspect.signature(self.cls).parameters)


_specs: dict[str, Spec] = {}
_listeners: list[Callable[[Spec], None]] = []


def register(cls: Any = None, /, *, name: str | None = None, **about: Any) -> Any:
    """Make a `torch.nn.Module` class available to model YAMLs; a class decorator, with or without arguments.

    Args:
        cls: The class, when used as a plain `@register`.
        name: The name in YAML rows; the class name by default.
        **about: The other fields of `Spec`: paper, year, kind, known_as, channels, stride, rest, repeats, tiny,
            example, identity, stands_for, licence.

    Parameters of a class that are no weights, such as factors per channel and tables of positions, are declared in its
    body, `no_weight_decay = ("gamma",)`: names of its own parameters, not of those inside its layers, in a tuple or
    frozenset. They don't decay, and MuSGD doesn't make them orthogonal. It holds for classes of layers inside it too.

    Returns:
        The class, unchanged.

    Raises:
        TypeError: If what is decorated is no torch.nn.Module class, or its constructor lacks an argument that its
            channel rule needs, or takes *args, **kwargs or keyword-only arguments, or no_weight_decay is no tuple or
            frozenset of strings.
        ValueError: If the name is no plain name or taken by another class, the class is registered under another name,
            or it defines a reserved attribute.
    """
    if cls is None:
        return lambda decorated: register(decorated, name=name, **about)
    if not isinstance(cls, type):
        raise TypeError(f"register: a class is needed, got {cls!r}. Write @register above `class ...(nn.Module):`.")
    spec = Spec(name or cls.__name__, cls, **about)
    _check(spec)
    if spec.cls.__module__ == "__main__":
        warnings.warn(
            f"{spec.name} is defined in __main__: checkpoints that hold it load in this program only. "
            "Move the class to a file that can be imported.",
            stacklevel=2,
        )
    _specs[spec.name] = spec
    for told in _listeners:
        told(spec)
    return cls


def _check(spec: Spec) -> None:
    """Refuse what would fail later, inside the host, with a worse message."""

    def refuse(error: type[Exception], what: str) -> None:
        raise error(f"register: {what}")

    name, cls = spec.name, spec.cls
    if not isinstance(name, str) or not name.isidentifier():
        refuse(ValueError, f"name must be a plain name without dots, got {name!r}. Full names come from the file.")
    known, same = _specs.get(name), find(cls)
    if known and known.full_name != spec.full_name:  # a reloaded file or a notebook cell that ran again is no clash
        refuse(
            ValueError, f"{name} is already registered by {known.full_name}. Pass another name, @register(name=...)."
        )
    if same and same.name != name:
        refuse(ValueError, f"{spec.full_name} is already registered as {same.name}. Register a subclass.")
    if not any(base.__module__.startswith("torch.nn.") for base in cls.__mro__):
        refuse(TypeError, f"{name} must be a torch.nn.Module. Derive it from torch.nn.Module.")
    if not callable(spec.channels) and spec.channels not in CHANNEL_RULES:
        rules = ", ".join(CHANNEL_RULES)
        refuse(ValueError, f"channels of {name} must be one of {rules} or a function, got {spec.channels!r}.")
    if spec.kind and spec.kind not in KINDS:
        refuse(ValueError, f"kind of {name} must be one of {', '.join(KINDS)}, got {spec.kind!r}. Or leave it out.")
    if taken := sorted(RESERVED & set(vars(cls))):
        refuse(ValueError, f"{name} must not define {', '.join(taken)}, which Ultralytics overwrites. Rename it.")
    undecayed(cls)
    for parameter in spec.parameters.values():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            refuse(
                TypeError,
                f"{name}({parameter}) must be a plain parameter, because YAML rows pass arguments by position and by "
                "name. Name every argument.",
            )
    for field in ("stride", "rest"):
        if (argument := getattr(spec, field)) and argument not in spec.parameters:
            refuse(TypeError, f"{name} must take {argument}, which is to be its {field}. Add the argument.")
    if spec.channels == "fuse" and "in_channels" not in spec.parameters:
        refuse(TypeError, f"{name} must take in_channels, the widths of its inputs. Add the argument.")
    needed = 1 + (spec.channels == "out") + spec.repeats
    if len(spec.parameters) < needed:
        refuse(
            TypeError,
            f"{name} must take {needed} arguments: the channels of its input"
            f"{', those of its output' if spec.channels == 'out' else ''}{', the repeats' if spec.repeats else ''}.",
        )


def undecayed(cls: type) -> Collection[str]:
    """The names of own parameters that a class declares as `no_weight_decay`.

    Raises:
        TypeError: If they are no tuple or frozenset of strings.
    """
    names = getattr(cls, "no_weight_decay", ())
    if not isinstance(names, (tuple, frozenset)) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"{cls.__name__}: no_weight_decay must be a tuple or frozenset of names of own parameters, got {names!r}. "
            'Write ("gamma",), say.'
        )
    return names


def subscribe(listener: Callable[[Spec], None]) -> None:
    """Call `listener` with every Spec that is registered, those of the past first."""
    for spec in specs():
        listener(spec)
    _listeners.append(listener)


def specs() -> list[Spec]:
    """All Specs, sorted by name."""
    return [_specs[name] for name in names()]


def names() -> list[str]:
    """The names that a YAML row can use, sorted."""
    return sorted(_specs, key=str.lower)


def get(name: str, load: bool = True) -> Spec:
    """The Spec of a module.

    Args:
        name: A registered name (`SE`), the same behind the package (`yolo_attn.SE`), or the importable full name of a
            registered class (`my_package.my_file.MyGate`).
        load: Whether the file of a full name is imported if it is not yet.

    Raises:
        ValueError: If there is no such module. The message suggests the nearest name.
        TypeError: If the name is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"a module must be named by a text, got {name!r}. Write SE, say.")
    if known := find(name):
        return known
    module, _, attribute = name.rpartition(".")
    if not module or module == "yolo_attn" or not all(map(str.isidentifier, name.split("."))):
        raise ValueError(unknown(name))
    if module not in sys.modules:
        if not load:
            raise ValueError(
                f"{name} is not imported: a layer or restricted loading imports nothing. Import {module} before."
            )
        if "__main__" in name.split("."):  # such a file does its work at once, and may end the process
            raise ValueError(f"{name}: a __main__ is no file to import. Move the class to another file.")
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{name}: Python finds no {error.name!r} to import. Install the file that defines it, or put its "
                "folder on PYTHONPATH."
            ) from error
        except (Exception, SystemExit) as error:  # whatever the file does
            raise ValueError(f"{name}: importing {module} failed, {type(error).__name__}: {error}. Mend it.") from error
    found = getattr(sys.modules[module], attribute, None) if load else vars(sys.modules[module]).get(attribute)
    if found is not None and not isinstance(found, str) and (spec := find(found)):
        return spec
    if found is None:
        raise ValueError(f"{module} has no {attribute!r}.{suggest(attribute, vars(sys.modules[module]))}")
    raise ValueError(f"{name} is not registered. Put @yolo_attn.register above the class.")


def find(key: object) -> Spec | None:
    """The Spec of a registered class or short name, or None."""
    if isinstance(key, str):
        return _specs.get(key.removeprefix("yolo_attn."))
    return next((spec for spec in _specs.values() if spec.cls is key), None)


def unknown(name: str, others: Collection[str] = ()) -> str:
    """The message that there is no module of this name; with the row that is meant, or the nearest of all names.

    Args:
        name: What a row says.
        others: Names that are possible beside the registered ones.
    """
    word, found = name.removeprefix("yolo_attn."), meant(name)
    near = f" Write {' or '.join(spec.name for spec in found)}." if found else suggest(word, [*names(), *others])
    if not found and (inside := _inside(word)):
        near = f" Write {' or '.join(spec.name for spec in inside)} as a row of its own behind the other layer."
    return f"there is no module named {name!r}.{near}"


def meant(name: str) -> list[Spec]:
    """The modules that a name of a paper, or of a collection of modules, stands for: several where both use it."""
    word = name.removeprefix("yolo_attn.")
    known = [spec for spec in specs() if word.lower() in map(str.lower, (spec.name, *spec.known_as))]
    own = [spec for spec in specs() if _bare(word) == _bare(spec.name)]
    return known or own or [spec for spec in specs() if _bare(word) in map(_bare, spec.known_as)]


def _inside(word: str) -> list[Spec]:
    """The modules that a name of another layer with one inside stands for, such as C2f_CBAM, C2fSE or CBAM_Neck."""
    parts = re.sub(f"^({STOCK})_?|_?({STOCK})$", "", word), *word.split("_")
    return next((found for part in parts if part != word and (found := meant(part))), [])


def _bare(name: str) -> str:
    """A name without what collections put behind it: SE_Block, SE_block, SELayer and SEAttention are SE."""
    ends = "Attention|Attn|Att|Block|Layer|Module|Net"
    return re.sub(f"(_?({ends})|_({ends.lower()}))+$", "", name).lower() or name.lower()


def suggest(word: str, known) -> str:
    """ " Did you mean ...?" with the nearest of `known`, or an empty string."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(by_lower[each] for each in near)}?" if near else ""
