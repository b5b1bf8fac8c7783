"""A plugin as it should be: light, with one descriptor for every hook."""

from dataclasses import dataclass

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import CommandSpec, DataTermSpec, ExecutorSpec, ImagePriorSpec, KernelPriorSpec, OptimizerSpec


@dataclass(frozen=True, kw_only=True)
class GentleParams(Params):
    weight: float = param(1e-3, "Strength of the penalty.", min=0.0)


@hookimpl
def deblurkit_image_priors():
    yield ImagePriorSpec(
        name="gentle",
        summary="A gentle penalty.",
        params=GentleParams,
        target="deblurkit_good.parts:Gentle",
        offers={"parameters", "energy", "restore"},
        reference="Nobody 2026",
    )


@hookimpl
def deblurkit_kernel_priors():
    return [KernelPriorSpec(name="round", summary="A disk.", target="deblurkit_good.parts:Round", offers={"kernel"})]


@hookimpl
def deblurkit_data_terms():
    yield DataTermSpec(name="cubic", summary="The cube.", target="deblurkit_good.absent:Cubic")


@hookimpl
def deblurkit_optimizers():
    # fits every pair in the way it prefers, and yet must never become the default
    yield OptimizerSpec(
        name="eager",
        summary="Takes anything.",
        target="deblurkit_good.parts:Eagerr",
        needs_image=(set(),),
        needs_kernel=(set(),),
    )


@hookimpl
def deblurkit_executors():
    # preferred by far, and yet must never become the default
    yield ExecutorSpec(
        name="elsewhere", summary="On the moon.", target="deblurkit_good.parts:Elsewhere", preference=100
    )


@hookimpl
def deblurkit_commands():
    yield CommandSpec(name="probe", summary="Show what was asked for.", target="deblurkit_good.cli:probe")
