"""Is this a good result? A flag, and the reasons in words, from the data alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deblurkit.core import Observation
from deblurkit.core.image_prior import inner
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.simplex import border_mass

Flag = Literal["good", "doubtful", "bad"]

BORDER_MASS = 0.10
"""A kernel with more than this in its outermost frame wanted a larger window."""
DELTA_PEAK = 0.85
"""A kernel with more than this in one pixel blurs nothing."""
SHORT_SPREAD = 1.5
"""A kernel whose root mean square radius is below this many pixels is the softness of any lens, or of demosaicing."""
COLLAPSED_PEAK = 0.25
COLLAPSED_SPREAD = 2.0
"""A kernel with such a peak, or so narrow, looks like an estimation that fell back towards "no blur": of 20 real
photographs the good results had peaks up to 0.23 and spreads from 3.2, and four of the bad ones are caught."""
FLAT_CONTRAST = 0.2
"""An image whose contrast is below this fraction of the blurry one's has collapsed: deblurring adds contrast."""
EXCESS_CONTRAST = 1.8
"""Deblurring multiplies the contrast of photographs by 1.05 to 1.45 (21 and 35 px of blur); ringing does more."""
FLAT_PICTURE = 0.004
"""A picture that varies less than this (a step of 8 bits) shows nothing that could be blurred."""
RINGING_CONTRAST = 2.5
"""Above this it rings: true kernels of 15 to 35 pixels give 1.0 to 1.9, wrong ones up to 14."""
DARK_SHIFT = 0.15
"""A mean that moved by more than this means a black or white result: blur keeps the mean."""
RESIDUAL_RATIO = 4.0
RESIDUAL_FLOOR = 0.01
"""The re-blurred image may differ from the observation by this many noise levels, plus the floor (model errors)."""
SPREAD_COST = 0.03
"""Noise levels that a pixel more of a kernel's spread has to explain; found on pictures with 1 % of noise."""
LEAST_NOISE = 1e-3
"""Noise of rounding to 8 bits: nothing can be explained better."""
SATURATED = 0.02
"""From this fraction of saturated pixels on, they are worth a word."""
DIFFUSE = 0.5
"""A kernel whose values are nearly equal over more than this fraction of its window shows no motion path."""


@dataclass(frozen=True)
class Quality:
    """What is thought of a result.

    Attributes:
        flag: ``good``; ``doubtful`` (look at it); ``bad`` (it should not be used).
        reasons: Why it is not good, a sentence each.
        measures: The numbers behind it: ``residual`` and ``noise`` (standard deviations, in units of [0, 1]),
            ``border_mass``, ``peak`` (largest kernel value), ``spread`` (its root mean square radius in pixels),
            ``diffuse``, ``contrast`` (standard deviation over the blurry one's), ``sparsity`` (of its gradients, the
            smaller the sparser), ``saturated`` (fraction of pixels, missing ones too). Only those that could be
            measured.
        retry: Whether another start may do better: the result is bad, or the kernel collapsed.
    """

    flag: Flag
    reasons: tuple[str, ...]
    measures: dict[str, float]
    retry: bool = False

    @property
    def rank(self) -> tuple[int, float]:
        """Sorting key, better results first: the flag, then what is left unexplained, in noise levels.

        A wider kernel has to explain more: the largest kernel always fits the noise best.
        """
        unexplained = self.measures.get("residual", math.inf) / max(self.measures.get("noise", 0.0), LEAST_NOISE)
        return ("good", "doubtful", "bad").index(self.flag), unexplained + SPREAD_COST * self.measures.get(
            "spread", 0.0
        )


def judge(
    observation: Observation,
    x: Tensor,
    kernel: Tensor | None,
    blurred: Tensor | None = None,
    *,
    unseen: float | None = None,
    synthesised: bool = False,
) -> Quality:
    """Judge one picture's result.

    Args:
        observation: The blurry picture (1, C, H, W).
        x: Its latent image (1, C, H + 2 my, W + 2 mx), on the same device.
        kernel: The convolution kernel (1, 1, h, w), or ``None`` where the kernel prior shows none.
        blurred: B(x; k) (1, C, H, W); made with ``kernel`` where not given.
        unseen: Share of the pixels that are saturated or missing; that of the observation's mask where not given, which
            can hide more: an image prior need not be able to explain all that was seen.
        synthesised: Whether the image may be unable to show what was in front of the camera.

    Returns:
        The quality.
    """
    measures: dict[str, float] = {}
    bad: list[str] = []
    doubts: list[str] = []
    if not torch.isfinite(x).all():
        return Quality("bad", ("the image has values that are not finite numbers: the run diverged",), measures)
    if kernel is not None and not torch.isfinite(kernel).all():
        return Quality("bad", ("the kernel has values that are not finite numbers: the run diverged",), measures)
    if float(observation.y.std()) < FLAT_PICTURE:
        return Quality("bad", ("the picture is flat: it shows nothing whose blur could be found",), measures)
    measures["noise"] = float(observation.noise.mean())
    _judge_image(observation, x, measures, bad, doubts)
    if kernel is not None:
        _judge_kernel(kernel, measures, bad, doubts)
        if blurred is None and _fits(x, observation, kernel):
            blurred = convolve_valid(x, kernel)
    if blurred is not None:
        _judge_residual(observation, blurred, measures, bad, doubts, kernel is not None, synthesised)
    measures["saturated"] = float(1.0 - observation.mask.mean()) if unseen is None else unseen
    collapsed = is_collapsed(measures)
    if collapsed:
        doubts.append(
            "little blur was found, and the kernel may be too small; if the picture is plainly more blurred than that, "
            "try --recipe fast --image-prior.weight 0.02"
        )
    if measures["saturated"] > SATURATED:
        doubts.append(
            f"{measures['saturated']:.0%} of the pixels are saturated or missing and were not believed; "
            "expect halos around lights"
        )
    flag: Flag = "bad" if bad else "doubtful" if doubts else "good"
    return Quality(flag, tuple(bad + doubts), measures, retry=bool(bad) or collapsed)


