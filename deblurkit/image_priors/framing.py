"""The frame of a generator's pictures: square, of its size. How a picture of another shape comes into it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from deblurkit.errors import RunError
from deblurkit.ops.resample import resample_image

MIN_SIDE = 16
"""Side of the smallest picture that is admitted, in pixels; a smaller generator's own size if it is smaller still."""
TOLERANCE = 0.01
"""Share of a pixel that may come from pixels that were not observed while it still counts as observed."""

Way = Literal["strict", "resize", "crop", "pad"]


def framed(y: Tensor, valid: Tensor, side: int, how: Way) -> tuple[Tensor, Tensor]:
    """Bring a picture into the frame of a generator's pictures, or refuse it.

    * ``strict``: only a square whose side is the generator's, or that divided by a power of two, is taken, as it is.
    * ``resize``: the picture is stretched to a square, whatever its shape.
    * ``crop``: its central square is resized.
    * ``pad``: it is made a square by reflection at its borders, and resized; what was added is not valid.

    What is resized gets the generator's size. A square picture of that size comes back as it is, in every way.

    Args:
        y: Picture (1, C, H, W) in [0, 1].
        valid: (1, 1, H, W), 1 where a pixel was observed.
        side: Side of the generator's pictures, R, in pixels.
        how: What is done with a picture of another shape.

    Returns:
        The picture (1, C, R, R) in [0, 1], or with ``strict`` perhaps smaller; and (1, 1, R, R), 1 where everything
        that went into a pixel was observed.

    Raises:
        RunError: The picture is too small; or, with ``strict``, of another size.
    """
    height, width = y.shape[-2:]
    if how == "strict":
        if height != width or width not in sides(side):
            raise RunError(misfit(height, width, side))
        return y, valid
    require_size(y, side)
    if how == "crop":
        edge = min(height, width)
        top, left = (height - edge) // 2, (width - edge) // 2
        y, valid = (value[..., top : top + edge, left : left + edge] for value in (y, valid))
    elif how == "pad":
        y, valid = reflected(y, max(height, width)), bordered(valid, max(height, width))
    return resized(y, valid, side)


def sides(side: int) -> list[int]:
    """The sides, largest first, of the squares to which a generator's picture can be compared: R / 2^j."""
    found = [side]
    while found[-1] % 2 == 0 and found[-1] // 2 >= MIN_SIDE:
        found.append(found[-1] // 2)
    return found


def misfit(height: int, width: int, side: int) -> str:
    """What is wrong with a picture that ``strict`` refuses, and what can be done, in one sentence."""
    smaller = f" (or {', '.join(str(s) for s in sides(side)[1:])})" if len(sides(side)) > 1 else ""
    return (
        f"the picture is {width}x{height}, but the generator needs it square and aligned like the pictures it was "
        f"trained on, {side} pixels a side{smaller}; add --image-prior.picture resize, crop or pad to bring it there, "
        "or for faces --image-prior.align FILE"
    )


def require_size(y: Tensor, side: int) -> None:
    """Refuse a picture so small that enlarging it would only invent.

    Raises:
        RunError: A side is shorter than ``MIN_SIDE``, and than the generator's.
    """
    height, width = y.shape[-2:]
    least = min(MIN_SIDE, side)
    if min(height, width) < least:
        raise RunError(f"the picture is {width}x{height}, and with fewer than {least} pixels a side it says too little")


def resized(y: Tensor, valid: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Picture and validity at ``side`` x ``side`` pixels, antialiased; as they are if they have that size."""
    if tuple(y.shape[-2:]) == (side, side):
        return y, valid
    return resample_image(y, (side, side)).clamp(0.0, 1.0), whole(resample_image(valid, (side, side)))


def whole(valid: Tensor) -> Tensor:
    """1 where a resampled map of ones is still one, so that no weight, positive or negative, fell on a zero."""
    return ((valid - 1.0).abs() < TOLERANCE).to(valid.dtype)


def reflected(y: Tensor, side: int) -> Tensor:
    """(B, C, H, W) with its borders mirrored outwards, as often as needed, to ``side`` x ``side``; it is the centre."""
    for axis in (-2, -1):
        size = y.shape[axis]
        places = torch.arange(side, device=y.device) - (side - size) // 2
        places = places.remainder(max(1, 2 * (size - 1)))
        y = y.index_select(axis, torch.minimum(places, 2 * (size - 1) - places))
    return y


def bordered(valid: Tensor, side: int) -> Tensor:
    """(B, 1, H, W) amid zeros, at the place where `reflected` has the picture."""
    height, width = valid.shape[-2:]
    top, left = (side - height) // 2, (side - width) // 2
    out = valid.new_zeros(*valid.shape[:2], side, side)
    out[..., top : top + height, left : left + width] = valid
    return out
