"""What this room offers to the registry. Imported at every start, so it never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import ExecutorSpec


@dataclass(frozen=True, kw_only=True)
class LocalParams(Params):
    """Parameters of `local`."""

    retries: int = param(2, "How often a task whose worker died is given to a fresh one.", min=0)


@dataclass(frozen=True, kw_only=True)
class RayParams(Params):
    """Parameters of `ray`."""

    address: str = param(
        "",
        "An existing cluster, which must see the same files and have deblurkit: auto, HOST:PORT or ray://HOST:PORT; "
        "empty starts one on this machine.",
    )
    retries: int = param(2, "How often a task whose worker died is given to a fresh one.", min=0)


@hookimpl
def deblurkit_executors() -> Iterator[ExecutorSpec]:
    """Yield the executors that come with deblurkit."""
    yield ExecutorSpec(
        name="in-process",
        summary="One task after the other, in this process.",
        target="deblurkit.executors.in_process:InProcess",
        parallel=False,
    )
    yield ExecutorSpec(
        name="local",
        summary="Worker processes on this machine.",
        params=LocalParams,
        target="deblurkit.executors.local:Local",
        preference=1,
    )
    yield ExecutorSpec(
        name="ray",
        summary="Workers of a Ray cluster, an existing one or one on this machine.",
        params=RayParams,
        target="deblurkit.executors.ray:Ray",
        reference="Moritz et al. 2018",
    )
