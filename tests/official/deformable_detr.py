"""Deformable DETR: fundamentalvision/Deformable-DETR."""

from __future__ import annotations

from yolo_attn.modules import MSDeformAttn
from yolo_attn.modules.msda import multi_scale_deformable_attention

from .ours import Function, Ours


def attention(d_model=256, n_levels=4, n_heads=8, n_points=4):
    return MSDeformAttn(d_model, n_heads, n_points, [d_model] * n_levels)


def attend(module, query, reference_points, value, shapes, starts, mask=None):
    return module.attend(query, reference_points, value, shapes.tolist(), mask)  # starts follow from the shapes


TABLE = {
    "DeformableDETR.MSDeformAttn": Ours(attention, call=attend),
    "DeformableDETR.ms_deform_attn_core_pytorch": Ours(
        lambda: Function(multi_scale_deformable_attention),
        call=lambda core, value, shapes, locations, weights: core(value, shapes.tolist(), locations, weights),
    ),
}
