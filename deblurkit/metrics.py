"""How near an estimate is to the truth, plainly and as published.

Blind deblurring finds a picture only up to a shift, so published scores align first. :func:`align` reproduces the
protocol of Levin et al. 2009 as SelfDeblur (Ren et al. 2020) scores it: 15 pixels cut off, shifts of a quarter pixel up
to 10 (5 in the papers) by bilinear interpolation, least sum of squared differences, nothing clipped or rounded.
Pictures are ``(1, C, H, W)`` with range 1; all channels share one shift.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import fft, ndimage
from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.ops.shapes import require_image, require_kernel
from deblurkit.ops.ssim import WINDOW, ssim_map

_STRIP = 256
"""Rows of one channel that are looked at together: double precision takes many times the memory of a picture."""


@dataclass(frozen=True)
class Alignment:
    """Scores of an estimate at its best shift.

    Attributes:
        shift: ``(dy, dx)`` in pixels: ``aligned[p] = estimate[p + shift]``.
        psnr: Peak 1, in dB, over the aligned crop.
        ssim: Wang's index with automatic downsampling (:func:`ssim_downsampled`) over the aligned crop.
        ssd: Sum of squared differences over the aligned crop.
        aligned: ``(1, C, h, w)`` float64: the shifted crop of the estimate.
        truth: ``(1, C, h, w)`` float64: the crop of the truth.
    """

    shift: tuple[float, float]
    psnr: float
    ssim: float
    ssd: float
    aligned: Tensor
    truth: Tensor


@dataclass(frozen=True)
class KernelSimilarity:
    """Likeness of two blur kernels, 1 where they agree up to a shift.

    Attributes:
        value: The larger of the other two.
        direct: Best normalised cross-correlation over all shifts.
        rotated: The same with one of them turned by 180 degrees (kernel files disagree about the orientation).
    """

    value: float
    direct: float
    rotated: float


def psnr(estimate: Tensor, truth: Tensor) -> Tensor:
    """Peak signal to noise ratio for values of range 1, without any alignment.

    Args:
        estimate: ``(B, C, H, W)``.
        truth: The same shape.

    Returns:
        ``(B,)`` in dB, infinite for equal pictures.

    Raises:
        UsageError: The sizes differ.
    """
    _require_same(estimate, truth)
    channels = zip(estimate.unbind(1), truth.unbind(1), strict=True)
    errors = [(a.double() - b.double()).square_().mean(dim=(1, 2)) for a, b in channels]
    return -10.0 * torch.log10(torch.stack(errors).mean(dim=0))


def ssim(estimate: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity at full resolution over whole windows, mean over channels (Wang et al. 2004).

    Args:
        estimate: ``(B, C, H, W)`` in [0, 1].
        truth: The same shape.

    Returns:
        ``(B,)``.

    Raises:
        UsageError: The sizes differ, or are below 11x11.
    """
    _require_same(estimate, truth)
    _require_window(truth)
    return _mean_ssim(estimate, truth)


def ssim_downsampled(estimate: Tensor, truth: Tensor) -> Tensor:
    """Wang's 2009 index: both pictures are first shrunk by ``f = max(1, round(min(H, W) / 256))`` behind a box filter.

    It flatters large pictures; published SelfDeblur scores are this index.

    Args:
        estimate: ``(B, C, H, W)`` in [0, 1].
        truth: The same shape.

    Returns:
        ``(B,)``.

    Raises:
        UsageError: The sizes differ, or are below 11x11.
    """
    _require_same(estimate, truth)
    _require_window(truth)
    factor = max(1, int(min(truth.shape[-2:]) / 256 + 0.5))
    return _mean_ssim(_boxed(estimate, factor), _boxed(truth, factor)) if factor > 1 else _mean_ssim(estimate, truth)


