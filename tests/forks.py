"""Layers as edited forks of Ultralytics have them: their names, parameters and attributes are facts of these forks, and
what they compute is written from the papers' equations here."""

from __future__ import annotations

import json
import math
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from ultralytics.nn.modules.conv import Conv


class SEAttention(nn.Module):
    def __init__(self, channel=512, reduction=16):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        hidden = channel // reduction
        first, second = nn.Linear(channel, hidden, bias=False), nn.Linear(hidden, channel, bias=False)
        self.fc = nn.Sequential(first, nn.ReLU(inplace=True), second, nn.Sigmoid())

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[..., None, None]


class SE(nn.Module):
    def __init__(self, c1, c2, ratio=16):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.l1, self.relu, self.l2 = nn.Linear(c1, c1 // ratio), nn.ReLU(), nn.Linear(c1 // ratio, c1)
        self.sig = nn.Sigmoid()

    def forward(self, x):
        return x * self.sig(self.l2(self.relu(self.l1(x.mean((2, 3))))))[..., None, None]


class ECAAttention(nn.Module):
    def __init__(self, kernel_size=3, bias=True):
        super().__init__()
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=(kernel_size - 1) // 2, bias=bias)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        return x * self.sigmoid(self.conv(x.mean((2, 3))[:, None]))[:, 0, :, None, None]


class ChannelAttention(nn.Module):
    def __init__(self, in_planes, ratio=16):
        super().__init__()
        self.avg_pool, self.max_pool = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)
        self.f1 = nn.Conv2d(in_planes, in_planes // ratio, 1, bias=False)
        self.relu = nn.ReLU()
        self.f2 = nn.Conv2d(in_planes // ratio, in_planes, 1, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        return self.sigmoid(sum(self.f2(self.relu(self.f1(pool(x)))) for pool in (self.avg_pool, self.max_pool)))


class SpatialAttention(nn.Module):
    def __init__(self, kernel_size=7, bias=False, most_first=False):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=bias)
        self.sigmoid = nn.Sigmoid()
        self.most_first = most_first

    def forward(self, x):
        pooled = [x.mean(1, keepdim=True), x.amax(1, keepdim=True)]
        return self.sigmoid(self.conv(torch.cat(pooled[::-1] if self.most_first else pooled, 1)))


class CBAM(nn.Module):
    def __init__(self, c1, c2, ratio=16, kernel_size=7):
        super().__init__()
        self.channel_attention = ChannelAttention(c1, ratio)
        self.spatial_attention = SpatialAttention(kernel_size)

    def forward(self, x):
        x = x * self.channel_attention(x)
        return x * self.spatial_attention(x)


class SharedGate(nn.Module):
    def __init__(self, channel, reduction):
        super().__init__()
        self.maxpool, self.avgpool = nn.AdaptiveMaxPool2d(1), nn.AdaptiveAvgPool2d(1)
        hidden = channel // reduction
        first, second = nn.Conv2d(channel, hidden, 1, bias=False), nn.Conv2d(hidden, channel, 1, bias=False)
        self.se = nn.Sequential(first, nn.ReLU(), second)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        return self.sigmoid(self.se(self.maxpool(x)) + self.se(self.avgpool(x)))


SharedGate.__name__ = SharedGate.__qualname__ = "ChannelAttention"


class CBAMBlock(nn.Module):
    def __init__(self, channel=512, reduction=16, kernel_size=7):
        super().__init__()
        self.ca = SharedGate(channel, reduction)
        self.sa = SpatialAttention(kernel_size, bias=True, most_first=True)

    def forward(self, x):
        x = x * self.ca(x)
        return x * self.sa(x)


class StockCBAM(nn.Module):
    """Of one pooling, and without a hidden layer: Ultralytics' own, which is no CBAM of the paper."""

    def __init__(self, c1, kernel_size=7):
        super().__init__()
        self.channel_attention = nn.Sequential()
        self.channel_attention.pool = nn.AdaptiveAvgPool2d(1)
        self.channel_attention.fc = nn.Conv2d(c1, c1, 1)
        self.spatial_attention = nn.Sequential()
        self.spatial_attention.cv1 = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)


