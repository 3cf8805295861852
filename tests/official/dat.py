"""DAT: LeapLabTHU/DAT."""

from __future__ import annotations

from yolo_attn.modules import DAttention
from yolo_attn.modules.dat import LayerScale, TransformerMLP, TransformerMLPWithConv
from yolo_attn.modules.dattention import LayerNormProxy

from ..golden import Case
from .ours import Ours


def dattention(n_heads, n_head_channels, **official):
    flags = {"none": not official.pop("use_pe"), "dwc": official.pop("dwc_pe")}
    flags |= {"fixed": official.pop("fixed_pe"), "log_cpb": official.pop("log_cpb"), "table": True}  # in this order
    names = {"n_groups": "num_groups", "ksize": "kernel_size", "offset_range_factor": "offset_range"}
    official.pop("kv_size")  # official code ignores it
    options = {names.get(k, k): v for k, v in official.items()}
    return DAttention(
        n_heads * n_head_channels, num_heads=n_heads, pe=next(pe for pe, on in flags.items() if on), **options
    )


def one_free_key(case: Case) -> bool:
    """A single key point on an axis that may move freely: its stored grid position is infinite."""
    free = case.about["constructor_kwargs"]["offset_range_factor"] < 0
    return free and not case.part("out")["reference"].isfinite().all()


def even_kernel(case: Case) -> bool:
    options = case.about["constructor_kwargs"]
    return options["ksize"] % 2 == 0 and options["ksize"] != options["stride"]


TABLE = {
    "DAT.DAttentionBaseline": Ours(
        dattention,
        call=DAttention.attend,
        bugs={"a grid of one point lies at infinity and is clamped to the corner; ours is at the centre": one_free_key},
        refuses=even_kernel,  # one row and column of keys too many
    ),
    "DAT.LayerNormProxy": Ours(LayerNormProxy),
    "DAT.LayerScale": Ours(lambda dim, init_values=1e-5: LayerScale(dim, init_values)),
    "DAT.TransformerMLP": Ours(lambda channels, expansion, drop=0.0: TransformerMLP(channels, expansion, drop)),
    "DAT.TransformerMLPWithConv": Ours(
        lambda channels, expansion, drop=0.0: TransformerMLPWithConv(channels, expansion, drop)
    ),
}
