"""The dark channel of a picture, and the linear operator that it is while its places stay.

The dark channel of a picture x is the least value, over channels and over a square patch, around every pixel
(He, Sun and Tang, CVPR 2009)::

    D(x)[p] = min over q in the patch around p, and over c, of x[c, q]

Blur averages a dark pixel with its brighter neighbours, so a blurry picture's dark channel is brighter than that of the
sharp one. It is not linear; but once the place of every minimum is known, D(x) = M x, where every row of M is zero
but for a 1 at the place of one minimum (Pan et al., CVPR 2016, section 4).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def dark_channel(x: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """The dark channel, and where it was found. A patch ends where the picture does.

    Args:
        x: Pictures (B, C, H, W).
        patch: Side of a patch in pixels, odd; it may be larger than the picture.

    Returns:
        The dark channel (B, 1, H, W), differentiable in ``x``; and the places (B, 1, H, W) of its values in the
        flattened (C, H, W), whole numbers. Of equal values one place is taken.
    """
    height, width = x.shape[-2:]
    with torch.no_grad():
        least, channel = x.min(1, keepdim=True)
        # the minimum over a square is that over columns of that over rows
        along, column = _pooled(least, (1, patch))
        _, place = _pooled(along, (patch, 1))
        place = column.flatten(2).gather(2, place.flatten(2))
        place = place + channel.flatten(2).gather(2, place) * (height * width)
    return pick(x, place.view_as(least)), place.view_as(least)


def pick(x: Tensor, places: Tensor) -> Tensor:
    """M x: the values (B, 1, H, W) of ``x`` (B, C, H, W) at the places."""
    return x.flatten(1).gather(1, places.flatten(1)).view(places.shape)


def put(u: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
    """M' u: a picture (B, C, H, W) of zeros, to which every value of ``u`` (B, 1, H, W) is added at its place."""
    flat = u.new_zeros(shape[0], shape[1:].numel())
    return flat.scatter_add(1, places.flatten(1), u.flatten(1)).view(shape)


def _pooled(x: Tensor, window: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Minima over an odd window around every pixel of (B, 1, H, W), and their places in the flattened (H, W)."""
    size = x.shape[-2:]
    # a window of twice the picture reaches all of it from every pixel
    rows, columns = (min(side, 2 * limit - 1) for side, limit in zip(window, size, strict=True))
    beyond = (columns // 2, columns // 2, rows // 2, rows // 2)
    padded = functional.pad(-x, beyond, value=-torch.inf)
    values, places = functional.max_pool2d(padded, (rows, columns), stride=1, return_indices=True)
    wide = size[1] + 2 * (columns // 2)
    top, left = places // wide - rows // 2, places % wide - columns // 2
    return -values, top * size[1] + left
