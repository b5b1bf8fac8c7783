"""Image and kernel take turns: by closed forms where a part offers one, by inner Adam steps where it does not.

With closed forms this is classical MAP estimation; with Adam steps it is algorithm 1 of Tran et al., CVPR 2021,
and the alternating variant of SelfDeblur (Ren et al., CVPR 2020, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from deblurkit.core import Optimizer, Problem, Step
from deblurkit.core.image_prior import ROUGH
from deblurkit.ops.simplex import short_line
from deblurkit.optimizers.marginal import marginal_kernels
from deblurkit.optimizers.plugin import AlternatingParams
from deblurkit.optimizers.schedule import decayed
from deblurkit.specs import Offer


class Alternating(Optimizer[AlternatingParams]):
    """Rounds of one image update, then one kernel update."""

    def steps(self, problem: Problem) -> Iterator[Step]:
        """Yield after every round, with the image as the round's image update left it."""
        p = self.params
        closed = Offer.RESTORE in problem.ways.image and Offer.ESTIMATE in problem.ways.kernel
        if closed and problem.scale == 0 and min(problem.kernel.size) >= 3:
            line = short_line(problem.kernel.size, problem.observation.y)
            problem.kernel.fit(line.expand(problem.kernel.batch, -1, -1, -1))
        if p.marginal and closed and problem.scale < problem.scales - p.restored_scales:
            yield from integrate_out(problem, p.marginal_iterations)
            return
        image_turn = Turn(problem.image, p.image_lr, p.image_steps, p)
        kernel_turn = Turn(problem.kernel, p.kernel_lr, p.kernel_steps, p)
        for index in range(p.iterations):
            progress = ROUGH * index / p.iterations
            if Offer.RESTORE in problem.ways.image:
                with torch.no_grad():
                    x = problem.image.restore(problem.observation, problem.kernel.kernel(), progress=progress)
                problem.image.fit(x)
            elif Offer.PARAMETERS in problem.ways.image:
                image_turn.take(problem, problem.image, index)
            with torch.no_grad():
                x = problem.image()
            if Offer.ESTIMATE in problem.ways.kernel:
                with torch.no_grad():
                    problem.kernel.estimate(x, problem.observation, progress=progress)
            elif Offer.PARAMETERS in problem.ways.kernel:
                if p.renew_kernel:
                    problem.kernel.renew()
                    kernel_turn = Turn(problem.kernel, p.kernel_lr, p.kernel_steps, p)
                kernel_turn.take(problem, partial(identical, x), index)
            with torch.no_grad():
                loss, terms = problem.loss(x, index)
            yield Step(index, p.iterations, loss, x, terms)

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


def identical(x: Tensor) -> Tensor:
    """The image that stays as it is while the kernel moves."""
    return x


class Turn:
    """The inner gradient steps of one part; Adam's moments carry over from round to round."""

    def __init__(self, part: nn.Module, rate: float, count: int, params: AlternatingParams) -> None:
        self.parameters = list(part.parameters())
        self.rate, self.count, self.params = rate, count, params
        self.adam = torch.optim.Adam(self.parameters, lr=rate) if self.parameters else None

    def take(self, problem: Problem, image: Callable[[], Tensor], index: int) -> None:
        """Do the inner steps of round ``index`` on ``image``; the other part's parameters gather no gradient."""
        assert self.adam is not None
        for inner in range(self.count):
            step = index * self.count + inner
            self.adam.param_groups[0]["lr"] = decayed(self.rate, step, self.params.milestones, self.params.decay)
            loss, _ = problem.loss(image(), step)
            for parameter, gradient in zip(
                self.parameters, torch.autograd.grad(loss, self.parameters, allow_unused=True), strict=True
            ):
                parameter.grad = gradient
            self.adam.step()
