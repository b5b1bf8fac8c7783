"""The best non-negative kernel between two pictures, whatever the pictures are: images, gradients, posterior means."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.ops.fourier import difference_powers, fast_size, kernel_spectrum


def fit_kernel(sharp: Tensor, blurry: Tensor, start: Tensor, *, ridge: Tensor, smooth: Tensor, steps: int) -> Tensor:
    """Minimise ||k * sharp - blurry||^2 + ridge ||k||^2 + smooth ||grad k||^2 over k >= 0, on a periodic grid.

    The normal matrix is a convolution with the autocorrelation of ``sharp``, of which only lags within the window
    matter, so a step costs two FFTs of twice the window, not of the picture. Accelerated projected gradient (Beck and
    Teboulle 2009); few steps regularise by stopping early.

    Args:
        sharp: Spectra ``rfft2`` (B, C, H, W // 2 + 1) of the sharp pictures on the grid.
        blurry: Blurry pictures (B, C, H, W) on the grid.
        start: (B, 1, h, w), odd sides: where to begin, and the window.
        ridge: (B, 1, 1, 1), >= 0.
        smooth: (B, 1, 1, 1), >= 0: weight of the kernel's squared differences.
        steps: Number of steps.

    Returns:
        (B, 1, h, w), >= 0, of any sum.
    """
    size = blurry.shape[-2:]
    height, width = start.shape[-2:]
    auto = torch.fft.irfft2(sharp.abs().square().sum(1, keepdim=True), s=size)
    cross = torch.fft.irfft2((sharp.conj() * torch.fft.rfft2(blurry)).sum(1, keepdim=True), s=size)
    right = torch.roll(cross, (height // 2, width // 2), (-2, -1))[..., :height, :width]
    lags = torch.roll(auto, (height - 1, width - 1), (-2, -1))[..., : 2 * height - 1, : 2 * width - 1]
    grid = fast_size(2 * height - 1), fast_size(2 * width - 1)
    normal = kernel_spectrum(lags, grid)
    py, px = difference_powers(grid, start)
    normal = normal + smooth * (px + py)
    rate = 1 / (normal.real.amax((-2, -1), keepdim=True) + ridge).clamp_min(1e-20)
    kernel = ahead = start
    momentum = 1.0
    for _ in range(steps):
        product = torch.fft.irfft2(normal * torch.fft.rfft2(ahead, s=grid), s=grid)[..., :height, :width]
        before, kernel = kernel, (ahead - rate * (product + ridge * ahead - right)).clamp_min(0)
        grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = kernel + (momentum - 1) / grown * (kernel - before)
        momentum = grown
    return kernel


def inner_gradients(x: Tensor) -> Tensor:
    """First differences along both axes where both exist: (B, C, H, W) to (B, 2 C, H - 1, W - 1)."""
    return torch.cat([torch.diff(x, dim=-1)[..., :-1, :], torch.diff(x, dim=-2)[..., :-1]], dim=1)


def inner_mask(mask: Tensor) -> Tensor:
    """Where all three pixels of an inner gradient are believed: (B, 1, H, W) to (B, 1, H - 1, W - 1)."""
    return mask[..., :-1, :-1] * mask[..., 1:, :-1] * mask[..., :-1, 1:]


def embed(x: Tensor, margin: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Place (B, C, H, W) on a zero grid with ``margin`` rows and columns above and to the left."""
    below, right = grid[0] - x.shape[-2] - margin[0], grid[1] - x.shape[-1] - margin[1]
    return functional.pad(x, (margin[1], right, margin[0], below))
