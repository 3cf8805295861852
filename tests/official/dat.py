"""DAT: LeapLabTHU/DAT."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from yolo_attn.modules import DATStage, DAttention, LocalAttention, PyramidAttention, ShiftWindowAttention
from yolo_attn.modules.dat import LayerScale, TransformerMLP, TransformerMLPWithConv
from yolo_attn.modules.dattention import LayerNormProxy

from ..golden import Case
from ..reference import dat as reference
from ..reference import swin
from .ours import Ours


def position_encoding(use_pe: bool, dwc_pe: bool, fixed_pe: bool, log_cpb: bool) -> str:
    """Our name of a position encoding; the official flags count in this order."""
    flags = {"none": not use_pe, "dwc": dwc_pe, "fixed": fixed_pe, "log_cpb": log_cpb, "table": True}
    return next(pe for pe, on in flags.items() if on)


def dattention(n_heads, n_head_channels, **official):
    pe = position_encoding(*(official.pop(flag) for flag in ("use_pe", "dwc_pe", "fixed_pe", "log_cpb")))
    names = {"n_groups": "num_groups", "ksize": "kernel_size", "offset_range_factor": "offset_range"}
    official.pop("kv_size")  # official code ignores it
    options = {names.get(k, k): v for k, v in official.items()}
    return DAttention(n_heads * n_head_channels, num_heads=n_heads, pe=pe, **options)


def one_free_key(case: Case) -> bool:
    """A single key point on an axis that may move freely: its stored grid position is infinite."""
    free = case.about["constructor_kwargs"]["offset_range_factor"] < 0
    return free and not case.part("out")["reference"].isfinite().all()


def even_kernel(case: Case) -> bool:
    """A kernel, of one of the stages, that makes a row and a column of keys too many."""
    options = case.about["constructor_kwargs"]
    if "dims" in options:
        kernels = zip(*(options.get(*LISTS[k]) for k in ("ksize", "stride")), options["stage_spec"], strict=True)
    else:
        kernels = [(options["ksize"], options["stride"], options.get("stage_spec", "D"))]
    return any("D" in spec and k % 2 == 0 and k != stride for k, stride, spec in kernels)


def free_key_in_a_stage(case: Case) -> bool:
    """A single key point that may move freely along a longer axis of the map, in a stage or in one of the net's."""
    options, size = case.about["constructor_kwargs"], case.tensors["in/x"].shape[2:]
    if "dims" in options:
        lists = {one: options.get(several, default) for one, (several, default) in LISTS.items()}
        stages = [{one: values[i] for one, values in lists.items()} for i in range(len(options["dims"]))]
        stages = [stage | {"stage_spec": spec} for stage, spec in zip(stages, options["stage_spec"], strict=True)]
        size = [n // options["patch_size"] for n in size]
    else:
        stages = [options]
    for i, stage in enumerate(stages):
        kernel, stride = stage["ksize"], stage["stride"]
        padding = 0 if kernel == stride else kernel // 2
        free = "D" in stage["stage_spec"] and stage["offset_range_factor"] < 0 and not stage["no_off"]
        if free and any((n >> i) > 1 and ((n >> i) + 2 * padding - kernel) // stride == 0 for n in size):
            return True
    return False


def local_attention(dim, heads, window_size, attn_drop=0.0, proj_drop=0.0):
    return LocalAttention(dim, heads, window_size, attn_drop=attn_drop, proj_drop=proj_drop)


def shift_window_attention(dim, heads, window_size, attn_drop=0.0, proj_drop=0.0, shift_size=7, fmap_size=None):
    return ShiftWindowAttention(dim, heads, window_size, shift_size, attn_drop=attn_drop, proj_drop=proj_drop)


def pyramid_attention(dim, num_heads=8, attn_drop=0.0, proj_drop=0.0, sr_ratio=1):
    return PyramidAttention(dim, num_heads, sr_ratio, attn_drop=attn_drop, proj_drop=proj_drop)


def masked_for_another_size(case: Case) -> bool:
    """A shifted window at another size than that which the stored mask is for."""
    options = case.about["constructor_kwargs"]
    shifted = any("S" in each for each in options.get("stage_spec", "S"))  # letters, or lists of them
    size = options["fmap_size"] if "fmap_size" in options else options["img_size"]
    return shifted and list(case.tensors["in/x"].shape[2:]) != (size if isinstance(size, list) else [size, size])


class TransformerStage(DATStage):
    """DATStage by the official arguments, behind the projection that the official stage has."""

    def __init__(self, dim_in: int, dim_embed: int, stage_spec: Sequence[str], **official: Any) -> None:
        deformable = "D" in stage_spec  # elsewhere its options are placeholders, such as a stride of -1
        scale = official["layer_scale_value"]
        super().__init__(
            dim_embed,
            blocks="".join(stage_spec[: official["depths"]]),
            num_heads=official["heads"],
            window_size=official["window_size"],
            stride=official["stride"] if deformable else 1,
            num_groups=official["n_groups"] if deformable else 1,
            kernel_size=official["ksize"] if deformable else 3,
            offset_range=official["offset_range_factor"],
            pe=position_encoding(*(official[flag] for flag in ("use_pe", "dwc_pe", "fixed_pe", "log_cpb"))),
            sr_ratio=official["sr_ratio"] if "P" in stage_spec else 1,
            mlp_ratio=official["expansion"],
            conv_mlp=official["use_dwc_mlp"],
            lpu=official["use_lpu"],
            layer_scale=scale if scale > 0 else None,
            no_off=official["no_off"],
            q_size=official["fmap_size"],
        )
        self.proj = nn.Identity() if dim_in == dim_embed else nn.Conv2d(dim_in, dim_embed, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.proj(x))


# Lists of layers by kind, which a block of ours has by name; layer_norms and layer_scales have two entries per block.
BLOCK = {"attns": "attn", "mlps": "mlp", "ln_cnvnxt": "norm"}
HALF_BLOCK = {"layer_norms": "norm", "layer_scales": "scale"}
STAGE = {f"{old}.{i}.": f"blocks.{i}.{new}." for old, new in BLOCK.items() for i in range(18)}
STAGE |= {f"{old}.{i}.": f"blocks.{i // 2}.{new}{i % 2 + 1}." for old, new in HALF_BLOCK.items() for i in range(36)}


def needless(name: str, case: Case) -> bool:
    """Masks, which ours makes for the map at hand, and scales of "X" blocks, which the official code never applies."""
    found = re.fullmatch(r"(?:stages\.(\d+)\.)?layer_scales\.(\d+)\.weight", name)
    if found is None:
        return name.endswith("attn_mask")
    stage, i = found.groups()
    spec = case.about["constructor_kwargs"]["stage_spec"]
    return (spec[int(stage)] if stage else spec)[int(i) // 2] == "X"


LISTS = {  # what each stage of the net gets of a list, and the default
    "window_size": ("window_sizes", [7] * 4),
    "heads": ("heads", [3, 6, 12, 24]),
    "depths": ("depths", [2, 2, 6, 2]),
    "stride": ("strides", [-1] * 4),
    "n_groups": ("groups", [-1, -1, 3, 6]),
    "ksize": ("ksizes", [9, 7, 5, 3]),
    "offset_range_factor": ("offset_range_factor", [1, 2, 3, 4]),
    "sr_ratio": ("sr_ratios", [8, 4, 2, 1]),
    "layer_scale_value": ("layer_scale_values", [-1] * 4),
    "log_cpb": ("log_cpb", [False] * 4),
}
LISTS |= {k: (k + "s", [False] * 4) for k in ("use_pe", "dwc_pe", "fixed_pe", "no_off", "use_dwc_mlp", "use_lpu")}


class DAT(nn.Module):
    """The classifier: stem, four stages with strided convolutions between them, and a linear layer."""

    def __init__(
        self,
        img_size: int,
        num_classes: int = 1000,
        patch_size: int = 4,
        expansion: int = 4,
        dim_stem: int = 96,
        dims: Sequence[int] = (96, 192, 384, 768),
        stage_spec: Sequence[Sequence[str]] = ("LD", "LD", "LDLDLD", "LD"),
        use_conv_patches: bool = False,
        **official: Any,
    ) -> None:
        super().__init__()
        half, stride = dim_stem // 2, patch_size // 2
        stem = [
            nn.Conv2d(3, half, 3, stride, 1),
            LayerNormProxy(half),
            nn.GELU(),
            nn.Conv2d(half, dim_stem, 3, stride, 1),
        ]
        stem = stem if use_conv_patches else [nn.Conv2d(3, dim_stem, patch_size, patch_size)]
        self.patch_proj = nn.Sequential(*stem, LayerNormProxy(dim_stem))
        self.stages, self.down_projs = nn.ModuleList(), nn.ModuleList()
        dim, size = dim_stem, img_size // patch_size
        for i, width in enumerate(dims):
            options = {one: official.get(several, default)[i] for one, (several, default) in LISTS.items()}
            self.stages.append(
                TransformerStage(dim, width, stage_spec[i], fmap_size=size, expansion=expansion, **options)
            )
            dim, size = width * 2, size // 2
        for c1, c2 in pairwise(dims):
            down = nn.Conv2d(c1, c2, 3, 2, 1, bias=False) if use_conv_patches else nn.Conv2d(c1, c2, 2, 2, bias=False)
            self.down_projs.append(nn.Sequential(down, LayerNormProxy(c2)))
        self.cls_norm, self.cls_head = LayerNormProxy(dims[-1]), nn.Linear(dims[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_proj(x)
        for stage, after in zip(self.stages, [*self.down_projs, self.cls_norm], strict=True):
            x = after(stage(x))
        return self.cls_head(x.mean((2, 3)))


CORNER = "a grid of one point lies at infinity and is clamped to the corner; ours is at the centre"
MASK = {"the mask is that of another size; ours is made for the map at hand": masked_for_another_size}
TABLE = {
    "DAT.DAttentionBaseline": Ours(
        dattention,
        call=DAttention.attend,
        bugs={CORNER: one_free_key},
        right=reference.attention,
        refuses=even_kernel,
    ),
    "DAT.LayerNormProxy": Ours(LayerNormProxy),
    "DAT.LayerScale": Ours(lambda dim, inplace=False, init_values=1e-5: LayerScale(dim, init_values)),
    "DAT.TransformerMLP": Ours(lambda channels, expansion, drop=0.0: TransformerMLP(channels, expansion, drop)),
    "DAT.TransformerMLPWithConv": Ours(
        lambda channels, expansion, drop=0.0: TransformerMLPWithConv(channels, expansion, drop)
    ),
    "DAT.LocalAttention": Ours(local_attention),
    "DAT.ShiftWindowAttention": Ours(shift_window_attention, ignored=needless, bugs=MASK, right=swin.attention),
    "DAT.PyramidAttention": Ours(pyramid_attention),
    "DAT.TransformerStage": Ours(
        TransformerStage,
        STAGE,
        ignored=needless,
        bugs=MASK | {CORNER: free_key_in_a_stage},
        right=lambda stage, x: reference.stage(stage, stage.proj(x)),
        refuses=even_kernel,
    ),
    "DAT.DAT": Ours(
        DAT,
        {f"stages.{i}.{old}": f"stages.{i}.{new}" for i in range(4) for old, new in STAGE.items()},
        ignored=needless,
        bugs=MASK | {CORNER: free_key_in_a_stage},
        refuses=even_kernel,
    ),
}
