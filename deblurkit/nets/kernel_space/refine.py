"""Codes by gradient descent: slower than G, and right for whatever can be differentiated.

The objectives are logarithms of squared errors, so that neither their scale nor how well a code fits already changes
the steps that suit: a code's error falls by orders of magnitude on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from deblurkit.nets.kernel_space.space import KernelSpace

TINY = 1e-12
"""Mean squared error (120 dB) that counts as none."""


def refine(
    space: KernelSpace,
    sharp: Tensor,
    blurry: Tensor,
    code: Tensor,
    *,
    steps: int = 100,
    lr: float = 0.02,
    weight: Tensor | None = None,
) -> Tensor:
    """Improve codes by Adam until the re-blurred pictures are like the blurry ones.

    Args:
        space: The space; its weights stay as they are.
        sharp: (B, C, H, W).
        blurry: Likewise; its border, a margin wide, does not count.
        code: Where to start (B, D, gy, gx).
        steps: Steps of Adam.
        lr: First learning rate, in the code's units; it falls to 0 as half a cosine.
        weight: What a blurry picture's pixels count (B, 1, H, W), >= 0; None for all alike.

    Returns:
        The best code on the way, picture by picture; never worse than where it started.
    """
    margin = space.margin
    inner = (..., slice(margin, blurry.shape[-2] - margin), slice(margin, blurry.shape[-1] - margin))
    target = blurry[inner]
    weights = torch.ones_like(target) if weight is None else weight[inner].expand_as(target)
    total = weights.sum((1, 2, 3)).clamp_min(TINY)

    def error(tried: Tensor) -> Tensor:
        return (weights * (space.blur(sharp, tried) - target).square()).sum((1, 2, 3)) / total

    return _descend(error, code, steps, lr)


@torch.enable_grad()
def _descend(error: Callable[[Tensor], Tensor], start: Tensor, steps: int, lr: float) -> Tensor:
    """Adam on the sum of the logarithms of errors (B,); the best codes met."""
    code = start.detach().clone().requires_grad_(True)
    best, least = start.detach().clone(), start.new_full((len(start),), math.inf)
    adam = torch.optim.Adam([code], lr=lr)
    for step in range(steps + 1):
        errors = error(code)
        better = errors.detach() < least
        best = torch.where(better.view(-1, 1, 1, 1), code.detach(), best)
        least = torch.where(better, errors.detach(), least)
        if step == steps:
            break
        for group in adam.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        (code.grad,) = torch.autograd.grad((errors + TINY).log().sum(), code)  # leaves the weights' gradients alone
        adam.step()
    return best
