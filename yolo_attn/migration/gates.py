"""Gates of forks as ours."""

from __future__ import annotations

import torch

from ..patches.foreign import Piece
from .adapting import Adapter, Different, Kept, biases, ratio, refuse, renamed, same, value, zero_biases

BATCH_NORM_EPS = 1e-3  # which Ultralytics sets on every BatchNorm2d of a model


def _se(piece: Piece) -> Kept:
    refuse(piece, ("ReLU", "Sigmoid"))
    pairs = [(f"{name}.{i}", f"{name}.{i + 2}") for name in ("fc", "se", "excitation") for i in (0, 1)]
    pairs += [("l1", "l2"), ("f1", "f2"), ("fc1", "fc2"), ("conv_reduce", "conv_expand")]
    tensors = renamed(piece, *({first: "fc1", second: "fc2"} for first, second in pairs))
    bias = biases(tensors, "fc1", "fc2")
    hidden, dim = tensors["fc1.weight"].shape[:2]
    try:
        size = {"reduction": ratio(dim, hidden, 16)}
    except Different:
        size = {"hidden_dim": hidden}
    return Kept({**size, "bias": bias}, tensors, _gate(piece))


def _gate(piece: Piece) -> str:
    """What is to be known of a gate whose function isn't in the file."""
    return "" if "Sigmoid" in piece.kinds() else "its gate isn't in the file: it is taken for a sigmoid"


def _eca(piece: Piece) -> Kept:
    refuse(piece, ("Sigmoid",))
    tensors = renamed(piece, same("conv"))
    args = {"kernel_size": tensors["conv.weight"].shape[2], "bias": "conv.bias" in tensors}
    return Kept(args, tensors, _gate(piece))


HIDDEN = [("f1", "f2"), ("fc1", "fc2"), *((f"{n}.0", f"{n}.2") for n in ("fc", "se", "mlp", "shared_mlp", "sharedMLP"))]


def _cbam(piece: Piece) -> Kept:
    refuse(piece, ("ChannelAttention", "SpatialAttention", "ReLU", "Sigmoid", *OFFICIAL_CBAM))
    official = {"ChannelGate.mlp.1": "fc1", "ChannelGate.mlp.3": "fc2"}
    official |= {f"SpatialGate.spatial.{n}": f"spatial.{n}" for n in ("conv", "bn")}
    tables = [official]
    for channel, spatial in (("channel_attention", "spatial_attention"), ("ca", "sa")):
        for (first, second), conv in ((pair, c) for pair in HIDDEN for c in ("conv", "conv1", "cv1")):
            names = {f"{channel}.{first}": "fc1", f"{channel}.{second}": "fc2"}
            tables.append({**names, f"{spatial}.{conv}": "spatial.conv"})
    tensors = renamed(piece, *tables)
    for part in (part for whole in piece.parts.values() for part in whole.parts.values()):
        if part.kind == "Sequential" and "Sigmoid" in part.kinds():
            raise Different("it adds two gates, where this module adds their logits")
    if (pools := {k for k in piece.kinds() if k.startswith("Adaptive")}) and len(pools) < 2:
        raise Different("its gate per channel sees one pooling, where this module sees two")
    hidden, dim = tensors["fc1.weight"].shape[:2]
    weight = tensors["spatial.conv.weight"]
    args = {"reduction": ratio(dim, hidden, 16), "kernel_size": weight.shape[2], "bias": biases(tensors, "fc1", "fc2")}
    if "ca.se.0.weight" in piece.tensors or "SpatialGate.spatial.conv.weight" in piece.tensors:
        tensors["spatial.conv.weight"] = weight[:, [1, 0]]  # their largest value stands in front of the average
    if "spatial.bn.weight" in tensors:
        return Kept(args, tensors)
    one = torch.ones_like(weight[:, 0, 0, 0])
    tensors |= {"spatial.bn.weight": one, "spatial.bn.bias": tensors.pop("spatial.conv.bias", 0 * one)}
    tensors |= {"spatial.bn.running_mean": 0 * one, "spatial.bn.running_var": (1 - BATCH_NORM_EPS) * one}
    doubt = "there was no BatchNorm behind its convolution: the one here does nothing until it is trained"
    return Kept(args, tensors, doubt)


OFFICIAL_CBAM = ("ChannelGate", "SpatialGate", "ChannelPool", "BasicConv", "Flatten")


def _coord_att(piece: Piece) -> Kept:
    refuse(piece, ("h_swish", "h_sigmoid", "ReLU6", "Hardswish", "Hswish", "HSwish", "Sigmoid"))
    second = {"conv2": "conv_h", "conv3": "conv_w"}
    tensors = renamed(piece, same("conv1", "bn1", "conv_h", "conv_w"), {**same("conv1", "bn1"), **second})
    zero_biases(tensors, "conv1", "conv_h", "conv_w")
    hidden, dim = tensors["conv1.weight"].shape[:2]
    return Kept({"reduction": ratio(dim, hidden, 32, least=8)}, tensors)


def _ema(piece: Piece) -> Kept:
    refuse(piece)
    return Kept({"num_groups": value(piece, "groups", "factor")}, renamed(piece, same("gn", "conv1x1", "conv3x3")))


