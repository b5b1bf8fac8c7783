"""Try, judge, and try again from another start while the result is bad; the best attempt is kept."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deblurkit.config import AUTO
from deblurkit.core import Observation
from deblurkit.kernels import check_kernel_fits
from deblurkit.pipeline.estimate import NOISY, Estimate, estimate, radius_of
from deblurkit.pipeline.judge import Quality, judge
from deblurkit.pipeline.parts import Parts
from deblurkit.pipeline.plan import NOISY_STARTS, Plan
from deblurkit.pipeline.progress import Listener, Progress

SPARSER = 0.995
"""Share of the first candidate's l1 over l2 norm of gradients that another one must fall below to be preferred."""


@dataclass(frozen=True)
class Candidate:
    """The outcome of one attempt, on the part of the picture that the estimation looked at.

    Attributes:
        estimate: What the estimation found.
        image: The latent image (1, C, H + 2 my, W + 2 mx).
        restored: Whether that is the restoring prior's image rather than the estimation's own.
        quality: What is thought of it.
    """

    estimate: Estimate
    image: Tensor
    restored: bool
    quality: Quality


def best_attempt(
    observation: Observation, parts: Parts, plan: Plan, *, deadline: float, listener: Listener
) -> tuple[Candidate, int]:
    """Make attempts until one is good enough.

    The plan's starts are always made; up to ``run.restarts`` more while the best wants a retry.

    Args:
        observation: The part of the picture that the plan's crop shows, with all its channels, on the plan's device.
        parts: The components.
        plan: The plan.
        deadline: Monotonic time after which no further attempt is started.
        listener: Is told of every step.

    Returns:
        The best candidate, and how many attempts were made.
    """
    run = parts.config.run
    candidates: list[Candidate] = []
    made = 0
    # a restart is one that the usual starts do not try
    fresh = max(NOISY_STARTS, plan.starts)
    for attempt in [*range(plan.starts), *range(fresh, fresh + run.restarts)]:
        if made >= plan.starts and not best_of(candidates).quality.retry:
            break
        made += 1
        found = find(observation, parts, plan, attempt, deadline, listener)
        listener(Progress("judge", attempt + 1))
        best = conclude(observation, parts, plan, found)
        if attempt == 0:
            best = second_opinion(best, observation, parts, plan, deadline=deadline, listener=listener)
        candidates.append(best)
        if found.stopped in ("interrupted", "time budget") or not plan.scales or time.monotonic() > deadline:
            break
    return best_of(candidates), made


def second_opinion(
    first: Candidate, observation: Observation, parts: Parts, plan: Plan, *, deadline: float, listener: Listener
) -> Candidate:
    """The better of a first attempt and what else there is to compare it with.

    Where gradients went on from a kernel that was given, that kernel itself: they may have gone astray, and it stands
    unless they did better. Where a closed form has an alternative, and the picture is clean, that one.
    """
    found = first.estimate
    if plan.start is not None and parts.final_class is not None:
        given = conclude(observation, parts, plan, replace(found, kernel=plan.start, latent=None, blurred=None))
        return better_of(given, first)
    params = parts.config.kernel_prior.params
    other = parts.kernel_class.alternative(params) if parts.closed_kernel else None
    clean = float(found.observation.noise.mean()) < NOISY
    if other is None or not clean or parts.final_class is None or found.stopped or time.monotonic() > deadline:
        return first
    again = find(observation, parts.with_kernel(other), plan, found.attempt, deadline, listener)
    if again.stopped in ("interrupted", "time budget"):
        found.stopped = again.stopped  # and what was reached is no opinion
        return first
    return better_of(first, conclude(observation, parts, plan, again))


def better_of(first: Candidate, other: Candidate) -> Candidate:
    """The first, unless the other has a better flag, or on a clean picture clearly sparser gradients.

    On a clean picture the residual tells nothing: wrong kernels explain it too, by ringing. Ringing makes gradients
    less sparse (Krishnan, Tay and Fergus 2011). Under noise a smoother picture is sparser, and the residual decides.
    """
    noisy = float(first.estimate.observation.noise.mean()) >= NOISY
    ranks = [candidate.quality.rank for candidate in (first, other)]
    if ranks[0][0] != ranks[1][0] or noisy:
        return min(first, other, key=lambda candidate: candidate.quality.rank)
    lengths = [candidate.quality.measures.get("sparsity", math.inf) for candidate in (first, other)]
    return other if lengths[1] < SPARSER * lengths[0] else first


def best_of(candidates: list[Candidate]) -> Candidate:
    """The candidate of the best quality."""
    return min(candidates, key=lambda candidate: candidate.quality.rank)


def estimated_part(observation: Observation, plan: Plan) -> Observation:
    """The channels that the estimation looks at."""
    return observation.luma() if plan.estimated_channels < plan.channels else observation


def find(
    observation: Observation,
    parts: Parts,
    plan: Plan,
    attempt: int,
    deadline: float,
    listener: Listener,
) -> Estimate:
    """One attempt's estimate; where nothing is to be estimated, the given kernel."""
    if plan.scales:
        found = estimate(
            estimated_part(observation, plan),
            parts,
            list(plan.scales),
            automatic=plan.automatic,
            seed=parts.config.run.seed,
            attempt=attempt,
            deadline=deadline,
            listener=listener,
            start=plan.start if attempt == 0 else None,
        )
        if plan.automatic and found.kernel is not None and found.latent is not None:
            trim(found)
        return found
    problem = parts.problem(observation, (plan.kernel_size, plan.kernel_size), torch.Generator())
    kernel = problem.kernel.kernel().detach()
    check_kernel_fits(kernel, observation.size)
    return Estimate(observation, kernel=kernel)


def trim(found: Estimate) -> None:
    """Cut an automatic kernel, and the latent image with it, to the smallest centred square with an empty frame."""
    assert found.kernel is not None
    assert found.latent is not None
    side = 2 * radius_of(found.kernel) + 3
    spare = (found.kernel.shape[-1] - side) // 2
    if spare > 0:
        inner = (..., slice(spare, -spare), slice(spare, -spare))
        found.kernel, found.latent = found.kernel[inner], found.latent[inner]


def conclude(observation: Observation, parts: Parts, plan: Plan, found: Estimate) -> Candidate:
    """The image that one attempt gives, and its quality."""
    own = found.latent
    # what the image prior added to the picture, or need not explain, was not missing from it
    unseen = float(1.0 - observation.mask.mean())
    if plan.missing is not None:
        unseen = min(plan.missing + float(observation.saturated.mean()), 1.0)
    if own is not None and (plan.cropped or own.shape[1] != observation.y.shape[1]):
        own = None  # it does not show the whole picture
    restored = None
    if parts.final_class is not None and found.kernel is not None:
        margin = found.kernel.shape[-2] // 2, found.kernel.shape[-1] // 2
        restored = parts.restorer(observation, margin).restore(observation, found.kernel)
    candidates = []
    if restored is not None:
        quality = judge(observation, restored, found.kernel, unseen=unseen)
        candidates.append(Candidate(found, restored, True, quality))
    if own is not None and (restored is None or parts.config.final.name == AUTO):
        invents = parts.image.synthesises
        quality = judge(found.observation, own, found.kernel, found.blurred, unseen=unseen, synthesised=invents)
        candidates.append(Candidate(found, own, False, quality))
    # the first of equals: a restored image is usually the better one
    return min(candidates, key=lambda candidate: candidate.quality.rank[0])
