"""The protocols: which scores each data set has, as published, and corrected beside them."""

import math
from collections.abc import Mapping
from dataclasses import replace

from deblurkit.errors import UsageError
from deblurkit.scores.kohler import judge_kohler
from deblurkit.scores.pictures import judge_lai, judge_levin, judge_pairs
from deblurkit.scores.reblur import PSNR_REBLUR, SSIM_REBLUR, judge_reblur
from deblurkit.scores.score import KERNEL_ERROR, KERNEL_SIMILARITY, Protocol, Score

_ALIGNED = (
    "over the truth without 15 px on each side, with the result moved by up to 10 px in steps of 0.25 px (bilinear) to "
    "the least squared error"
)
_SCRIPT = "SelfDeblur's script (Ren et al. 2020) after Levin et al. 2009"

_PSNR_ALIGNED = Score(
    "psnr-aligned",
    "PSNR, aligned",
    f"Peak 1, mean over all channels, {_ALIGNED}; {_SCRIPT}, which besides takes a black result's peak for 1/255.",
    True,
    "higher",
    2,
    "dB",
)
_SSIM_WANG = Score(
    "ssim-wang",
    "SSIM, Wang",
    f"Wang's SSIM of 2009, which shrinks both pictures by round(shorter side / 256) first, {_ALIGNED}; {_SCRIPT}.",
    True,
    "higher",
    4,
    "",
)
_SSIM_ALIGNED = Score(
    "ssim-aligned",
    "SSIM, aligned",
    f"SSIM at full resolution (Wang et al. 2004), mean over channels, {_ALIGNED}.",
    False,
    "higher",
    4,
    "",
)
_PSNR = Score("psnr", "PSNR", "Peak 1, mean over all pixels and channels, without alignment.", False, "higher", 2, "dB")
_SSIM = Score(
    "ssim",
    "SSIM",
    "SSIM at full resolution over whole windows (Wang et al. 2004), mean over channels, without alignment; papers on "
    "pairs differ in the window and in colour.",
    False,
    "higher",
    4,
    "",
)
_PSNR_Y = Score(
    "psnr-y",
    "PSNR of Y, aligned",
    f"PSNR of Y in limited range (MATLAB's rgb2ycbcr, 16 to 235) with peak 255, {_ALIGNED}; SelfDeblur's script for "
    "Lai et al. 2016.",
    True,
    "higher",
    2,
    "dB",
)
_SSIM_Y = Score(
    "ssim-y",
    "SSIM of Y, Wang",
    f"Wang's SSIM of 2009 with its downsampling, of Y in limited range, {_ALIGNED}; SelfDeblur's script for Lai et al. "
    "2016.",
    True,
    "higher",
    4,
    "",
)
_PSNR_KOHLER = Score(
    "psnr-kohler",
    "PSNR, best view",
    "Largest PSNR over the views along the trajectory, of the luma, with the best gain and whole-pixel shift for each; "
    "the script of Koehler et al. 2012, without its rounding to 8 bits.",
    True,
    "higher",
    2,
    "dB",
)
_MS_SSIM_KOHLER = Score(
    "ms-ssim-kohler",
    "MS-SSIM, best view",
    "Largest multi-scale SSIM (Wang et al. 2003, as in MeTriX MuX) over the views, registered as for the PSNR; the "
    "script of Koehler et al. 2012, without its rounding to 8 bits.",
    True,
    "higher",
    4,
    "",
)
_SIMILARITY = Score(
    KERNEL_SIMILARITY,
    "kernel similarity",
    "Largest normalised cross-correlation of the estimated with the true kernel over all whole-pixel shifts (Hu and "
    "Yang 2012) and both orientations.",
    True,
    "higher",
    3,
    "",
)
_KERNEL_ERROR = Score(
    KERNEL_ERROR,
    "kernel error",
    "Smallest ||estimate(. - s) - truth|| / ||truth|| over all whole-pixel shifts s and both orientations.",
    False,
    "lower",
    3,
    "",
)
_RATIO_SSD = Score(
    "error-ratio-ssd",
    "error ratio, SSD",
    f"Squared error over that of the result with the true kernel and the same final step, {_ALIGNED} (Levin et al. "
    "2009, who search up to 5 px).",
    True,
    "lower",
    2,
    "",
)
_RATIO_SPECTRAL = Score(
    "error-ratio-spectral",
    "error ratio, spectral",
    "Spectral norm of the error over that of the result with the true kernel, aligned as for the SSD: SelfDeblur's "
    "script calls MATLAB's norm of a matrix; not comparable with other papers' ratios.",
    True,
    "lower",
    2,
    "",
)

