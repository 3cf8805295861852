"""parse_model: one branch for registered modules, in front of upstream's own chain."""

from __future__ import annotations

import ast
import inspect
import keyword
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, cast

import ultralytics
from ultralytics.nn import tasks
from ultralytics.utils.ops import make_divisible

from ..registry import Spec, find, get, unknown
from ..rows import build_arguments, check_row, wrapped
from ._wrap import wrap

STEP = "_yolo_attn_step()"
BRANCH = "if _yolo_attn_spec(m): c2, n, args = _yolo_attn_row(m, ch, f, n, args, width, max_channels)"
VARIABLES = {"m", "ch", "f", "n", "args", "c2", "width", "max_channels"}
MOST_REPEATS = 1000  # every one is a layer that is built; a slip of some zeros would take hours and all memory


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
        _at.set(-1)
        try:
            return compiled[0](d, *args, **kwargs)
        except Exception as error:
            i = _at.get()
            row = f", row {i} ({[*d['backbone'], *d['head']][i][2]})" if i >= 0 else ""
            raise _again(error, f"{_where(d)}{row}") from error

    return parse_model


def _again(error: Exception, where: str) -> Exception:
    """The same error with its place in front; of other types, which may want other arguments, a ValueError."""
    kind = "" if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: "
    return (TypeError if isinstance(error, TypeError) else ValueError)(f"{where}: {kind}{error}")


def _where(d: Mapping[str, Any]) -> str:
    """The file of a model, for messages."""
    return str(d.get("yaml_file") or "model")


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
    where = _where(d)
    rows, ours = [], False
    for i, row in enumerate([*d["backbone"], *d["head"]]):
        try:
            check_row(row)
            key = _key(row[2], namespace)
        except (TypeError, ValueError) as error:
            raise _again(error, f"{where}, row {i}") from error
        spec = find(namespace.get(key))
        ours = ours or spec is not None
        try:
            if not isinstance(row[3], (list, tuple)):
                raise TypeError(f"arguments must be a list, got {row[3]!r}. Write [{row[3]!r}].")
            inner, inside = spec, row[3]
            while inner and inner.channels == "wrap":
                inner, inside = wrapped(inner, inside, load=not _restricted()), inside[1:]
        except (TypeError, ValueError) as error:
            raise _again(error, f"{where}, row {i} ({row[2]})") from error
        rows.append([*row[:2], key, [_quoted(a) if spec else a for a in row[3]]])
    if not ours:
        return d, False
    for i, (source, repeats, name, args) in enumerate(rows):
        try:
            _check_sources(source, i)
            _check_repeats(repeats)
            _check_texts(args)
        except ValueError as error:
            raise _again(error, f"{where}, row {i} ({name})") from error
    split = len(d["backbone"])
    return {**d, "backbone": rows[:split], "head": rows[split:]}, True


def _check_sources(source: Any, i: int) -> None:
    """Refuse a `from` that names no layer before layer i."""
    for index in source if isinstance(source, (list, tuple)) else [source]:
        if type(index) is not int or not (-i <= index < i or (i == 0 and index == -1)):
            raise ValueError(
                f"`from` must name an earlier layer, got {index!r}. "
                f"Layers 0 to {i - 1} come before it, and -1 is the last of them."
            )


def _check_repeats(repeats: Any) -> None:
    """Refuse what upstream would take for 1, can't compare, or would build for hours."""
    if type(repeats) is not int or not 1 <= repeats <= MOST_REPEATS:
        raise ValueError(f"repeats must be an integer from 1 to {MOST_REPEATS}, got {repeats!r}. Give such a number.")


def _quoted(argument: Any) -> Any:
    """A word that Python keeps for itself (`lambda`, a layer of timm) in quotes: upstream reads texts as Python."""
    mine = isinstance(argument, str) and keyword.iskeyword(argument) and argument not in ("None", "True", "False")
    return repr(argument) if mine else argument


def _check_texts(args: list[Any]) -> None:
    """Refuse texts that upstream, which reads every text of a row as Python, stumbles over."""
    for text in (a for a in args if isinstance(a, str)):
        try:
            ast.literal_eval(text)
        except (MemoryError, RecursionError, SyntaxError, TypeError) as error:
            raise ValueError(f"argument {text!r} must be a name, a number or a list. Mend it.") from error
        except ValueError:  # a name
            pass


def _key(name: str, namespace: dict[str, Any]) -> str:
    """The key under which upstream finds a row's module."""
    if name in namespace or _is_foreign(name):
        return name
    if "." not in name:
        raise ValueError(unknown(name, [k for k, v in namespace.items() if isinstance(v, type)]))
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


_at: ContextVar[int] = ContextVar("row that is being built", default=-1)


def _step() -> None:
    """What the loop over the rows does first: the row is remembered for messages."""
    _at.set(_at.get() + 1)


def _row(m: type, ch: list[int], f, n: int, args: list, width: float, max_channels: float) -> tuple:
    """What the branch does for a registered class m: c2, n and args of its row."""
    inputs = ch[f] if isinstance(f, int) else [ch[x] for x in f]
    return build_arguments(
        cast(Spec, find(m)), inputs, n, args, lambda c: make_divisible(min(c, max_channels) * width, 8)
    )


def _with_branch(stock: Callable) -> Callable:
    """The stock function with BRANCH in front of its channel chain, compiled in the stock function's own namespace."""
    try:
        code = stock.__code__
        lines, first = inspect.getsourcelines(code)
        tree = ast.parse("".join(lines))
        _insert_branch(tree)
        ast.increment_lineno(tree, first - 1)
        scope: dict[str, Callable] = {}
        stock.__globals__.update(_yolo_attn_step=_step, _yolo_attn_spec=find, _yolo_attn_row=_row)
        exec(compile(tree, code.co_filename, "exec", dont_inherit=True), stock.__globals__, scope)
        return scope[stock.__name__]
    except (LookupError, OSError, SyntaxError) as error:
        raise RuntimeError(
            f"yolo_attn cannot extend {stock.__module__}.parse_model of ultralytics {ultralytics.__version__}: "
            f"{error}. Models without yolo_attn modules work; for these, install a supported version."
        ) from error


def _insert_branch(tree: ast.AST) -> None:
    chains = [
        (loop.body, at)
        for loop in ast.walk(tree)
        if isinstance(loop, ast.For)
        for at, statement in enumerate(loop.body)
        if isinstance(statement, ast.If) and statement.orelse and "c2" in _names(statement)
    ]
    if len(chains) != 1:
        raise LookupError(f"found {len(chains)} channel chains")
    body, at = chains[0]
    if missing := VARIABLES - _names(body[at]):
        raise LookupError(f"the channel chain no longer uses {sorted(missing)}")
    step, branch = ast.parse(f"{STEP}\n{BRANCH}").body
    assert isinstance(branch, ast.If)
    for node in (*ast.walk(step), *ast.walk(branch)):
        ast.copy_location(node, body[at])
    branch.orelse, body[at] = [body[at]], branch
    body.insert(0, step)


def _names(node: ast.AST) -> set[str]:
    return {x.id for x in ast.walk(node) if isinstance(x, ast.Name)}
