"""SIFA: FuchenUSTC/SIFA. The bottlenecks, glue around its operators, are put together here with the official names."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from yolo_attn import clips
from yolo_attn.modules import SIFA
from yolo_attn.modules.sifa import Correlation, deformable_aggregation, deformable_correlation

from .ours import Function, Ours


class DefCorFixW(nn.Module):
    def __init__(self, in_channels, times, kernel_size, stride=1, padding=0, dilation=1, defcor_groups=1) -> None:
        super().__init__()
        self.correlation = Correlation(in_channels, times, kernel_size)
        self.options = (stride, padding, dilation, defcor_groups)

    def forward(self, frames: Tensor, offset: Tensor) -> Tensor:
        return deformable_correlation(frames, offset, self.correlation.weight, *self.options)


def def_agg_module(in_channels, times, kernel_size, stride=1, padding=0, dilation=1, defagg_groups=1) -> Function:
    options = (kernel_size, stride, padding, dilation, defagg_groups)
    return Function(lambda frames, offset, weight: deformable_aggregation(frames, offset, weight, *options))


class Bottleneck(nn.Module):
    """1x1x1, 1x3x3 with the stride, 1x1x1 to four times the width, each with BatchNorm, on clips (B, C, T, H, W)."""

    def __init__(self, inplanes, planes, stride=1, downsample=None) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inplanes, planes, 1, bias=False)
        self.conv2 = nn.Conv3d(planes, planes, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.conv3 = nn.Conv3d(planes, 4 * planes, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm3d(planes), nn.BatchNorm3d(planes), nn.BatchNorm3d(4 * planes)
        shortcut = nn.Conv3d(inplanes, 4 * planes, 1, (1, stride, stride), bias=False)
        self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(4 * planes)) if downsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.after(self.bn3(self.conv3(self.between(out)))) + self.downsample(x))

    def between(self, x: Tensor) -> Tensor:
        return x

    def after(self, x: Tensor) -> Tensor:
        return x


class SIFABottleneck(Bottleneck):
    """SIFA between the second and the third convolution."""

    def __init__(
        self, inplanes, planes, stride=1, downsample=None, K=3, cor_dilation=1, cor_group=1, clip_len=8
    ) -> None:
        super().__init__(inplanes, planes, stride, downsample)
        if cor_group != 1:
            raise ValueError(f"cor_group must be 1, got {cor_group}. More would change the number of channels.")
        self.sifa = SIFA(planes, clip_len, K, cor_dilation)

    def between(self, x: Tensor) -> Tensor:
        frames = rearrange(x, "b c t h w -> (b t) c h w")
        with clips(self, x.shape[2]):
            return rearrange(self.sifa(frames), "(b t) c h w -> b c t h w", t=x.shape[2])


class GlobalBottleneck(Bottleneck):
    """A bottleneck with global context: two linear layers on the mean, added."""

    def __init__(self, inplanes, planes, stride=1, downsample=None) -> None:
        super().__init__(inplanes, planes, stride, downsample)
        self.fc1, self.fc2 = nn.Linear(4 * planes, 4 * planes // 16), nn.Linear(4 * planes // 16, 4 * planes)

    def after(self, x: Tensor) -> Tensor:
        return x + self.fc2(F.relu(self.fc1(x.mean((2, 3, 4)))))[..., None, None, None]


def def_cor(stride, padding, dilation, defcor_groups) -> Function:
    options = (stride, padding, dilation, defcor_groups)
    return Function(lambda frames, offset, weight: deformable_correlation(frames, offset, weight, *options))


def def_agg(kernel_size, stride, padding, dilation, defagg_groups) -> Function:
    options = (kernel_size, stride, padding, dilation, defagg_groups)
    return Function(lambda frames, offset, weight: deformable_aggregation(frames, offset, weight, *options))


TABLE = {
    "SIFA.def_agg": Ours(def_agg),
    "SIFA.def_cor": Ours(def_cor),
    "SIFA.DefAgg": Ours(def_agg_module, ignored=lambda name, case: True),
    "SIFA.DefCorFixW": Ours(DefCorFixW, {"weight": "correlation.weight"}),
    "SIFA.DEFLocalTransBottleneck": Ours(
        SIFABottleneck,
        {"conv_offset": "sifa.conv_offset", "def_cor": "sifa.def_cor"},
        refuses=lambda case: case.about["constructor_kwargs"].get("cor_group", 1) != 1,
    ),
    "SIFA.GBottleneck": Ours(GlobalBottleneck),
}
