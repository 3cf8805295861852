"""The transformer among landmarks and their local patches (SLPT: Xia et al., CVPR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._checks import boolean, divisible, number, one_of, positive

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class InherentLayer(nn.Module):
    """A layer of the inherent relation: attention among the points, attention to their patches, and an MLP.

    Args:
        dim: Number of channels C of a token.
        num_heads: Number of attention heads.
        hidden_dim: Hidden width of the MLP.
        drop: Dropout of attention weights, of the MLP's hidden layer and of each step's result, in training.
        activation: "relu" or "gelu".
        pre_norm: Whether a step's LayerNorm stands before it, or behind its residual sum.

    Shape:
        Tokens of the points, and of what they look at: (B, K, C) and (B, N, C); result (B, K, C).

    Raises:
        ValueError: If an argument has no meaning, or num_heads doesn't divide dim.

    References:
        Xia et al., CVPR 2022, arXiv:2203.06541, section 3.2. Differs: batch first; the official code has K first.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        hidden_dim: int = 1024,
        drop: float = 0.0,
        activation: str = "relu",
        pre_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, num_heads=num_heads, hidden_dim=hidden_dim)
        divisible(self, "dim", "num_heads", dim=dim, num_heads=num_heads)
        number(self, low=0, high=1, drop=drop)
        one_of(self, "activation", activation, tuple(ACTIVATIONS))
        boolean(self, pre_norm=pre_norm)
        self.pre_norm = pre_norm
        self.self_attn, self.multihead_attn = (
            nn.MultiheadAttention(dim, num_heads, drop, batch_first=True) for _ in range(2)
        )
        self.linear1, self.linear2 = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.act, self.dropout = ACTIVATIONS[activation](), nn.Dropout(drop)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        pos: Tensor | float = 0.0,
        query_pos: Tensor | float = 0.0,
        padding: Tensor | None = None,
    ) -> Tensor:
        """Encodings `pos` and `query_pos` go to keys and queries, never to values; `padding` (B, N) hides tokens."""

        def among_points(x: Tensor) -> Tensor:
            q = x + query_pos
            return self.self_attn(q, q, x, need_weights=False)[0]

        def to_patches(x: Tensor) -> Tensor:
            return self.multihead_attn(x + query_pos, memory + pos, memory, padding, need_weights=False)[0]

        def mlp(x: Tensor) -> Tensor:
            return self.linear2(self.dropout(self.act(self.linear1(x))))

        for norm, step in ((self.norm1, among_points), (self.norm2, to_patches), (self.norm3, mlp)):
            tgt = tgt + self.dropout(step(norm(tgt))) if self.pre_norm else norm(tgt + self.dropout(step(tgt)))
        return tgt


class InherentRelation(nn.Module):
    """The layers, with what a landmark is (`landmark_query`) and where on the object it sits (`structure_encoding`).

    Args:
        num_points: Number of points K.
        dim: Number of channels C of a token.
        num_layers: Number of layers.
        num_heads, hidden_dim, drop, activation, pre_norm: Those of InherentLayer.

    Shape:
        Patch tokens (B, K, C), and tokens (B, K, C) to start from, zeros by default; result (B, num_layers, K, C),
        what every layer gives, through one LayerNorm that all share.

    Raises:
        ValueError: As InherentLayer does.

    References:
        Xia et al., CVPR 2022, arXiv:2203.06541, section 3.2. Differs: the first layer may start from given tokens.
    """

    def __init__(
        self,
        num_points: int,
        dim: int,
        num_layers: int = 6,
        num_heads: int = 8,
        hidden_dim: int = 1024,
        drop: float = 0.0,
        activation: str = "relu",
        pre_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(self, num_points=num_points, dim=dim, num_layers=num_layers)
        self.structure_encoding, self.landmark_query = (
            nn.Parameter(torch.randn(1, num_points, dim)) for _ in range(2)
        )
        layers = (InherentLayer(dim, num_heads, hidden_dim, drop, activation, pre_norm) for _ in range(num_layers))
        self.Transformer_block = nn.ModuleDict({"layers": nn.ModuleList(layers), "norm": nn.LayerNorm(dim)})

    def forward(self, patches: Tensor, tokens: Tensor | None = None) -> Tensor:
        tokens = torch.zeros_like(patches) if tokens is None else tokens
        outputs = []
        for layer in self.Transformer_block["layers"]:
            tokens = layer(tokens, patches, self.structure_encoding, self.landmark_query)
            outputs.append(self.Transformer_block["norm"](tokens))
        return torch.stack(outputs, 1)
