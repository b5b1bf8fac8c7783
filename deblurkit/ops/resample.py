"""Changing the size of kernels (mass kept, centre kept) and of images (no aliasing)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurkit.errors import KernelError
from deblurkit.ops.shapes import require_image, require_kernel
from deblurkit.ops.simplex import normalise


def resample_kernel(kernel: Tensor, factor: float, size: tuple[int, int]) -> Tensor:
    """The kernel of the same blur in a picture that is ``factor`` times as large.

    Every value is spread as a triangle (linear interpolation upwards; mass-conserving splatting downwards); the array
    centre stays the centre. What falls outside ``size`` is cut, and the rest sums to 1 again.

    Args:
        kernel: ``(B, 1, h, w)``, non-negative.
        factor: Size of the new picture over the size of the old one; positive.
        size: Odd ``(height, width)`` of the result.

    Returns:
        ``(B, 1, *size)``, on the simplex.

    Raises:
        ValueError: The layout or the factor is wrong.
        KernelError: A side of ``size`` is even.
    """
    require_kernel(kernel, "kernel")
    if factor <= 0.0:
        raise ValueError(f"factor: must be positive, got {factor}")
    if size[0] % 2 == 0 or size[1] % 2 == 0 or min(size) < 1:
        raise KernelError(f"kernel size: {size[0]}x{size[1]} has no centre; use odd sides")
    rows = _triangles(kernel.shape[-2], size[0], factor, kernel)
    columns = _triangles(kernel.shape[-1], size[1], factor, kernel)
    return normalise(rows @ kernel @ columns.T)


def _triangles(old: int, new: int, factor: float, like: Tensor) -> Tensor:
    """``(new, old)`` matrix that spreads old tap j over the new taps around ``factor`` times its position."""
    positions = torch.arange(new, device=like.device, dtype=like.dtype) - new // 2
    sources = factor * (torch.arange(old, device=like.device, dtype=like.dtype) - old // 2)
    return (1.0 - (positions[:, None] - sources[None, :]).abs() / max(1.0, factor)).clamp_min(0.0)


def crop_kernel(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut or zero-pad a kernel about its centre; the result sums to 1.

    Args:
        kernel: ``(B, 1, h, w)``, non-negative.
        size: Odd ``(height, width)`` of the result.

    Returns:
        ``(B, 1, *size)``, on the simplex.

    Raises:
        ValueError: ``kernel`` has another layout.
        KernelError: A side of ``size`` is even.
    """
    return resample_kernel(kernel, 1.0, size)


def resample_image(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic resampling that keeps the picture's corners in place; antialiased where it shrinks.

    Args:
        x: ``(B, C, H, W)``.
        size: ``(height, width)`` of the result.

    Returns:
        ``(B, C, *size)``; bicubic overshoot is not clipped.

    Raises:
        ValueError: ``x`` is no image batch, or a side is not positive.
    """
    require_image(x, "image")
    if min(size) < 1:
        raise ValueError(f"size: sides must be at least 1, got {size[0]}x{size[1]}")
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=True)


def enlarge_strided(
    x: Tensor, size: tuple[int, int], stride: int, margin: tuple[int, int], new_margin: tuple[int, int]
) -> Tensor:
    """The picture of which ``x`` is every ``stride``-th pixel, by linear interpolation; beyond the border it is held.

    Args:
        x: ``(B, C, h, w)``; its pixel ``margin`` lies on pixel ``new_margin`` of the result.
        size: Height and width of the result.
        stride: Pixels of the result from one pixel of ``x`` to the next.
        margin: Rows and columns of ``x`` before the picture begins.
        new_margin: The same of the result.

    Returns:
        ``(B, C, *size)``.
    """
    axes = []
    for new, old, before, new_before in zip(size, x.shape[-2:], margin, new_margin, strict=True):
        places = torch.arange(new, device=x.device, dtype=x.dtype)
        places = (places - new_before) / stride + before
        axes.append(2.0 * places / max(old - 1, 1) - 1.0)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack((columns, rows), dim=-1).expand(len(x), -1, -1, -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)
