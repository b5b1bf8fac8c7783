"""Blur that varies over the picture: a grid of kernels, blended from place to place.

Efficient filter flow (Hirsch, Sra, Schoelkopf and Harmeling, Efficient filter flow for space-variant multiframe blind
deconvolution, CVPR 2010): the picture is blurred by every kernel, and the blurred pictures are blended by windows that
sum to 1 everywhere. Here the windows lie on the blurred picture, so that every pixel's blur is a true average of
kernels with sum 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deblurkit.errors import KernelError
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.shapes import require_image


def filter_flow(x: Tensor, kernels: Tensor) -> Tensor:
    """Blur with a grid of kernels whose centres are spread evenly over the blurred picture.

    Args:
        x: Latent pictures (B, C, H + h - 1, W + w - 1).
        kernels: (B or 1, gy, gx, h, w), odd sides, true convolution. The kernel at (i, j) holds at the centre of the
            (i, j)-th of gy x gx equal tiles; between the centres the blur goes over smoothly.

    Returns:
        (B, C, H, W), differentiable in both. Equal kernels blur as one does.

    Raises:
        ValueError: A layout is wrong or the batches do not match.
        KernelError: A kernel is larger than the picture, or a side is even.
    """
    require_image(x, "image")
    if kernels.ndim != 5 or kernels.shape[0] not in (1, len(x)):
        raise ValueError(f"kernels: needs (B, gy, gx, h, w) for {len(x)} pictures, got {tuple(kernels.shape)}")
    rows, columns, high, wide = kernels.shape[1:]
    height, width = x.shape[-2] - high + 1, x.shape[-1] - wide + 1
    if height < 1 or width < 1:
        raise KernelError(
            f"kernel: {high}x{wide} is larger than the {x.shape[-2]}x{x.shape[-1]} picture; use a smaller one"
        )
    if rows == columns == 1:
        return convolve_valid(x, kernels[:, 0])
    vertical, horizontal = blending(height, rows, x), blending(width, columns, x)
    blurred = x.new_zeros(*x.shape[:2], height, width)
    for row in range(rows):
        top, bottom = _support(vertical[row])
        for column in range(columns):
            left, right = _support(horizontal[column])
            part = x[..., top : bottom + high - 1, left : right + wide - 1]
            window = vertical[row, top:bottom, None] * horizontal[column, left:right]
            tile = convolve_valid(part, kernels[:, row, column].unsqueeze(1)) * window
            blurred = blurred + torch.nn.functional.pad(tile, (left, width - right, top, height - bottom))
    return blurred


def blending(side: int, tiles: int, like: Tensor) -> Tensor:
    """Windows (tiles, side) along one side: 1 at a tile's centre, a raised cosine to 0 at its neighbours', sum 1."""
    place = (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) * tiles / side - 0.5
    place = place.clamp(0, tiles - 1)
    distance = (place - torch.arange(tiles, dtype=like.dtype, device=like.device)[:, None]).abs().clamp_max(1)
    return 0.5 + 0.5 * torch.cos(torch.pi * distance)


def tile_bounds(side: int, tiles: int, *, overlap: float) -> list[tuple[int, int]]:
    """Where the tiles of a grid begin and end along one side: equal parts, each widened by a fraction on both ends."""
    extra = overlap * side / tiles
    return [
        (max(0, round(i * side / tiles - extra)), min(side, round((i + 1) * side / tiles + extra)))
        for i in range(tiles)
    ]


def _support(window: Tensor) -> tuple[int, int]:
    """First and behind last place where a window is not zero; one place at least."""
    places = torch.nonzero(window > 0).flatten()
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 1)
