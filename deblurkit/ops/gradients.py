"""Differences of an image, their adjoints, and the energies made of them.

``x`` runs along the last dimension (columns), ``y`` along the one before (rows). A *periodic* difference wraps around
and is diagonal in Fourier space; the other kind leaves the last difference of a line at zero (Neumann border), so it
never looks across the edge. Both keep the size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurkit.ops.shapes import require_image

_COLUMNS, _ROWS = -1, -2


def forward_differences(x: Tensor, *, periodic: bool = False) -> tuple[Tensor, Tensor]:
    """First differences ``x[i + 1] - x[i]``.

    Args:
        x: ``(B, C, H, W)``.
        periodic: Wrap around instead of a zero at the far edge.

    Returns:
        ``(dx, dy)``, each ``(B, C, H, W)``.
    """
    return _forward(x, _COLUMNS, periodic), _forward(x, _ROWS, periodic)


def forward_differences_adjoint(dx: Tensor, dy: Tensor, *, periodic: bool = False) -> Tensor:
    """Adjoint of :func:`forward_differences` (minus the divergence).

    Args:
        dx: ``(B, C, H, W)``.
        dy: ``(B, C, H, W)``.
        periodic: As in the forward operator.

    Returns:
        ``(B, C, H, W)``.
    """
    return _adjoint(dx, _COLUMNS, periodic) + _adjoint(dy, _ROWS, periodic)


def second_differences(x: Tensor, *, periodic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Forward differences applied twice.

    Args:
        x: ``(B, C, H, W)``.
        periodic: Wrap around instead of a zero at the far edge.

    Returns:
        ``(dxx, dxy, dyy)``, each ``(B, C, H, W)``.
    """
    dx, dy = forward_differences(x, periodic=periodic)
    return _forward(dx, _COLUMNS, periodic), _forward(dx, _ROWS, periodic), _forward(dy, _ROWS, periodic)


def second_differences_adjoint(dxx: Tensor, dxy: Tensor, dyy: Tensor, *, periodic: bool = False) -> Tensor:
    """Adjoint of :func:`second_differences`.

    Args:
        dxx: ``(B, C, H, W)``.
        dxy: ``(B, C, H, W)``.
        dyy: ``(B, C, H, W)``.
        periodic: As in the forward operator.

    Returns:
        ``(B, C, H, W)``.
    """
    dx = _adjoint(dxx, _COLUMNS, periodic) + _adjoint(dxy, _ROWS, periodic)
    return forward_differences_adjoint(dx, _adjoint(dyy, _ROWS, periodic), periodic=periodic)


def total_variation(x: Tensor, *, smoothing: float = 1e-6) -> Tensor:
    """Isotropic total variation, ``mean sqrt(dx^2 + dy^2 + smoothing)`` (Rudin, Osher, Fatemi 1992).

    Args:
        x: ``(B, C, H, W)``.
        smoothing: Added under the root, so that flat regions have a gradient.

    Returns:
        ``(B,)``, mean over pixels and channels.

    Raises:
        ValueError: ``x`` is no image batch.
    """
    require_image(x, "image")
    dx, dy = forward_differences(x)
    return torch.sqrt(dx.square() + dy.square() + smoothing).mean(dim=(1, 2, 3))


def quadratic_variation(x: Tensor) -> Tensor:
    """Quadratic "TV" of SelfDeblur's public code: twice the mean squared difference, columns plus rows.

    Args:
        x: ``(B, C, H, W)``, at least 2x2.

    Returns:
        ``(B,)``.

    Raises:
        ValueError: ``x`` is no image batch, or has a side of one pixel.
    """
    require_image(x, "image")
    if min(x.shape[-2:]) < 2:
        raise ValueError(f"image: {x.shape[-2]}x{x.shape[-1]} has no differences; needs at least 2x2")
    columns, rows = torch.diff(x, dim=_COLUMNS), torch.diff(x, dim=_ROWS)
    return 2.0 * (columns.square().mean(dim=(1, 2, 3)) + rows.square().mean(dim=(1, 2, 3)))


def hyper_laplacian(x: Tensor, exponent: float, *, smoothing: float = 1e-6) -> Tensor:
    """Hyper-Laplacian energy of Tran et al. 2021, eq. 5: ``mean (gx^2 + gy^2 + smoothing)^(exponent / 2)``.

    As in the authors' code the gradients are 3x3 Sobel responses, zero padded, of the *sum* over channels.

    Args:
        x: ``(B, C, H, W)``.
        exponent: Of the gradient's magnitude, in (0, 2]; Tran et al. use 0.66.
        smoothing: Added to the squared magnitude, so that flat regions have a gradient.

    Returns:
        ``(B,)``, mean over pixels.

    Raises:
        ValueError: ``x`` is no image batch or the exponent is out of range.
    """
    require_image(x, "image")
    if not 0.0 < exponent <= 2.0:
        raise ValueError(f"exponent: must lie in (0, 2], got {exponent}")
    ramp = x.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    sobel = torch.stack((ramp, ramp.T))[:, None]
    with torch.autocast(x.device.type, enabled=False):
        gradient = F.conv2d(x.sum(dim=1, keepdim=True), sobel, padding=1)
    return (gradient.square().sum(dim=1) + smoothing).pow(exponent / 2).mean(dim=(1, 2))


def _forward(x: Tensor, dim: int, periodic: bool) -> Tensor:
    if periodic:
        return torch.roll(x, -1, dims=dim).sub_(x)
    return F.pad(torch.diff(x, dim=dim), (0, 1) if dim == _COLUMNS else (0, 0, 0, 1))


def _adjoint(d: Tensor, dim: int, periodic: bool) -> Tensor:
    if periodic:
        return torch.roll(d, 1, dims=dim).sub_(d)
    # The last difference of a line is always zero, so its weight does not count.
    inner = d.narrow(dim, 0, d.shape[dim] - 1)
    before, after = ((1, 0), (0, 1)) if dim == _COLUMNS else ((0, 0, 1, 0), (0, 0, 0, 1))
    return F.pad(inner, before) - F.pad(inner, after)
