"""Change of sampling rate with a FIR filter, as StyleGAN's networks use it, in ordinary tensor code.

Nothing is compiled, the CPU and every accelerator run the same lines, and autograd gives derivatives of any order.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BINOMIAL = (1.0, 3.0, 3.0, 1.0)
"""Taps of StyleGAN2's filter, before they are normalised (Karras et al., CVPR 2020)."""
SHORT = 8
"""Taps up to which one pass with the outer product is quicker than two passes over memory."""


def upfirdn2d(
    x: Tensor, taps: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> Tensor:
    """Put ``up - 1`` zeros behind every sample, pad, convolve, and keep every ``down``-th sample.

    Args:
        x: Pictures (B, C, H, W).
        taps: Filter (h, w), for true convolution; or (n,), which stands for its outer product with itself.
        up: Factor of the up-sampling.
        down: Factor of the down-sampling.
        pad: Zeros to add (left, right, top, bottom), counted in the up-sampled picture; negative ones crop.

    Returns:
        (B, C, H', W') with H' = (H up + top + bottom - h) // down + 1, and W' likewise.

    Raises:
        ValueError: If a factor is below 1, the filter has more than two dimensions, or is larger than the picture.
    """
    if min(up, down) < 1 or taps.ndim not in (1, 2):
        raise ValueError(
            f"upfirdn2d: needs factors of 1 or more and taps of 1 or 2 dimensions, got {up}, {down}, {taps.shape}"
        )
    batch, channels, height, width = x.shape
    left, right, top, bottom = pad
    tall, wide = height * up + top + bottom, width * up + left + right
    if tall < taps.shape[0] or wide < taps.shape[-1]:
        raise ValueError(f"upfirdn2d: a filter of {tuple(taps.shape)} is larger than the padded picture {tall, wide}")
    if up > 1:
        x = functional.pad(x.reshape(batch, channels, height, 1, width, 1), (0, up - 1, 0, 0, 0, up - 1))
        x = x.reshape(batch, channels, height * up, width * up)
    inner = (top, left) if left == right >= 0 and top == bottom >= 0 else (0, 0)
    if inner == (0, 0):
        x = functional.pad(x, pad)
    taps = taps.to(x).flip(tuple(range(taps.ndim)))  # torch's convolution correlates
    if taps.ndim == 1 and len(taps) > SHORT:
        x = depthwise(x, taps[:, None], (down, 1), (inner[0], 0))
        return depthwise(x, taps[None, :], (1, down), (0, inner[1]))
    return depthwise(x, taps if taps.ndim == 2 else torch.outer(taps, taps), (down, down), inner)


def depthwise(x: Tensor, taps: Tensor, stride: tuple[int, int], pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Correlate every channel of (B, C, H, W), with zeros around it, with the same (h, w) taps."""
    channels = x.shape[1]
    taps = taps.expand(channels, 1, *taps.shape)
    return functional.conv2d(x, taps, stride=stride, padding=pad, groups=channels)


def filter_taps(taps: tuple[float, ...] = BINOMIAL, *, gain: float = 1.0, like: Tensor | None = None) -> Tensor:
    """One-dimensional taps (n,) whose outer product with themselves sums to ``gain``."""
    values = torch.tensor(taps) if like is None else like.new_tensor(taps)
    return values * (gain**0.5 / values.sum())


def upsample2(x: Tensor) -> Tensor:
    """Double the size of (B, C, H, W) by StyleGAN2's filter; the mean is kept inside."""
    return upfirdn2d(x, filter_taps(gain=4.0, like=x), up=2, pad=(2, 1, 2, 1))


def downsample2(x: Tensor) -> Tensor:
    """Halve the size of (B, C, H, W), of even sides, by StyleGAN2's filter."""
    return upfirdn2d(x, filter_taps(like=x), down=2, pad=(1, 1, 1, 1))


def biased_act(
    x: Tensor, bias: Tensor | None, *, slope: float = 0.2, gain: float = 2**0.5, clamp: float = 0.0
) -> Tensor:
    """Add a bias along dimension 1, apply a leaky ReLU, multiply by ``gain``, and clamp.

    Args:
        x: (B, C, ...).
        bias: (C,), or ``None``.
        slope: Of the negative side; 1 for no activation.
        gain: Factor afterwards; the root of two keeps the variance of StyleGAN2's layers.
        clamp: Largest absolute value of the result; 0 for no limit.
    """
    if bias is not None:
        x = x + bias.view(1, -1, *[1] * (x.ndim - 2))
    if slope != 1.0:
        x = functional.leaky_relu(x, slope)
    if gain != 1.0:
        x = x * gain
    return x.clamp(-clamp, clamp) if clamp else x
