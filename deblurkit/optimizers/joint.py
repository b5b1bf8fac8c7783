"""Image and kernel move together, each at its own learning rate (SelfDeblur, Ren et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from deblurkit.core import Optimizer, Problem, Step
from deblurkit.optimizers.plugin import JointParams
from deblurkit.optimizers.schedule import scheduled


class Joint(Optimizer[JointParams]):
    """One Adam over both parts; a part without parameters (a known kernel) stays as it is."""

    def steps(self, problem: Problem) -> Iterator[Step]:
        """Yield before every update, so that image and parts of a step are those that its loss was computed from."""
        p = self.params
        total = p.iterations
        if p.coarse_iterations and problem.scale < problem.scales - 1:
            total = p.coarse_iterations
        rates = {"image": p.image_lr, "kernel": p.kernel_lr}
        parts = {"image": problem.image, "kernel": problem.kernel}
        groups = [{"params": list(part.parameters()), "name": name} for name, part in parts.items()]
        adam = torch.optim.Adam([group for group in groups if group["params"]])
        for index in range(total):
            for group in adam.param_groups:
                schedule = p.image_schedule if group["name"] == "image" else "milestones"
                group["lr"] = scheduled(rates[group["name"]], index, total, schedule, p.milestones, p.decay)
            adam.zero_grad(set_to_none=True)
            x = problem.image()
            second = p.second_phase and index >= p.second_phase
            weights = (p.image_weight, p.kernel_weight) if second else (1.0, 1.0)
            loss, terms = problem.loss(x, index, image_weight=weights[0], kernel_weight=weights[1])
            loss.backward()
            # the parts are still those that the loss was computed from
            shown = {name: term.detach() for name, term in terms.items()}
            phase = problem.data.phase(index) + int(bool(second))
            yield Step(index, total, loss.detach(), x.detach(), shown, phase)
            adam.step()
            problem.image.project()
