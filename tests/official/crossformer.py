"""CrossFormer: cheerss/CrossFormer, with the tokens (B, H W, C) of its interfaces."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from yolo_attn.modules import CrossFormerBlock, CrossFormerStage, CrossScaleEmbed
from yolo_attn.modules.group_attention import DynamicPosBias, GroupAttention

from ..golden import Case
from ..reference import crossformer as reference
from .ours import Ours


def tokens(x: Tensor) -> Tensor:
    return rearrange(x, "b c h w -> b (h w) c")


class OnTokens(nn.Module):
    """One of our modules between tokens, for maps of the size that official code fixes at construction."""

    def __init__(self, module: nn.Module, size) -> None:
        super().__init__()
        self.module, self.size = module, tuple(size)

    def forward(self, x: Tensor, hw: Tensor | None = None) -> Tensor:
        h, w = self.size if hw is None else hw.tolist()
        return tokens(self.module(rearrange(x, "b (h w) c -> b c h w", h=h, w=w)))


class GroupsOf(nn.Module):
    """GroupAttention with the group's size and masks of the official one, images and groups in one dimension."""

    def __init__(self, group_size, **options) -> None:
        super().__init__()
        self.attn, self.group = GroupAttention(**options), tuple(group_size)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        groups = 1 if mask is None else len(mask)
        y = self.attn(rearrange(x, "(b g) m c -> b g m c", g=groups), self.group, None if mask is None else mask == 0)
        return rearrange(y, "b g m c -> (b g) m c")


def pop_unused(official: dict) -> dict:
    """Without stochastic depth, which acts in training only, and what official code ignores."""
    unused = ("drop_path", "act_layer", "norm_layer", "num_patch_size", "impl_type")
    return {k: v for k, v in official.items() if k not in unused}


def block(input_resolution, lsda_flag=0, pad_type=0, use_extra_conv=True, **official):
    module = CrossFormerBlock(
        long_distance=bool(lsda_flag), split_padding=bool(pad_type), use_extra_conv=use_extra_conv,
        **pop_unused(official),
    )  # fmt: skip
    return OnTokens(repeating_filters(module), input_resolution)


def repeating_filters(module: nn.Module) -> nn.Module:
    """Official use_cpe has one filter per row of the map, ours one per channel: take these in turn."""

    def fill(cpe: nn.Conv2d, state: dict, prefix: str, *_) -> None:
        for name in (f"{prefix}weight", f"{prefix}bias"):
            state[name] = state[name][torch.arange(cpe.out_channels) % len(state[name])]

    for each in module.modules():
        if isinstance(each, CrossFormerBlock) and each.cpe is not None:
            each.cpe.register_load_state_dict_pre_hook(fill)
    return module


def detection_block(no_mask=False, pad_type=0, **official):
    return block(detection=True, **official)  # it pads at the bottom and right, and masks, whatever it is told


def embed(img_size=224, patch_size=(4,), in_chans=3, embed_dim=96, norm_layer=None):
    norm = "none" if norm_layer is None else "ln"
    return CrossScaleEmbed(in_chans, embed_dim, list(patch_size), patch_size[0], norm)


