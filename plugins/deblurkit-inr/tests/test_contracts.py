from typing import ClassVar

from deblurkit.testing import DataTermContract, ImagePriorContract, KernelPriorContract

from deblurkit_inr.plugin import CROSS_SCALE, IMAGE, KERNEL

SMALL = {"channels": 8, "skip_channels": 2, "scales": 3}


class TestImageContract(ImagePriorContract):
    spec = IMAGE
    overrides = SMALL | {"fit_steps": 40}


class TestKernelContract(KernelPriorContract):
    spec = KERNEL


class TestKernelContractInWholePixels(KernelPriorContract):
    spec = KERNEL
    overrides: ClassVar = {"centring": "pixels"}


class TestDataTermContract(DataTermContract):
    spec = CROSS_SCALE
