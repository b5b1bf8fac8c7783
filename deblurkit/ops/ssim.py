"""Structural similarity (Wang et al. 2004), differentiable, for values of range 1."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurkit.ops.shapes import require_image

WINDOW = 11
SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2

Padding = Literal["same", "valid"]


def ssim_map(a: Tensor, b: Tensor, *, padding: Padding) -> Tensor:
    """SSIM at every pixel: 11x11 Gaussian window of sigma 1.5, ``K = (0.01, 0.03)``, range 1, each channel alone.

    Args:
        a: ``(B, C, H, W)`` in [0, 1].
        b: The same shape.
        padding: ``"same"`` pads by 5 zeros (SelfDeblur's loss); ``"valid"`` keeps whole windows only (Wang's index).

    Returns:
        ``(B, C, H, W)``, or ``(B, C, H - 10, W - 10)`` for ``"valid"``; differentiable in both.

    Raises:
        ValueError: The shapes differ, or an image is smaller than the window in ``"valid"``.
    """
    require_image(a, "image")
    if a.shape != b.shape:
        raise ValueError(f"ssim: the pictures differ in shape, {tuple(a.shape)} and {tuple(b.shape)}")
    if padding == "valid" and min(a.shape[-2:]) < WINDOW:
        raise ValueError(f"ssim: {a.shape[-2]}x{a.shape[-1]} is smaller than the {WINDOW}x{WINDOW} window")
    # one after the other: a convolution in double precision takes many times the memory of its input
    mean_a, mean_b, square_a, square_b, product = (
        _window(one.flatten(0, 1), padding).unflatten(0, one.shape[:2]) for one in (a, b, a * a, b * b, a * b)
    )
    variances = square_a - mean_a.square() + square_b - mean_b.square()
    covariance = product - mean_a * mean_b
    luminance = (2.0 * mean_a * mean_b + _C1) / (mean_a.square() + mean_b.square() + _C1)
    return luminance * (2.0 * covariance + _C2) / (variances + _C2)


def ssim(a: Tensor, b: Tensor, *, padding: Padding) -> Tensor:
    """Mean of :func:`ssim_map` over pixels and channels.

    Args:
        a: ``(B, C, H, W)`` in [0, 1].
        b: The same shape.
        padding: As in :func:`ssim_map`.

    Returns:
        ``(B,)``.

    Raises:
        ValueError: As :func:`ssim_map`.
    """
    return ssim_map(a, b, padding=padding).mean(dim=(1, 2, 3))


def masked_ssim(a: Tensor, b: Tensor, mask: Tensor, *, padding: Padding) -> Tensor:
    """Mean SSIM over the pixels that count.

    Where the mask is 0 both pictures are made equal (``a`` takes the value of ``b``), so that windows that touch such
    a pixel judge only what was observed; the mean then runs over windows centred on counted pixels.

    Args:
        a: ``(B, C, H, W)`` in [0, 1].
        b: The same shape.
        mask: 1 where the pixel counts, else 0; broadcastable to the pictures.
        padding: As in :func:`ssim_map`.

    Returns:
        ``(B,)``; 1 for a picture without any counted pixel.

    Raises:
        ValueError: As :func:`ssim_map`.
    """
    require_image(a, "image")
    weights = mask.to(a.dtype).expand_as(a)
    similarity = ssim_map(torch.where(weights > 0, a, b), b, padding=padding)
    if padding == "valid":
        margin = WINDOW // 2
        weights = weights[..., margin:-margin, margin:-margin]
    total = weights.sum(dim=(1, 2, 3))
    return 1.0 - ((1.0 - similarity) * weights).sum(dim=(1, 2, 3)) / total.clamp_min(1.0)


def _window(flat: Tensor, padding: Padding) -> Tensor:
    """Separable Gaussian mean of ``(N, H, W)``; never in the low precision of autocast, which variances do not bear."""
    offsets = torch.arange(WINDOW, device=flat.device, dtype=flat.dtype) - WINDOW // 2
    taps = torch.exp(-offsets.square() / (2.0 * SIGMA**2))
    taps = taps / taps.sum()
    margin = WINDOW // 2 if padding == "same" else 0
    with torch.autocast(flat.device.type, enabled=False):
        rows = F.conv2d(flat[:, None], taps.view(1, 1, -1, 1), padding=(margin, 0))
        return F.conv2d(rows, taps.view(1, 1, 1, -1), padding=(0, margin))[:, 0]
