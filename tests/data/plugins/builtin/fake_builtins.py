"""Stands in for deblurkit's own plugins: one component for every way of fitting."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import DataTermSpec, ExecutorSpec, ImagePriorSpec, KernelPriorSpec, OptimizerSpec


@dataclass(frozen=True, kw_only=True)
class NetParams(Params):
    depth: int = param(5, "Number of scales.", min=1, max=8)
    lr: float = param(0.01, "Learning rate.", above=0.0)
    non_local: bool = param(True, "Use non-local blocks.")
    start: Literal["noise", "grid"] = param("noise", "What the input is.")
    weights: Path = param(Path(), "File of weights.")


@dataclass(frozen=True, kw_only=True)
class FreeParams(Params):
    weight: float = param(1e-3, "Strength.", min=0.0)


@dataclass(frozen=True, kw_only=True)
class StepsParams(Params):
    iterations: int = param(10, "Steps.", min=1)
    milestones: tuple[int, ...] = param((5, 8), "Steps of decay.", min=1)


@hookimpl
def deblurkit_image_priors():
    yield ImagePriorSpec(
        name="net", summary="A network.", params=NetParams, target="fake_targets:Net", offers={"parameters", "fit"}
    )
    yield ImagePriorSpec(
        name="sparse", summary="A closed form.", params=FreeParams, target="fake_targets:Sparse", offers={"restore"}
    )
    yield ImagePriorSpec(
        name="both",
        summary="Either way.",
        params=FreeParams,
        target="fake_targets:Both",
        offers={"restore", "parameters", "energy"},
    )


@hookimpl
def deblurkit_kernel_priors():
    yield KernelPriorSpec(
        name="net", summary="A network.", target="fake_targets:KernelNet", offers={"parameters", "kernel"}
    )
    yield KernelPriorSpec(
        name="simplex",
        summary="Either way.",
        target="fake_targets:Simplex",
        offers={"parameters", "estimate", "kernel"},
    )
    yield KernelPriorSpec(
        name="closed", summary="A closed form.", target="fake_targets:Closed", offers={"estimate", "kernel"}
    )
    yield KernelPriorSpec(name="given", summary="A kernel.", target="fake_targets:Given", offers={"kernel"})
    yield KernelPriorSpec(
        name="learned", summary="Shows no kernel.", target="fake_targets:Learned", offers={"parameters"}
    )


@hookimpl
def deblurkit_data_terms():
    yield DataTermSpec(name="square", summary="The square.", target="fake_targets:Square")


@hookimpl
def deblurkit_optimizers():
    yield OptimizerSpec(
        name="turns",
        summary="In turns.",
        params=StepsParams,
        target="fake_targets:Turns",
        needs_image=({"restore"}, {"parameters"}),
        needs_kernel=({"estimate"}, {"parameters"}),
    )
    yield OptimizerSpec(name="together", summary="Together.", params=StepsParams, target="fake_targets:Together")


@dataclass(frozen=True, kw_only=True)
class SpreadParams(Params):
    address: str = param("", "Where the workers are.")
    retries: int = param(2, "Attempts after the first.", min=0)
    quick: bool = param(False, "In a hurry.")


@hookimpl
def deblurkit_executors():
    yield ExecutorSpec(name="here", summary="Here.", target="fake_targets:Here", parallel=False)
    yield ExecutorSpec(name="spread", summary="Everywhere.", params=SpreadParams, target="fake_targets:Spread")