class h_sigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU6()

    def forward(self, x):
        return self.relu(x + 3) / 6


class h_swish(nn.Module):
    def __init__(self):
        super().__init__()
        self.sigmoid = h_sigmoid()

    def forward(self, x):
        return x * self.sigmoid(x)


class CoordAtt(nn.Module):
    def __init__(self, inp, oup, reduction=32, act=h_swish):
        super().__init__()
        hidden = max(8, inp // reduction)
        self.conv1, self.bn1, self.act = nn.Conv2d(inp, hidden, 1), nn.BatchNorm2d(hidden), act()
        self.conv_h, self.conv_w = nn.Conv2d(hidden, oup, 1), nn.Conv2d(hidden, oup, 1)

    def forward(self, x):
        h = x.shape[2]
        strips = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).mT], 2)
        strips = self.act(self.bn1(self.conv1(strips)))
        return x * self.conv_h(strips[:, :, :h]).sigmoid() * self.conv_w(strips[:, :, h:].mT).sigmoid()


class EMA(nn.Module):
    def __init__(self, channels, factor=8):
        super().__init__()
        self.groups, width = factor, channels // factor
        self.softmax, self.agp = nn.Softmax(-1), nn.AdaptiveAvgPool2d((1, 1))
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1, self.conv3x3 = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        b, _c, h, w = x.shape
        g = x.reshape(b * self.groups, -1, h, w)
        both = self.conv1x1(torch.cat([g.mean(3, keepdim=True), g.mean(2, keepdim=True).mT], 2))
        wide = self.gn(g * both[:, :, :h].sigmoid() * both[:, :, h:].mT.sigmoid())
        near = self.conv3x3(g)
        gate = self.softmax(wide.mean((2, 3)))[:, None] @ near.flatten(2)
        gate = gate + self.softmax(near.mean((2, 3)))[:, None] @ wide.flatten(2)
        return (g * gate.view(-1, 1, h, w).sigmoid()).view_as(x)


class GAM_Attention(nn.Module):
    def __init__(self, in_channels, rate=4, groups=1):
        super().__init__()
        c, hidden = in_channels, in_channels // rate
        self.channel_attention = nn.Sequential(nn.Linear(c, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, c))
        self.spatial_attention = nn.Sequential(
            nn.Conv2d(c, hidden, 7, padding=3, groups=groups),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, c, 7, padding=3, groups=groups),
            nn.BatchNorm2d(c),
        )

    def forward(self, x):
        x = x * self.channel_attention(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).sigmoid()
        return x * self.spatial_attention(x).sigmoid()


class SimAM(nn.Module):
    def __init__(self, e_lambda=1e-3):
        super().__init__()
        self.activaton, self.e_lambda = nn.Sigmoid(), e_lambda

    def forward(self, x):
        square = (x - x.mean((2, 3), keepdim=True)) ** 2
        variance = square.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3] - 1)
        return x * self.activaton(square / (4 * (variance + self.e_lambda)) + 0.5)


class BasicConv(nn.Module):
    def __init__(self, kernel_size):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)
        self.relu = None


class AttentionGate(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = BasicConv(7)

    def forward(self, x):
        pooled = torch.stack([x.amax(1), x.mean(1)], 1)
        return x * self.conv.bn(self.conv.conv(pooled)).sigmoid()


class ChannelGate(nn.Module):
    def __init__(self, c, hidden):
        super().__init__()
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(c, hidden), nn.ReLU(), nn.Linear(hidden, c))

    def forward(self, x):
        pooled = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return x * (self.mlp(pooled[0]) + self.mlp(pooled[1])).sigmoid()[..., None, None]


