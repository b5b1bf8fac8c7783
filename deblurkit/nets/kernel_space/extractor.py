"""G of the compact space: the code that re-blurs best, by regression in the light that the camera saw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.nets.kernel_space.kernel_decoder import KernelDecoder
from deblurkit.nets.kernel_space.regression import NOISE_FLOOR, Blurred, Regression, polish, regress
from deblurkit.nets.kernel_space.response import DARKEST, NUMBERS, SATURATED, Response
from deblurkit.ops.convolve import convolve_valid

GAMMAS = (0.8, 1.0, 1.3, 1.7, 2.2, 2.8)
"""Exponents that are tried before the best is refined."""
TRIED = 48
"""Numbers of the code that are fitted for each of them."""
ROUNDS = 3
"""How often the response and the kernel are found anew, each given the other."""
LINEAR = 0.03
"""A logarithm of gamma below this is taken to be 0, unless saturated pixels say otherwise."""
DOUBTFUL = 0.05
"""Share of a blurry pixel's light that comes from saturated ones at which it counts for half as much."""
FEW = 100
"""Saturated pixels by which the excess light is believed to a half."""
MOST_EXCESS = 1.5
"""Excess light that is believed at most."""
SURE = 1e-5
"""Mean squared error of the re-blurred picture (50 dB) below which no other response is looked for."""
LEAST_INNER = 16
"""Side in pixels of what must be left of a picture within its border for a response to be found."""
DISTORTED = 1.2
"""Misfit, by that of the best kernel of any sign, above which the decoder is said to distort it."""
CALMER = (10.0, 100.0)
"""Multiples of the noise that are then assumed, so that the code stays among those that the decoder knows."""
CALM_STEPS = 8
"""Conjugate gradient steps for each of them."""
STEP = 0.01
"""Of finite differences."""
DIM = 0.1
"""Darker pixels than this count no more than these, though their noise is smaller in light."""


@torch.no_grad()
def extract_codes(
    decoder: KernelDecoder, response: Response | None, sharp: Tensor, blurry: Tensor, numbers: Tensor | None = None
) -> Tensor:
    """Find the codes that re-blur pictures best.

    Args:
        decoder: What kernels there are.
        response: What cameras there are; None for linear ones only.
        sharp: (B, C, H, W).
        blurry: Likewise.
        numbers: The response's part of the codes (B, NUMBERS), where it is known.

    Returns:
        (B, K + NUMBERS), or (B, K) without a response. A picture too small to tell has a linear camera.
    """
    if response is None:
        return _kernel_code(decoder, Blurred.of(sharp, blurry, decoder.window))
    exposure = _Exposure(decoder, response, sharp, blurry)
    if numbers is None and min(sharp.shape[-2:]) < decoder.window + LEAST_INNER:
        numbers = sharp.new_zeros(len(sharp), NUMBERS)
    if numbers is not None:
        return torch.cat([exposure.kernel_code(numbers, response.excess(sharp, numbers)), numbers], 1)
    return exposure.code()


def _kernel_code(decoder: KernelDecoder, pair: Blurred, start: Tensor | None = None) -> Tensor:
    system = Regression(pair, *decoder.linear())
    if start is not None:
        system.noise = system.misfit(system.rest(decoder(start))).clamp_min(NOISE_FLOOR)
        return polish(system, start, decoder)
    code = regress(system)
    noise, nothing = system.noise, torch.zeros_like(code)
    code = polish(system, code, decoder)
    least = system.misfit(system.rest(decoder(code)))
    if not (least > DISTORTED * noise).any():
        return code
    # no kernel of the space explains the pictures well: what is left is no white noise and drove the code far out
    for factor in CALMER:
        system.noise = noise * factor
        calm = polish(system, system.improve(nothing, system.rest(system.kernel(nothing)), CALM_STEPS), decoder)
        misfit = system.misfit(system.rest(decoder(calm)))
        better = misfit < least
        code = torch.where(better.view(-1, 1), calm, code)
        least = torch.where(better, misfit, least)
    return code


