"""The blur, and the one statement of its convention.

**Convention.** Blur is TRUE convolution, ``y[p] = sum_j k[j] x[p - j]``, with ``j`` counted from the kernel's array
centre. (``torch.nn.functional.conv2d`` correlates, so the kernel is flipped before it.) It is a *valid* operation: the
latent image is larger than the observation by ``h - 1`` rows and ``w - 1`` columns, half a kernel on every side, and no
border is invented. Every channel of a picture has the same kernel; every picture of a batch may have its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurkit.errors import KernelError
from deblurkit.ops.fourier import fast_size
from deblurkit.ops.shapes import require_pair

# Measured on one CPU core, 64^2 to 600^2, 1 and 3 channels, forward and backward: the FFT wins from 5x5 on.
_DIRECT_TAPS = 9


def convolve_valid(x: Tensor, kernel: Tensor) -> Tensor:
    """Blur: true convolution, only where the kernel lies wholly inside ``x``.

    Args:
        x: Latent images ``(B, C, H, W)``.
        kernel: ``(B, 1, h, w)`` or ``(1, 1, h, w)``, odd sides.

    Returns:
        ``(B, C, H - h + 1, W - w + 1)``, differentiable in both arguments.

    Raises:
        ValueError: A layout is wrong or the batches do not match.
        KernelError: The kernel is larger than the image, or a side is even.
    """
    require_pair(x, kernel)
    if kernel.shape[-2] > x.shape[-2] or kernel.shape[-1] > x.shape[-1]:
        raise KernelError(
            f"kernel: {kernel.shape[-2]}x{kernel.shape[-1]} is larger than the {x.shape[-2]}x{x.shape[-1]} picture; "
            "use a smaller one"
        )
    if kernel.shape[-2] * kernel.shape[-1] <= _DIRECT_TAPS:
        return _grouped(x, kernel.flip(-2, -1), padding=(0, 0))
    return _spectral(x, kernel, x.shape[-2:])[
        ..., kernel.shape[-2] - 1 : x.shape[-2], kernel.shape[-1] - 1 : x.shape[-1]
    ]


def convolve_valid_adjoint(y: Tensor, kernel: Tensor) -> Tensor:
    """Adjoint of :func:`convolve_valid` in ``x``: full correlation, ``<K x, y> = <x, K^T y>``.

    Args:
        y: Images ``(B, C, H, W)`` of the observation's size.
        kernel: ``(B, 1, h, w)`` or ``(1, 1, h, w)``, odd sides.

    Returns:
        ``(B, C, H + h - 1, W + w - 1)``, differentiable in both arguments.

    Raises:
        ValueError: A layout is wrong or the batches do not match.
        KernelError: A kernel side is even.
    """
    require_pair(y, kernel)
    rows, columns = kernel.shape[-2] - 1, kernel.shape[-1] - 1
    if kernel.shape[-2] * kernel.shape[-1] <= _DIRECT_TAPS:
        return _grouped(y, kernel, padding=(rows, columns))
    size = (y.shape[-2] + rows, y.shape[-1] + columns)
    return _spectral(y, kernel.flip(-2, -1), size)[..., : size[0], : size[1]]


def _grouped(x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Correlate every channel of every picture with its picture's weight."""
    batch, channels, height, width = x.shape
    weights = weight.expand(batch, -1, -1, -1).repeat_interleave(channels, dim=0)
    with torch.autocast(x.device.type, enabled=False):  # as precise as by FFT, which knows no low precision
        flat = F.conv2d(
            x.reshape(1, batch * channels, height, width), weights, padding=padding, groups=batch * channels
        )
    return flat.reshape(batch, channels, *flat.shape[-2:])


def _spectral(x: Tensor, kernel: Tensor, size: tuple[int, ...]) -> Tensor:
    """Convolve from the top left corner on a grid of at least ``size``, where the part that is kept does not wrap."""
    grid = (fast_size(size[0]), fast_size(size[1]))
    return torch.fft.irfft2(torch.fft.rfft2(x, s=grid) * torch.fft.rfft2(kernel, s=grid), s=grid)