def whole_patches(module: CrossScaleEmbed, x: Tensor) -> Tensor:
    """Without the patches that reach over the border, which official code leaves out."""
    s = module.stride
    return tokens(module(x)[:, :, : x.shape[2] // s, : x.shape[3] // s])


def merging(input_resolution, dim, norm_layer=None, patch_size=(2,), num_input_patch_size=1):
    return OnTokens(CrossScaleEmbed(dim, 2 * dim, list(patch_size), 2, "pre_ln"), input_resolution)


class Stage(nn.Module):
    """The blocks of a stage and the embedding layer behind them."""

    def __init__(self, dim: int, depth: int, merge_size, **options) -> None:
        super().__init__()
        self.blocks = repeating_filters(CrossFormerStage(dim, depth, **options).blocks)
        self.downsample = CrossScaleEmbed(dim, 2 * dim, merge_size, 2, "pre_ln") if merge_size else nn.Identity()
        self.downsample.register_load_state_dict_pre_hook(_reductions)

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.blocks(x))


def _reductions(_, state: dict, prefix: str, *__) -> None:
    for name in [k for k in state if k.startswith(f"{prefix}reductions.")]:
        state[name.replace("reductions.", "projs.")] = state.pop(name)


class Net(nn.Module):
    """The classification net."""

    def __init__(
        self, img_size=224, patch_size=(4,), in_chans=3, num_classes=1000, embed_dim=96, depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24), group_size=(7, 7, 7, 7), crs_interval=(8, 4, 2, 1), mlp_ratio=4.0, ape=False,
        patch_norm=True, merge_size=((2,), (2,), (2,)), group_type="constant", pad_type=0, drop_rate=0.0,
        attn_drop_rate=0.0, drop_path_rate=0.1, norm_layer=None, use_checkpoint=False, **options,
    ) -> None:  # fmt: skip
        super().__init__()
        if group_type != "constant":
            raise ValueError(f"group_type must be constant, got {group_type!r}")
        last = len(depths) - 1
        self.patch_embed = embed(img_size, patch_size, in_chans, embed_dim, "nn.LayerNorm" if patch_norm else None)
        self.layers = nn.Sequential(
            *(
                Stage(
                    embed_dim * 2**i, depth, list(merge_size[i]) if i < last else None, num_heads=num_heads[i],
                    group_size=group_size if isinstance(group_size, int) else group_size[i],
                    interval=crs_interval[i] if isinstance(crs_interval, (list, tuple)) else crs_interval,
                    mlp_ratio=mlp_ratio[i] if isinstance(mlp_ratio, (list, tuple)) else mlp_ratio,
                    split_padding=bool(pad_type), drop=drop_rate, attn_drop=attn_drop_rate, **options,
                )
                for i, depth in enumerate(depths)
            )
        )  # fmt: skip
        self.side = img_size // patch_size[0]
        self.absolute_pos_embed = nn.Parameter(torch.zeros(1, self.side**2, embed_dim)) if ape else None
        self.norm = nn.LayerNorm(embed_dim * 2**last)
        self.head = nn.Linear(embed_dim * 2**last, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = whole_patches(self.patch_embed, x)
        if self.absolute_pos_embed is not None:
            x = x + self.absolute_pos_embed
        x = self.layers(rearrange(x, "b (h w) c -> b c h w", h=self.side))
        return self.head(self.norm(tokens(x)).mean(1))


def convolves_over_rows(case: Case) -> bool:
    return bool(case.about["constructor_kwargs"].get("use_cpe"))


def uneven(case: Case) -> bool:
    """Kernels that are not centred on the same pixels, or widths that don't add up to the output's."""
    options = case.about["constructor_kwargs"]
    kernels = options.get("patch_size", [2])
    stride = kernels[0] if "embed_dim" in options else 2
    width = options.get("embed_dim", 2 * options.get("dim", 48))
    return any((k - stride) % 2 for k in kernels) or width % 2 ** (len(kernels) - 1) != 0


def narrow(case: Case) -> bool:
    """So few channels that the position bias has no hidden one."""
    options = case.about["constructor_kwargs"]
    biased = options.get("position_bias", not options.get("use_cpe"))
    return biased and options.get("embed_dim", options.get("dim", 96)) < 16


def block_on_tokens(ours: OnTokens, x: Tensor, hw: Tensor | None = None) -> Tensor:
    """The reference of a block."""
    h, w = ours.size if hw is None else hw.int().tolist()
    return tokens(reference.block(ours.module, rearrange(x, "b (h w) c -> b c h w", h=h, w=w)))


CPE = {"use_cpe takes the rows of the map for channels": convolves_over_rows}
TABLE = {
    "CrossFormer.DynamicPosBias": Ours(DynamicPosBias),
    "CrossFormer.Attention": Ours(GroupsOf, {"": "attn."}, refuses=narrow),
    "CrossFormer.CrossFormerBlock": Ours(block, {"": "module."}, bugs=CPE, right=block_on_tokens, refuses=narrow),
    "CrossFormerDet.CrossFormerBlock": Ours(
        detection_block, {"": "module."}, bugs=CPE, right=block_on_tokens, refuses=narrow
    ),
    "CrossFormer.PatchEmbed": Ours(embed, call=whole_patches, refuses=uneven),
    "CrossFormer.PatchMerging": Ours(
        merging, {"reductions.": "module.projs.", "norm.": "module.norm."}, refuses=uneven
    ),
    "CrossFormer.CrossFormer": Ours(Net, bugs=CPE, refuses=lambda case: narrow(case) or uneven(case)),
}
