"""Every attention layer of timm as a row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register, suggest
from ._checks import odd, pair, positive
from ._norm import lenient

# timm.layers.create_attn has no list of its names; those that a newer timm adds are possible too
LAYERS = (
    "bat", "bottleneck", "cbam", "ceca", "coord", "eca", "ecam", "ela", "ese", "gc", "gca", "ge", "halo", "lambda",
    "lcbam", "nl", "scoord", "se", "sk", "splat", "strip",
)  # fmt: skip
FIXED = ("dim_out", "out_channels", "padding", "stride", "device", "dtype")  # a row keeps the channels and the size
ODD = ("r", "kernel_size", "spatial_kernel_size")  # or the size would change
BLOCKS = {"halo": 8, "bat": 7}  # block_size by default
FEAT_SIZE = 20  # the last map of a detector, for an image of 640 pixels


@register(
    paper="timm",
    year=2021,
    kind="wrapper",
    known_as=(
        "create_attn",
        "HaloAttn",
        "LambdaLayer",
        "SplitAttn",
        "BottleneckAttn",
        "BatNonLocalAttn",
    ),
    tiny=(16, "cbam"),
    rest="options",
    example=("cbam",),
    licence="Apache-2.0",
)
class TimmAttn(nn.Module):
    """A layer of timm by its name there: se, ese, eca, ge, gc, cbam, coord, ela, strip, sk, splat, lambda, halo, ...

    Args:
        dim: Number of channels C.
        layer: Name in timm.layers.create_attn: bat, bottleneck, cbam, ceca, coord, eca, ecam, ela, ese, gc, gca, ge,
            halo, lambda, lcbam, nl, scoord, se, sk, splat or strip.
        options: Keyword arguments of timm's layer, those that keep the channels and the size. A row writes them beside
            `layer`: [TimmAttn, [cbam, {rd_ratio: 0.25}]]. The feat_size of bottleneck is 20 where it is not given.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1. A detector with halo or bat can't be exported to ONNX; nl makes
        the matrix of all pairs of pixels, where NonLocal needs none.

    Raises:
        ValueError: If timm has no such layer, or can't build it for C channels.
        TypeError: If the layer has no such argument.
        ImportError: If timm is not installed.

    References:
        timm (Wightman, 2021), timm.layers.create_attn. Differs: maps of any size: those of halo and bat are filled up
        with zeros to whole blocks, those of bottleneck and of lambda with r: null are scaled to feat_size and back;
        use_mlp of ge is false where it is not given, because timm 1.0.31 can't make it; no error where a BatchNorm sees
        one value per channel in training. A checkpoint holds the name, the options and the weights, and no class of
        timm.
    """

    def __init__(self, dim: int, layer: str, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        positive(self, dim=dim)
        if not isinstance(options, (Mapping, type(None))):
            raise TypeError(
                f"TimmAttn: options must be a mapping, got {options!r}. Name each, such as {{rd_ratio: 0.25}}."
            )
        self.dim, self.options = dim, dict(options or {})
        self.layer = layer.lower() if isinstance(layer, str) else layer  # as timm has it
        self.attn = self._build()

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        if self.layer in BLOCKS:
            block = self.options.get("block_size", BLOCKS[self.layer])
            return self.attn(F.pad(x, (0, -size[1] % block, 0, -size[0] % block)))[:, :, : size[0], : size[1]]
        if (feat_size := self._feat_size()) is None:
            return self.attn(x)
        scaled = self.attn(F.interpolate(x, feat_size, mode="bilinear"))
        return F.interpolate(scaled, size, mode="bilinear")

    def __getstate__(self) -> dict[str, Any]:
        """All that a copy or a checkpoint needs, without timm's classes, which restricted loading does not know."""
        state = {k: v for k, v in vars(self).items() if k != "_modules"}
        kept = self.attn.state_dict(keep_vars=True)
        return {**state, "kept": kept, "frozen": [k for k, v in kept.items() if not v.requires_grad]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state, kept, frozen = dict(state), state["kept"], state["frozen"]
        del state["kept"], state["frozen"]
        nn.Module.__init__(self)
        vars(self).update(state)
        self.attn = self._build().train(self.training)
        self.attn.load_state_dict(kept, assign=True)
        for name, parameter in self.attn.named_parameters():
            parameter.requires_grad_(name not in frozen)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TimmAttn:
        """As for any layer; but the Conv3d of lambda stops a model's .to(memory_format=channels_last) in PyTorch."""

        def as_map(t: Tensor) -> Tensor:
            return fn(t.flatten(3)).view(t.shape) if t.ndim == 5 else fn(t)

        return super()._apply(as_map, recurse)

    def _feat_size(self) -> tuple[int, int] | None:
        """The only size that the layer takes, or None."""
        given = self.options
        if self.layer == "bottleneck" or (self.layer == "lambda" and given.get("r", 9) is None):
            return pair(self, feat_size=given.get("feat_size", FEAT_SIZE))
        return None

    def _build(self) -> nn.Module:
        """timm's layer."""
        factory = self._factory()
        possible = [p for p in [*inspect.signature(factory).parameters][1:] if p not in (*FIXED, "_")]
        for key in self.options:
            if key not in possible:
                why = " A row keeps channels and size." if key in FIXED else suggest(str(key), possible)
                raise TypeError(f"TimmAttn: timm's {self.layer} has no {key!r} here.{why} Choose of {possible}.")
        if self.layer in BLOCKS:
            positive(self, block_size=self.options.get("block_size", BLOCKS[self.layer]))
        for key in ODD:
            if not isinstance(value := self.options.get(key), (list, tuple, type(None))):
                odd(self, **{key: value})
        size = self._feat_size()
        options = {"use_mlp": False, **self.options} if self.layer == "ge" else self.options
        if size is not None:
            options = {**options, "feat_size": size}
        try:
            return lenient(factory(self.dim, **options))
        except (
            AssertionError,
            AttributeError,
            ArithmeticError,
            KeyError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise ValueError(
                f"TimmAttn: timm can't make {self.layer} of {self.dim} channels and {self.options}: "
                f"{str(error) or type(error).__name__}. Choose other options or another layer."
            ) from error

    def _factory(self) -> Callable[..., nn.Module]:
        try:
            from timm.layers.create_attn import get_attn
        except ImportError as error:
            raise ImportError(f"TimmAttn: timm can't be imported, {error}. pip install timm.") from error
        try:
            factory = get_attn(self.layer) if isinstance(self.layer, str) else None
        except AssertionError:
            factory = None
        if factory is None:
            raise ValueError(
                f"TimmAttn: layer must be a name of timm's, got {self.layer!r}.{suggest(str(self.layer), LAYERS)} "
                f"Choose one of {', '.join(LAYERS)}."
            )
        return factory
