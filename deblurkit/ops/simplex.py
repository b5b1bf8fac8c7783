"""Blur kernels as points of the simplex (non-negative, sum 1): projection, position, support.

A batch holds one kernel per picture, ``(B, 1, h, w)``; every function treats them independently.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from deblurkit.ops.shapes import require_kernel


def short_line(size: tuple[int, int], like: Tensor) -> Tensor:
    """A horizontal line of three pixels: the start of an estimation, which can tell up from sideways by it.

    Args:
        size: Odd ``(height, width)`` of the window, the width at least 3.
        like: Gives dtype and device.

    Returns:
        ``(1, 1, *size)``, on the simplex.
    """
    kernel = like.new_zeros(1, 1, *size)
    row, column = size[0] // 2, size[1] // 2
    kernel[..., row, column - 1 : column + 2] = like.new_tensor([0.25, 0.5, 0.25])
    return kernel


def normalise(kernel: Tensor) -> Tensor:
    """Clip at zero and divide by the sum; a kernel without mass becomes a centred delta.

    Args:
        kernel: ``(B, 1, h, w)``.

    Returns:
        ``(B, 1, h, w)`` on the simplex.

    Raises:
        ValueError: ``kernel`` has another layout.
    """
    require_kernel(kernel, "kernel")
    clipped = kernel.clamp_min(0.0)
    total = clipped.sum(dim=(-2, -1), keepdim=True)
    delta = torch.zeros_like(kernel)
    delta[..., kernel.shape[-2] // 2, kernel.shape[-1] // 2] = 1.0
    return torch.where(total > 0, clipped / total.clamp_min(torch.finfo(kernel.dtype).tiny), delta)


def centroid(kernel: Tensor) -> Tensor:
    """Centre of mass, counted from the array centre.

    Args:
        kernel: ``(B, 1, h, w)``, non-negative, with mass.

    Returns:
        ``(B, 2)``: ``(dy, dx)`` in pixels, differentiable.

    Raises:
        ValueError: ``kernel`` has another layout.
    """
    require_kernel(kernel, "kernel")
    height, width = kernel.shape[-2:]
    rows = torch.arange(height, device=kernel.device, dtype=kernel.dtype) - height // 2
    columns = torch.arange(width, device=kernel.device, dtype=kernel.dtype) - width // 2
    mass = kernel.sum(dim=(1, 2, 3))
    dy = (kernel.sum(dim=(1, 3)) * rows).sum(dim=1) / mass
    dx = (kernel.sum(dim=(1, 2)) * columns).sum(dim=1) / mass
    return torch.stack((dy, dx), dim=1)


def recentring_shift(kernel: Tensor) -> Tensor:
    """Whole-pixel shift that brings the centroid nearest to the array centre without pushing any mass out.

    If ``k`` is shifted by ``s``, the image that explains the same observation shifts by ``-s``.

    Args:
        kernel: ``(B, 1, h, w)``, non-negative, with mass.

    Returns:
        ``(B, 2)`` int64: ``(down, right)`` in pixels.

    Raises:
        ValueError: ``kernel`` has another layout.
    """
    wanted = -centroid(kernel.detach()).round().long()
    for index, one in enumerate(kernel.detach()[:, 0] > 0):
        for axis in (0, 1):
            occupied = torch.nonzero(one.any(dim=1 - axis))
            first, last = int(occupied[0]), int(occupied[-1])
            wanted[index, axis] = wanted[index, axis].clamp(-first, one.shape[axis] - 1 - last)
    return wanted


def recentre(kernel: Tensor) -> Tensor:
    """Shift every kernel by :func:`recentring_shift`: whole pixels only, so nothing is smoothed and no mass is lost.

    Args:
        kernel: ``(B, 1, h, w)``, non-negative, with mass.

    Returns:
        ``(B, 1, h, w)``: the same values, moved.

    Raises:
        ValueError: ``kernel`` has another layout.
    """
    shifts = recentring_shift(kernel).tolist()
    # Nothing but zeros wraps around, because the shift keeps the support inside.
    return torch.stack([torch.roll(one, shift, dims=(-2, -1)) for one, shift in zip(kernel, shifts, strict=True)])


def keep_components(kernel: Tensor, *, strong: float, weak: float, mass: float, gap: int = 0) -> Tensor:
    """Hysteresis: keep the connected parts that are bright somewhere, down to their faint tails; drop the specks.

    A part is 8-connected through values above ``weak`` times the kernel's maximum. It stays if it reaches ``strong``
    times the maximum and holds at least ``mass`` of the sum. The part of the maximum always stays.

    Args:
        kernel: ``(B, 1, h, w)``, non-negative, with mass.
        strong: Fraction of the maximum that a part must reach, in [0, 1].
        weak: Fraction of the maximum that connects, in [0, ``strong``].
        mass: Fraction of the sum that a part must hold, in [0, 1].
        gap: Parts that are at most this many pixels, doubled, apart count as one: noise breaks thin lines.

    Returns:
        ``(B, 1, h, w)``, sum 1, zero outside the parts that stay. Not differentiable through the choice.

    Raises:
        ValueError: A layout or a threshold is out of range.
    """
    require_kernel(kernel, "kernel")
    if not 0.0 <= weak <= strong <= 1.0 or not 0.0 <= mass <= 1.0:
        raise ValueError(f"thresholds: need 0 <= weak <= strong <= 1 and 0 <= mass <= 1, got {weak}, {strong}, {mass}")
    arrays = kernel.detach().cpu().double().numpy()[:, 0]
    kept = np.stack([_kept(one, strong, weak, mass, gap) for one in arrays])
    return normalise(kernel * torch.from_numpy(kept)[:, None].to(kernel.device))


def _kept(kernel: np.ndarray, strong: float, weak: float, mass: float, gap: int) -> np.ndarray:
    peak = kernel.max()
    above = (kernel > weak * peak) | (kernel == peak)
    bridged = ndimage.binary_dilation(above, np.ones((2 * gap + 1, 2 * gap + 1))) if gap else above
    labels, count = ndimage.label(bridged, structure=np.ones((3, 3)))
    labels = labels * above
    names = np.arange(1, count + 1)
    peaks = ndimage.maximum(kernel, labels, names)
    sums = ndimage.sum(kernel, labels, names)
    good = (peaks == peak) | ((peaks >= strong * peak) & (sums >= mass * kernel.sum()))
    return np.isin(labels, names[good])


def border_mass(kernel: Tensor, *, width: int = 1) -> Tensor:
    """Fraction of the mass in the outermost frame: above a few percent the kernel wants a larger window.

    Args:
        kernel: ``(B, 1, h, w)``, non-negative, with mass.
        width: Width of the frame in pixels.

    Returns:
        ``(B,)`` in [0, 1].

    Raises:
        ValueError: ``kernel`` has another layout or ``width`` is not positive.
    """
    require_kernel(kernel, "kernel")
    if width < 1:
        raise ValueError(f"width: must be at least 1, got {width}")
    total = kernel.sum(dim=(1, 2, 3))
    inner = kernel[..., width : kernel.shape[-2] - width, width : kernel.shape[-1] - width].sum(dim=(1, 2, 3))
    return ((total - inner) / total).clamp(0.0, 1.0)


def effective_size(kernel: Tensor, *, fraction: float) -> Tensor:
    """Smallest odd side of a square window, placed anywhere, that holds ``fraction`` of the mass.

    Args:
        kernel: ``(B, 1, h, w)``, non-negative, with mass.
        fraction: In (0, 1]; 0.99 ignores the dust of an estimated kernel.

    Returns:
        ``(B,)`` int64. If the array is not square the window may stick out of its shorter side.

    Raises:
        ValueError: ``kernel`` has another layout or the fraction is out of range.
    """
    require_kernel(kernel, "kernel")
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction: must lie in (0, 1], got {fraction}")
    height, width = kernel.shape[-2:]
    values = kernel.detach().cpu().double()  # not every accelerator knows double precision
    sums = torch.nn.functional.pad(values, (1, 0, 1, 0)).cumsum(dim=-2).cumsum(dim=-1)[:, 0]
    wanted = fraction * sums[:, -1, -1] * (1.0 - 1e-6)
    sizes = torch.zeros(kernel.shape[0], dtype=torch.int64)
    for side in range(1, max(height, width) + 1, 2):
        rows, columns = min(side, height), min(side, width)
        windows = (
            sums[:, rows:, columns:]
            - sums[:, :-rows, columns:]
            - sums[:, rows:, :-columns]
            + sums[:, :-rows, :-columns]
        )
        found = (windows.amax(dim=(1, 2)) >= wanted) & (sizes == 0)
        sizes = torch.where(found, side, sizes)
    return sizes.to(kernel.device)
