"""Memory that a call has to go through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

EMPTY = ("empty", "new_empty", "empty_like", "empty_strided")


def traffic(call: Callable[[], object]) -> int:
    """Bytes that the operations of a call read and write at least, each of its tensors once; products of matrices and
    convolutions, whose limit is another one, apart."""
    with _Traffic() as seen:
        call()
    return seen.nbytes


class _Traffic(TorchDispatchMode):
    """Sums what goes through each operation that runs inside."""

    nbytes = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = operation(*args, **(kwargs or {}))
        name = operation._schema.name
        product = operation.overloadpacket in flop_registry or "scaled_dot_product" in name
        if not (product or operation.is_view or name.removeprefix("aten::") in EMPTY):
            self.nbytes += _nbytes(tree_leaves((args, kwargs))) + _nbytes(tree_leaves(out))
        return out


def _nbytes(values: Iterable[Any]) -> int:
    """Bytes of tensors; of an expanded one those that are there."""
    tensors = [value for value in values if isinstance(value, Tensor) and value.layout is torch.strided]
    return sum(min(each.nbytes, each.untyped_storage().nbytes()) for each in tensors)
