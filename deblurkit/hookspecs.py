"""The six hooks through which every component comes in, built-in or not.

A plugin is a module named by an entry point of the group ``deblurkit.plugins``::

    [project.entry-points."deblurkit.plugins"]
    tv = "deblurkit_tv.plugin"

It is imported at every start of the program, so it must not import torch: it yields descriptors whose ``target`` is
imported when a run needs it. Each docstring below is a complete plugin.
"""

from collections.abc import Iterable
from typing import Any

import pluggy

from deblurkit.specs import (
    CommandSpec,
    DataTermSpec,
    ExecutorSpec,
    ImagePriorSpec,
    KernelPriorSpec,
    OptimizerSpec,
    Spec,
)

PROJECT = "deblurkit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def deblurkit_image_priors() -> Iterable[ImagePriorSpec]:  # type: ignore[empty-body]
    """Yield the image priors of this plugin.

    A complete plugin, ``deblurkit_tv/plugin.py``::

        from dataclasses import dataclass

        from deblurkit.hookspecs import hookimpl
        from deblurkit.params import Params, param
        from deblurkit.specs import ImagePriorSpec


        @dataclass(frozen=True, kw_only=True)
        class TVParams(Params):
            weight: float = param(1e-3, "Strength of the penalty.", min=0.0)


        @hookimpl
        def deblurkit_image_priors():
            yield ImagePriorSpec(
                name="tv",
                summary="Free pixels under isotropic total variation.",
                params=TVParams,
                target="deblurkit_tv.prior:TotalVariation",
                offers={"parameters", "energy", "restore", "fit"},
                reference="Rudin, Osher, Fatemi 1992",
            )

    ``deblurkit_tv/prior.py`` holds ``class TotalVariation(ImagePrior[TVParams])``, built as
    ``TotalVariation(params, observation, margin=(rows, columns), generator=generator)``; see `deblurkit.core`.
    """


@hookspec
def deblurkit_kernel_priors() -> Iterable[KernelPriorSpec]:  # type: ignore[empty-body]
    """Yield the kernel priors of this plugin.

    A complete plugin, ``deblurkit_gauss/plugin.py``::

        from dataclasses import dataclass

        from deblurkit.hookspecs import hookimpl
        from deblurkit.params import Params, param
        from deblurkit.specs import KernelPriorSpec


        @dataclass(frozen=True, kw_only=True)
        class GaussParams(Params):
            sigma: float = param(2.0, "Width at the start, in pixels.", above=0.0)


        @hookimpl
        def deblurkit_kernel_priors():
            yield KernelPriorSpec(
                name="gauss",
                summary="An anisotropic Gaussian: two widths and an angle.",
                params=GaussParams,
                target="deblurkit_gauss.prior:Gauss",
                offers={"parameters", "kernel"},
            )

    ``deblurkit_gauss/prior.py`` holds ``class Gauss(KernelPrior[GaussParams])``, built as
    ``Gauss(params, observation, size=(height, width), generator=generator)``; see `deblurkit.core`.
    """


@hookspec
def deblurkit_data_terms() -> Iterable[DataTermSpec]:  # type: ignore[empty-body]
    """Yield the data terms of this plugin.

    A complete plugin, ``deblurkit_huber/plugin.py``::

        from dataclasses import dataclass

        from deblurkit.hookspecs import hookimpl
        from deblurkit.params import Params, param
        from deblurkit.specs import DataTermSpec


        @dataclass(frozen=True, kw_only=True)
        class HuberParams(Params):
            delta: float = param(0.01, "Residual (of pictures in [0, 1]) where the square ends.", above=0.0)


        @hookimpl
        def deblurkit_data_terms():
            yield DataTermSpec(
                name="huber",
                summary="Square for small residuals, absolute value for large ones.",
                params=HuberParams,
                target="deblurkit_huber.term:Huber",
                reference="Huber 1964",
            )

    ``deblurkit_huber/term.py`` holds ``class Huber(DataTerm[HuberParams])``, built as ``Huber(params)``; see
    `deblurkit.core`.
    """


@hookspec
def deblurkit_optimizers() -> Iterable[OptimizerSpec]:  # type: ignore[empty-body]
    """Yield the optimizers of this plugin.

    A complete plugin, ``deblurkit_lbfgs/plugin.py``::

        from dataclasses import dataclass

        from deblurkit.hookspecs import hookimpl
        from deblurkit.params import Params, param
        from deblurkit.specs import OptimizerSpec


        @dataclass(frozen=True, kw_only=True)
        class LBFGSParams(Params):
            iterations: int = param(200, "Steps.", min=1)


        @hookimpl
        def deblurkit_optimizers():
            yield OptimizerSpec(
                name="lbfgs",
                summary="Limited-memory BFGS on image and kernel together.",
                params=LBFGSParams,
                target="deblurkit_lbfgs.optimizer:LBFGS",
                needs_image=({"parameters"},),
                needs_kernel=({"parameters"},),
            )

    ``deblurkit_lbfgs/optimizer.py`` holds ``class LBFGS(Optimizer[LBFGSParams])``, built as ``LBFGS(params)``; see
    `deblurkit.core`.
    """


@hookspec
def deblurkit_executors() -> Iterable[ExecutorSpec]:  # type: ignore[empty-body]
    """Yield the executors of this plugin.

    A complete plugin, ``deblurkit_slurm/plugin.py``::

        from dataclasses import dataclass

        from deblurkit.hookspecs import hookimpl
        from deblurkit.params import Params, param
        from deblurkit.specs import ExecutorSpec


        @dataclass(frozen=True, kw_only=True)
        class SlurmParams(Params):
            partition: str = param("", "Partition of the cluster; empty takes its default one.")


        @hookimpl
        def deblurkit_executors():
            yield ExecutorSpec(
                name="slurm",
                summary="One job of the cluster for every task.",
                params=SlurmParams,
                target="deblurkit_slurm.executor:Slurm",
            )

    ``deblurkit_slurm/executor.py`` holds ``class Slurm(Executor[SlurmParams])``, built as ``Slurm(params, jobs=8)``;
    see `deblurkit.core.executor`.
    """


@hookspec
def deblurkit_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
    """Yield subcommands of ``deblurkit``.

    A complete plugin, ``deblurkit_tv/plugin.py``::

        from deblurkit.hookspecs import hookimpl
        from deblurkit.specs import CommandSpec


        @hookimpl
        def deblurkit_commands():
            yield CommandSpec(
                name="tv-path",
                summary="Restore a picture along a path of weights.",
                target="deblurkit_tv.cli:tv_path",
            )

    ``deblurkit_tv/cli.py`` holds ``@click.command() def tv_path(): ...``.
    """


HOOKS: dict[str, type[Spec]] = {
    "deblurkit_image_priors": ImagePriorSpec,
    "deblurkit_kernel_priors": KernelPriorSpec,
    "deblurkit_data_terms": DataTermSpec,
    "deblurkit_optimizers": OptimizerSpec,
    "deblurkit_executors": ExecutorSpec,
    "deblurkit_commands": CommandSpec,
}
"""What each hook yields."""


def new_manager() -> Any:
    """Return a pluggy manager that knows the six hooks and nothing else."""
    manager = pluggy.PluginManager(PROJECT)
    import deblurkit.hookspecs

    manager.add_hookspecs(deblurkit.hookspecs)
    return manager
