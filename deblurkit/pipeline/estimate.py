"""Blind estimation, coarse to fine: the kernel is resampled from scale to scale, the image is the warm start."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from deblurkit.core import Observation, Problem, Step
from deblurkit.core.image_prior import ROUGH, extend
from deblurkit.ops.resample import crop_kernel, enlarge_strided, resample_image, resample_kernel
from deblurkit.ops.simplex import recentre
from deblurkit.pipeline.parts import Parts
from deblurkit.pipeline.progress import Listener, Progress

SMALLEST_WINDOW = 5
"""Kernel window at the coarsest scale, in pixels: small enough that a start without any guess finds it."""
SMALLEST_SIDE = 32
"""No scale's picture is smaller than this."""
NOISY = 0.004
"""Noise level from which the last rounds do harm: their images hold noise that a kernel of dots explains."""
POLISH_GROWTH = 2
"""Pixels by which an automatic window may grow on every side in the last rounds."""
HISTORY = 200
"""About how many points of the loss curve are kept for every scale: reading a loss is not free on an accelerator."""


@dataclass(frozen=True)
class Scale:
    """One level of the pyramid.

    Attributes:
        factor: Size of its picture over the full one, in (0, 1].
        limit: Largest kernel window there, odd.
    """

    factor: float
    limit: int


@dataclass
class Estimate:
    """What an estimation found.

    Attributes:
        observation: What was looked at: possibly a crop, possibly one channel.
        attempt: Number of the attempt, from 0.
        latent: Latent image (1, C, H + 2 my, W + 2 mx); ``None`` if it was stopped before the finest scale.
        kernel: Convolution kernel (1, 1, h, w) at full size, or ``None`` where the prior shows none.
        blurred: B(x; k) at the finest scale (1, C, H, W), or ``None``.
        history: Points of the loss curve: ``scale``, ``step``, ``loss`` and its terms.
        steps: Steps done over all scales.
        stopped: Why it ended early: ``interrupted``, ``time budget``, ``diverged``, or empty.
    """

    observation: Observation
    attempt: int = 0
    latent: Tensor | None = None
    kernel: Tensor | None = None
    blurred: Tensor | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    stopped: str = ""


