"""Effective Squeeze-and-Excitation (Lee and Park, CVPR 2020)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import one_of, positive


@register(
    paper="arXiv:1911.06667",
    year=2020,
    kind="channel gate",
    known_as=("eSEModule", "EfficientSE", "EffectiveSE", "EffectiveSEModule", "EffectiveSqueezeExcite"),
    licence="CC-BY-NC-4.0",
)
class ESE(nn.Module):
    """Effective Squeeze-and-Excitation: a gate per channel from all channels' averages, by one layer of full width.

    Args:
        dim: Number of channels C.
        gate: "hard_sigmoid" or "sigmoid".

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not positive, or the gate is unknown.

    References:
        Lee and Park, CVPR 2020, arXiv:1911.06667 (CenterMask), the eSE of VoVNetV2. Differs: the gate is a hard
        sigmoid, as in the official code (centermask2), where the paper writes a sigmoid.
    """

    def __init__(self, dim: int, gate: str = "hard_sigmoid") -> None:
        super().__init__()
        positive(self, dim=dim)
        one_of(self, "gate", gate, ("hard_sigmoid", "sigmoid"))
        self.gate = gate
        self.fc = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc(x.mean((2, 3), keepdim=True))  # B C 1 1
        return x * (F.hardsigmoid(gate) if self.gate == "hard_sigmoid" else gate.sigmoid())
