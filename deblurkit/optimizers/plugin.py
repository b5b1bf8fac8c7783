"""What this room offers to the registry. Imported at every start, so it never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import OptimizerSpec


@dataclass(frozen=True, kw_only=True)
class JointParams(Params):
    """Parameters of `joint`."""

    iterations: int = param(300, "Number of updates.", min=1)
    coarse_iterations: int = param(0, "Number of updates at every scale but the finest; 0: as many as there.", min=0)
    image_lr: float = param(1e-2, "Learning rate of the image prior's parameters.", above=0.0)
    kernel_lr: float = param(1e-4, "Learning rate of the kernel prior's parameters.", above=0.0)
    milestones: tuple[int, ...] = param(
        (150, 225), "Steps at which both learning rates are decayed, counted anew at every scale.", min=1
    )
    decay: float = param(0.5, "Factor of every decay.", above=0.0, max=1.0)
    image_schedule: Literal["milestones", "one-cycle", "one-cycle-drop"] = param(
        "milestones", "The image's learning rate: decayed at the milestones, or up and down over all steps as PULSE's."
    )
    second_phase: int = param(0, "Step from which the energies are weighed anew; 0 never does.", min=0)
    image_weight: float = param(1.0, "Factor on the image prior's energy from that step on.", min=0.0)
    kernel_weight: float = param(1.0, "Factor on the kernel prior's energy from that step on.", min=0.0)


@dataclass(frozen=True, kw_only=True)
class AlternatingParams(Params):
    """Parameters of `alternating`."""

    iterations: int = param(5, "Rounds of one image update and one kernel update, at every scale.", min=1)
    image_steps: int = param(50, "Adam steps of an image update, where the image prior has no closed form.", min=1)
    kernel_steps: int = param(50, "Adam steps of a kernel update, where the kernel prior has no closed form.", min=1)
    image_lr: float = param(1e-2, "Learning rate of the image prior's parameters.", above=0.0)
    kernel_lr: float = param(1e-4, "Learning rate of the kernel prior's parameters.", above=0.0)
    marginal: bool = param(True, "With closed forms: integrate the image out at coarse scales (variational Bayes).")
    marginal_iterations: int = param(10, "Rounds at a scale where the image is integrated out.", min=1)
    renew_kernel: bool = param(False, "Before every kernel update by Adam, let the kernel prior start anew.")
    restored_scales: int = param(2, "Finest scales at which the image is restored even so.", min=0)
    milestones: tuple[int, ...] = param((), "Inner steps at which a part's learning rate is decayed.", min=1)
    decay: float = param(0.5, "Factor of every decay.", above=0.0, max=1.0)
    image_schedule: Literal["milestones", "one-cycle", "one-cycle-drop"] = param(
        "milestones", "The image's learning rate: decayed at the milestones, or up and down over all steps as PULSE's."
    )


@hookimpl
def deblurkit_optimizers() -> Iterator[OptimizerSpec]:
    """Yield the optimizers that come with deblurkit."""
    yield OptimizerSpec(
        name="alternating",
        summary="Image and kernel take turns, by closed forms where offered, else by Adam steps.",
        params=AlternatingParams,
        target="deblurkit.optimizers.alternating:Alternating",
        needs_image=({"restore", "fit"}, {"parameters"}),
        needs_kernel=({"estimate", "kernel", "fit"}, {"parameters"}),
        reference="Tran et al. 2021, algorithm 1; Ren et al. 2020, algorithm 1",
    )
    yield OptimizerSpec(
        name="joint",
        summary="Image and kernel move together by Adam, each at its own learning rate.",
        params=JointParams,
        target="deblurkit.optimizers.joint:Joint",
        needs_image=({"parameters"},),
        needs_kernel=({"parameters"},),
        reference="Ren et al. 2020, algorithm 2",
    )