def _gam(piece: Piece) -> Kept:
    refuse(piece, ("ReLU",))
    table = {"channel_attention.0": "linear1", "channel_attention.2": "linear2"}
    table |= {f"spatial_attention.{i}": n for i, n in ((0, "conv1"), (1, "norm1"), (3, "conv2"), (4, "norm2"))}
    tensors = renamed(piece, table)
    hidden, dim = tensors["linear1.weight"].shape[:2]
    if tensors["conv1.weight"].shape[1] != dim or len(tensors["conv2.weight"]) != dim:
        raise Different("its convolutions have groups, with a shuffle behind them, or another width")
    args = {"reduction": ratio(dim, hidden, 4), "kernel_size": tensors["conv1.weight"].shape[2]}
    doubt = "the file doesn't tell whether its first gate has a sigmoid, which some forks leave out; this module has it"
    return Kept(args, tensors, doubt)


def _simam(piece: Piece) -> Kept:
    refuse(piece, ("Sigmoid",))
    return Kept({"e_lambda": piece.values.get("e_lambda", 1e-4)}, renamed(piece, {}))


def _triplet(piece: Piece) -> Kept:
    refuse(piece, ("AttentionGate", "BasicConv", "ZPool", "ChannelPool", "SpatialGate", "Sigmoid"))
    gates = {"cw": "cw", "hc": "hc", "hw": "hw"}, {"ChannelGateH": "cw", "ChannelGateW": "hc", "SpatialGate": "hw"}
    tables = []
    for gate in gates:
        for names in (list(gate), list(gate)[:2]):
            for inner in ("conv", "spatial"):
                tables.append({f"{n}.{inner}.{part}": f"{gate[n]}.{part}" for n in names for part in ("conv", "bn")})
    tensors = renamed(piece, *tables)
    return Kept(
        {"kernel_size": tensors["cw.conv.weight"].shape[2], "no_spatial": "hw.conv.weight" not in tensors}, tensors
    )


def _shuffle(piece: Piece) -> Kept:
    refuse(piece, ("Sigmoid",))
    return Kept(
        {"num_groups": value(piece, "G", "groups")},
        renamed(piece, same("cweight", "cbias", "sweight", "sbias", "gn")),
    )


def _mlca(piece: Piece) -> Kept:
    refuse(piece)
    names = ("local_size", "gamma", "b", "local_weight")
    args = {k: piece.values[k] for k in names if k in piece.values}
    return Kept(args, renamed(piece, same("conv", "conv_local")))


def _lsk(piece: Piece) -> Kept:
    refuse(piece)
    return Kept({}, renamed(piece, same("conv0", "conv_spatial", "conv1", "conv2", "conv_squeeze", "conv")))


def _lska(piece: Piece) -> Kept:
    refuse(piece)
    tensors = renamed(piece, same("conv0h", "conv0v", "conv_spatial_h", "conv_spatial_v", "conv1"))
    return Kept({"kernel_size": value(piece, "k_size")}, tensors)


def _cpca(piece: Piece) -> Kept:
    refuse(piece, ("GELU", "CPCA_ChannelAttention", "ChannelAttention", "ReLU", "Sigmoid"))
    strips = (f"dconv{n}" for n in ("5_5", "1_7", "7_1", "1_11", "11_1", "1_21", "21_1"))
    tensors = renamed(piece, same("ca.fc1", "ca.fc2", *strips, "conv"))
    hidden, dim = tensors["ca.fc1.weight"].shape[:2]
    return Kept({"reduction": ratio(dim, hidden, 4)}, tensors)


def _ela(piece: Piece) -> Kept:
    refuse(piece, ("Sigmoid",))
    tensors = renamed(piece, same("conv", "gn"), {"con1": "conv", "GN": "gn"})
    if "conv.bias" in tensors:
        raise Different("its convolution has a bias, which this module has not")
    norm = next(part for part in piece.parts.values() if part.kind == "GroupNorm")
    _, size, kernel = tensors["conv.weight"].shape
    return Kept({"kernel_size": kernel, "num_groups": norm.values["num_groups"], "group_size": size}, tensors)


def _ese(piece: Piece) -> Kept:
    refuse(piece, ("Hardsigmoid", "HardSigmoid", "Hsigmoid", "Sigmoid"))
    if piece.values.get("add_maxpool"):
        raise Different("it pools the largest value too")
    gate = "sigmoid" if "Sigmoid" in piece.kinds() else "hard_sigmoid"
    return Kept({"gate": gate}, renamed(piece, same("fc")))


GATES: dict[str, Adapter] = {
    "SE": _se,
    "ECA": _eca,
    "CBAM": _cbam,
    "CoordAtt": _coord_att,
    "EMA": _ema,
    "GAM": _gam,
    "SimAM": _simam,
    "TripletAttention": _triplet,
    "ShuffleAttention": _shuffle,
    "MLCA": _mlca,
    "LSK": _lsk,
    "LSKA": _lska,
    "CPCA": _cpca,
    "ELA": _ela,
    "ESE": _ese,
}
