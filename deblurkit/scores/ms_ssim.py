"""Multi-scale structural similarity, in the version of the MeTriX MuX package that Koehler's scores use."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from deblurkit.ops.ssim import SIGMA, WINDOW

_WEIGHTS = np.array((0.0448, 0.2856, 0.3001, 0.2363, 0.1333))
_LOW_PASS = np.array((0.037828455507260, -0.023849465019560, -0.110624404418440, 0.377402855612830, 0.852698679008890,
                      0.377402855612830, -0.110624404418440, -0.023849465019560, 0.037828455507260))  # fmt: skip
_C1, _C2 = 0.01**2, 0.03**2
MIN_SIDE = (WINDOW - 1) * 2 ** (len(_WEIGHTS) - 1) + 1
"""Smallest side that still has a whole window at the coarsest of the five scales."""


def ms_ssim(image: Tensor, truth: Tensor) -> float | None:
    """Product over five scales of the means of contrast and structure, and of luminance at the last (Wang et al. 2003).

    11x11 Gaussian windows of sigma 1.5, whole ones only; between scales the low-pass filter of the biorthogonal 9/7
    wavelet with mirrored borders, and every second pixel. Means are taken of each component, not of their product.

    Args:
        image: (1, 1, H, W) of range 1.
        truth: The same shape.

    Returns:
        At most 1; None where a side is below `MIN_SIDE`, or a scale is anticorrelated, so that there is no real power.
    """
    if min(truth.shape[-2:]) < MIN_SIDE:
        return None
    a, b = (one[0, 0].detach().cpu().double().numpy() for one in (image, truth))
    value = 1.0
    for scale, weight in enumerate(_WEIGHTS):
        if scale:
            a, b = _halved(a), _halved(b)
        luminance, contrast, structure = _components(a, b)
        last = luminance if scale == len(_WEIGHTS) - 1 else 1.0
        if min(last, contrast, structure) < 0:
            return None
        value *= float((last * contrast * structure) ** weight)
    return value


def _components(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float]:
    """Means of luminance, contrast and structure over whole windows."""
    mean_a, mean_b = _window(a), _window(b)
    deviation_a, deviation_b = (
        np.sqrt(np.maximum(_window(one * one) - mean * mean, 0.0)) for one, mean in ((a, mean_a), (b, mean_b))
    )
    covariance = _window(a * b) - mean_a * mean_b
    product = deviation_a * deviation_b
    luminance = (2.0 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    contrast = (2.0 * product + _C2) / (deviation_a**2 + deviation_b**2 + _C2)
    structure = (covariance + _C2 / 2.0) / (product + _C2 / 2.0)
    return float(luminance.mean()), float(contrast.mean()), float(structure.mean())


def _window(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian mean over whole windows."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(offsets**2) / (2.0 * SIGMA**2))
    taps /= taps.sum()
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    rows = ndimage.correlate1d(x, taps, axis=0)[inside]
    return ndimage.correlate1d(rows, taps, axis=1)[:, inside]


def _halved(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Low-pass filter, then every second pixel."""
    taps = _LOW_PASS / _LOW_PASS.sum()
    rows = ndimage.correlate1d(x, taps, axis=0, mode="reflect")[::2]
    return ndimage.correlate1d(rows, taps, axis=1, mode="reflect")[:, ::2]
