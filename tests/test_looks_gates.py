"""Gates are those that a module's result shows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import yolo_attn
import yolo_attn.visualization.run
from yolo_attn.modules import AFF, SK, TimmAttn, iAFF
from yolo_attn.visualization.gates import TIMM
from yolo_attn.visualization.looks import Gates, looks, measured, shows

from .tiny import NAMES, build, generic, inputs

GATES = [name for name in NAMES if "gate" in yolo_attn.get(name).kind and name != "GlobalContext"]  # that is attention


@pytest.mark.parametrize("name", [name for name in GATES if yolo_attn.get(name).kind == "channel gate"])
def test_a_gate_is_exact(name: str) -> None:
    """A picture would show factors that don't give the module's result: its kind is not what the registry says."""
    module, (x,) = build(name), inputs(name, batch=1)
    with torch.no_grad():
        (gates,) = looks(module, x)
        assert gates.map is None
        assert torch.allclose(x * gates.channels[None, :, None, None], module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in GATES if "spatial" in yolo_attn.get(name).kind])
def test_a_gate_of_more_is_the_nearest(name: str) -> None:
    """Another factor per channel or per pixel would be nearer to the module's result."""
    module, (x,) = build(name), inputs(name, batch=1)
    with torch.no_grad():
        (gates,) = looks(module, x)
        y = module(x)
        for values, form in ((gates.channels, (1, -1, 1, 1)), (gates.map, (1, 1, *x.shape[2:]))):
            if values is None:
                assert yolo_attn.get(name).kind == "spatial gate"
                continue
            factor = values.view(form)
            for other in (factor * 1.01, factor * 0.99):
                assert ((y - x * factor) ** 2).sum() < ((y - x * other) ** 2).sum()


@pytest.mark.parametrize(("build_fusion", "logit"), [(AFF, 0.7), (iAFF, -1.2)])
def test_shares_of_a_fusion(build_fusion: type, logit: float) -> None:
    """The share of the second map, or twice the share, would be drawn for that of the first."""
    torch.manual_seed(0)
    module = generic(build_fusion(8, 2))
    last = [getattr(module, n)[-1] for n in ("local_att2", "global_att") if hasattr(module, n)]
    if build_fusion is AFF:
        last.append(module.local_att[-1])
    with torch.no_grad():
        for norm in last:
            norm.weight.zero_(), norm.bias.zero_()
        last[0].bias.fill_(logit)
    (gates,) = looks(module, [torch.randn(1, 8, 6, 5), torch.randn(1, 8, 6, 5)])
    share = torch.tensor(logit).sigmoid()
    assert torch.allclose(gates.channels, share.expand(8), atol=1e-4)
    assert torch.allclose(gates.map, share.expand(6, 5), atol=1e-4)
    assert gates.what == "share of the first map"


def test_shares_of_paths() -> None:
    """The paths of SK would be told in another order, or not as shares."""
    module, (x,) = build("SK"), inputs("SK", batch=1)
    with torch.no_grad():
        found = looks(module, x)
        assert torch.allclose(torch.stack([g.channels for g in found]).sum(0), torch.ones(8))
        module.projections[1].bias.fill_(20)
        assert looks(module, x)[1].channels.min() > 0.99
    assert isinstance(module, SK)


def test_weights_of_channels() -> None:
    """Whom a channel counts for would be drawn, instead of how much it counts."""
    module, (x,) = build("ChannelSelfAttention"), inputs("ChannelSelfAttention", batch=1)
    with torch.no_grad():
        (gates,) = looks(module, x)
        wide = x.flatten(2)[0]
        least = (-(wide @ wide.T)).softmax(1)  # of each channel, a row
        added = (module(x) - x).flatten(2)[0] / module.gamma
    assert torch.allclose(least @ wide, added, atol=1e-3)
    assert torch.allclose(gates.channels, least.mean(0), atol=1e-6)


def test_a_gate_of_a_branch() -> None:
    """The gate of ParNet's third branch would be drawn from something else than it takes part in."""
    module, (x,) = build("ParNet"), inputs("ParNet", batch=1)
    with torch.no_grad():
        (gates,) = looks(module, x)
        rest = module.rbr_dense(x) + module.rbr_1x1(x)
        skip = module.rbr_identity(x)
        assert torch.allclose(module.act(rest + skip * gates.channels[None, :, None, None]), module(x), atol=1e-5)


@pytest.mark.parametrize("layer", ["se", "ese", "cbam", "coord", "gca", "lambda"])
def test_layers_of_timm(layer: str) -> None:
    """Gates would be drawn of a layer that adds or mixes, or none of one that multiplies."""
    torch.manual_seed(0)
    module, x = generic(TimmAttn(16, layer)), torch.randn(1, 16, 7, 5)
    with torch.no_grad():
        found = looks(module, x)
        assert bool(found) == (layer in TIMM)
        if layer in ("se", "ese"):
            assert torch.allclose(x * found[0].channels[None, :, None, None], module(x), rtol=1e-4, atol=1e-5)


def test_nothing_to_multiply() -> None:
    """A channel that is zero would be drawn as closed, or stop the picture."""
    x = torch.randn(1, 3, 4, 4)
    x[:, 1] = 0
    found = measured(x, 0.5 * x, "channel gate")
    assert found.channels[1].isnan() and torch.allclose(found.channels[::2], torch.tensor(0.5))
    assert found.map is None


def test_stock_layers_show_nothing() -> None:
    """Pictures of stock layers would be promised."""
    assert not shows(nn.Conv2d(3, 3, 1)) and looks(nn.Conv2d(3, 3, 1), torch.randn(1, 3, 4, 4)) == []
    assert isinstance(looks(build("SE"), inputs("SE", batch=1)[0])[0], Gates)
