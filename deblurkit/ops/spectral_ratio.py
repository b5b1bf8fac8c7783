"""The kernel between a sharp and a blurry picture as a ratio of spectra: nothing learned, nothing iterated to the end.

Blur multiplies spectra, so the ratio of the blurry picture's spectrum to the sharp one's is the kernel's. Gradients
weigh all frequencies about alike, a taper hides the borders, and the regularisation keeps frequencies that the sharp
picture hardly contains from blowing up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deblurkit.errors import KernelError
from deblurkit.ops.fourier import fast_size, kernel_spectrum
from deblurkit.ops.kernel_fit import inner_gradients
from deblurkit.ops.shapes import require_image

REGULARISATION = 1e-3
CORRECTIONS = 3


def spectral_ratio(
    sharp: Tensor,
    blurry: Tensor,
    window: int,
    *,
    regularisation: float = REGULARISATION,
    corrections: int = CORRECTIONS,
    mask: Tensor | None = None,
) -> Tensor:
    """Estimate the kernel k of ``blurry = k * sharp`` (true convolution, anchor = centre) from their gradients.

    All channels share the kernel. Every correction blurs the sharp picture by the kernel so far and adds the ratio
    that belongs to what is left, which removes most of the error that taper and regularisation made.

    Args:
        sharp: (B, C, H, W).
        blurry: (B, C, H, W), of the same size: what lies near its border may come from beyond the sharp picture's.
        window: Side of the kernel, odd; the pictures must be larger.
        regularisation: Added to the sharp picture's power spectrum, as a fraction of its mean; > 0.
        corrections: How often to correct; 0 for the plain ratio.
        mask: Weights (B, 1, H, W) of the blurry picture's pixels in [0, 1]; None for all alike.

    Returns:
        (B, 1, window, window), differentiable; about a kernel, but neither its sign nor its sum is held.

    Raises:
        ValueError: A layout is wrong, the pictures differ in size, or an argument is out of range.
        KernelError: The window is even or not smaller than the pictures.
    """
    require_image(sharp, "sharp")
    require_image(blurry, "blurry")
    if sharp.shape != blurry.shape:
        raise ValueError(f"sharp and blurry pictures differ: {tuple(sharp.shape)} and {tuple(blurry.shape)}")
    if regularisation <= 0 or corrections < 0:
        raise ValueError(f"regularisation: must be positive, got {regularisation}, corrections {corrections}")
    height, width = sharp.shape[-2] - 1, sharp.shape[-1] - 1
    if window % 2 == 0 or window >= min(height, width):
        raise KernelError(f"window: must be odd and smaller than the {height + 1}x{width + 1} picture, got {window}")
    grid = (fast_size(height + window), fast_size(width + window))
    x, y = inner_gradients(sharp), inner_gradients(blurry)
    taper = _taper(height, width, window // 2, x)
    if mask is not None:
        taper = taper * _least_of_neighbours(mask)
    spectrum = torch.fft.rfft2(x, s=grid)
    seen = torch.fft.rfft2(x * taper, s=grid)
    power = seen.abs().square().sum(1, keepdim=True)
    inverse = seen.conj() / (power + regularisation * power.mean((-2, -1), keepdim=True) + 1e-20)

    def ratio(rest: Tensor) -> Tensor:
        quotient = (inverse * torch.fft.rfft2(rest * taper, s=grid)).sum(1, keepdim=True)
        centred = torch.roll(torch.fft.irfft2(quotient, s=grid), (window // 2, window // 2), (-2, -1))
        return centred[..., :window, :window]

    kernel = ratio(y)
    for _ in range(corrections):
        blurred = torch.fft.irfft2(spectrum * kernel_spectrum(kernel, grid), s=grid)[..., :height, :width]
        kernel = kernel + ratio(y - blurred)
    return kernel


def _taper(height: int, width: int, border: int, like: Tensor) -> Tensor:
    """A Hann window (height, width) within a border of zeros, where what was blurred lies beyond the picture."""
    sides = []
    for side in (height, width):
        inner = side - 2 * min(border, side // 4)
        hann = torch.hann_window(inner + 2, periodic=False, dtype=like.dtype, device=like.device)[1:-1]
        border_of_side = (side - inner) // 2
        sides.append(torch.nn.functional.pad(hann, (border_of_side, side - inner - border_of_side)))
    return sides[0][:, None] * sides[1][None, :]


def _least_of_neighbours(mask: Tensor) -> Tensor:
    """Weight of an inner gradient: that of the worst of its three pixels."""
    return torch.minimum(torch.minimum(mask[..., :-1, :-1], mask[..., 1:, :-1]), mask[..., :-1, 1:])


def nearest_kernel(estimate: Tensor) -> Tensor:
    """Project onto the simplex: the kernel >= 0 with sum 1 that is nearest in least squares.

    The projection subtracts one number and clips (Held, Wolfe and Crowder 1974), so weak noise all over the window
    vanishes; clipping and dividing by the sum would keep a half of it as a pedestal.

    Args:
        estimate: (B, 1, h, w).

    Returns:
        (B, 1, h, w), differentiable almost everywhere.
    """
    flat = estimate.flatten(1)
    return (flat - simplex_threshold(flat)).clamp_min(0).view_as(estimate)


def simplex_threshold(flat: Tensor) -> Tensor:
    """The number (B, 1) to subtract from rows (B, N), so that what is left above zero sums to 1; differentiable."""
    ordered = flat.sort(dim=1, descending=True).values
    counts = torch.arange(1, flat.shape[1] + 1, dtype=flat.dtype, device=flat.device)
    thresholds = (ordered.cumsum(1) - 1) / counts
    kept = (ordered > thresholds).sum(1, keepdim=True).clamp_min(1)
    return thresholds.gather(1, kept - 1)
