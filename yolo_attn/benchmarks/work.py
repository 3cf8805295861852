"""What a call can't do without: its products of matrices, and the memory that all else goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten
from torch.utils.flop_counter import flop_registry

NOTHING = ("empty", "new_empty", "empty_like", "empty_strided", "_unsafe_view")  # goes through memory
FILLS = ("copy_", "fill_", "zero_")  # don't read what they write into
SHAPES = ("new_", "_like")  # in names of operations that read nothing of their first tensor


@dataclass
class Work:
    """The work of a call.

    Attributes:
        nbytes: Bytes that its operations read and write, each tensor of an operation once; products, convolutions and
            attention, whose limit is another one, apart.
        attention_gflops: GFLOPs of the products inside kernels of attention.
        calls: Its products of matrices and convolutions: how many there are of each.
    """

    nbytes: int = 0
    attention_gflops: float = 0.0
    calls: dict[_Product, int] = field(default_factory=dict)

    def products(self) -> Callable[[], None]:
        """Gives a call of the same products and convolutions, of random numbers, and nothing else."""
        repeated = [(each.operation, *each.arguments(), times) for each, times in self.calls.items()]

        def run() -> None:
            with torch.no_grad():
                for operation, args, kwargs, times in repeated:
                    for _ in range(times):
                        operation(*args, **kwargs)

        return run


def work_of(call: Callable[[], object]) -> Work:
    """The work of a call, which runs once."""
    with _Watch() as watch:
        call()
    return watch.work


class _Watch(TorchDispatchMode):
    """Notes the operations that run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = operation(*args, **kwargs)
        name, work = operation._schema.name.removeprefix("aten::"), self.work
        if "scaled_dot_product" in name:
            q, k, v = args[:3]
            work.attention_gflops += 2e-9 * q.shape[:-1].numel() * k.shape[-2] * (q.shape[-1] + v.shape[-1])
        elif operation.overloadpacket in flop_registry:
            product = _Product.of(operation, args, kwargs)
            work.calls[product] = work.calls.get(product, 0) + 1
        elif not (operation.is_view or name in NOTHING):
            written = {each.name for each in operation._schema.arguments if each.is_out}
            read = tree_leaves((args, {name: value for name, value in kwargs.items() if name not in written}))
            read = read[1:] if name in FILLS or any(part in name for part in SHAPES) else read
            work.nbytes += _nbytes(read) + _nbytes(tree_leaves(out))
        return out


@dataclass(frozen=True)
class _Like:
    """A tensor without its numbers."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, value: Any) -> Any:
        """That of a tensor; anything else as it is."""
        is_tensor = isinstance(value, Tensor)
        return cls(tuple(value.shape), value.stride(), value.dtype, value.device) if is_tensor else value

    def tensor(self) -> Tensor:
        """One with random numbers; as expanded as it was."""
        last = sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True)) if all(self.size) else -1
        numbers = torch.randn(last + 1, device=self.device).to(self.dtype)
        return numbers.as_strided(self.size, self.stride)


@dataclass(frozen=True)
class _Product:
    """A product of matrices or a convolution: the operation, and what it is given, flat."""

    operation: Any
    given: tuple[Any, ...]
    layout: Any = field(compare=False)

    @classmethod
    def of(cls, operation: Any, args: Any, kwargs: Any) -> _Product:
        leaves, layout = tree_flatten((args, kwargs))
        return cls(operation, tuple(map(_Like.of, leaves)), layout)

    def arguments(self) -> tuple[Any, Any]:
        """Positional and named arguments like those."""
        leaves = [each.tensor() if isinstance(each, _Like) else each for each in self.given]
        return tree_unflatten(leaves, self.layout)


def _nbytes(values: Iterable[Any]) -> int:
    """Bytes of tensors, of each once; of an expanded one those that are there."""
    tensors = {id(value): value for value in values if isinstance(value, Tensor) and value.layout is torch.strided}
    return sum(min(each.nbytes, each.untyped_storage().nbytes()) for each in tensors.values())