def pyramid(limit: int, ratio: float, count: int, size: tuple[int, int]) -> list[Scale]:
    """The scales, coarse to fine; the last one is the full size.

    Args:
        limit: Largest kernel window at full size, odd.
        ratio: Ratio of neighbouring scales.
        count: How many; 0 chooses so that the largest window is about ``SMALLEST_WINDOW`` at the coarsest.
        size: Height and width of the picture.
    """
    if count == 0:
        count = 1 + max(0, math.ceil(math.log(limit / SMALLEST_WINDOW) / math.log(ratio)))
    factors = [ratio**-index for index in range(count) if index == 0 or min(size) * ratio**-index >= SMALLEST_SIDE]
    return [Scale(factor, odd(limit // 2 * factor)) for factor in reversed(factors)]


def odd(radius: float) -> int:
    """The odd window of at least that radius, and of at least 3 pixels."""
    return 2 * max(1, math.ceil(radius)) + 1


def estimate(
    observation: Observation,
    parts: Parts,
    scales: list[Scale],
    *,
    automatic: bool,
    seed: int,
    attempt: int,
    deadline: float,
    listener: Listener,
    start: Tensor | None = None,
) -> Estimate:
    """Run the optimizer at every scale, coarse to fine.

    Args:
        observation: The picture, a batch of one.
        parts: The components.
        scales: The pyramid.
        automatic: Whether the kernel window follows the kernel that was found, up to each scale's limit.
        seed: Seed of all randomness.
        attempt: Number of the attempt, from 0.
        deadline: Monotonic time after which it stops with what it has.
        listener: Is told of every step.
        start: Kernel (1, 1, h, w) at full size to start from, or ``None``.

    Returns:
        The estimate. Ctrl-C ends it early instead of raising; what was reached is kept.
    """
    found = Estimate(observation, attempt)
    generator = torch.Generator().manual_seed(seed + attempt)
    latent: Tensor | None = None
    problem: Problem | None = None
    stride = parts.config.run.decimation == "stride"
    for index, scale in enumerate(scales):
        ratio = scale.factor / scales[index - 1].factor if index else 1.0
        coarser = problem
        problem = parts.problem(
            at_scale(observation, scale.factor, stride=stride),
            window(scale, found.kernel, ratio, automatic),
            generator,
            scale=index,
            scales=len(scales),
            attempt=attempt,
        )
        if index or start is None:
            problem = warm_start(problem, parts, found.kernel, latent, ratio, coarser, stride=stride)
        else:
            warm_start(problem, parts, start, None, scale.factor)
        del coarser  # the problem holds it where it is wanted
        if index == 0 and parts.config.run.start == "blurry" and parts.fits_image:
            problem.image.fit(extend(problem.observation.start, problem.kernel.margin))
        told = Progress("estimate", attempt + 1, index + 1, len(scales))
        latent = minimise(problem, parts, found, told, deadline, listener)
        with torch.no_grad():
            if parts.shows_kernel:
                found.kernel = problem.kernel.kernel()
            if scale is scales[-1]:
                found.observation = problem.observation
                found.latent, found.blurred = latent, problem.kernel.blur(latent)
        if found.stopped:
            if found.kernel is not None and scale is not scales[-1]:
                found.kernel = resample_kernel(found.kernel, 1 / scale.factor, (scales[-1].limit,) * 2)
                if parts.final_class is None:  # nothing else makes an image of that kernel
                    margin = scales[-1].limit // 2, scales[-1].limit // 2
                    height, width = (side + scales[-1].limit - 1 for side in observation.size)
                    found.latent = resample_image(latent, (height, width))
                    if stride:
                        step = round(1 / scale.factor)
                        found.latent = enlarge_strided(latent, (height, width), step, problem.kernel.margin, margin)
            break
    if parts.closed_kernel and parts.many_scales and parts.final_class is not None and not found.stopped:
        try:
            polish(found, parts, scales[-1], automatic, deadline, listener)
        except KeyboardInterrupt:
            found.stopped = "interrupted"
    return found


def minimise(
    problem: Problem, parts: Parts, found: Estimate, told: Progress, deadline: float, listener: Listener
) -> Tensor:
    """Go through the optimizer's steps at one scale, then through the image prior's own last phase.

    The history, and why it stopped, are noted in ``found``; the priors are left in the state that counts.

    Returns:
        The latent image of that state: of the last step whose loss was finite, or of the least loss; or what the last
        phase made of it.
    """
    with torch.no_grad():
        image = problem.image()
    done = 0
    best = Best() if parts.keeps_best else None
    try:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=parts.config.run.precision == "bfloat16"):
            for step in parts.optimizer(found.attempt).steps(problem):
                found.steps += 1
                listener(replace(told, done=step.index + 1, total=step.total, loss=step.loss, latent=step.image))
                if step.index % max(1, step.total // HISTORY) == 0 or step.index == step.total - 1:
                    loss = float(step.loss)
                    if not math.isfinite(loss):
                        found.stopped = "diverged"
                        break
                    terms = {name: float(term) for name, term in step.terms.items()}
                    found.history.append({"scale": told.scale, "step": step.index, "loss": loss, **terms})
                image, done = step.image, step.index + 1
                if best is not None:
                    best.consider(step, problem)
                if time.monotonic() > deadline:
                    found.stopped = "time budget"
                    break
            if best is not None and best.image is not None:
                image = best.restore(problem)
            if not found.stopped:
                image = refined(problem, image, done, found, told, deadline, listener)
    except KeyboardInterrupt:
        found.stopped = "interrupted"
        if best is not None and best.image is not None:
            image = best.restore(problem)
    return image


def refined(
    problem: Problem, image: Tensor, done: int, found: Estimate, told: Progress, deadline: float, listener: Listener
) -> Tensor:
    """Let the image prior go through a last phase of its own, after ``done`` steps at this scale.

    Ctrl-C ends it as the time budget does: what was reached is kept, and why it stopped is noted.

    Returns:
        The prior's image after it, or the given one if there was no update, or one that diverged.
    """
    before = found.steps
    phase = problem.image.refine(lambda x: problem.loss(x, done)[0])
    try:
        for index, value in enumerate(phase):
            loss = float(value)
            if not math.isfinite(loss):
                found.stopped = "diverged"
                return image
            found.steps += 1
            found.history.append({"scale": told.scale, "step": done + index, "loss": loss})
            listener(replace(told, stage="refine", done=index + 1, total=index + 1, loss=value))
            if time.monotonic() > deadline:
                found.stopped = "time budget"
                break
    except KeyboardInterrupt:
        found.stopped = "interrupted"
    if found.steps == before:
        return image
    with torch.no_grad():
        return problem.image()


@dataclass
class Best:
    """The state of least loss so far.

    Attributes:
        image: Its latent image, or ``None`` before there is one.
        loss: Its loss.
        states: The state of image prior and kernel prior, copied.
        phase: The phase of the objective that its loss belongs to; losses of earlier ones do not count.
    """

    image: Tensor | None = None
    loss: float = math.inf
    states: tuple[dict[str, Any], ...] = ()
    phase: int = 0

    def consider(self, step: Step, problem: Problem) -> None:
        """Remember a step if its loss is the least of the latest phase."""
        loss = float(step.loss)
        later = step.phase > self.phase and math.isfinite(loss)
        if later or (step.phase == self.phase and loss < self.loss):
            self.image, self.loss, self.phase = step.image, loss, step.phase
            self.states = tuple(copy.deepcopy(part.state_dict()) for part in (problem.image, problem.kernel))

    def restore(self, problem: Problem) -> Tensor:
        """Bring the priors of a problem back to that state; its image."""
        for part, state in zip((problem.image, problem.kernel), self.states, strict=True):
            part.load_state_dict(state)
        assert self.image is not None
        return self.image


@torch.no_grad()
def polish(found: Estimate, parts: Parts, scale: Scale, automatic: bool, deadline: float, listener: Listener) -> None:
    """Improve a closed-form kernel with the images of the last step, which are more faithful than a cartoon.

    The kernel stays where it is meanwhile, so that the image can go on from round to round; it is recentred at the end.
    """
    assert found.kernel is not None
    rounds = parts.config.run.polish if float(found.observation.noise.mean()) < NOISY else 0
    if rounds == 0:
        return
    side = min(scale.limit, 2 * radius_of(found.kernel) + 1 + 2 * POLISH_GROWTH) if automatic else scale.limit
    problem = parts.problem(found.observation, (side, side), torch.Generator())
    problem.kernel.fit(crop_kernel(found.kernel, problem.kernel.size))
    restorer = parts.restorer(found.observation, problem.kernel.margin)
    for index in range(rounds):
        x = restorer.restore(found.observation, problem.kernel.kernel(), progress=ROUGH + (1 - ROUGH) * index / rounds)
        problem.kernel.estimate(x, found.observation, progress=1.0)
        # kept after every round, in case there is no next one
        found.kernel, found.latent, found.blurred = recentre(problem.kernel.kernel()), x, None
        listener(Progress("polish", found.attempt + 1, done=index + 1, total=rounds))
        if time.monotonic() > deadline:
            found.stopped = "time budget"
            break


def at_scale(observation: Observation, factor: float, *, stride: bool = False) -> Observation:
    """The observation shrunk by ``factor``; pixels are believed where everything that went into them was.

    Averaging lowers the noise: n independent pixels in one have sqrt(n) times less. With ``stride`` it is every n-th
    pixel as it is, n = 1 / factor: detail aliases, and the noise stays.
    """
    if factor == 1.0:
        return observation
    if stride:
        place = (..., slice(None, None, round(1 / factor)), slice(None, None, round(1 / factor)))
        fields = (observation.y[place], observation.mask[place], observation.saturated[place])
        return Observation(*fields, observation.noise)
    height, width = (max(8, round(side * factor)) for side in observation.size)
    y = resample_image(observation.y, (height, width))
    mask = (resample_image(observation.mask, (height, width)) > 0.99).to(y.dtype)
    saturated = (resample_image(observation.saturated, (height, width)) > 0.01).to(y.dtype)
    return Observation(y, mask, saturated, observation.noise * factor)


def window(scale: Scale, kernel: Tensor | None, ratio: float, automatic: bool) -> tuple[int, int]:
    """The kernel window of a scale: what the kernel of the scale before needs, and a pixel to grow on every side."""
    if kernel is None or not automatic:
        return scale.limit, scale.limit
    side = min(scale.limit, odd(radius_of(kernel) * ratio + 1))
    return side, side


def radius_of(kernel: Tensor) -> int:
    """Largest distance in rows or columns of a value above 0 from the centre of (1, 1, h, w), or 0."""
    places = torch.nonzero(kernel[0, 0] > 0) - torch.tensor(kernel.shape[-2:], device=kernel.device) // 2
    return int(places.abs().max()) if len(places) else 0


def warm_start(
    problem: Problem,
    parts: Parts,
    kernel: Tensor | None,
    latent: Tensor | None,
    ratio: float,
    coarser: Problem | None = None,
    *,
    stride: bool = False,
) -> Problem:
    """Hand what was found at the scale before to the new priors, as far as they can be started.

    A prior that can takes over from its coarser self; another one is fitted to the resampled kernel or image.

    Returns:
        The problem, which knows the coarser one where both priors took over.
    """
    image_taken = kernel_taken = False
    if coarser is not None:
        sides = zip(problem.observation.size, coarser.observation.size, strict=True)
        rows, columns = (ratio, ratio) if stride else (fine / coarse for fine, coarse in sides)
        # averaging keeps the corners of the picture in place, a stride the centre of the first pixel
        offset = (0.0, 0.0) if stride else ((rows - 1) / 2, (columns - 1) / 2)
        kernel_taken = problem.kernel.take_over(coarser.kernel, ratio=ratio)
        image_taken = problem.image.take_over(coarser.image, ratio=(rows, columns), offset=offset)
    if kernel is not None and parts.many_scales and not kernel_taken:
        problem.kernel.fit(resample_kernel(kernel, ratio, problem.kernel.size))
    if latent is not None and parts.fits_image and not image_taken:
        height, width = problem.image.latent_shape[-2:]
        if stride and coarser is not None:
            margins = coarser.kernel.margin, problem.kernel.margin
            problem.image.fit(enlarge_strided(latent, (height, width), round(ratio), *margins))
        else:
            problem.image.fit(resample_image(latent, (height, width)))
    if coarser is None or not (image_taken and kernel_taken):
        return problem
    return replace(problem, coarser=replace(coarser, coarser=None), stride=round(ratio) if stride else 0)
