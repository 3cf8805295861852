"""What edited forks of Ultralytics write behind a module's name, as a table: facts of their constructors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Named = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """How forks call a module, and what they pass to it.

    Attributes:
        ours: Name of our module.
        arguments: Ways to read the arguments behind the channels, by position: names of ours, or `-name` for one that
            has no meaning here. The first that all values suit is taken.
        defaults: Ours that keep what the forks do where a row doesn't say it.
        unsaid: What nobody can tell from a row that doesn't say it, by the name of our argument.
        then: Makes ours of values that don't stand for one of ours each.
    """

    ours: str
    arguments: tuple[tuple[str, ...], ...] = ((),)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    unsaid: Mapping[str, str] = field(default_factory=dict)
    then: Callable[[Named], Named] | None = None


def _integer(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _ratio(value: Any) -> bool:
    return _integer(value, 64) and value & (value - 1) == 0


def _kernel(value: Any) -> bool:
    return _integer(value, 65) and value % 2 == 1 and value > 1


def _size(value: Any) -> bool:
    return _integer(value, 1024) or (isinstance(value, (list, tuple)) and len(value) == 2)


def _kernels(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(k == 1 or _kernel(k) for k in value)


def _switch(value: Any) -> bool:
    return isinstance(value, bool)


SUITS: dict[str, Callable[[Any], bool]] = {  # whether a value may be meant, by name of the argument
    "reduction": _ratio,
    **dict.fromkeys(("kernel_size", "h_kernel_size", "v_kernel_size", "side_dwconv"), _kernel),
    "kernels": _kernels,
    "q_size": _size,
    "phi": lambda value: value in ("T", "B", "S", "L"),
    "e_lambda": lambda value: _number(value) and 0 < value < 1,
    **dict.fromkeys(("local_weight", "attn_drop", "proj_drop"), lambda value: _number(value) and 0 <= value <= 1),
    **dict.fromkeys(("gamma", "b"), lambda value: _number(value) and abs(value) <= 8),  # of log2 of the channels
    **dict.fromkeys(("offset_range", "expansion"), _number),
    "pe": lambda value: isinstance(value, str),
    **dict.fromkeys(("no_spatial", "no_off", "use_pe", "dwc_pe", "fixed_pe", "log_cpb", "group", "shortcut"), _switch),
}


def suits(name: str, value: Any) -> bool:
    """Whether a value may be meant for an argument of this name."""
    return SUITS.get(name.removeprefix("-"), lambda count: _integer(count, 256))(value)


def position_encoding(use_pe: bool = True, dwc_pe: bool = True, fixed_pe: bool = False, log_cpb: bool = False) -> str:
    """DAttention's `pe` by the four switches of the official constructor."""
    if not use_pe:
        return "none"
    return "dwc" if dwc_pe else "fixed" if fixed_pe else "log_cpb" if log_cpb else "table"


def _dattention(named: Named) -> Named:
    switches = {k: named.pop(k) for k in ("use_pe", "dwc_pe", "fixed_pe", "log_cpb") if k in named}
    if (pe := position_encoding(**switches)) != "dwc":
        named["pe"] = pe
    if pe not in ("fixed", "table"):
        named.pop("q_size", None)  # any size works
    return named


