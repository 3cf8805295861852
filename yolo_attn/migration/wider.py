"""Attention over pixels, fusions and convolutions of forks as ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..patches.foreign import Piece
from .adapting import Adapter, Different, Kept, ratio, refuse, renamed, same, value, zero_biases
from .forms import position_encoding


def _sk(piece: Piece) -> Kept:
    refuse(piece, ("ReLU",))
    paths = [part for name, part in piece.parts.items() if name == "convs" for part in part.parts.values()]
    table = {f"convs.{i}.{n}": f"convs.{i}.{n}" for i in range(len(paths)) for n in (0, 1)}
    table |= {f"fcs.{i}": f"projections.{i}" for i in range(len(paths))} | {f"fc.{i}": f"compress.{i}" for i in (0, 1)}
    tensors = renamed(piece, table)
    convs = [path.parts["0"] for path in paths]
    kernels = {tensors[f"convs.{i}.0.weight"].shape[2] for i in range(len(paths))}
    if kernels != {3}:
        raise Different(
            f"it chooses between kernels of {sorted(kernels)} pixels, this module between dilated ones of 3"
        )
    hidden, dim = tensors["compress.0.weight"].shape[:2]
    zero_biases(tensors, "compress.0")
    for i in range(len(paths)):
        zero_biases(tensors, f"convs.{i}.0", f"projections.{i}")
    args = {"paths": len(paths), "num_groups": dim // tensors["convs.0.0.weight"].shape[1], "reduction": dim}
    return Kept({**args, "dilations": [conv.values["dilation"][0] for conv in convs], "min_width": hidden}, tensors)


def _dattention(piece: Piece) -> Kept:
    refuse(piece, ("GELU", "LayerNormProxy", "ReLU"))
    names = ["conv_offset.0", "conv_offset.1", "conv_offset.3", "proj_q", "proj_k", "proj_v", "proj_out"]
    tensors = renamed(piece, same(*names, "rpe_table"), same(*names))
    values = piece.values
    switches = {k: bool(values[k]) for k in ("use_pe", "dwc_pe", "fixed_pe", "log_cpb") if k in values}
    pe = position_encoding(**switches)
    args = {
        "num_heads": value(piece, "n_heads"),
        "num_groups": value(piece, "n_groups"),
        "stride": values.get("stride", 1),
        "kernel_size": tensors["conv_offset.0.weight"].shape[2],
        "offset_range": value(piece, "offset_range_factor"),
        "pe": pe,
        "no_off": bool(values.get("no_off", False)),
    }
    if pe in ("fixed", "table"):
        args["q_size"] = [value(piece, "q_h"), value(piece, "q_w")]
    return Kept(args, tensors)


def _fusion(*contexts: str) -> Callable[[Piece], Kept]:
    def adapt(piece: Piece) -> Kept:
        refuse(piece, ("ReLU", "Sigmoid"))
        layers = {"local": (0, 1, 3, 4), "global": (1, 2, 4, 5)}
        tensors = renamed(piece, same(*(f"{c}.{i}" for c in contexts for i in layers[c.partition("_")[0]])))
        hidden, dim = tensors["local_att.0.weight"].shape[:2]
        return Kept({"reduction": ratio(dim, hidden, 4)}, tensors)

    return adapt


def _bi_level(piece: Piece) -> Kept:
    refuse(piece, ("QKVLinear", "TopkRouting", "KVGather"))
    values = piece.values
    other = values.get("qk_dim", values.get("dim")) != values.get("dim") or values.get("param_routing")
    if other or values.get("soft_routing") or values.get("kv_downsample_mode", "identity") != "identity":
        raise Different("it routes, or makes its keys, in another way")
    old = {"qkv.qkv": "qkv_linear", "lepe": "lepe", "wo": "output_linear"}
    tensors = renamed(piece, old, same("qkv_linear", "lepe", "output_linear"))
    args = {k: value(piece, k) for k in ("num_heads", "n_win")}
    topk = [part.values["topk"] for part in piece.all() if "topk" in part.values]
    n = args["n_win"]
    doubt = f"it is the same on maps whose sides {n} divides; on others forks attend to padding, and this one does not"
    return Kept({**args, "topk": topk[0], "side_dwconv": tensors["lepe.weight"].shape[2]}, tensors, doubt)


def _deformed(tensors: dict[str, Tensor], name: str) -> None:
    """Turn the tensors of a fork's DCNv2 into those of a DeformConv, which has no bias, and factors up to 2."""
    begin = f"{name}." if name else ""
    tensors[f"{begin}conv.weight"] = tensors.pop(f"{begin}weight") / 2
    if (bias := tensors.pop(f"{begin}bias", None)) is not None:
        tensors[f"{begin}bn.running_mean"] = tensors[f"{begin}bn.running_mean"] - bias
    for key in ("weight", "bias"):
        tensors[f"{begin}conv_offset.{key}"] = tensors.pop(f"{begin}conv_offset_mask.{key}")


def _dcn_args(piece: Piece) -> dict[str, Any]:
    """Arguments that both DeformConv and C2fDCN take, of a fork's DCNv2."""
    refuse(piece, ("SiLU",))
    if not {"weight", "conv_offset_mask.weight", "conv_offset_mask.bias", "bn.weight"} <= piece.tensors.keys():
        raise Different("it is another deformable convolution than a DCNv2 with conv_offset_mask and BatchNorm")
    groups = piece.values.get("deformable_groups", 1)
    return {"num_groups": piece.values.get("groups", 1), "offset_groups": groups}


def _deform_conv(piece: Piece) -> Kept:
    args, tensors = _dcn_args(piece), dict(piece.tensors)
    _deformed(tensors, "")
    names = ("stride", "padding", "dilation")
    args |= {k: v[0] if isinstance(v, (tuple, list)) else v for k in names if (v := piece.values.get(k)) is not None}
    kernel = tensors["conv.weight"].shape[2]
    if args.get("padding") == (args.get("dilation", 1) * (kernel - 1) + 1) // 2:
        del args["padding"]  # the default
    return Kept({"kernel_size": kernel, **args}, tensors, width=len(tensors["conv.weight"]))


def _c2f_dcn(piece: Piece) -> Kept:
    tensors: dict[str, Tensor] = dict(piece.tensors)
    args: dict[str, Any] = {}
    for name, bottleneck in piece.parts["m"].parts.items():
        first, second = bottleneck.parts["cv1"], bottleneck.parts["cv2"]
        if first.kind != "Conv":
            raise Different("both convolutions of its bottlenecks are deformable, and here only the second is")
        if first.tensors["conv.weight"].shape[2] != 3:
            raise Different("the first convolution of its bottlenecks is no 3x3 one")
        args = _dcn_args(second)
        _deformed(tensors, f"m.{name}.cv2")
        args["shortcut"] = bool(bottleneck.values.get("add", False))
    dim, c2 = len(tensors["m.0.cv1.conv.weight"]), len(tensors["cv2.conv.weight"])
    return Kept({**args, "expansion": dim / c2}, tensors, width=c2, repeats=len(piece.parts["m"].parts))


WIDER: dict[str, Adapter] = {
    "SK": _sk,
    "DAttention": _dattention,
    "MS_CAM": _fusion("local_att", "global_att"),
    "AFF": _fusion("local_att", "global_att"),
    "iAFF": _fusion("local_att", "global_att", "local_att2", "global_att2"),
    "BiLevelRouting": _bi_level,
    "DeformConv": _deform_conv,
    "C2fDCN": _c2f_dcn,
}
