"""Attention inside windows, regular and shifted: sizes, masks, options and bad arguments."""

from __future__ import annotations

import pytest
import torch

from yolo_attn.modules import LocalAttention, ShiftWindowAttention, window_attention

from .conftest import TOLERANCE
from .reference import REFERENCES
from .tiny import generic


@pytest.fixture(params=[True, False], ids=["pieces", "padded"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of the shapes at hand, or whole ones with padding and masks, as in graphs."""
    monkeypatch.setattr(window_attention, "in_graph", lambda: not request.param)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("size", [(8, 8), (16, 8), (4, 4), (9, 7), (3, 10), (2, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("window, shift", [(4, 0), ((3, 5), 0), (4, 2), (4, 1), (4, 3), ((3, 5), 2)], ids=str)
def test_who_attends_to_whom(window, shift: int, size: tuple[int, int]) -> None:
    """Pixels of different windows, opposite ends of the map or the padding would take part in a pixel's attention."""
    torch.manual_seed(0)
    module = ShiftWindowAttention(8, 2, window, shift) if shift else LocalAttention(8, 2, window)
    module = generic(module).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES[type(module).__name__](module, x), **TOLERANCE[torch.float64])


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_masks_hold_whatever_the_logits(shift: int, dtype: torch.dtype) -> None:
    """Where the logits of a window are far below zero, the padding, whose logits are zero, would get the weight."""
    torch.manual_seed(0)
    module = ShiftWindowAttention(8, 2, 3, shift) if shift else LocalAttention(8, 2, 3)
    with torch.no_grad():
        module.proj_qkv.weight[:16] = 0
        module.proj_qkv.bias[:8], module.proj_qkv.bias[8:16] = 30, -30  # logits of -1800, equal ones
    x = torch.randn(1, 8, 7, 8)
    want = REFERENCES[type(module).__name__](module, x)
    torch.testing.assert_close(module.to(dtype)(x.to(dtype)).float(), want, **TOLERANCE[torch.bfloat16])


@pytest.mark.parametrize(
    "module", [LocalAttention(8, 2, 8), ShiftWindowAttention(8, 2, 8)], ids=lambda m: type(m).__name__
)
def test_memory_grows_with_the_pixels(module) -> None:
    """A large map would need a matrix of all its pixel pairs, here 65 GB."""
    with torch.no_grad():
        assert module(torch.randn(1, 8, 400, 320)).isfinite().all()


def test_default_shift_is_half_a_window() -> None:
    """Windows would be shifted otherwise than by the original, and its weights not fit."""
    assert [ShiftWindowAttention(8, window_size=w).shift_size for w in (7, 8, (5, 3))] == [4, 4, 2]


def test_head_dim_stands_for_num_heads() -> None:
    """Heads of one width at every scale would not be had."""
    assert LocalAttention(64, head_dim=16).num_heads == 4 == ShiftWindowAttention(64, head_dim=16).num_heads


def test_index_follows_as_a_buffer() -> None:
    """Official weights, which hold the index of relative positions, would not load, or it would be cast to half."""
    module = LocalAttention(8, window_size=(2, 3)).half()
    assert module.state_dict()["relative_position_index"].dtype == torch.int64
    assert module.relative_position_index.shape == (6, 6)
    assert module.relative_position_index[0, 0] == 7 and module.relative_position_index[5, 0] == 14  # of 15: 3 x 5


@pytest.mark.parametrize("options", [{"attn_drop": 0.5}, {"proj_drop": 0.5}], ids=str)
@pytest.mark.parametrize("cls", [LocalAttention, ShiftWindowAttention])
def test_dropout_is_for_training(cls: type, options: dict) -> None:
    """Dropout would act in validation, or not in training."""
    x, module, plain = torch.randn(1, 8, 5, 5), cls(8, 2, 3, **options), cls(8, 2, 3)
    plain.load_state_dict(module.state_dict())
    assert torch.equal(module.eval()(x), plain(x)) and not torch.equal(module.train()(x), plain(x))


@pytest.mark.parametrize("make, message", [
    (lambda: LocalAttention(12), "LocalAttention: num_heads must divide dim, got num_heads=8 and dim=12"),
    (lambda: LocalAttention(64, head_dim=48), "head_dim must divide dim, got head_dim=48 and dim=64"),
    (lambda: LocalAttention(64, 5, head_dim=32), "give num_heads or head_dim, got 5 and 32 with 64 channels"),
    (lambda: LocalAttention(64, window_size=0), "window_size must be a positive integer or two of them, got 0"),
    (lambda: LocalAttention(64, window_size=[7, 7, 7]), r"window_size must be .* two of them, got \[7, 7, 7\]"),
    (lambda: LocalAttention(64, attn_drop=2), "attn_drop must be a number from 0 to 1, got 2"),
    (lambda: LocalAttention(64, proj_drop=-1), "proj_drop must be a number from 0 to 1, got -1"),
    (lambda: ShiftWindowAttention(64, shift_size=0), "ShiftWindowAttention: shift_size must be a positive integer"),
    (lambda: ShiftWindowAttention(64, 8, (7, 4), 4), "shift_size must be less than window_size, got 4 and 4"),
    (lambda: ShiftWindowAttention(64, window_size=1), "shift_size must be less than window_size, got 1 and 1"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