ERROR_RATIOS = (_RATIO_SSD, _RATIO_SPECTRAL)
"""The scores that `error_ratios` gives."""

RAW = (
    Score("ssd", "SSD", f"Sum of squared errors {_ALIGNED}.", True, "lower", 2, ""),
    Score("spectral-norm", "spectral norm", f"Largest singular value of the error {_ALIGNED}.", True, "lower", 3, ""),
)
"""What `Protocol.measure` gives beside the scores, for `error_ratios`: sizes that no two pictures share, so no columns.
In Lai's protocol they are those of Y."""

_KERNEL = (_SIMILARITY, _KERNEL_ERROR)


def _ours(*scores: Score) -> tuple[Score, ...]:
    """Scores that published tables of this data set do not give."""
    return tuple(replace(score, published=False) for score in scores)


_LEVIN = (_PSNR_ALIGNED, _SSIM_WANG, *ERROR_RATIOS, _SSIM_ALIGNED, _PSNR, *_KERNEL)
_LAI = (_PSNR_Y, _SSIM_Y, *_ours(_PSNR_ALIGNED, _SSIM_ALIGNED, *ERROR_RATIOS, _PSNR), *_KERNEL)
_PAIRS = (replace(_PSNR, published=True), _SSIM, *_ours(_PSNR_ALIGNED, _SSIM_ALIGNED))
_KOHLER = (_PSNR_KOHLER, _MS_SSIM_KOHLER, *_ours(_PSNR_ALIGNED, _SSIM_ALIGNED))

_PROTOCOLS = {
    protocol.layout: protocol
    for protocol in (
        Protocol("levin", "psnr-aligned", _LEVIN, judge_levin),
        Protocol("levin-exact", "psnr-aligned", _LEVIN, judge_levin),
        Protocol("lai", "psnr-y", _LAI, judge_lai),
        Protocol("kohler", "psnr-kohler", _KOHLER, judge_kohler),
        Protocol("pairs", "psnr", _PAIRS, judge_pairs),
        Protocol("reblur", "psnr-reblur", (PSNR_REBLUR, SSIM_REBLUR, *_KERNEL), judge_reblur),
    )
}

NAMES = frozenset(score.name for protocol in _PROTOCOLS.values() for score in (*protocol.scores, *RAW))
"""Names of all values that a protocol may give: no other score may have one of them."""


def protocol_of(layout: str) -> Protocol:
    """The protocol of a data set.

    Args:
        layout: As `deblurkit.datasets.layout_of` gives it.

    Raises:
        UsageError: There is none.
    """
    if layout not in _PROTOCOLS:
        raise UsageError(f"layout: {layout!r} has no protocol; those that have one are {', '.join(_PROTOCOLS)}.")
    return _PROTOCOLS[layout]


def error_ratios(values: Mapping[str, float], oracle_values: Mapping[str, float]) -> dict[str, float]:
    """Errors over those of the result with the true kernel, in the two ways that are published.

    Args:
        values: What `Protocol.measure` says of a result.
        oracle_values: The same of the result with the true kernel, of the same case.

    Returns:
        ``error-ratio-ssd`` and ``error-ratio-spectral``; absent where a raw value is, or the oracle has no error.
    """
    ratios = {}
    for score, raw in zip(ERROR_RATIOS, RAW, strict=True):
        error, reference = values.get(raw.name, math.nan), oracle_values.get(raw.name, math.nan)
        if math.isfinite(error) and math.isfinite(reference) and reference > 0:
            ratios[score.name] = error / reference
    return ratios