def align(estimate: Tensor, truth: Tensor, *, crop: int = 15, max_shift: int = 10, step: float = 0.25) -> Alignment:
    """Find the shift of least squared difference, and score there.

    The search is exhaustive but costs a few FFTs: the squared difference of a bilinearly shifted picture is a quadratic
    form of its four whole-pixel neighbours, whose inner products come from one cross-correlation and running sums.

    Args:
        estimate: ``(1, C, H, W)`` in [0, 1].
        truth: The same shape.
        crop: Pixels cut off every side of the truth.
        max_shift: Largest shift in pixels, at most ``crop``.
        step: Grid of the search; 1 over a whole number.

    Returns:
        The best shift and the scores there.

    Raises:
        UsageError: The sizes differ, or leave no 11x11 crop; the shift is larger than the crop; the step is odd.
    """
    _require_same(estimate, truth)
    if truth.shape[0] != 1:
        raise UsageError(f"align: scores one picture at a time, got a batch of {truth.shape[0]}; pass them one by one")
    if not 0 <= max_shift <= crop:
        raise UsageError(f"max_shift: must lie between 0 and the crop of {crop} px, got {max_shift}")
    phases = round(1.0 / step) if step > 0 else 0
    if phases < 1 or abs(phases * step - 1.0) > 1e-9:
        raise UsageError(f"step: must be 1 over a whole number of parts of a pixel, got {step}")
    height, width = truth.shape[-2] - 2 * crop, truth.shape[-1] - 2 * crop
    if min(height, width) < WINDOW:
        raise UsageError(
            f"picture: {truth.shape[-2]}x{truth.shape[-1]} is too small for a crop of {crop} px on each side; "
            f"needs at least {2 * crop + WINDOW}x{2 * crop + WINDOW}, or a smaller crop"
        )
    moving = estimate[0, :, crop - max_shift :, crop - max_shift : crop + width + max_shift].detach().cpu()
    target = truth[0, :, crop : crop + height, crop : crop + width].detach().cpu()
    # One more row and column, so that the last whole shift has a neighbour (of weight zero).
    margin = ((0, 0), (0, 1), (0, 1))
    size = 2 * max_shift * phases + 1
    differences = np.zeros((size, size))
    for channel in range(len(target)):
        for top in range(0, height, _STRIP):
            fixed = target[channel : channel + 1, top : top + _STRIP].double().numpy()
            search = moving[channel : channel + 1, top : top + fixed.shape[1] + 2 * max_shift].double().numpy()
            found = _squared_differences(np.pad(search, margin, mode="edge"), fixed, phases)
            differences += found[:size, :size]
    best = np.unravel_index(int(np.argmin(differences)), (size, size))
    shift = (float(best[0]) / phases - max_shift, float(best[1]) / phases - max_shift)
    return _score(estimate[0].detach().cpu(), target, crop, shift)


def kernel_similarity(estimate: Tensor, truth: Tensor) -> KernelSimilarity:
    """Largest normalised cross-correlation over all whole-pixel shifts, in both orientations (Hu and Yang 2012).

    Args:
        estimate: ``(1, 1, h, w)``.
        truth: ``(1, 1, h', w')``; the sizes may differ.

    Returns:
        The similarity, at most 1.

    Raises:
        ValueError: An argument is no kernel.
    """
    require_kernel(estimate, "estimate")
    require_kernel(truth, "truth")
    a, b = (one[0, 0].detach().double().cpu().numpy() for one in (estimate, truth))
    shape = [fft.next_fast_len(m + n - 1, True) for m, n in zip(a.shape, b.shape, strict=True)]
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    spectrum, other = fft.rfft2(a, shape), fft.rfft2(b, shape)
    direct = float(fft.irfft2(spectrum * other.conj(), shape).max()) / norm
    rotated = float(fft.irfft2(spectrum * other, shape).max()) / norm
    return KernelSimilarity(max(direct, rotated), direct, rotated)


def kernel_error(estimate: Tensor, truth: Tensor) -> float:
    """Relative error of a kernel, ``min ||estimate(. - s) - truth|| / ||truth||``.

    The minimum is over all whole-pixel shifts and both orientations, as in :func:`kernel_similarity`, and comes from
    the same cross-correlation: outside their arrays both kernels are zero, so the norms do not depend on the shift.
    Unlike the similarity it sees a wrong scale. Both are taken as they are; kernels of sum 1 are meant.

    Args:
        estimate: ``(1, 1, h, w)``.
        truth: ``(1, 1, h', w')``; the sizes may differ.

    Returns:
        0 for equal kernels.

    Raises:
        ValueError: An argument is no kernel.
    """
    require_kernel(estimate, "estimate")
    require_kernel(truth, "truth")
    a, b = (one[0, 0].detach().double().cpu().numpy() for one in (estimate, truth))
    shape = [m + n - 1 for m, n in zip(a.shape, b.shape, strict=True)]
    spectrum = fft.rfft2(b, shape)
    fixed = np.zeros(shape)
    fixed[: b.shape[0], : b.shape[1]] = b
    errors = []
    for turned in (a, a[::-1, ::-1]):
        cross = fft.irfft2(spectrum * fft.rfft2(turned, shape).conj(), shape)
        shift = np.unravel_index(int(np.argmax(cross)), cross.shape)
        moving = np.zeros(shape)
        moving[: a.shape[0], : a.shape[1]] = turned
        # the difference itself, for one of two large sums loses half of the digits
        errors.append(float(np.linalg.norm(np.roll(moving, (int(shift[0]), int(shift[1])), (0, 1)) - fixed)))
    return min(errors) / float(np.linalg.norm(b))