class SpatialGate(nn.Module):
    def __init__(self):
        super().__init__()
        self.spatial = BasicConv(7)

    def forward(self, x):
        pooled = torch.stack([x.amax(1), x.mean(1)], 1)
        return x * self.spatial.bn(self.spatial.conv(pooled)).sigmoid()


class OfficialCBAM(nn.Module):
    def __init__(self, gate_channels, reduction_ratio=16):
        super().__init__()
        self.ChannelGate = ChannelGate(gate_channels, gate_channels // reduction_ratio)
        self.SpatialGate = SpatialGate()

    def forward(self, x):
        return self.SpatialGate(self.ChannelGate(x))


class OfficialTriplet(nn.Module):
    def __init__(self):
        super().__init__()
        self.ChannelGateH, self.ChannelGateW, self.SpatialGate = SpatialGate(), SpatialGate(), SpatialGate()

    def forward(self, x):
        by_height = self.ChannelGateH(x.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)
        by_width = self.ChannelGateW(x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
        return (by_height + by_width + self.SpatialGate(x)) / 3


class TripletAttention(nn.Module):
    def __init__(self, no_spatial=False):
        super().__init__()
        self.cw, self.hc, self.no_spatial = AttentionGate(), AttentionGate(), no_spatial
        if not no_spatial:
            self.hw = AttentionGate()

    def forward(self, x):
        turned = [self.cw(x.transpose(1, 2)).transpose(1, 2), self.hc(x.transpose(1, 3)).transpose(1, 3)]
        turned += [] if self.no_spatial else [self.hw(x)]
        return sum(turned) / len(turned)


class ShuffleAttention(nn.Module):
    def __init__(self, channel=512, reduction=16, G=8):
        super().__init__()
        self.G, width = G, channel // (2 * G)
        self.gn = nn.GroupNorm(width, width)
        for name in ("cweight", "cbias", "sweight", "sbias"):
            setattr(self, name, nn.Parameter(torch.zeros(1, width, 1, 1)))
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        b, c, h, w = x.shape
        one, other = x.reshape(b * self.G, -1, h, w).chunk(2, 1)
        one = one * self.sigmoid(self.cweight * one.mean((2, 3), keepdim=True) + self.cbias)
        other = other * self.sigmoid(self.sweight * self.gn(other) + self.sbias)
        return torch.cat([one, other], 1).reshape(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class SKConv(nn.Module):
    def __init__(self, features, M=2, G=4, r=16, L=32, dilated=True):
        super().__init__()
        d = max(features // r, L)
        self.convs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(features, features, 3, padding=1 + i, dilation=1 + i, groups=G, bias=False)
                if dilated
                else nn.Conv2d(features, features, 3 + 2 * i, padding=1 + i, groups=G),
                nn.BatchNorm2d(features),
                nn.ReLU(inplace=False),
            )
            for i in range(M)
        )
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Conv2d(features, d, 1, bias=False), nn.BatchNorm2d(d), nn.ReLU())
        self.fcs = nn.ModuleList(nn.Conv2d(d, features, 1) for _ in range(M))
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        maps = torch.stack([conv(x) for conv in self.convs], 1)
        z = self.fc(self.gap(maps.sum(1)))
        return (maps * self.softmax(torch.stack([fc(z) for fc in self.fcs], 1))).sum(1)


class LayerNormProxy(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x):
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class DAttention(nn.Module):
    def __init__(
        self, channel, q_size, n_heads=8, n_groups=4, stride=1, offset_range_factor=4, dwc_pe=True, log_cpb=False
    ):
        super().__init__()
        self.n_heads, self.n_groups, self.stride, self.ksize = n_heads, n_groups, stride, 3
        self.use_pe, self.dwc_pe, self.fixed_pe, self.no_off, self.log_cpb = True, dwc_pe, False, False, log_cpb
        self.offset_range_factor, (self.q_h, self.q_w) = offset_range_factor, q_size
        c = channel // n_groups
        first, last = nn.Conv2d(c, c, 3, stride, 1, groups=c), nn.Conv2d(c, 2, 1, bias=False)
        self.conv_offset = nn.Sequential(first, LayerNormProxy(c), nn.GELU(), last)
        self.proj_q, self.proj_k, self.proj_v, self.proj_out = (nn.Conv2d(channel, channel, 1) for _ in range(4))
        self.proj_drop, self.attn_drop = nn.Dropout(0.0), nn.Dropout(0.0)
        if dwc_pe:
            self.rpe_table = nn.Conv2d(channel, channel, 3, 1, 1, groups=channel)
        elif log_cpb:
            last = nn.Linear(32, n_heads // n_groups, bias=False)
            self.rpe_table = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), last)
        else:
            self.rpe_table = nn.Parameter(torch.zeros(n_heads, 2 * self.q_h - 1, 2 * self.q_w - 1))

    def forward(self, x):
        b, c, h, w = x.shape
        q, g = self.proj_q(x), self.n_groups
        moves = self.conv_offset(q.reshape(b * g, c // g, h, w)).movedim(1, -1)
        hk, wk = moves.shape[1:3]
        grid = torch.stack(
            torch.meshgrid(
                (torch.arange(hk) + 0.5) / (hk - 1) * 2 - 1, (torch.arange(wk) + 0.5) / (wk - 1) * 2 - 1, indexing="ij"
            ),
            -1,
        )
        if self.offset_range_factor >= 0:
            points = grid + moves.tanh() * self.offset_range_factor / torch.tensor([hk - 1.0, wk - 1.0])
        else:
            points = (grid + moves).clamp(-1, 1)
        keys = F.grid_sample(x.reshape(b * g, c // g, h, w), points.flip(-1), align_corners=True).reshape(b, c, -1)
        heads = (b, self.n_heads, c // self.n_heads, -1)
        k, v = (proj(keys[..., None]).reshape(heads) for proj in (self.proj_k, self.proj_v))
        logits = q.reshape(heads).mT @ k * (c // self.n_heads) ** -0.5
        if not self.dwc_pe:
            rows, columns = torch.linspace(-1, 1, h), torch.linspace(-1, 1, w)
            at = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(1, h * w, 1, 2)
            far = at - points.reshape(b * g, 1, hk * wk, 2)
            if self.log_cpb:
                bias = self.rpe_table(far.sign() * (4 * far.abs() + 1).log2() / 3).movedim(-1, 1)
            else:
                table = self.rpe_table.reshape(g, -1, *self.rpe_table.shape[1:]).repeat(b, 1, 1, 1)
                bias = F.grid_sample(table, far.flip(-1) / 2, align_corners=True)
            logits = logits + bias.reshape(b, self.n_heads, h * w, hk * wk)
        out = (v @ logits.softmax(-1).mT).reshape(b, c, h, w)
        return self.proj_out(out + self.rpe_table(q) if self.dwc_pe else out)


def _context(channels, hidden, pooled):
    layers = [nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)]
    layers += [nn.Conv2d(hidden, channels, 1), nn.BatchNorm2d(channels)]
    return nn.Sequential(*[nn.AdaptiveAvgPool2d(1)] * pooled, *layers)


class AFF(nn.Module):
    def __init__(self, channels=64, r=4):
        super().__init__()
        self.local_att = _context(channels, channels // r, False)
        self.global_att = _context(channels, channels // r, True)
        self.sigmoid = nn.Sigmoid()

    def share(self, x):
        return self.sigmoid(self.local_att(x) + self.global_att(x))

    def forward(self, x):
        one, other = x
        share = self.share(one + other)
        return 2 * one * share + 2 * other * (1 - share)


class MS_CAM(AFF):
    def forward(self, x):
        return x * self.share(x)


class iAFF(AFF):
    def __init__(self, channels=64, r=4):
        super().__init__(channels, r)
        self.local_att2 = _context(channels, channels // r, False)
        self.global_att2 = _context(channels, channels // r, True)

    def forward(self, x):
        one, other = x
        share = self.share(one + other)
        fused = one * share + other * (1 - share)
        share = self.sigmoid(self.local_att2(fused) + self.global_att(fused))
        return one * share + other * (1 - share)


class MLCA(nn.Module):
    def __init__(self, in_size, local_size=5, gamma=2, b=1, local_weight=0.5):
        super().__init__()
        self.local_size, self.gamma, self.b, self.local_weight = local_size, gamma, b, local_weight
        k = int(abs(math.log(in_size, 2) + b) / gamma)
        k += 1 - k % 2
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)
        self.conv_local = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)
        self.local_arv_pool, self.global_arv_pool = nn.AdaptiveAvgPool2d(local_size), nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        b, c, n = *x.shape[:2], self.local_size
        patches = self.local_arv_pool(x)
        local = self.conv_local(patches.flatten(2).mT.reshape(b, 1, -1)).view(b, n * n, c).mT.reshape(b, c, n, n)
        whole = self.conv(patches.mean((2, 3))[:, None]).mT[..., None]
        gate = local.sigmoid() * self.local_weight + whole.sigmoid() * (1 - self.local_weight)
        return x * F.adaptive_avg_pool2d(gate, x.shape[2:])


class LSKblock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv0 = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.conv_spatial = nn.Conv2d(dim, dim, 7, padding=9, groups=dim, dilation=3)
        self.conv1, self.conv2 = nn.Conv2d(dim, dim // 2, 1), nn.Conv2d(dim, dim // 2, 1)
        self.conv_squeeze, self.conv = nn.Conv2d(2, 2, 7, padding=3), nn.Conv2d(dim // 2, dim, 1)

    def forward(self, x):
        near = self.conv0(x)
        parts = [self.conv1(near), self.conv2(self.conv_spatial(near))]
        both = torch.cat(parts, 1)
        share = self.conv_squeeze(torch.cat([both.mean(1, True), both.amax(1, True)], 1)).sigmoid()
        return x * self.conv(parts[0] * share[:, :1] + parts[1] * share[:, 1:])


class LSKA(nn.Module):
    def __init__(self, dim, k_size=7):
        super().__init__()
        self.k_size, far = k_size, {7: 3, 11: 5}[k_size]
        self.conv0h = nn.Conv2d(dim, dim, (1, 3), padding=(0, 1), groups=dim)
        self.conv0v = nn.Conv2d(dim, dim, (3, 1), padding=(1, 0), groups=dim)
        self.conv_spatial_h = nn.Conv2d(dim, dim, (1, far), padding=(0, far - 1), groups=dim, dilation=2)
        self.conv_spatial_v = nn.Conv2d(dim, dim, (far, 1), padding=(far - 1, 0), groups=dim, dilation=2)
        self.conv1 = nn.Conv2d(dim, dim, 1)

    def forward(self, x):
        return x * self.conv1(self.conv_spatial_v(self.conv_spatial_h(self.conv0v(self.conv0h(x)))))


class CPCA_ChannelAttention(nn.Module):
    def __init__(self, c, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(c, hidden, 1), nn.Conv2d(hidden, c, 1)

    def forward(self, x):
        pooled = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return x * sum(self.fc2(self.fc1(p).relu()).sigmoid() for p in pooled)


class CPCA(nn.Module):
    def __init__(self, channels, channelAttention_reduce=4):
        super().__init__()
        self.ca = CPCA_ChannelAttention(channels, channels // channelAttention_reduce)
        for h, w in ((5, 5), (1, 7), (7, 1), (1, 11), (11, 1), (1, 21), (21, 1)):
            conv = nn.Conv2d(channels, channels, (h, w), padding=(h // 2, w // 2), groups=channels)
            setattr(self, f"dconv{h}_{w}", conv)
        self.conv, self.act = nn.Conv2d(channels, channels, 1), nn.GELU()

    def forward(self, x):
        x = self.ca(self.act(self.conv(x)))
        seen = near = self.dconv5_5(x)
        for n in (7, 11, 21):
            seen = seen + getattr(self, f"dconv{n}_1")(getattr(self, f"dconv1_{n}")(near))
        return self.conv(self.conv(seen) * x)


class ELA(nn.Module):
    def __init__(self, channel, kernel_size=7):
        super().__init__()
        self.conv = nn.Conv1d(channel, channel, kernel_size, padding=kernel_size // 2, groups=channel, bias=False)
        self.gn, self.sigmoid = nn.GroupNorm(16, channel), nn.Sigmoid()

    def forward(self, x):
        rows, columns = (self.sigmoid(self.gn(self.conv(x.mean(dim)))) for dim in (3, 2))
        return x * rows[..., None] * columns[:, :, None]


class EffectiveSEModule(nn.Module):
    def __init__(self, channels, add_maxpool=False):
        super().__init__()
        self.add_maxpool, self.fc, self.gate = add_maxpool, nn.Conv2d(channels, channels, 1), nn.Hardsigmoid()

    def forward(self, x):
        return x * self.gate(self.fc(x.mean((2, 3), keepdim=True)))


class QKVLinear(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)


class TopkRouting(nn.Module):
    def __init__(self, topk):
        super().__init__()
        self.topk, self.emb = topk, nn.Identity()


class BiLevelRoutingAttention(nn.Module):
    def __init__(self, dim, n_win=7, num_heads=8, topk=4, side_dwconv=3):
        super().__init__()
        self.dim, self.qk_dim, self.n_win, self.num_heads = dim, dim, n_win, num_heads
        self.kv_downsample_mode, self.soft_routing, self.param_routing = "identity", False, False
        self.lepe = nn.Conv2d(dim, dim, side_dwconv, padding=side_dwconv // 2, groups=dim)
        self.router, self.qkv, self.wo = TopkRouting(topk), QKVLinear(dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, c, h, w = x.shape
        n, heads = self.n_win, self.num_heads

        def regions(t):  # B H W C to B, regions, pixels, C
            return t.view(b, n, h // n, n, w // n, -1).transpose(2, 3).reshape(b, n * n, -1, t.shape[-1])

        q, k, v = self.qkv.qkv(x.movedim(1, -1)).chunk(3, -1)
        lepe = self.lepe(v.movedim(-1, 1))
        q, k, v = map(regions, (q, k, v))
        chosen = (q.mean(2) @ k.mean(2).mT).topk(self.router.topk, -1).indices
        out = torch.empty_like(q)
        for i in range(b):
            for r in range(n * n):
                kk, vv = (t[i, chosen[i, r]].reshape(-1, heads, c // heads).transpose(0, 1) for t in (k, v))
                qq = q[i, r].view(-1, heads, c // heads).transpose(0, 1)
                out[i, r] = ((qq @ kk.mT * c**-0.5).softmax(-1) @ vv).transpose(0, 1).reshape(-1, c)
        out = out.view(b, n, n, h // n, w // n, c).transpose(2, 3).reshape(b, h, w, c)
        return self.wo(out + lepe.movedim(1, -1)).movedim(-1, 1)


class DCNv2(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, groups=1, deformable_groups=1):
        super().__init__()
        self.kernel_size, self.stride, self.padding, self.dilation = (kernel_size,) * 2, (stride,) * 2, (1, 1), (1, 1)
        self.groups, self.deformable_groups = groups, deformable_groups
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        moves = deformable_groups * 3 * kernel_size**2
        self.conv_offset_mask = nn.Conv2d(in_channels, moves, kernel_size, stride, 1)
        self.bn, self.act = nn.BatchNorm2d(out_channels), nn.SiLU()

    def forward(self, x: Tensor):
        from torchvision.ops import deform_conv2d

        y, x_, mask = self.conv_offset_mask(x).chunk(3, 1)
        offset = torch.cat([y, x_], 1)
        out = deform_conv2d(x, offset, self.weight, self.bias, self.stride, self.padding, mask=mask.sigmoid())
        return self.act(self.bn(out))


class Bottleneck_DCN(nn.Module):
    def __init__(self, c, shortcut, both):
        super().__init__()
        self.cv1, self.cv2 = DCNv2(c, c) if both else Conv(c, c, 3), DCNv2(c, c)
        self.add = shortcut

    def forward(self, x):
        return x + self.cv2(self.cv1(x)) if self.add else self.cv2(self.cv1(x))


class C2f_DCN(nn.Module):
    def __init__(self, c1, c2, n=1, shortcut=False, both=False):
        super().__init__()
        self.c = c2 // 2
        self.cv1, self.cv2 = Conv(c1, 2 * self.c), Conv((2 + n) * self.c, c2)
        self.m = nn.ModuleList(Bottleneck_DCN(self.c, shortcut, both) for _ in range(n))

    def forward(self, x):
        parts = [*self.cv1(x).split(self.c, 1)]
        for bottleneck in self.m:
            parts.append(bottleneck(parts[-1]))
        return self.cv2(torch.cat(parts, 1))


OWN = [each for each in vars().values() if isinstance(each, type) and each.__module__ == __name__]
for _cls in OWN:  # two have one name, as where a fork has collected files
    _cls.__module__ = "ultralytics.nn.modules.conv" if _cls is SharedGate else "ultralytics.nn.modules.block"


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """A layer with random weights and statistics, as after a training, in a model that Ultralytics has built."""
    generator = torch.Generator().manual_seed(seed)
    for inner in module.modules():
        if isinstance(inner, nn.BatchNorm2d):
            inner.eps, inner.momentum = 1e-3, 0.03
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                spread = 1 / math.sqrt(max(tensor[0].numel(), 1)) if tensor.ndim > 1 else 0.3
                tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise * max(spread, 0.05))
    return module.eval()


@contextmanager
def installed(module: str = ""):
    """The fork's classes where the fork has them, or all in one module, and its names where its YAMLs find them."""
    from ultralytics.nn import tasks

    with mock.patch.dict(vars(tasks), {cls.__name__: cls for cls in OWN}):
        before = {cls: cls.__module__ for cls in OWN}
        for cls in OWN:
            cls.__module__ = module or cls.__module__
        homes = {cls.__module__: sys.modules[cls.__module__] for cls in OWN}
        patches = [
            mock.patch.dict(
                vars(home),
                {cls.__qualname__: cls for cls in OWN if cls.__module__ == name and not (module and cls is SharedGate)},
            )
            for name, home in homes.items()
        ]
        try:
            for patch in patches:
                patch.start()
            yield
        finally:
            for patch in patches:
                patch.stop()
            for cls, name in before.items():
                cls.__module__ = name


def save(d: dict, path: Path, ema: bool = False, dtype: torch.dtype = torch.float32, module: str = "") -> None:
    """Save a checkpoint as a training with the fork does, and beside it what the model gives for an image."""
    from ultralytics.nn import tasks

    with installed(module):
        torch.manual_seed(0)
        model = (
            shaken(tasks.DetectionModel(json.loads(json.dumps(d)), ch=3, nc=d["nc"], verbose=False)).to(dtype).float()
        )
        model.names, model.args, model.task = {i: f"kind {i}" for i in range(d["nc"])}, {"imgsz": 64}, "detect"
        x = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            torch.save({"x": x, "y": model(x)[0]}, path.with_name("seen.pt"))
        model.to(dtype)
        slots = {"model": None if ema else model, "ema": model if ema else None, "optimizer": {}, "epoch": 7}
        results = {
            "train_args": {"imgsz": 64, "data": Path("mine.yaml")},
            "train_metrics": {"fitness": np.float64(0.5)},
        }  # as from NumPy
        torch.save({**slots, **results}, path)
