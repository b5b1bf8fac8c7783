from typing import ClassVar

from deblurkit.testing import DataTermContract, ImagePriorContract, KernelPriorContract

from deblurkit_inr.plugin import CROSS_SCALE, IMAGE, KERNEL

SMALL = {"channels": 8, "skip_channels": 2, "scales": 3}


class TestImageContract(ImagePriorContract):
    """With slow waves and a shallow U-Net, whose image is nearly the same on a finer grid; not so with fast waves."""

    spec = IMAGE
    overrides = SMALL | {"fit_steps": 60, "frequencies": 4, "scales": 2}


class TestKernelContract(KernelPriorContract):
    spec = KERNEL


class TestKernelContractInWholePixels(KernelPriorContract):
    spec = KERNEL
    overrides: ClassVar = {"centring": "pixels"}


class TestDataTermContract(DataTermContract):
    spec = CROSS_SCALE
