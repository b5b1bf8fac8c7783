"""Sizes and transfer functions for periodic operators, by real two-dimensional FFTs.

A transfer function here is what ``torch.fft.rfft2`` returns: complex, last side ``W // 2 + 1``. Multiplying by it is
*periodic* convolution; whoever needs an unknown border pads or masks (see :mod:`deblurkit.ops.deconvolve`).
"""

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from deblurkit.errors import KernelError
from deblurkit.ops.shapes import require_kernel


def fast_size(size: int) -> int:
    """Smallest length of at least ``size`` that a real FFT handles quickly.

    Args:
        size: A length in pixels, at least 1.

    Returns:
        A length with small prime factors only.

    Raises:
        ValueError: ``size`` is not positive.
    """
    if size < 1:
        raise ValueError(f"size: must be at least 1, got {size}")
    return int(next_fast_len(size, True))


def kernel_spectrum(kernel: Tensor, shape: tuple[int, int]) -> Tensor:
    """Transfer function of a kernel whose centre lies at the origin (``psf`` to ``otf``).

    ``irfft2(rfft2(x) * kernel_spectrum(k, size))`` is the periodic true convolution of ``x`` with ``k``, not shifted.

    Args:
        kernel: ``(B, 1, h, w)``, odd sides, anchor = array centre.
        shape: ``(H, W)`` of the periodic grid, at least the kernel's size.

    Returns:
        Complex ``(B, 1, H, W // 2 + 1)``, differentiable in ``kernel``.

    Raises:
        KernelError: The kernel is larger than the grid, or a side is even.
    """
    require_kernel(kernel, "kernel")
    height, width = kernel.shape[-2:]
    if height > shape[0] or width > shape[1]:
        raise KernelError(
            f"kernel: {height}x{width} is larger than the {shape[0]}x{shape[1]} picture; use a smaller one"
        )
    padded = torch.nn.functional.pad(kernel, (0, shape[1] - width, 0, shape[0] - height))
    centred = torch.roll(padded, (-(height // 2), -(width // 2)), dims=(-2, -1))
    return torch.fft.rfft2(centred)


def difference_powers(shape: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Squared modulus of the periodic forward differences' transfer functions.

    Both are vectors along one side, ``4 sin^2(pi f)``, so that every power spectrum of first and second differences
    follows from them by broadcasting: ``|Dxx|^2 = px * px``, ``|Dxy|^2 = px * py``.

    Args:
        shape: ``(H, W)`` of the periodic grid.
        like: A real tensor that gives dtype and device.

    Returns:
        ``py`` of shape ``(H, 1)`` and ``px`` of shape ``(1, W // 2 + 1)``.
    """
    height, width = shape
    rows = torch.fft.fftfreq(
        height, device=like.device, dtype=torch.float64 if like.device.type == "cpu" else like.dtype
    )
    columns = torch.fft.rfftfreq(width, device=like.device, dtype=rows.dtype)
    py = 4.0 * torch.sin(math.pi * rows) ** 2
    px = 4.0 * torch.sin(math.pi * columns) ** 2
    return py[:, None].to(like.dtype), px[None, :].to(like.dtype)
