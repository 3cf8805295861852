"""Attention in blocks of rows: the same numbers, in less memory."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from yolo_attn.modules import DAttention, _attention, _by_rows

from .conftest import TOLERANCE
from .contract.test_memory import Largest

BIASES = ("table", "log_cpb")


def generic(pe: str, dtype: torch.dtype = torch.float64, size: int = 6) -> DAttention:
    """A module with a bias that is not all but zero, with 2 groups of 2 heads."""
    torch.manual_seed(0)
    module = DAttention(8, size, 4, 2, 2, 3, 2.0, pe).to(dtype)
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return module


def learn(module: DAttention, x: Tensor) -> list[Tensor]:
    """Result and gradients."""
    x = x.detach().requires_grad_()
    out = module(x)
    return [out, *torch.autograd.grad(out.square().sum(), [x, *module.parameters()])]


@pytest.mark.parametrize("pe", BIASES)
@pytest.mark.parametrize("logits", [1, 200])
def test_same_numbers(pe: str, logits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks would be put together wrongly, or lose a share of a gradient; 5 rows are no whole number of blocks."""
    module, x = generic(pe), torch.randn(2, 8, 5, 7, dtype=torch.float64)
    whole = learn(module, x)
    monkeypatch.setattr(_by_rows, "LOGITS", logits)
    with torch.no_grad():
        torch.testing.assert_close(module(x), whole[0], **TOLERANCE[torch.float64])
    torch.testing.assert_close(learn(module, x), whole, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("frozen", ["rpe_table", "conv_offset", "proj_k", "proj_q", ""])
@pytest.mark.parametrize("pe", BIASES)
def test_frozen_parts(pe: str, frozen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of some layers would stop, or the others' gradients be those of other tensors; "" freezes all."""
    module, x = generic(pe), torch.randn(1, 8, 5, 7, dtype=torch.float64)
    for name, p in module.named_parameters():
        p.requires_grad_(not name.startswith(frozen))

    def gradients() -> list[Tensor]:
        given = [p for p in [*module.parameters(), x.detach().requires_grad_()] if p.requires_grad]
        return [*torch.autograd.grad(module(given[-1]).square().sum(), given)]

    whole = gradients()
    monkeypatch.setattr(_by_rows, "LOGITS", 1)
    torch.testing.assert_close(gradients(), whole, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("pe", BIASES)
def test_mixed_precision_in_blocks(pe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backward, which runs outside of autocast, would compute other weights than the forward."""
    module, x = generic(pe, torch.float32), torch.randn(2, 8, 5, 7)

    def gradients() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out = module(x)
        return torch.cat([g.flatten() for g in torch.autograd.grad(out.float().square().sum(), [*module.parameters()])])

    whole = gradients()
    monkeypatch.setattr(_by_rows, "LOGITS", 1)
    assert (gradients() - whole).norm() <= 0.02 * whole.norm()


@pytest.mark.parametrize("widths", [(8, 8), (4, 11), (24, 40)], ids=str)
@pytest.mark.parametrize("size", [0.1, 3.0, 20.0])
def test_without_the_largest_logit(size: float, widths: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks would be put together wrongly, or exp overflow or vanish where logits are large; 50 queries are no whole
    number of blocks."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, d) for n, d in ((50, widths[0]), (40, widths[0]), (40, widths[1])))
    q, k = size * q, torch.where(torch.arange(40)[:, None] == 7, -k, k)
    want = torch.softmax(q.double() @ k.double().transpose(2, 3) / widths[0] ** 0.5, -1) @ v.double()
    monkeypatch.setattr(_attention, "LOGITS", 7 * 40)
    searched = []
    monkeypatch.setattr(_attention, "_of_small_logits", tracked(_attention._of_small_logits, searched))
    got = _attention.attend(q, k, v)
    torch.testing.assert_close(got.double(), want, **TOLERANCE[torch.float32])
    assert bool(searched) == (size < 20)


def tracked(function: Callable, calls: list) -> Callable:
    def call(*args: Tensor) -> Tensor:
        calls.append(args)
        return function(*args)

    return call


@pytest.mark.parametrize("pe", ["dwc", *BIASES])
def test_dropout(pe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backward would draw other weights to drop than the forward, and gradients belong to another function."""
    monkeypatch.setattr(_by_rows, "LOGITS", 1)
    monkeypatch.setattr(_attention, "DROPPED", 100)  # a query has 64 logits
    module, x = generic(pe).train(), torch.randn(1, 8, 4, 4, dtype=torch.float64)
    module.attn_drop = 0.5

    def dropped(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        return module(x)

    assert torch.autograd.gradcheck(dropped, x.requires_grad_(), fast_mode=True)


def test_dropout_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks would be put together wrongly, weights be dropped alike in all of them, or the rest not be made larger."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 3, 50, 8), torch.randn(2, 3, 40, 8)
    ones = torch.ones(2, 3, 40, 1)
    monkeypatch.setattr(_attention, "DROPPED", 7 * 240)  # of 7 queries: 50 are no whole number of blocks
    kept = _attention.attend(q, k, ones, dropout_p=0.25)
    assert kept.shape == (2, 3, 50, 1) and kept.mean() == pytest.approx(1, abs=0.05)
    assert len(kept.unique()) > 290
    v = torch.randn(2, 3, 40, 8)
    want = _attention.attend(q, k, v)
    torch.testing.assert_close(_attention.attend(q, k, v, dropout_p=1e-9), want, **TOLERANCE[torch.float32])


@pytest.mark.parametrize("learns", [False, True])
def test_dropout_in_linear_memory(learns: bool) -> None:
    """A training on a CPU with dropout would hold all pairs, which only kernels without it don't."""
    module = DAttention(32, num_heads=4, attn_drop=0.1).train()
    with torch.set_grad_enabled(learns), Largest() as seen:
        out = module(torch.randn(1, 32, 40, 40))
        if learns:
            out.sum().backward()
    assert seen.most <= 4 * _attention.DROPPED < 4 * 4 * 1600**2 / 8


HOLES = {  # MiB at 80 x 80, some 1.5 times what they take, and less than half, or 0.7, of what holes would
    "_attention.attend(*torch.randn(3, 1, 1, n * n, 16, requires_grad=True), dropout_p=0.1)": 24,
    "DAttention(64, n, 8, pe='table')(torch.randn(1, 64, n, n))": 500,
    "DAttention(64, n, 8, pe='log_cpb')(torch.randn(1, 64, n, n))": 1150,
    "CrossFormerBlock(64, 8, n, detection=True)(torch.randn(1, 64, n, n))": 400,
    "CrissCross(64)(torch.randn(1, 64, n, n))": 100,
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere, or is missing")
@pytest.mark.parametrize("what", HOLES)
def test_blocks_leave_no_holes_in_memory(what: str, run) -> None:
    """What blocks leave behind would lie between them, and a process grow as if it held all pairs."""
    code = f"""
import resource, torch
from yolo_attn.modules import CrissCross, CrossFormerBlock, DAttention, _attention
torch.set_num_threads(1)
_attention.DROPPED = 2**18
def learn(n):
    {what}.sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = learn(36)
print("grown", learn(80) - before)
"""
    assert int(run("python", "-c", code).stdout.split("grown")[-1]) < 2**10 * HOLES[what]


@pytest.mark.parametrize("amp", [False, True])
def test_gradients_of_dropout_in_blocks(amp: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backward, which runs outside of autocast, would draw other weights to drop than the forward, or move on the
    random numbers of what follows."""
    monkeypatch.setattr(_attention, "DROPPED", 7 * 240)
    q, k, v = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (50, 40, 40))
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        y = _attention.attend(q, k, v, dropout_p=0.5)
    state = torch.get_rng_state()
    (grad,) = torch.autograd.grad(y.double().square().sum() / 2, v)  # y is linear in v
    assert torch.equal(torch.get_rng_state(), state)
    want = y.double().square().sum().item()
    assert (grad.double() * v.double()).sum().item() == pytest.approx(want, rel=2e-2 if amp else 1e-5)


@pytest.mark.parametrize("pe", BIASES)
def test_compiled(pe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks would break the graph of a compiled training."""
    monkeypatch.setattr(_by_rows, "LOGITS", 1)
    torch._dynamo.reset()
    module, x = generic(pe), torch.randn(1, 8, 4, 4, dtype=torch.float64)
    whole = learn(module, x)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(learn(compiled, x)[:2], whole[:2], **TOLERANCE[torch.float64])


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("pe", ["dwc", *BIASES])
def test_no_tensor_of_all_pairs(pe: str, learns: bool) -> None:
    """Memory would grow with the square of the pixels: at 40 x 40 all queries and keys are 1,600 x 1,600 pairs."""
    module = DAttention(32, 40, 4, 1, 1, 3, -1, pe)
    call: Callable = learn if learns else torch.no_grad()(module)
    with Largest() as seen:
        call(*((module, torch.randn(1, 32, 40, 40)) if learns else (torch.randn(1, 32, 40, 40),)))
    hidden = 32 if pe == "log_cpb" else 4
    some = 4 * max(hidden * 40 * 1600, _by_rows.LOGITS)
    assert seen.most <= some < 4 * hidden * 1600**2 / 4


@pytest.mark.parametrize("pe", BIASES)
def test_images_one_by_one(pe: str) -> None:
    """What the bias is made of would be in memory for all images of a batch."""
    module, seen = DAttention(32, 40, 4, 1, 1, 3, -1, pe), []
    for batch in (2, 8):
        with torch.no_grad(), Largest() as largest:
            module(torch.randn(batch, 32, 40, 40))
        seen.append(largest.most)
    assert seen[1] <= max(2 * seen[0], 8 * 4 * 32 * 1600)
