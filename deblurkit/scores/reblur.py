"""Scores of blur that was taken from one pair of pictures and given to a sharp one (Tran et al. 2021, 4.1.1, 4.2.2)."""

from torch import Tensor

from deblurkit.datasets import Sample
from deblurkit.metrics import psnr, ssim
from deblurkit.ops.ssim import WINDOW
from deblurkit.scores.score import Score

BORDER = 15
"""Half of a window of 31 px: so far from the border nothing depends on what lies beyond it."""

_INNER = f"without {BORDER} px on each side, which depend on what lies beyond the border"

PSNR_REBLUR = Score(
    "psnr-reblur",
    "PSNR, re-blurred",
    f"Peak 1, of the re-blurred against the blurry picture without its noise, {_INNER}; Tran et al. 2021, eq. 8.",
    True,
    "higher",
    2,
    "dB",
)
SSIM_REBLUR = Score(
    "ssim-reblur",
    "SSIM, re-blurred",
    f"SSIM at full resolution (Wang et al. 2004) of the same two pictures, {_INNER}.",
    False,
    "higher",
    4,
    "",
)


def judge_reblur(image: Tensor, sample: Sample) -> dict[str, float]:
    """Plain scores of the inner part; none where nothing is left of it."""
    truth = sample.truths[0].detach().cpu().double()
    if min(truth.shape[-2:]) < 2 * BORDER + WINDOW or image.shape != truth.shape:
        return {}
    place = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    image, truth = image[place], truth[place]
    return {"psnr-reblur": float(psnr(image, truth)), "ssim-reblur": float(ssim(image, truth))}