@dataclass(frozen=True)
class _Exposure:
    """A pair of pictures whose camera response is to be found."""

    decoder: KernelDecoder
    response: Response
    sharp: Tensor
    blurry: Tensor

    def code(self) -> Tensor:
        """The best code (B, K + NUMBERS) on the way to the response, or a linear camera's if that is better still."""
        numbers = self.first_numbers()
        excess = self.response.excess(self.sharp, numbers)
        code = self.kernel_code(numbers, excess)
        best, least = torch.cat([code, numbers], 1), self.misfit(code, numbers, excess)
        for _ in range(ROUNDS):
            better, better_excess = self.better_numbers(code, numbers, excess)
            if torch.equal(better, numbers):
                break
            numbers, excess = better, better_excess
            code = self.kernel_code(numbers, excess, code)
            best, least = self._better_of(best, least, code, numbers, excess)
        doubtful = best[:, -NUMBERS:].any(1) & (least > SURE)
        if doubtful.any():
            linear = torch.zeros_like(numbers)
            best, _ = self._better_of(best, least, self.kernel_code(linear, None), linear, None)
        return best

    def _better_of(
        self, best: Tensor, least: Tensor, code: Tensor, numbers: Tensor, excess: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Codes and their misfits, picture by picture the ones so far or those of another kernel and response."""
        misfit = self.misfit(code, numbers, excess)
        better = (misfit < least).view(-1, 1)
        return torch.where(better, torch.cat([code, numbers], 1), best), torch.minimum(misfit, least)

    def misfit(self, code: Tensor, numbers: Tensor, excess: Tensor | None) -> Tensor:
        """Mean squared error (B,) of the re-blurred picture; unlike errors in light, that of any response compares."""
        light = self._blurred_light(self.decoder(code), numbers, excess)
        again = self.response.picture(light, self._inner(self.sharp), numbers).clamp(0, 1)
        weight = self._inner(self.trust(None))
        return (weight * (self._inner(self.blurry) - again).square()).mean((1, 2, 3))

    def trust(self, kernel: Tensor | None) -> Tensor:
        """What pixels (B, C, H, W) count for: little where light of unknown strength, that saturated, has come to.

        Args:
            kernel: Where light goes, (B, 1, w, w); None for all over a square.
        """
        saturated = (self.sharp >= SATURATED).to(self.sharp)
        if not saturated.any():
            return torch.ones_like(saturated)
        half = self.decoder.window // 2
        if kernel is None:
            kernel = saturated.new_full((1, 1, half | 1, half | 1), 1 / (half | 1) ** 2)
        half = kernel.shape[-1] // 2
        reached = convolve_valid(functional.pad(saturated, (half, half, half, half)), kernel)
        return 1 / (1 + (reached / DOUBTFUL).square())

    def first_numbers(self) -> Tensor:
        """The exponent of GAMMAS, refined by a parabola, that explains the pictures best; no excess light."""
        mean, basis = self.decoder.linear()
        misfits = []
        trust = self.trust(None)
        for gamma in GAMMAS:
            numbers = self.sharp.new_zeros(len(self.sharp), NUMBERS)
            numbers[:, 0] = torch.tensor(gamma).log()
            system = Regression(self._pair(numbers, None, trust), mean, basis[:TRIED])
            code = regress(system, rounds=1, steps=4)
            misfits.append(system.misfit(system.rest(system.kernel(code))))
        places = self.sharp.new_tensor(GAMMAS).log()
        numbers = self.sharp.new_zeros(len(self.sharp), NUMBERS)
        numbers[:, 0] = _lowest(places, torch.stack(misfits, 1))
        return _snapped(numbers)

    def kernel_code(self, numbers: Tensor, excess: Tensor | None, start: Tensor | None = None) -> Tensor:
        """The kernel's part of the code, given the response."""
        trust = self.trust(None if start is None else self.decoder(start))
        return _kernel_code(self.decoder, self._pair(numbers, excess, trust), start)

    def better_numbers(self, code: Tensor, numbers: Tensor, excess: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """A Gauss-Newton step on the exponent and the excess light, given the kernel, by finite differences."""
        kernel = self.decoder(code)
        light = self._blurred_light(kernel, numbers, excess)
        target, inner = self._inner(self.blurry), self._inner(self.sharp)
        weight = self._inner(self.trust(kernel))
        rest = target - self.response.picture(light, inner, numbers)
        here = self.response.tone(light, numbers)
        slopes = []
        for index in range(2):
            moved = numbers.clone()
            moved[:, index] += STEP
            there = self.response.tone(self._blurred_light(kernel, moved, excess), moved)
            slopes.append(((there - here) / STEP).flatten(1))
        jacobian = torch.stack(slopes, 2)
        weighted = jacobian * weight.flatten(1).unsqueeze(2)
        normal = weighted.mT @ jacobian
        # a few saturated pixels say nothing of how bright others may be
        few = FEW / (1 + (self.sharp >= SATURATED).sum((1, 2, 3)) / self.sharp.shape[1])
        shrink = torch.stack([torch.full_like(few, 1e-3), few], 1) * normal.diagonal(dim1=1, dim2=2) + 1e-6
        right = (weighted.mT @ rest.flatten(1).unsqueeze(2)).squeeze(2)
        right[:, 1] -= shrink[:, 1] * numbers[:, 1]
        step = torch.linalg.solve(normal + torch.diag_embed(shrink), right)
        better = numbers.clone()
        better[:, 0] = (numbers[:, 0] + step[:, 0].clamp(-0.3, 0.3)).clamp(-0.7, 1.4)
        better[:, 1] = (numbers[:, 1] + step[:, 1]).clamp(0, MOST_EXCESS)
        better = _snapped(better)
        if torch.equal(better, numbers):
            return numbers, excess
        better_excess = self.response.excess(self.sharp, better)
        again = self.response.picture(self._blurred_light(kernel, better, better_excess), inner, better)
        worse, good = ((weight * error.square()).sum((1, 2, 3)) for error in (rest, target - again))
        improved = good < worse
        better = torch.where(improved.view(-1, 1), better, numbers)
        if excess is not None and better_excess is not None:
            better_excess = torch.where(improved.view(-1, 1, 1, 1), better_excess, excess)
        return better, better_excess

    def _blurred_light(self, kernel: Tensor, numbers: Tensor, excess: Tensor | None) -> Tensor:
        return convolve_valid(self.response.light(self.sharp, numbers, excess), kernel)

    def _inner(self, picture: Tensor) -> Tensor:
        half = self.decoder.window // 2
        return picture[..., half : picture.shape[-2] - half, half : picture.shape[-1] - half]

    def _pair(self, numbers: Tensor, excess: Tensor | None, trust: Tensor) -> Blurred:
        """The pictures in light; the blurry one's saturated pixels don't count, and the others as their noise says."""
        gamma = numbers[:, 0].exp().view(-1, 1, 1, 1)
        light = self.response.light(self.sharp, numbers, excess)
        seen = self.blurry.clamp_min(DARKEST) ** gamma
        slope = self.blurry.clamp_min(DIM) ** (1 - gamma) / gamma  # of the tone curve
        weight = trust * slope.square() * (self.blurry < SATURATED)
        return Blurred.of(light, seen, self.decoder.window, weight)


def _snapped(numbers: Tensor) -> Tensor:
    """A response that is next to linear is linear."""
    linear = (numbers[:, 0].abs() < LINEAR) & (numbers[:, 1] < 0.01)
    return torch.where(linear.view(-1, 1), torch.zeros_like(numbers), numbers)


def _lowest(places: Tensor, values: Tensor) -> Tensor:
    """Where values (B, N) at places (N,) are lowest, by a parabola through the least one and its neighbours."""
    middle = values.argmin(1).clamp(1, len(places) - 2)
    at = torch.stack([middle - 1, middle, middle + 1], 1)
    x, y = places[at], values.gather(1, at)
    left, right = (y[:, 1] - y[:, 0]) / (x[:, 1] - x[:, 0]), (y[:, 2] - y[:, 1]) / (x[:, 2] - x[:, 1])
    curvature = (right - left) / (x[:, 2] - x[:, 0])
    vertex = 0.5 * (x[:, 0] + x[:, 1]) - 0.5 * left / curvature.clamp_min(1e-12)
    beyond = 0.25  # whether the least value lies further out, the steps that follow will find
    return vertex.clamp(min=x[:, 0] - beyond, max=x[:, 2] + beyond)