def _sk(named: Named) -> Named:
    """Square kernels of 3, 5, 7 pixels are ours of 3, dilated 1, 2, 3; there is none of one pixel."""
    kernels = named.pop("kernels", None)
    if kernels and min(kernels) > 1:
        named |= {"paths": len(kernels), "dilations": [(k - 1) // 2 for k in kernels]}
    return named


def _ela(named: Named) -> Named:
    variant = named.pop("phi", None)
    if variant:
        named |= {"kernel_size": 5 if variant in "TS" else 7, "group_size": 1 if variant in "TB" else 8}
    return named


KERNELS = "which kernels it chose between: 1, 3, 5 and 7 pixels in most forks, here two of 3 pixels, one dilated"
GROUPS = "into how many groups the channels go: 8 or 32 in forks, here up to 32, `num_groups`"
BASE = ("kernel_size", "stride", "padding", "dilation", "num_groups", "offset_groups")
C2F = ("shortcut", "num_groups", "expansion")
DAT = (
    *("q_size", "num_heads", "num_groups", "attn_drop", "proj_drop", "stride", "offset_range"),
    *("use_pe", "dwc_pe", "no_off", "fixed_pe", "kernel_size", "log_cpb"),
)
FORMS = {
    "SE": Form("SE", (("reduction",),)),
    "CBAM": Form("CBAM", (("reduction", "kernel_size"), ("kernel_size",))),
    "ECA": Form("ECA", (("kernel_size",), ("b", "gamma"))),
    "EMA": Form("EMA", (("num_groups",),), unsaid={"num_groups": GROUPS}),
    "CoordAtt": Form("CoordAtt", (("reduction",),)),
    "GAM": Form("GAM", (("reduction",), ("-group", "reduction"))),
    "SimAM": Form("SimAM", (("e_lambda",),)),
    "TripletAttention": Form("TripletAttention", (("no_spatial",), ("kernel_size", "no_spatial"))),
    "ShuffleAttention": Form("ShuffleAttention", (("-reduction", "num_groups"),), {"num_groups": 8}),
    "sa_layer": Form("ShuffleAttention", (("num_groups",),), {"num_groups": 64}),
    "SK": Form(
        "SK",
        (("kernels", "reduction", "num_groups", "min_width"), ("reduction", "num_groups", "min_width")),
        unsaid={"paths": KERNELS},
        then=_sk,
    ),
    "MLCA": Form("MLCA", (("local_size", "gamma", "b", "local_weight"),)),
    "LSK": Form("LSK"),
    "LSKA": Form("LSKA", (("kernel_size",),), {"kernel_size": 7}),
    "CPCA": Form("CPCA", (("reduction",),)),
    "ELA": Form("ELA", (("phi",), ("kernel_size", "num_groups")), then=_ela),
    "CAA": Form("CAA", (("h_kernel_size", "v_kernel_size"),)),
    "ESE": Form("ESE"),
    "MHSA": Form("MHSA", (("num_heads",), ("-width", "-height", "num_heads"))),
    "BAM": Form("BAM", (("reduction", "dilation"),)),
    "SGE": Form("SGE", (("num_groups",),), {"num_groups": 8}),
    "ParNet": Form("ParNet"),
    "BiLevelRoutingAttention": Form("BiLevelRouting", (("n_win", "num_heads"),), {"side_dwconv": 3}),
    "BiLevelRoutingAttention_nchw": Form("BiLevelRouting", (("num_heads", "n_win"),), {"side_dwconv": 3}),
    "BiLevelRouting": Form("BiLevelRouting", (("num_heads", "n_win", "topk", "side_dwconv"),)),
    "DAttentionBaseline": Form("DAttention"),
    "DAttention": Form("DAttention", (DAT,), {"num_groups": 4, "offset_range": 4}, then=_dattention),
    "DCNv2": Form("DeformConv", (BASE,)),
    "DCNV2": Form("DeformConv", (BASE,)),
    "C2f_DCN": Form("C2fDCN", (C2F,)),
    "C2f_DCNv2": Form("C2fDCN", (C2F,)),
    "C2f_DCNV2": Form("C2fDCN", (C2F,)),
    "C2f_DCN2": Form("C2fDCN", (C2F,)),
    "C2fDCNv2": Form("C2fDCN", (C2F,)),
}
DIFFERS = {  # what is to be known of a module that bears the same name, where weights can't be compared
    "CAA": "forks have BatchNorm and SiLU behind both 1x1 convolutions, here there is neither",
    "CBAM": "Ultralytics' own, which some forks use, has no max pooling and no hidden layer in its gate per channel",
    "C2fDCN": "some forks have deformable convolutions in both places of a bottleneck, here in the second",
    "GAM": "some forks have no sigmoid in the first gate, or groups and a shuffle; here there is a sigmoid, no groups",
}
