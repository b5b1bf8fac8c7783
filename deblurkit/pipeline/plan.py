"""What will be done to a picture, decided before it is done."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.config import AUTO
from deblurkit.errors import RunError, UsageError
from deblurkit.images import MIN_SIDE
from deblurkit.ops.gradients import forward_differences
from deblurkit.pipeline.estimate import NOISY, Scale, pyramid
from deblurkit.pipeline.parts import Parts
from deblurkit.specs import Offer

SATURATION = 0.98
"""From this value on a pixel is taken for saturated when the crop is chosen."""
GLARE = 4
"""So many pixels around a saturated one are not believed either: their steps belong to the sensor's limit."""
NOISY_STARTS = 3
"""Starts of a noisy picture, where nobody says otherwise."""
LARGEST_SHARE = 3
"""The automatic kernel window takes at most one part in this many of the smaller side of what it is estimated on."""


@dataclass(frozen=True)
class Plan:
    """The decisions of a run.

    Attributes:
        size: Height and width of the picture, in pixels.
        channels: Its channels.
        estimated_channels: Channels that the estimation looks at.
        crop: (top, left, height, width) of the window that the estimation looks at.
        kernel_size: Side of the kernel window, odd: the one asked for, or the largest that is tried.
        automatic: Whether the window is found during the estimation.
        scales: The pyramid, coarse to fine; empty where nothing is to be estimated.
        device: Where it runs.
        threads: CPU threads.
        starts: Starts that are always tried.
        noise: Noise level of the picture's channels.
        size_recipe: Recipe that will find the kernel size, or the kernel to start from, before all else; or empty.
            Until then ``kernel_size`` may be the largest one.
        start: The kernel (1, 1, h, w) that it found and that the estimation starts from, or ``None``.
        missing: Share of the picture's pixels that were missing before the image prior brought it into another frame;
            ``None`` where it did not, and the mask tells.
    """

    size: tuple[int, int]
    channels: int
    estimated_channels: int
    crop: tuple[int, int, int, int]
    kernel_size: int
    automatic: bool
    scales: tuple[Scale, ...]
    device: torch.device
    threads: int
    starts: int
    size_recipe: str = ""
    start: Tensor | None = field(default=None, repr=False, compare=False)
    missing: float | None = None

    @property
    def cropped(self) -> bool:
        """Whether the estimation sees less than the whole picture."""
        return self.crop[2:] != self.size