def _squared_differences(search: np.ndarray, target: np.ndarray, phases: int) -> np.ndarray:
    """For every shift by ``1 / phases`` px; ``search`` is ``(C, h + n, w + n)`` where the target is ``(C, h, w)``."""
    offset = target.mean()
    search, target = search - offset, target - offset
    height, width = target.shape[-2:]
    shape = [fft.next_fast_len(side, True) for side in search.shape[-2:]]
    spectrum = (fft.rfft2(search, shape) * fft.rfft2(target, shape).conj()).sum(axis=0)
    count = (search.shape[-2] - height + 1, search.shape[-1] - width + 1)
    cross = fft.irfft2(spectrum, shape)[: count[0], : count[1]]

    def products(dy: int, dx: int) -> np.ndarray:
        """Sums over the window at each shift of ``e[p] e[p + (dy, dx)]``; what leaves the array counts as zero."""
        other = np.zeros_like(search)
        rows, columns = search.shape[-2] - dy, search.shape[-1] - abs(dx)
        left, right = (0, dx) if dx >= 0 else (-dx, 0)
        other[:, :rows, left : left + columns] = search[:, dy:, right : right + columns]
        sums = np.pad((search * other).sum(axis=0), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
        return sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]

    squares, below, beside = products(0, 0), products(1, 0), products(0, 1)
    diagonal, antidiagonal = products(1, 1), products(1, -1)
    result = np.empty(((count[0] - 1) * phases, (count[1] - 1) * phases))
    here, down = slice(0, count[0] - 1), slice(1, count[0])
    left, right = slice(0, count[1] - 1), slice(1, count[1])
    for i in range(phases):
        for j in range(phases):
            fy, fx = i / phases, j / phases
            wy, wx = (1.0 - fy, fy), (1.0 - fx, fx)
            inner = sum(wy[a] * wx[b] * cross[(here, down)[a], (left, right)[b]] for a in (0, 1) for b in (0, 1))
            power = sum(
                (wy[a] * wx[b]) ** 2 * squares[(here, down)[a], (left, right)[b]] for a in (0, 1) for b in (0, 1)
            )
            power += 2 * wy[0] * wy[1] * (wx[0] ** 2 * below[here, left] + wx[1] ** 2 * below[here, right])
            power += 2 * wx[0] * wx[1] * (wy[0] ** 2 * beside[here, left] + wy[1] ** 2 * beside[down, left])
            power += 2 * wy[0] * wy[1] * wx[0] * wx[1] * (diagonal[here, left] + antidiagonal[here, right])
            result[i::phases, j::phases] = power - 2.0 * inner
    return result + np.square(target).sum()


def _score(estimate: Tensor, target: Tensor, crop: int, shift: tuple[float, float]) -> Alignment:
    """Interpolate at the best shift and measure there, rather than trust a difference of large sums."""
    height, width = target.shape[-2:]
    truth = target[None].to(torch.float64, copy=True)
    aligned = torch.empty_like(truth)
    whole = (int(np.floor(shift[0])), int(np.floor(shift[1])))
    fy, fx = shift[0] - whole[0], shift[1] - whole[1]
    top, left = crop + whole[0], crop + whole[1]
    for channel, into in zip(estimate, aligned[0], strict=True):
        padded = np.pad(channel.double().numpy(), (0, 1), mode="edge")
        window = padded[top : top + height + 1, left : left + width + 1]
        rows = (1.0 - fy) * window[:-1] + fy * window[1:]
        into.copy_(torch.from_numpy((1.0 - fx) * rows[:, :-1] + fx * rows[:, 1:]))
    return Alignment(
        shift=shift,
        psnr=float(psnr(aligned, truth)),
        ssim=float(ssim_downsampled(aligned, truth)),
        ssd=sum(float((a - b).square_().sum()) for a, b in zip(aligned[0], truth[0], strict=True)),
        aligned=aligned,
        truth=truth,
    )


def _mean_ssim(estimate: Tensor, truth: Tensor) -> Tensor:
    """SSIM over whole windows, ``(B,)`` float64, strip by strip."""
    batch, channels, height, width = truth.shape
    total = torch.zeros(batch, dtype=torch.float64, device=truth.device)
    for channel in range(channels):
        for top in range(0, height - WINDOW + 1, _STRIP):
            place = (slice(None), slice(channel, channel + 1), slice(top, top + _STRIP + WINDOW - 1))
            total += ssim_map(estimate[place].double(), truth[place].double(), padding="valid").sum(dim=(1, 2, 3))
    return total / (channels * (height - WINDOW + 1) * (width - WINDOW + 1))


def _boxed(x: Tensor, factor: int) -> Tensor:
    """Box filter with symmetric border, then every ``factor``-th pixel, as Wang's script does; on the CPU."""
    # An even window has no centre; MATLAB looks one pixel further ahead where scipy looks back.
    origin = -1 if factor % 2 == 0 else 0
    planes = [
        ndimage.uniform_filter(plane.double().numpy(), size=factor, mode="reflect", origin=origin)[::factor, ::factor]
        for plane in x.detach().cpu().flatten(0, 1)
    ]
    return torch.from_numpy(np.stack(planes)).unflatten(0, x.shape[:2])


def _require_same(estimate: Tensor, truth: Tensor) -> None:
    require_image(estimate, "estimate")
    require_image(truth, "truth")
    if estimate.shape != truth.shape:
        sizes = [f"{one.shape[-2]}x{one.shape[-1]} with {one.shape[1]} channels" for one in (estimate, truth)]
        raise UsageError(f"pictures: {sizes[0]} and {sizes[1]} cannot be compared; they must agree in size")


def _require_window(truth: Tensor) -> None:
    if min(truth.shape[-2:]) < WINDOW:
        raise UsageError(
            f"picture: {truth.shape[-2]}x{truth.shape[-1]} is smaller than the {WINDOW}x{WINDOW} window of SSIM; "
            "score a larger one"
        )
