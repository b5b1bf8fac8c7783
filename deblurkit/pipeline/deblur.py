"""One picture through the house: plan, estimate, restore, judge."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deblurkit.config import AUTO, Config, resolve
from deblurkit.core import Observation
from deblurkit.core.image_prior import inner
from deblurkit.devices import choose_device, set_threads
from deblurkit.errors import RunError
from deblurkit.metrics import align
from deblurkit.noise import estimate_noise
from deblurkit.ops.deconvolve import WHITE
from deblurkit.ops.simplex import effective_size
from deblurkit.pipeline.attempts import Candidate, best_attempt
from deblurkit.pipeline.estimate import Estimate
from deblurkit.pipeline.judge import Quality
from deblurkit.pipeline.parts import Parts
from deblurkit.pipeline.plan import Plan, make_plan
from deblurkit.pipeline.progress import Listener, Progress, silent
from deblurkit.pipeline.restore import restore_frame
from deblurkit.registry import Registry, registry

NETWORK_FEATURES = 32
"""Feature maps that a network is taken to have, when the threads are chosen."""
SMALLEST_ALIGNED = 48
"""Pictures whose smaller side is below this many pixels have nothing left once the alignment has cut its border."""
KERNEL_MASS = 0.99
WINDOW_SLACK = 2
"""A window found by another recipe holds this share of its kernel's mass, and so many pixels more on every side."""


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        image: The deblurred picture (1, C, H, W) in [0, 1], on the CPU.
        kernel: The kernel (1, 1, h, w) on the CPU, or ``None`` where the kernel prior shows none.
        quality: What is thought of it.
        plan: What was done.
        restored: Whether the image is the last step's; else it is the estimation's own.
        kept_start: Whether the kernel is still the one that another recipe found to start from, as what the estimation
            made of it was no better.
        history: Points of the loss curve of the attempt that was kept.
        attempts: How many attempts were made.
        stopped: Why the estimation ended early (``interrupted``, ``time budget``, ``diverged``), or empty.
        seconds: Wall time by stage: ``estimate``, ``restore``, ``total``.
        synthesised: Whether the image may show what was never in front of the camera; its ``quality.measures`` then
            have ``plain_psnr``, how far it is from a plain restoration that invents nothing (in dB, aligned).
        reframed: Whether the image prior brought the picture into another frame than that of ``y``.
    """

    image: Tensor
    kernel: Tensor | None
    quality: Quality
    plan: Plan
    restored: bool
    kept_start: bool
    history: list[dict[str, float]]
    attempts: int
    stopped: str
    seconds: dict[str, float]
    synthesised: bool = False
    reframed: bool = False


def deblur(
    y: Tensor,
    config: Config,
    *,
    valid: Tensor | None = None,
    components: Registry | None = None,
    listener: Listener = silent,
) -> Result:
    """Deblur one picture.

    Args:
        y: The blurry picture (1, C, H, W) in [0, 1], C = 1 or 3; one kernel is found for all channels.
        config: What to do it with.
        valid: (1, 1, H, W), 1 where a pixel was observed, 0 where it is missing; ``None`` for all observed.
        components: The components there are; those of this process by default.
        listener: Is told of every step.

    Returns:
        The result; it has the size of ``y`` unless the image prior brings pictures to one of its own. A first Ctrl-C
        ends the estimation and gives the result that was reached; a second one raises.

    Raises:
        ValueError: If ``y`` is not one grey or RGB picture, or ``valid`` has another size.
        RunError: If the picture is too small, or the image prior cannot take it.
        UsageError: If the device is absent.
        PluginError: If a component cannot be imported.
    """
    if y.ndim != 4 or y.shape[0] != 1 or y.shape[1] not in (1, 3) or not y.is_floating_point():
        raise ValueError(f"y: needs one picture (1, 1 or 3, H, W) of floating point, got {tuple(y.shape)} {y.dtype}")
    if valid is not None and valid.shape != (1, 1, *y.shape[-2:]):
        raise ValueError(f"valid: needs (1, 1, H, W) to fit {tuple(y.shape)}, got {tuple(valid.shape)}")
    started = time.monotonic()
    deadline = started + (config.run.time_budget or math.inf)
    components = components or registry()
    parts = Parts.load(config, components)
    frame = observe(*admitted(y, valid, parts))
    reframed = not torch.equal(frame.y, y)
    plan = prepare(frame, parts, components, listener, deadline=deadline)
    if reframed:
        plan = replace(plan, missing=0.0 if valid is None else float(1.0 - valid.mean()))
    frame = frame.to(plan.device)
    best, attempts = best_attempt(frame.crop(*plan.crop), parts, plan, deadline=deadline, listener=listener)
    estimated = time.monotonic()
    image = finish(frame, parts, plan, best, listener).clamp(0.0, 1.0)
    synthesised = parts.image.synthesises and not best.restored
    if synthesised:
        best.quality.measures.update(plain_psnr(frame, image, parts, components, best.estimate, listener, deadline))
    ended = time.monotonic()
    kernel = best.estimate.kernel
    return Result(
        image=image.cpu(),
        kernel=None if kernel is None else kernel.cpu(),
        quality=best.quality,
        plan=plan,
        restored=best.restored,
        kept_start=kernel is not None and kernel is plan.start,
        history=best.estimate.history,
        attempts=attempts,
        stopped=best.estimate.stopped,
        seconds={"estimate": estimated - started, "restore": ended - estimated, "total": ended - started},
        synthesised=synthesised,
        reframed=reframed,
    )


def admitted(y: Tensor, valid: Tensor | None, parts: Parts) -> tuple[Tensor, Tensor]:
    """The picture, and where it was observed, as the image prior takes it.

    Raises:
        RunError: If it cannot.
    """
    valid = torch.ones_like(y[:, :1]) if valid is None else valid
    y, valid = parts.image_class.admit(parts.config.image_prior.params, y, valid)
    return y, valid


def plain_psnr(
    frame: Observation,
    image: Tensor,
    parts: Parts,
    components: Registry,
    found: Estimate,
    listener: Listener,
    deadline: float,
) -> dict[str, float]:
    """PSNR, after alignment, of a synthesised image and of what plain deconvolution makes of the same picture.

    The kernel is the one that was found; where none is shown, that of the recipe ``run.size_recipe``. Empty where the
    picture is too small to be aligned, or the estimation ended early, or Ctrl-C ends that recipe: the result is there.
    """
    if found.stopped or min(frame.size) < SMALLEST_ALIGNED or time.monotonic() > deadline:
        return {}
    kernel = found.kernel
    if kernel is None:
        try:
            kernel = scout(frame, parts, components, listener, deadline, stage="compare").to(frame.y)
        except (RunError, KeyboardInterrupt):
            return {}
    name = components.default_restorer()
    restorer = components.load("image_prior", name)
    margin = kernel.shape[-2] // 2, kernel.shape[-1] // 2
    params = components.spec("image_prior", name).params()
    prior = restorer(params, frame, margin=margin, generator=torch.Generator())
    plain = inner(prior.restore(frame, kernel), frame.size).clamp(0.0, 1.0)
    return {"plain_psnr": align(image.cpu(), plain.cpu()).psnr}


def observe(y: Tensor, valid: Tensor | None = None) -> Observation:
    """Wrap a picture, with its noise level estimated and its saturated or missing pixels masked."""
    valid = torch.ones_like(y[:, :1]) if valid is None else valid
    saturated = (y.amax(1, keepdim=True) >= WHITE).to(y.dtype) * valid
    return Observation(y, valid - saturated, saturated, estimate_noise(y))


def prepare(
    frame: Observation,
    parts: Parts,
    components: Registry,
    listener: Listener = silent,
    *,
    scouting: bool = True,
    deadline: float = math.inf,
) -> Plan:
    """Decide what will be done to a picture.

    Where the kernel size, or a kernel to start from, is wanted and the parts cannot find it, the recipe
    ``run.size_recipe`` finds it first; without ``scouting`` the plan names that recipe instead.

    Raises:
        RunError: If the picture is too small.
        UsageError: If the device is absent.
    """
    run = parts.config.run
    # networks hold many feature maps of the picture's size, closed forms little more than the picture
    features = frame.y.numel() if parts.closed_kernel or parts.fixed_kernel else NETWORK_FEATURES * frame.y.numel()
    device = choose_device(run.device)
    automatic = run.kernel_size == AUTO and not parts.fixed_kernel
    size = run.largest_kernel if run.kernel_size == AUTO else int(run.kernel_size)
    sized_by_other = automatic and parts.shows_kernel and not parts.closed_kernel
    asks = sized_by_other or parts.takes_start
    start = scout(frame, parts, components, listener, deadline) if asks and scouting else None
    if start is not None and sized_by_other:
        size = needed_window(start, size)
    threads = set_threads(run.threads, features)  # the scout has chosen its own
    return make_plan(
        frame.y,
        parts,
        kernel_size=size,
        automatic=automatic and start is None,
        noise=float(frame.noise.mean()),
        device=device,
        threads=threads,
        size_recipe=run.size_recipe if asks and not scouting else "",
        start=start if parts.takes_start else None,
    )


def scout(
    frame: Observation,
    parts: Parts,
    components: Registry,
    listener: Listener,
    deadline: float,
    *,
    stage: str = "size",
) -> Tensor:
    """The kernel (1, 1, h, w) that another recipe finds; the listener is told of that stage alone.

    Raises:
        KeyboardInterrupt: If Ctrl-C ends it.
    """
    run = parts.config.run
    listener(Progress(stage))
    kept = ("kernel_size", "device", "threads", "seed", "largest_kernel", "crop")
    flags = {f"run.{name}": getattr(run, name) for name in kept}
    other = Parts.load(resolve(flags, registry=components, recipe=run.size_recipe), components)
    plan = prepare(frame, other, components)
    crop = frame.to(plan.device).crop(*plan.crop)
    best, _ = best_attempt(crop, other, plan, deadline=deadline, listener=lambda _: listener(Progress(stage)))
    if best.estimate.stopped == "interrupted":
        raise KeyboardInterrupt  # there is nothing of it to keep
    assert best.estimate.kernel is not None
    return best.estimate.kernel


def needed_window(kernel: Tensor, largest: int) -> int:
    """The kernel window, odd, that a kernel which another recipe found suggests; at most the largest."""
    return min(int(effective_size(kernel, fraction=KERNEL_MASS)[0]) + 2 * WINDOW_SLACK, largest)


def finish(frame: Observation, parts: Parts, plan: Plan, best: Candidate, listener: Listener) -> Tensor:
    """The picture (1, C, H, W): the candidate's own image where it saw everything, else the full frame restored."""
    if plan.cropped:
        assert best.estimate.kernel is not None
        return restore_frame(frame, parts, best.estimate.kernel, listener)
    return inner(best.image, frame.size)
