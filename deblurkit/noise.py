"""How noisy a blurry picture is, from the picture alone.

Blur leaves almost nothing in the highest frequencies, so what a diagonal second difference still sees there is noise
(Immerkaer 1996). The picture is looked at in blocks and the quiet fifth of them decides, because the others may hold
edges. Compression is the exception: JPEG removes the high frequencies, noise and all, so a picture that shows its 8x8
grid is measured at half size instead.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.ops.shapes import require_image

_QUANTILE = 0.2
# Expected ratio of that quantile to the true level, for blocks of white noise (measured, and held by a test).
_BLOCK, _QUIET = 16, 0.93
_HALF_BLOCK, _HALF_QUIET = 8, 0.88
# Contrast of the strongest of 8 phases that makes a picture JPEG: at most 2.9 seen on plain, 3 to 6 on compressed ones.
_GRID = 3.0
_SMALLEST = 8
# Rows of blocks that are looked at together, so that a large frame does not need many times its own memory.
_STRIP = 32


def estimate_noise(y: Tensor) -> Tensor:
    """Standard deviation of the noise, the mean over channels.

    Rounding to 8 bits counts as the noise that it is, 0.0011. A picture that is sharp everywhere gets too high an
    estimate.

    Args:
        y: Blurry pictures ``(B, C, H, W)`` in [0, 1], at least 8x8.

    Returns:
        ``(B,)`` in units of ``y``; 0 for a constant picture.

    Raises:
        ValueError: ``y`` is no image batch.
        UsageError: The pictures are smaller than 8x8.
    """
    require_image(y, "image")
    if min(y.shape[-2:]) < _SMALLEST:
        raise UsageError(
            f"picture: {y.shape[-2]}x{y.shape[-1]} is too small to estimate its noise; "
            f"needs at least {_SMALLEST}x{_SMALLEST}"
        )
    values = y.detach()
    full = _quiet_level(values, _BLOCK) / _QUIET
    if min(y.shape[-2:]) < 8 * _SMALLEST:
        return full
    # Averaging 2x2 pixels and doubling keeps the level of white noise.
    half = _quiet_level(2.0 * F.avg_pool2d(values, 2), _HALF_BLOCK, 2.0) / _HALF_QUIET
    return torch.where(_is_compressed(values), torch.maximum(full, half), full)


def _quiet_level(y: Tensor, block: int, white: float = 1.0) -> Tensor:
    """Noise level in the quiet blocks, those with clipped pixels left out where enough others remain: ``(B,)``."""
    line = y.new_tensor([1.0, -2.0, 1.0])
    mask = torch.outer(line, line)[None, None] / 6.0
    side = min(block, y.shape[-2] - 2, y.shape[-1] - 2)
    rows = (y.shape[-2] - 2) // side * side
    strips = [
        _block_levels(y[:, :, top : min(top + side * _STRIP, rows) + 2], mask, side, white)
        for top in range(0, rows, side * _STRIP)
    ]
    levels, spoilt = (torch.cat(parts, dim=-1) for parts in zip(*strips, strict=True))
    result = []
    for level, bad in zip(levels, spoilt, strict=True):
        usable = level[:, ~bad] if int((~bad).sum()) >= max(4, bad.numel() // 20) else level
        result.append(_quantile(usable).mean())
    return torch.stack(result)


def _block_levels(y: Tensor, mask: Tensor, side: int, white: float) -> tuple[Tensor, Tensor]:
    """Level of every block, ``(B, C, n)``, and whether it holds clipped pixels, ``(B, n)``."""
    batch, channels, height, width = y.shape
    response = F.conv2d(y.reshape(batch * channels, 1, height, width), mask).abs()
    levels = math.sqrt(math.pi / 2.0) * F.avg_pool2d(response, side).reshape(batch, channels, -1)
    clipped = ((y <= 0.0) | (y >= white)).any(dim=1, keepdim=True).to(y.dtype)
    spoilt = F.max_pool2d(F.max_pool2d(clipped, 3, 1), side).reshape(batch, -1) > 0
    return levels, spoilt


def _quantile(levels: Tensor) -> Tensor:
    """Per channel; ``torch.quantile`` refuses the millions of blocks of a large frame, sorting does not."""
    ordered = levels.sort(dim=1).values
    position = _QUANTILE * (ordered.shape[1] - 1)
    low, high = math.floor(position), math.ceil(position)
    return ordered[:, low] + (position - low) * (ordered[:, high] - ordered[:, low])


def _is_compressed(y: Tensor) -> Tensor:
    """Whether steps across one phase of an 8-pixel grid stand out, in both directions: ``(B,)`` bool."""
    contrasts = []
    for dim in (-1, -2):
        excess = torch.stack([_excess(channel, dim) for channel in y.unbind(1)]).mean(0)
        whole = excess[:, : excess.shape[1] // 8 * 8]
        phases = whole.reshape(y.shape[0], -1, 8).mean(dim=1).sort(dim=1).values
        rest = phases[:, :-1]
        contrasts.append((phases[:, -1] - rest.mean(dim=1)) / rest.std(dim=1).clamp_min(1e-12))
    return torch.minimum(*contrasts) > _GRID


def _excess(y: Tensor, dim: int) -> Tensor:
    """By how much the steps of ``(B, H, W)`` along ``dim`` exceed those beside them, averaged along the other."""
    steps = torch.diff(y, dim=dim).abs_()
    count = steps.shape[dim] - 2
    excess = steps.narrow(dim, 1, count).mean(-3 - dim)
    return excess - 0.5 * (steps.narrow(dim, 0, count).mean(-3 - dim) + steps.narrow(dim, 2, count).mean(-3 - dim))
