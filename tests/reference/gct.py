"""GCT: arXiv:1909.11519, eq. 2 (embedding), eq. 4 (normalisation), eq. 5 (gate)."""

import torch
from torch import Tensor


def gct(module, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    c, eps = x.shape[1], module.epsilon
    alpha, gamma, beta = (p.flatten() for p in (module.alpha, module.gamma, module.beta))
    for b in range(x.shape[0]):
        if module.mode == "l2":
            s = torch.stack([alpha[k] * ((x[b, k] ** 2).sum() + eps).sqrt() for k in range(c)])
            s_hat = c**0.5 * s / ((s**2).sum() + c * eps).sqrt()
        else:
            s = torch.stack([alpha[k] * (x[b, k] if module.after_relu else x[b, k].abs()).sum() for k in range(c)])
            s_hat = s / (s.abs().sum() / c + eps)
        for k in range(c):
            out[b, k] = x[b, k] * (1 + torch.tanh(gamma[k] * s_hat[k] + beta[k]))
    return out
