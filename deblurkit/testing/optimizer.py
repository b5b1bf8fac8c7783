"""The contract of optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from deblurkit.core import Optimizer, Problem, Step
from deblurkit.specs import MOVES, DataTermSpec, Fit, ImagePriorSpec, KernelPriorSpec, OptimizerSpec, find_fit
from deblurkit.testing.contract import Contract
from deblurkit.testing.pictures import KERNEL_SIZE, example, generator

STEP, STEPS = "core.Step", "core.Optimizer.steps"


class OptimizerContract(Contract):
    """What an optimizer must do.

    Attributes:
        partners: Image and kernel priors to try it with, with small parameters; those that do not fit are passed over.
        data: A data term.
    """

    spec: ClassVar[OptimizerSpec]
    base = Optimizer
    wanted = OptimizerSpec
    partners: ClassVar[list[tuple[ImagePriorSpec, Mapping[str, Any], KernelPriorSpec, Mapping[str, Any]]]] = []
    data: ClassVar[DataTermSpec]

    def problems(self) -> list[Problem]:
        """A problem for every pair of partners that fits."""
        problems = []
        for image_spec, image_overrides, kernel_spec, kernel_overrides in self.partners:
            ways = find_fit(self.spec, image_spec, kernel_spec)
            if ways is None:
                continue
            problems.append(self.problem(ways, image_spec, image_overrides, kernel_spec, kernel_overrides))
        wrong = (
            f"none of its {len(self.partners)} pairs of partners fits this optimizer; add one that offers what it needs"
        )
        self.require(problems, wrong, "testing.OptimizerContract")
        return problems

    def problem(
        self,
        ways: Fit,
        image_spec: ImagePriorSpec,
        image_overrides: Mapping[str, Any],
        kernel_spec: KernelPriorSpec,
        kernel_overrides: Mapping[str, Any],
    ) -> Problem:
        """One problem on the example picture."""
        observation, _, _ = example()
        kernel = kernel_spec.load()(
            kernel_spec.params(**kernel_overrides), observation, size=KERNEL_SIZE, generator=generator(1)
        )
        image = image_spec.load()(
            image_spec.params(**image_overrides), observation, margin=kernel.margin, generator=generator(2)
        )
        given = isinstance(getattr(self, "data", None), DataTermSpec)
        self.require(given, "give its test a data term, `data = ...` (a DataTermSpec)", "testing.OptimizerContract")
        return Problem(observation, image, kernel, self.data.load()(self.data.params()), ways)

    def run(self, problem: Problem) -> list[Step]:
        """All steps on a problem."""
        steps = list(self.make(self.params).steps(problem))
        self.require(steps, "steps() yields nothing", STEPS)
        wrong = f"steps() yields {type(steps[0]).__name__}, and must yield Step"
        self.require(all(isinstance(step, Step) for step in steps), wrong, STEPS)
        return steps

    def test_yields_numbered_steps_with_finite_losses(self) -> None:
        """Steps are counted from 0 to total - 1; loss and image are finite, detached, of the right shape."""
        for problem in self.problems():
            steps = self.run(problem)
            counted = [step.index for step in steps]
            right = counted == list(range(steps[0].total))
            wrong = f"steps are numbered {counted[0]} to {counted[-1]}, and must count from 0 to total - 1 = "
            self.require(right, f"{wrong}{steps[0].total - 1} without a gap", STEP)
            for step in steps:
                self.require_shape(step.loss, (), f"the loss of step {step.index}", STEP)
                self.require(not step.loss.requires_grad, "the loss of a step must be detached", STEP)
                self.require(not step.image.requires_grad, "the image of a step must be detached", STEP)
                self.require_shape(step.image, problem.image.latent_shape, f"the image of step {step.index}", STEP)

    def test_moves_what_can_move(self) -> None:
        """Image and blur differ afterwards from before, unless they are fixed."""
        for problem in self.problems():
            x = problem.image().detach().clone()
            before_image, before_blur = x, problem.kernel.blur(x).detach()
            self.run(problem)
            if problem.ways.image:
                moved = not torch.equal(before_image, problem.image().detach())
                self.require(moved, f"{type(problem.image).__name__} proposes the same image after all steps", STEPS)
            if problem.ways.kernel and MOVES & problem.ways.kernel:
                moved = not torch.equal(before_blur, problem.kernel.blur(x).detach())
                self.require(moved, f"{type(problem.kernel).__name__} blurs the same after all steps", STEPS)

    def test_same_seeds_same_steps(self) -> None:
        """Two runs from the same start give the same losses."""
        first, second = ([float(step.loss) for p in self.problems() for step in self.run(p)] for _ in range(2))
        wrong = "two runs from one start have different losses; draw from the priors' generators only"
        self.require(first == second, wrong, STEPS)
