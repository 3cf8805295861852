"""parse_model: one branch for registered modules, in front of upstream's own chain."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import ultralytics
from ultralytics.nn import tasks
from ultralytics.utils.ops import make_divisible

from ..registry import get, names, specs, suggest
from ..rows import build_arguments
from ._wrap import wrap

BRANCH = "if m in _yolo_attn_classes(): c2, n, args = _yolo_attn_row(i, m, ch, f, n, args, width, max_channels)"
VARIABLES = {"m", "ch", "f", "n", "args", "c2", "width", "max_channels"}


def apply() -> None:
    """Extend tasks.parse_model. The stock function runs untouched for YAMLs that name no registered module."""
    wrap(tasks, "parse_model", _extended, everywhere=True)


def _extended(stock: Callable) -> Callable:
    compiled: list[Callable] = []

    def parse_model(d, *args, **kwargs):
        d, ours = resolve(d, vars(tasks))
        if not ours:
            return stock(d, *args, **kwargs)
        if not compiled:
            compiled.append(_with_branch(stock))
        return compiled[0](d, *args, **kwargs)

    return parse_model


def resolve(d: Mapping[str, Any], namespace: dict[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Check the names and indices of a model's rows, before anything is built.

    Args:
        d: The model as a dictionary with backbone and head.
        namespace: Where upstream looks names up. Full names (yolo_attn.PSA, my_package.MyGate) are added to it.

    Returns:
        The dictionary with full names made ready for upstream, and whether any row names a registered module.

    Raises:
        ValueError: If a row is malformed or names an unknown module, or if, in a model with registered modules, `from`
            names a layer that isn't there.
    """
    where = d.get("yaml_file") or "model"
    rows = []
    for i, row in enumerate([*d["backbone"], *d["head"]]):
        if not isinstance(row, (list, tuple)) or len(row) != 4 or not isinstance(row[2], str):
            raise ValueError(f"{where}, row {i}: a row must be [from, repeats, module, arguments], got {row!r}.")
        try:
            rows.append([*row[:2], _key(row[2], namespace), list(row[3])])
        except ValueError as error:
            raise ValueError(f"{where}, row {i}: {error}") from error
    classes = _classes()
    if not any(namespace.get(name) in classes for _, _, name, _ in rows if not _is_foreign(name)):
        return d, False
    for i, (source, *_, name, _) in enumerate(rows):
        for index in source if isinstance(source, (list, tuple)) else [source]:
            if not isinstance(index, int) or not (-i <= index < i or (i == 0 and index == -1)):
                raise ValueError(
                    f"{where}, row {i} ({name}): `from` must name an earlier layer, got {index!r}. "
                    f"Layers 0 to {i - 1} come before it, and -1 is the last of them."
                )
    split = len(d["backbone"])
    return {**d, "backbone": rows[:split], "head": rows[split:]}, True


def _key(name: str, namespace: dict[str, Any]) -> str:
    """The key under which upstream finds a row's module."""
    if name in namespace or _is_foreign(name):
        return name
    if "." not in name:
        near = suggest(name, [*names(), *(k for k, v in namespace.items() if isinstance(v, type))])
        raise ValueError(f"there is no module named {name!r}.{near}")
    key = name.replace(".", "/")  # upstream takes "nn." anywhere in a name for torch.nn
    namespace[key] = get(name, load=not _restricted()).cls
    return key


def _is_foreign(name: str) -> bool:
    """Whether upstream takes the name from torch.nn or torchvision.ops."""
    return name.startswith(("nn.", "torchvision.ops."))


def _restricted() -> bool:
    """Whether a model is being built under restricted loading, where its YAML must not make Python import a file."""
    guard = getattr(tasks, "_SafeLoad", None)
    return guard is not None and guard.restricted()


def _classes() -> dict[type, Any]:
    return {spec.cls: spec for spec in specs()}


def _row(i: int, m: type, ch: list[int], f, n: int, args: list, width: float, max_channels: float) -> tuple:
    """What the branch calls: c2, n and args of row i, whose class m is registered."""
    inputs = ch[f] if isinstance(f, int) else [ch[x] for x in f]
    try:
        return build_arguments(
            _classes()[m], inputs, n, args, lambda c: make_divisible(min(c, max_channels) * width, 8)
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"row {i}: {error}") from error


def _with_branch(stock: Callable) -> Callable:
    """The stock function with BRANCH in front of its channel chain, compiled in the stock function's own namespace."""
    try:
        code = stock.__code__
        lines, first = inspect.getsourcelines(code)
        tree = ast.parse("".join(lines))
        _insert_branch(tree)
        ast.increment_lineno(tree, first - 1)
        scope: dict[str, Callable] = {}
        stock.__globals__.update(_yolo_attn_classes=_classes, _yolo_attn_row=_row)
        exec(compile(tree, code.co_filename, "exec", dont_inherit=True), stock.__globals__, scope)
        return scope[stock.__name__]
    except (LookupError, OSError, SyntaxError) as error:
        raise RuntimeError(
            f"yolo_attn cannot extend {stock.__module__}.parse_model of ultralytics {ultralytics.__version__}: "
            f"{error}. Models without yolo_attn modules work; for these, install a supported version."
        ) from error


def _insert_branch(tree: ast.AST) -> None:
    loops = [x for x in ast.walk(tree) if isinstance(x, ast.For) and {"backbone", "head"} <= _constants(x.iter)]
    chains = [
        (loop.body, at)
        for loop in loops
        for at, statement in enumerate(loop.body)
        if isinstance(statement, ast.If) and statement.orelse and "c2" in _names(statement)
    ]
    if len(chains) != 1:
        raise LookupError(f"found {len(chains)} channel chains")
    body, at = chains[0]
    if missing := VARIABLES - _names(body[at]):
        raise LookupError(f"the channel chain no longer uses {sorted(missing)}")
    branch = ast.parse(BRANCH).body[0]
    assert isinstance(branch, ast.If)
    for node in ast.walk(branch):
        ast.copy_location(node, body[at])
    branch.orelse, body[at] = [body[at]], branch


def _constants(node: ast.AST) -> set[Any]:
    return {x.value for x in ast.walk(node) if isinstance(x, ast.Constant)}


def _names(node: ast.AST) -> set[str]:
    return {x.id for x in ast.walk(node) if isinstance(x, ast.Name)}
