"""The scores of Koehler et al. 2012: the best over all views along the camera's trajectory.

After the authors' evaluation script: each view x is compared with the result z times ``sum(x z) / sum(z z)``, moved by
the whole-pixel shift of largest cyclic cross-correlation (of the means over channels), zeros where it leaves the frame
in both; the error is that of the luma ``0.299 R + 0.587 G + 0.114 B`` over the whole frame, zeros included. The script
asks for 8-bit results; here nothing is rounded. One of its views (the 30th of image 1, shake 3) is missing and left out
there: here every black view is.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from deblurkit.datasets import Sample
from deblurkit.metrics import psnr, ssim
from deblurkit.scores.ms_ssim import ms_ssim
from deblurkit.scores.pictures import aligned, luma, matched


def judge_kohler(image: Tensor, sample: Sample) -> dict[str, float]:
    """Best PSNR and MS-SSIM over the views as published, and aligned scores at the best view; see `protocols`."""
    values = {"psnr-kohler": -math.inf}
    nearest: Tensor | None = None
    similarity: list[float] = []
    for view in _views(sample):
        truth, result = matched(image, view)
        if not bool(truth.any()):
            continue
        registered, seen = registered_luma(result, truth)
        found = float(psnr(registered, seen))
        if found > values["psnr-kohler"]:
            values["psnr-kohler"], nearest = found, truth
        if (index := ms_ssim(registered, seen)) is not None:
            similarity.append(index)
    if nearest is None:
        return {}
    if similarity:
        values["ms-ssim-kohler"] = max(similarity)
    truth, result = matched(image, nearest)
    if (best := aligned(result, truth)) is not None:
        values |= {"psnr-aligned": best.psnr, "ssim-aligned": float(ssim(best.aligned, best.truth))}
    return values


def registered_luma(image: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
    """Luma of the result, scaled and shifted to a view, and of the view, both zero where the shift leaves nothing.

    Args:
        image: (1, C, H, W).
        view: The same shape.

    Raises:
        UsageError: The sizes differ.
    """
    psnr(image, view)  # the sizes agree
    height, width = view.shape[-2:]
    energy = float(image.square().sum())
    gain = float((view * image).sum()) / energy if energy > 0 else 0.0
    spectra = [torch.fft.rfft2(one.mean(dim=1)[0]) for one in (view, image)]
    cross = torch.fft.irfft2(spectra[0] * spectra[1].conj(), s=(height, width))
    row, column = divmod(int(cross.argmax()), width)
    # the first half of the cyclic shifts is forward, the middle one backward
    dy, dx = row if row < height // 2 else row - height, column if column < width // 2 else column - width
    moved, seen = torch.zeros_like(luma(view)), torch.zeros_like(luma(view))
    to = (..., slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0)))
    source = (..., slice(max(-dy, 0), height - max(dy, 0)), slice(max(-dx, 0), width - max(dx, 0)))
    moved[to], seen[to] = gain * luma(image)[source], luma(view)[to]
    return moved, seen


def _views(sample: Sample) -> Iterator[Tensor]:
    """One view after the other: all together would fill a memory."""
    for index in range(len(sample.truths)):
        yield sample.truths[index]