def make_plan(
    y: Tensor,
    parts: Parts,
    *,
    kernel_size: int,
    automatic: bool,
    device: torch.device,
    threads: int,
    noise: float = 0.0,
    size_recipe: str = "",
    start: Tensor | None = None,
) -> Plan:
    """Decide everything about one picture.

    Args:
        y: The picture (1, C, H, W).
        parts: The components.
        kernel_size: Side of the kernel window, odd: the size itself, or the largest one to try.
        automatic: Whether the window is found during the estimation.
        device: Where it will run.
        threads: CPU threads.
        noise: Noise level of the picture's channels.
        size_recipe: Recipe that will find the kernel size or the start before all else, or empty.
        start: The kernel (1, 1, h, w) to start from, or ``None``.

    Raises:
        RunError: If the picture is too small, for itself or for the kernel.
        UsageError: If the crop is.
    """
    run = parts.config.run
    channels, height, width = y.shape[1:]
    if min(height, width) < MIN_SIDE:
        raise RunError(
            f"a picture of {width}x{height} pixels is too small to deblur; {MIN_SIDE} on each side are needed"
        )
    crop = (0, 0, height, width)
    if run.crop and not parts.fixed_kernel and not parts.image.whole and parts.final_class is not None:
        crop = textured_crop(y, run.crop)
    if min(crop[2:]) < MIN_SIDE:
        raise UsageError(f"run.crop: {run.crop} pixels say nothing about a blur; give {MIN_SIDE} or more, or 0")
    if automatic:
        kernel_size = min(kernel_size, min(crop[2:]) // LARGEST_SHARE // 2 * 2 - 1)
    if not parts.fixed_kernel and parts.shows_kernel:
        check_window(kernel_size, crop[2:], cropped=crop[2:] != (height, width))
    scales: list[Scale] = []
    if not parts.fixed_kernel or Offer.PARAMETERS in parts.ways.image:
        scales = pyramid(kernel_size, run.scale_ratio, usual_scales(parts), crop[2:])
    # without a last step the image of the estimation is the result, and has to have all channels
    estimated = 1 if run.channels == "luma" and parts.final_class is not None else channels
    return Plan(
        size=(height, width),
        channels=channels,
        estimated_channels=estimated,
        crop=crop,
        kernel_size=kernel_size,
        automatic=automatic,
        scales=tuple(scales),
        device=device,
        threads=threads,
        starts=usual_starts(noise * (estimated / channels) ** 0.5, parts) if run.starts == AUTO else int(run.starts),
        size_recipe=size_recipe,
        start=start,
    )


def check_window(kernel_size: int, size: tuple[int, int], *, cropped: bool) -> None:
    """Refuse a kernel window that leaves nothing of the picture, or of the crop, that shows it.

    Raises:
        RunError: If it is as large as that.
    """
    if kernel_size >= min(size):
        raise RunError(
            f"a kernel of {kernel_size} pixels is too large for the {'crop' if cropped else 'picture'} of "
            f"{size[1]}x{size[0]} that shows it; give a smaller --kernel-size{' or a larger --crop' if cropped else ''}"
        )


def usual_scales(parts: Parts) -> int:
    """Levels of the pyramid; 0 chooses by the kernel size, which only the quick closed forms do by themselves."""
    if not parts.many_scales:
        return 1
    wanted = parts.config.run.scales
    return int(wanted) if wanted != AUTO else 0 if parts.closed_kernel else 1


def usual_starts(noise: float, parts: Parts) -> int:
    """How many starts a picture is worth: closed forms are quick, and under noise one start alone may go astray."""
    return NOISY_STARTS if parts.closed_kernel and noise >= NOISY else 1


def textured_crop(y: Tensor, side: int) -> tuple[int, int, int, int]:
    """The window of at most ``side`` pixels a side that says most about the blur.

    Its worth is the gradient magnitude that it holds, each pixel counting up to a limit so that one strong edge or a
    lamp does not decide alone, and saturated pixels not at all; windows are tried every eighth of a side.

    Args:
        y: The picture (1, C, H, W) in [0, 1].
        side: Side of the window in pixels.

    Returns:
        (top, left, height, width).
    """
    height, width = y.shape[-2:]
    rows, columns = min(side, height), min(side, width)
    if (rows, columns) == (height, width):
        return 0, 0, height, width
    grey = y.mean(1, keepdim=True)
    magnitude = torch.hypot(*forward_differences(grey))[0, 0]
    saturated = functional.max_pool2d((grey >= SATURATION).to(y.dtype), 2 * GLARE + 1, 1, GLARE)[0, 0]
    worth = magnitude.clamp_max(4 * float(magnitude.mean())) * (1 - saturated)
    sums = functional.pad(worth.double(), (1, 0, 1, 0)).cumsum(0).cumsum(1)
    tops = starts(height, rows)
    lefts = starts(width, columns)
    total = (
        sums[tops + rows][:, lefts + columns]
        - sums[tops][:, lefts + columns]
        - sums[tops + rows][:, lefts]
        + sums[tops][:, lefts]
    )
    best = int(total.argmax())
    return int(tops[best // len(lefts)]), int(lefts[best % len(lefts)]), rows, columns


def starts(length: int, window: int) -> Tensor:
    """Where a window of that length is tried along a side."""
    return torch.unique(torch.linspace(0, length - window, 1 + 8 * -(-(length - window) // window)).round().long())
