"""Image and kernel take turns: by closed forms where a part offers one, by inner Adam steps where it does not.

With closed forms this is classical MAP estimation; with Adam steps it is algorithm 1 of Tran et al., CVPR 2021,
and the alternating variant of SelfDeblur (Ren et al., CVPR 2020, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from deblurkit.core import Optimizer, Problem, Step
from deblurkit.core.image_prior import ROUGH
from deblurkit.ops.simplex import short_line
from deblurkit.optimizers.marginal import marginal_kernels
from deblurkit.optimizers.plugin import AlternatingParams
from deblurkit.optimizers.schedule import Schedule, scheduled
from deblurkit.specs import Offer


class Alternating(Optimizer[AlternatingParams]):
    """Rounds of one image update, then one kernel update."""

    def steps(self, problem: Problem) -> Iterator[Step]:
        """Yield before every inner Adam step; where no part takes any, after every round.

        The data term counts the inner steps of both parts, the learning rates those of their own part alone.
        """
        p = self.params
        closed = Offer.RESTORE in problem.ways.image and Offer.ESTIMATE in problem.ways.kernel
        if closed and problem.scale == 0 and min(problem.kernel.size) >= 3:
            line = short_line(problem.kernel.size, problem.observation.y)
            problem.kernel.fit(line.expand(problem.kernel.batch, -1, -1, -1))
        if p.marginal and closed and problem.scale < problem.scales - p.restored_scales:
            yield from integrate_out(problem, p.marginal_iterations)
            return
        turns = [
            *([Turn(problem, "image", p)] if moves(problem.ways.image) else []),
            *([Turn(problem, "kernel", p)] if moves(problem.ways.kernel) else []),
        ]
        total = p.iterations * max(1, sum(turn.count for turn in turns))
        index = 0
        for round_ in range(p.iterations):
            progress = ROUGH * round_ / p.iterations
            if Offer.RESTORE in problem.ways.image:
                with torch.no_grad():
                    x = problem.image.restore(problem.observation, problem.kernel.kernel(), progress=progress)
                problem.image.fit(x)
            for turn in turns:
                if turn.side == "kernel" and p.renew_kernel:
                    problem.kernel.renew()
                    turn = Turn(problem, "kernel", p)
                for loss, terms, x in turn.take(round_, index):
                    yield Step(index, total, loss, x, terms, problem.data.phase(index))
                    index += 1
            if Offer.ESTIMATE in problem.ways.kernel:
                with torch.no_grad():
                    x = problem.image()
                    problem.kernel.estimate(x, problem.observation, progress=progress)
            if not turns:
                with torch.no_grad():
                    x = problem.image()
                    loss, terms = problem.loss(x, round_)
                yield Step(round_, total, loss, x, terms, problem.data.phase(round_))

    @classmethod
    def restarted(cls, params: AlternatingParams, attempt: int) -> AlternatingParams:
        """The second of four attempts treats the coarse scales the other way: each way has pictures that mislead it."""
        return replace(params, marginal=not params.marginal) if attempt % 4 == 1 else params


def integrate_out(problem: Problem, rounds: int) -> Iterator[Step]:
    """Rounds that move the kernel alone; their image is the one the prior proposes, their loss the noise variance."""
    with torch.no_grad():
        x = problem.image()
        start = problem.kernel.kernel()
    for index, (kernel, noise) in enumerate(marginal_kernels(problem.observation, start, rounds)):
        problem.kernel.fit(kernel)
        yield Step(index, rounds, noise.sum(), x, {"data": noise.sum()})


def moves(way: frozenset[str]) -> bool:
    """Whether a part is moved by gradients."""
    return Offer.PARAMETERS in way


class Turn:
    """The inner Adam steps of one part while the other stays; the moments carry over from round to round.

    Attributes:
        side: ``image`` or ``kernel``.
        count: Steps a round.
    """

    def __init__(self, problem: Problem, side: Literal["image", "kernel"], params: AlternatingParams) -> None:
        self.problem, self.side, self.params = problem, side, params
        image = side == "image"
        self.count = params.image_steps if image else params.kernel_steps
        self.rate = params.image_lr if image else params.kernel_lr
        self.parameters = list((problem.image if image else problem.kernel).parameters())
        self.adam = torch.optim.Adam(self.parameters, lr=self.rate)

    def take(self, round_: int, done: int) -> Iterator[tuple[Tensor, dict[str, Tensor], Tensor]]:
        """Do the steps of a round; yield the loss before each of them, its terms, and the image, all detached.

        Args:
            round_: Number of the round, from 0.
            done: Inner steps that were done so far, of both parts.
        """
        image = self.problem.image
        with torch.no_grad():
            x = image()
        for step in range(self.count):
            self.adam.param_groups[0]["lr"] = self.rate_at(round_ * self.count + step)
            if self.side == "image":
                x = image()
            loss, terms = self.problem.loss(x, done + step)
            for parameter, gradient in zip(
                self.parameters, torch.autograd.grad(loss, self.parameters, allow_unused=True), strict=True
            ):
                parameter.grad = gradient
            yield loss.detach(), {name: term.detach() for name, term in terms.items()}, x.detach()
            self.adam.step()
            if self.side == "image":
                image.project()

    def rate_at(self, step: int) -> float:
        """The learning rate of a step of this part, counted over all rounds."""
        p = self.params
        schedule: Schedule = p.image_schedule if self.side == "image" else "milestones"
        return scheduled(self.rate, step, p.iterations * self.count, schedule, p.milestones, p.decay)
