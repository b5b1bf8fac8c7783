"""Blur taken from one pair of pictures and given to others: ``y' = F(x', G(x, y))``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deblurkit.errors import ImageError, UsageError
from deblurkit.nets.kernel_space.refine import refine
from deblurkit.nets.kernel_space.space import ConvolutionalSpace, KernelSpace
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.inpaint import fill
from deblurkit.ops.resample import resample_kernel
from deblurkit.ops.spectral_ratio import nearest_kernel, spectral_ratio

POOR = 25.0
"""Below this PSNR in dB, F(x, G(x, y)) is not y, and what is transferred is another blur."""
SWAPPED = 3.0
"""By so many dB the pair must be explained better the other way round to be taken for swapped."""
SWAP_WINDOW = 256
"""Side of the window that is looked at both ways round, in pixels."""
HIGHEST = 99.0
"""PSNR in dB above which it is all the same."""
CONTROL_WINDOW = 31
"""Side of the control's kernel in pixels, for a space without kernels."""
_NO_BLUR = 1e-6


@dataclass(frozen=True)
class Agreement:
    """How well a pair is explained, as PSNR in dB over the part that no border touches; infinite where exactly.

    Attributes:
        psnr: F(x, code) against y.
        control: x, convolved with the kernel that the ratio of the spectra gives, against y: nothing is learned there.
        unblurred: x itself against y.
        swapped_gain: By how many dB the other order, F(y, G(y, x)) against x, is better, in a window in the middle.
    """

    psnr: float
    control: float
    unblurred: float
    swapped_gain: float

    @property
    def no_blur(self) -> bool:
        """Whether the two pictures are equal."""
        return math.isinf(self.unblurred)

    @property
    def poor(self) -> bool:
        """Whether what is transferred is hardly the pair's blur."""
        return self.psnr < POOR

    @property
    def order_is_wrong(self) -> bool:
        """Whether the sharp picture seems to be the blurry one's blurry one."""
        return self.swapped_gain > SWAPPED


def check_pair(space: KernelSpace, sharp: Tensor, *, tiles: int = 1) -> None:
    """Find out, before anything is computed, whether :func:`take_blur` can work on a pair.

    Raises:
        UsageError: If the space has no codes for tiles.
        ImageError: If the picture shows less of the blur than a kernel is large.
    """
    if tiles > 1 and not hasattr(space, "encode_tiles"):
        raise UsageError(
            f"--tiles: the preset '{space.preset}' of this space has no codes for tiles; leave the flag out"
        )
    needed = tiles * max(16, 3 * space.margin)
    if min(sharp.shape[-2:]) < needed:
        raise ImageError(
            f"a pair of {sharp.shape[-1]} x {sharp.shape[-2]} pixels is too small to take a blur from; this space "
            f"needs {needed} on each side{f' for {tiles} x {tiles} tiles' if tiles > 1 else ''}"
        )


def take_blur(space: KernelSpace, sharp: Tensor, blurry: Tensor, *, tiles: int = 1, steps: int = 0) -> Tensor:
    """G: the code of the blur between two pictures.

    Args:
        space: The kernel space.
        sharp: (1, C, H, W) in [0, 1].
        blurry: The same shape.
        tiles: Codes a side, for a blur that differs from place to place.
        steps: Adam steps on the code, after G.

    Returns:
        (1, D, gy, gx): ``tiles`` x ``tiles`` codes, or where that is 1 the grid that the space has for this size.

    Raises:
        UsageError: If the space has no codes for tiles.
        ImageError: If the pictures are too small for the space.
    """
    check_pair(space, sharp, tiles=tiles)
    tiled: Any = space
    with torch.no_grad():
        code = space.encode(sharp, blurry) if tiles == 1 else tiled.encode_tiles(sharp, blurry, (tiles, tiles))
    if steps:
        code = refine(space, sharp, blurry, code, steps=steps)
    return code.detach()


def give_blur(space: KernelSpace, pixels: Tensor, code: Tensor, *, alpha: Tensor | None = None) -> Tensor:
    """F: a picture, blurred, of the same size.

    Args:
        space: The kernel space.
        pixels: (1, C, H, W) in [0, 1].
        code: (1, D, gy, gx), from a picture of any size: it is spread over this one.
        alpha: Opacity (1, 1, H, W), where there is transparency: colours that nobody sees are not blurred into those
            that are seen.

    Returns:
        (1, C, H, W), in [0, 1].
    """
    if alpha is not None:
        pixels = fill(pixels, (alpha > 0).to(pixels.dtype))
    with torch.no_grad():
        return space(pixels, code).clamp(0.0, 1.0)


