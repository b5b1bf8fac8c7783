"""Scores of a picture against one truth: aligned or not, in all channels or in luma."""

import torch
from torch import Tensor

from deblurkit.datasets import Sample
from deblurkit.metrics import Alignment, align, psnr, ssim
from deblurkit.ops.ssim import WINDOW

CROP, MAX_SHIFT = 15, 10
MIN_ALIGNED = 2 * CROP + WINDOW
"""Smallest side that is left with a window of SSIM after the crop."""

_STUDIO = (65.481, 128.553, 24.966)


def judge_levin(image: Tensor, sample: Sample) -> dict[str, float]:
    """Aligned scores as published for Levin's set, and their corrections; see `protocols`."""
    truth, image = matched(image, sample.truths[0])
    values = _plain(image, truth)
    if (best := aligned(image, truth)) is not None:
        values |= {"psnr-aligned": best.psnr, "ssim-wang": best.ssim, "ssim-aligned": _whole(best)} | _raw(best)
    return values


def judge_lai(image: Tensor, sample: Sample) -> dict[str, float]:
    """Aligned scores of the luma of limited range as published for Lai's set, and in colour; see `protocols`."""
    truth, image = matched(image, sample.truths[0])
    values = _plain(image, truth)
    if (best := aligned(image, truth)) is not None:
        values |= {"psnr-aligned": best.psnr, "ssim-aligned": _whole(best)}
    if (luma := aligned(studio_luma(image), studio_luma(truth))) is not None:
        values |= {"psnr-y": luma.psnr, "ssim-y": luma.ssim} | _raw(luma)
    return values


def judge_pairs(image: Tensor, sample: Sample) -> dict[str, float]:
    """Plain scores as published for pairs, and aligned ones beside them; see `protocols`."""
    truth, image = matched(image, sample.truths[0])
    values = _plain(image, truth)
    if min(truth.shape[-2:]) >= WINDOW:
        values["ssim"] = float(ssim(image, truth))
    if (best := aligned(image, truth)) is not None:
        values |= {"psnr-aligned": best.psnr, "ssim-aligned": _whole(best)}
    return values


def matched(image: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Truth and picture, (1, C, H, W) float64 each, with the channels of the truth; see `Protocol.measure`."""
    truth = truth.detach().cpu().double()
    if image.shape[1] == 1 and truth.shape[1] == 3:
        image = image.expand(-1, 3, -1, -1)
    elif image.shape[1] == 3 and truth.shape[1] == 1:
        image = luma(image)
    return truth, image


def luma(x: Tensor) -> Tensor:
    """Full-range luma of BT.601, ``0.299 R + 0.587 G + 0.114 B``, (1, 1, H, W); grey stays as it is."""
    if x.shape[1] == 1:
        return x
    return (x * x.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def studio_luma(x: Tensor) -> Tensor:
    """Y of MATLAB's ``rgb2ycbcr``: luma of limited range, 16/255 for black and 235/255 for white, (1, 1, H, W).

    Differences shrink by 219/255, so a PSNR with peak 1 is 1.3 dB above that of the same picture in full range. As in
    SelfDeblur's script a picture of one channel is taken as it is.

    Args:
        x: (1, 3, H, W) or (1, 1, H, W), range 1.
    """
    if x.shape[1] == 1:
        return x
    return (16.0 + (x * x.new_tensor(_STUDIO).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)) / 255.0


def aligned(image: Tensor, truth: Tensor) -> Alignment | None:
    """The picture at its best shift, or None where it is too small.

    Raises:
        UsageError: The sizes differ.
    """
    if image.shape == truth.shape and min(truth.shape[-2:]) < MIN_ALIGNED:
        return None
    return align(image, truth, crop=CROP, max_shift=MAX_SHIFT)


def _plain(image: Tensor, truth: Tensor) -> dict[str, float]:
    return {"psnr": float(psnr(image, truth))}


def _whole(best: Alignment) -> float:
    """SSIM at full resolution over the aligned crop."""
    return float(ssim(best.aligned, best.truth))


def _raw(best: Alignment) -> dict[str, float]:
    """What the error ratios are made of."""
    norms = torch.linalg.matrix_norm((best.aligned - best.truth)[0], ord=2)
    return {"ssd": best.ssd, "spectral-norm": float(norms.max())}
