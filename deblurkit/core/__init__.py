"""The abstractions: what an image prior, a kernel prior, a data term, an optimizer and an executor are.

No component is named here. Concrete parts live in ``image_priors``, ``kernel_priors``, ``data_terms``, ``optimizers``
and ``executors``, or in somebody else's distribution. The names are resolved when they are first used, so that an
executor's workers import torch only if their work does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deblurkit.core.data_term import DataTerm
    from deblurkit.core.executor import Executor, Finished, Work
    from deblurkit.core.image_prior import ImagePrior, PixelImagePrior
    from deblurkit.core.kernel_prior import KernelPrior
    from deblurkit.core.observation import Observation
    from deblurkit.core.optimizer import Optimizer, Step
    from deblurkit.core.problem import Problem

__all__ = [
    "DataTerm",
    "Executor",
    "Finished",
    "ImagePrior",
    "KernelPrior",
    "Observation",
    "Optimizer",
    "PixelImagePrior",
    "Problem",
    "Step",
    "Work",
]

_HOMES = {
    "DataTerm": "data_term",
    "Executor": "executor",
    "Finished": "executor",
    "ImagePrior": "image_prior",
    "KernelPrior": "kernel_prior",
    "Observation": "observation",
    "Optimizer": "optimizer",
    "PixelImagePrior": "image_prior",
    "Problem": "problem",
    "Step": "optimizer",
    "Work": "executor",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deblurkit.core' has no attribute {name!r}")
    value = getattr(import_module(f"deblurkit.core.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
