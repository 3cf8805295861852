"""y = x + gamma * f(x), per channel."""

from torch import Tensor


def residual(module, x: Tensor) -> Tensor:
    from . import REFERENCES

    f = REFERENCES[type(module.fn).__name__](module.fn, x)
    return x + module.gamma[None, :, None, None] * f
