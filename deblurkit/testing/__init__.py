"""Contracts: what every component must do, as ready-made tests.

A plugin's test file derives a class, names its descriptor, and has its tests::

    from deblurkit.testing import ImagePriorContract
    from deblurkit_tv.plugin import TV

    class TestTV(ImagePriorContract):
        spec = TV                       # the ImagePriorSpec that the plugin yields
        overrides = {"iterations": 5}   # parameters that make it small and fast; may be left out

The components that come with deblurkit pass the same contracts. Everything runs on the CPU in float32, on pictures of
about 48 x 56 pixels. A test that fails says what is wrong and where it is documented. Importing this module needs
``pytest``.
"""

from deblurkit.testing.contract import Contract
from deblurkit.testing.data_term import DataTermContract
from deblurkit.testing.executor import ExecutorContract
from deblurkit.testing.image_prior import ImagePriorContract
from deblurkit.testing.kernel_prior import KernelPriorContract
from deblurkit.testing.optimizer import OptimizerContract
from deblurkit.testing.pictures import (
    KERNEL_SIZE,
    NOISE,
    SIZE,
    blur_by_definition,
    cartoon,
    curved_kernel,
    example,
    generator,
)

__all__ = [
    "KERNEL_SIZE",
    "NOISE",
    "SIZE",
    "Contract",
    "DataTermContract",
    "ExecutorContract",
    "ImagePriorContract",
    "KernelPriorContract",
    "OptimizerContract",
    "blur_by_definition",
    "cartoon",
    "curved_kernel",
    "example",
    "generator",
]