def with_strength(space: KernelSpace, code: Tensor, strength: float, picture: Tensor) -> Tensor:
    """The code of a weaker or stronger blur of the same kind.

    Where codes stand for kernels, the kernel is stretched about its centre: twice the strength is twice as long a trace
    (what leaves the kernel's window is cut), 0 is no blur. The rest of the code, the camera's response, is kept.
    Elsewhere the code's distance from that of no blur, G(x, x) averaged over its grid, is scaled.

    Args:
        space: The kernel space.
        code: (1, D, gy, gx).
        strength: From 0 on; 1 gives the code itself.
        picture: Any sharp picture (1, C, H, W), such as the one that will be blurred.

    Returns:
        (1, D, gy, gx).

    Raises:
        ValueError: If the strength is negative.
    """
    if strength < 0:
        raise ValueError(f"strength: must be at least 0, got {strength}")
    if strength == 1.0:
        return code
    with torch.no_grad():
        if not isinstance(space, ConvolutionalSpace):
            rest = space.encode(picture, picture).mean((-2, -1), keepdim=True)
            return rest + strength * (code - rest)
        dimensions, rows, columns = code.shape[1:]
        single = code.permute(0, 2, 3, 1).reshape(-1, dimensions, 1, 1)
        kernel = space.kernel(single)
        stretched = resample_kernel(kernel, max(strength, _NO_BLUR), (kernel.shape[-2], kernel.shape[-1]))
        moved = single + space.encode_kernel(stretched) - space.encode_kernel(kernel)
        return moved.reshape(-1, rows, columns, dimensions).permute(0, 3, 1, 2)


def cut_share(space: KernelSpace, code: Tensor, strength: float) -> float:
    """How much of the kernel, from 0 to 1, leaves its window and is cut where it is stretched by that strength."""
    if strength <= 1.0 or not isinstance(space, ConvolutionalSpace):
        return 0.0
    with torch.no_grad():
        kernel = space.kernel(code.permute(0, 2, 3, 1).reshape(-1, code.shape[1], 1, 1))
    window = kernel.shape[-1]
    side = 2 * math.ceil(strength * window / 2 + strength) + 1
    border = (side - window) // 2
    return float(1.0 - _inner(resample_kernel(kernel, strength, (side, side)), border).sum((-2, -1)).mean())


def agreement(space: KernelSpace, sharp: Tensor, blurry: Tensor, code: Tensor) -> Agreement:
    """Compare the pair with what its code makes of it, with the control, and with the other order.

    Args:
        space: The kernel space.
        sharp: (1, C, H, W) in [0, 1].
        blurry: The same shape.
        code: Of the pair, from :func:`take_blur`.
    """
    window = space.window if isinstance(space, ConvolutionalSpace) else CONTROL_WINDOW
    window = min(window, (min(sharp.shape[-2:]) // 2 - 1) // 2 * 2 + 1)
    border = max(space.margin, window // 2)
    with torch.no_grad():
        kernel = nearest_kernel(spectral_ratio(sharp, blurry, window))
        return Agreement(
            psnr=_psnr(space(sharp, code), blurry, border),
            control=_psnr(convolve_valid(sharp, kernel), _inner(blurry, window // 2), border - window // 2),
            unblurred=_psnr(sharp, blurry, border),
            swapped_gain=_gain_of_swapping(space, sharp, blurry),
        )


def has_kernel(space: KernelSpace, size: tuple[int, int], *, tiles: int = 1) -> bool:
    """Whether the blur of a pair of that height and width is one kernel, which can be shown."""
    return isinstance(space, ConvolutionalSpace) and tiles == 1 and space.code_shape(size)[1:] == (1, 1)


def shown_kernel(space: KernelSpace, code: Tensor) -> Tensor | None:
    """The kernel (1, 1, h, w) that a code stands for, or ``None`` where there is none, or one for every tile."""
    if not isinstance(space, ConvolutionalSpace) or code.shape[-2:] != (1, 1):
        return None
    with torch.no_grad():
        return space.kernel(code)


def reblur_psnr(space: KernelSpace, sharp: Tensor, blurry: Tensor, code: Tensor) -> float:
    """PSNR in dB of F(x, code) against y, over the part that no border touches."""
    with torch.no_grad():
        return _psnr(space(sharp, code), blurry, space.margin)


def _gain_of_swapping(space: KernelSpace, sharp: Tensor, blurry: Tensor) -> float:
    """See :class:`Agreement`; a window is enough to tell, and G of a large picture takes its time."""
    height, width = sharp.shape[-2:]
    rows, columns = min(height, SWAP_WINDOW), min(width, SWAP_WINDOW)
    top, left = (height - rows) // 2, (width - columns) // 2
    x, y = (one[..., top : top + rows, left : left + columns] for one in (sharp, blurry))
    given, other = (_psnr(space(a, space.encode(a, b)), b, space.margin) for a, b in ((x, y), (y, x)))
    return min(other, HIGHEST) - min(given, HIGHEST)


def _psnr(estimate: Tensor, truth: Tensor, border: int) -> float:
    """In dB for values of range 1, the border left out."""
    error = (_inner(estimate, border).clamp(0.0, 1.0) - _inner(truth, border)).double().square().mean()
    return -10.0 * math.log10(float(error)) if error > 0 else math.inf


def _inner(x: Tensor, border: int) -> Tensor:
    """Without so many pixels on every side."""
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border]