def is_collapsed(measures: dict[str, float]) -> bool:
    """Whether the kernel is wider than the softness of a sharp picture, and yet suspiciously near to a point."""
    width = measures.get("spread", 0.0)
    return width >= SHORT_SPREAD and (width < COLLAPSED_SPREAD or measures["peak"] > COLLAPSED_PEAK)


def _fits(x: Tensor, observation: Observation, kernel: Tensor) -> bool:
    rows, columns = kernel.shape[-2] - 1, kernel.shape[-1] - 1
    return x.shape[-2:] == (observation.size[0] + rows, observation.size[1] + columns)


def _judge_image(
    observation: Observation, x: Tensor, measures: dict[str, float], bad: list[str], doubts: list[str]
) -> None:
    contrast = float(x.std() / observation.y.std().clamp_min(1e-6))
    shift = float((x.mean() - observation.y.mean()).abs())
    measures["contrast"] = contrast
    measures["sparsity"] = sparsity(x, observation.size)
    if contrast > RINGING_CONTRAST:
        bad.append("the image rings: it has far more contrast than sharpness could explain, so the kernel is wrong")
    elif contrast < FLAT_CONTRAST:
        bad.append("the image collapsed to a nearly flat picture")
    elif shift > DARK_SHIFT:
        bad.append("the image is much darker or brighter than the blurry one")
    elif contrast > EXCESS_CONTRAST:
        doubts.append(
            f"the image has {contrast:.1f} times the contrast of the blurry one, more than deblurring gives; "
            "look for ringing, or whether the picture was sharp already"
        )


def sparsity(x: Tensor, size: tuple[int, int]) -> float:
    """Mean over root mean square of the gradient magnitude of a latent image (1, C, h, w) within the picture's frame.

    In (0, 1], smaller where gradients are sparser; the normalised sparsity of Krishnan, Tay and Fergus, CVPR 2011.
    """
    frame = inner(x, size).clamp(0.0, 1.0)
    length = torch.hypot(torch.diff(frame, dim=-1)[..., :-1, :], torch.diff(frame, dim=-2)[..., :-1])
    return float(length.mean() / length.square().mean().sqrt().clamp_min(1e-12))


def _judge_kernel(kernel: Tensor, measures: dict[str, float], bad: list[str], doubts: list[str]) -> None:
    peak = float(kernel.max())
    measures["peak"] = peak
    if peak > DELTA_PEAK:
        doubts.append("no blur was found: the kernel is nearly a single point, so the picture is nearly unchanged")
        return
    measures["spread"] = spread(kernel)
    if measures["spread"] < SHORT_SPREAD:
        doubts.append(
            f"hardly any blur was found: the kernel is about {2 * measures['spread']:.0f} px wide, "
            "no more than the softness of a sharp picture"
        )
        return
    if min(kernel.shape[-2:]) >= 5:
        measures["border_mass"] = float(border_mass(kernel))
        if measures["border_mass"] > BORDER_MASS:
            doubts.append(
                "the kernel reaches the border of its window; give a larger --kernel-size, or --largest-kernel"
            )
    measures["diffuse"] = float((kernel > 0.3 * peak).float().mean())
    if measures["diffuse"] > DIFFUSE and kernel.numel() > 25:
        bad.append("the kernel shows no motion path, it fills its window evenly; the estimation did not converge")


def spread(kernel: Tensor) -> float:
    """Root mean square distance of a kernel (1, 1, h, w) from its centre of mass, in pixels."""
    weights = kernel[0, 0].detach().cpu().double()  # not every accelerator knows double precision
    squares = 0.0
    for axis in (0, 1):
        line = weights.sum(1 - axis)
        place = torch.arange(len(line), dtype=line.dtype, device=line.device)
        centre = (line * place).sum()
        squares += float((line * (place - centre).square()).sum())
    return squares**0.5


def _judge_residual(
    observation: Observation,
    blurred: Tensor,
    measures: dict[str, float],
    bad: list[str],
    doubts: list[str],
    even: bool,
    synthesised: bool,
) -> None:
    """Compare the re-blurred picture with the noise; ``even`` says that the model of the blur is a single kernel."""
    weight = observation.mask.expand_as(observation.y)
    error = ((blurred - observation.y).square() * weight).sum() / weight.sum().clamp_min(1.0)
    measures["residual"] = float(error.sqrt())
    allowed = RESIDUAL_RATIO * measures["noise"] + RESIDUAL_FLOOR
    misses = f"re-blurring the image misses the picture by {measures['residual']:.3f}"
    noise = f"above the noise ({measures['noise']:.3f})"
    if measures["residual"] > 3 * allowed:
        cause = "the blur is probably not the same everywhere" if even else "the estimation probably did not converge"
        if synthesised:
            other = "the blur is not the same everywhere" if even else "the estimation did not converge"
            cause = f"the generator probably cannot draw this picture, or {other}"
        bad.append(f"{misses}, far {noise}; {cause}")
    elif measures["residual"] > allowed:
        cause = "the blur may differ from place to place" if even else "more iterations may help"
        if synthesised:
            cause = f"the generator may be unable to draw this picture, or {cause}"
        doubts.append(f"{misses}, {noise}; {cause}")
