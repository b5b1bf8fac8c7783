"""What a run will take, in memory and time, found out in a second or two instead of by running it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from deblurkit.core import Observation, Problem
from deblurkit.pipeline.parts import Parts
from deblurkit.pipeline.plan import Plan
from deblurkit.pipeline.restore import spans
from deblurkit.specs import Offer

BASE = 300_000_000
"""Bytes of Python with its libraries, before the first picture."""
FRAME_COPIES = 6
"""Float32 copies of the whole picture that reading, restoring and writing hold at once."""
WORK_COPIES = 42
"""Float32 arrays of the size of a tile, padded for the FFT, that a closed form holds at once."""
ESTIMATE_PAIRS = 3000
RESTORE_PAIRS = 300
"""Cost of a blind estimation, and of a restoration, in FFT pairs of the size of what they look at (measured)."""
PROBE_SIDE = 96
"""Side of the piece of the picture on which a step is tried, in pixels."""
PROBE_SECONDS = 5.0
"""After this long a trial is given up, and the time is unknown."""
STATES = 4
"""A trained value takes four places: itself, its gradient, and Adam's two moments."""


@dataclass(frozen=True)
class Cost:
    """What a run is expected to take.

    Attributes:
        memory: Bytes at most, roughly; on an accelerator, without what Python itself takes.
        seconds: Wall time, roughly, if the machine stays as busy as it is; ``None`` where it cannot be told.
    """

    memory: int
    seconds: float | None


@dataclass
class Watch:
    """What was seen of a trial.

    Attributes:
        times: Time of every evaluation of the objective.
        saved: Bytes kept for the gradient since the last one.
        most: The most that was kept for one.
    """

    times: list[float] = field(default_factory=list)
    saved: int = 0
    most: int = 0

    def pack(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is kept for the gradient."""
        self.saved += tensor.numel() * tensor.element_size()
        return tensor


class Enough(Exception):
    """Ends a trial that takes too long."""


@dataclass(frozen=True)
class WatchedProblem(Problem):
    """A problem that notes when its objective is evaluated.

    Attributes:
        watch: The notes.
    """

    watch: Watch = field(default_factory=Watch)

    def loss(
        self, x: Tensor, step: int, *, image_weight: float = 1.0, kernel_weight: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective, noted."""
        value = super().loss(x, step, image_weight=image_weight, kernel_weight=kernel_weight)
        self.watch.most, self.watch.saved = max(self.watch.most, self.watch.saved), 0
        self.watch.times.append(time.monotonic())
        if len(self.watch.times) > 2 and self.watch.times[-1] - self.watch.times[0] > PROBE_SECONDS:
            raise Enough
        return value


def expect(frame: Observation, parts: Parts, plan: Plan) -> Cost:
    """Estimate memory and time of a run.

    Closed forms are counted in FFT pairs, of which one is timed; for gradient optimizers two steps are tried on a small
    piece of the picture.

    Args:
        frame: The picture.
        parts: The components.
        plan: What will be done.
    """
    memory = BASE + FRAME_COPIES * 4 * frame.y.numel()
    seconds: float | None = 0.0
    work = 0
    closed = not plan.scales or plan.size_recipe or not moves(parts)
    if plan.scales and closed:
        work = plan.estimated_channels * padded(plan.crop[2:], plan.kernel_size)
        seconds = ESTIMATE_PAIRS * pair_seconds(plan.crop[2:], plan) * plan.starts
    if plan.scales and moves(parts):
        trained, steps = trial(frame, parts, plan)
        memory += trained
        seconds = None if steps is None or seconds is None else seconds + steps
    if parts.final_class is not None and (plan.cropped or not moves(parts)):
        rows, columns = (spans(side, plan.kernel_size) for side in plan.size)
        tile = rows[0].stop - rows[0].start, columns[0].stop - columns[0].start
        work = max(work, plan.channels * padded(tile, plan.kernel_size))
        once = RESTORE_PAIRS * plan.channels * pair_seconds(tile, plan)
        seconds = None if seconds is None else seconds + once * len(rows) * len(columns)
    return Cost(memory + WORK_COPIES * 4 * work, seconds)


def moves(parts: Parts) -> bool:
    """Whether gradients move the image or the kernel."""
    return Offer.PARAMETERS in parts.ways.image or Offer.PARAMETERS in parts.ways.kernel


def padded(size: tuple[int, ...], kernel_size: int) -> int:
    """Pixels of a latent image, padded for the FFT."""
    height, width = (next_fast_len(side + 2 * kernel_size, real=True) for side in size)
    return height * width


def pair_seconds(size: tuple[int, ...], plan: Plan) -> float:
    """Time of one rfft2 and irfft2 of that size, where the run will be."""
    shape = [next_fast_len(side + 2 * plan.kernel_size, real=True) for side in size]
    x = torch.zeros(shape, device=plan.device)
    times = []
    for _ in range(4):
        started = time.monotonic()
        x = torch.fft.irfft2(torch.fft.rfft2(x), s=shape)
        float(x[0, 0])  # an accelerator works on its own until it is asked
        times.append(time.monotonic() - started)
    return sorted(times)[1]


def trial(frame: Observation, parts: Parts, plan: Plan) -> tuple[int, float | None]:
    """Bytes and seconds of a gradient optimizer, from steps on a piece of the picture."""
    crop = frame.crop(*plan.crop)
    height, width = crop.size if parts.image.whole else (min(side, PROBE_SIDE) for side in crop.size)
    piece = crop.crop((crop.size[0] - height) // 2, (crop.size[1] - width) // 2, height, width).to(plan.device)
    piece = piece.luma() if plan.estimated_channels < plan.channels else piece
    made = parts.problem(piece, (plan.kernel_size, plan.kernel_size), torch.Generator().manual_seed(0))
    problem = WatchedProblem(**vars(made))
    done, total = try_steps(problem, parts)
    values = sum(p.numel() for part in (problem.image, problem.kernel) for p in part.parameters())
    latent = [side + 2 * margin for side, margin in zip(crop.size, problem.kernel.margin, strict=True)]
    area = latent[0] * latent[1] / (problem.image.latent_shape[-2] * problem.image.latent_shape[-1])
    # backward makes a gradient of about what forward kept
    memory = STATES * 4 * values + int(1.2 * problem.watch.most * area)
    times = problem.watch.times
    if not done or len(times) < 2:
        return memory, None
    each = (times[-1] - times[0]) / (len(times) - 1)
    scales = sum(scale.factor**2 for scale in plan.scales) * plan.starts
    return memory, each * area * scales * total * len(times) / done


def try_steps(problem: WatchedProblem, parts: Parts) -> tuple[int, int]:
    """Try two steps, or one that takes long; how many were done, and how many there would be."""
    done = total = 0
    steps: Any = parts.optimizer().steps(problem)
    try:
        with torch.autograd.graph.saved_tensors_hooks(problem.watch.pack, lambda kept: kept):
            for step in steps:
                done, total = done + 1, step.total
                if done == 2 or len(problem.watch.times) > 2:
                    break
    except Enough:
        pass
    return done, total
