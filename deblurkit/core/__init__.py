"""The abstractions: what an image prior, a kernel prior, a data term and an optimizer are.

No component is named here. Concrete parts live in ``image_priors``, ``kernel_priors``, ``data_terms`` and
``optimizers``, or in somebody else's distribution.
"""

from deblurkit.core.data_term import DataTerm
from deblurkit.core.image_prior import ImagePrior, PixelImagePrior
from deblurkit.core.kernel_prior import KernelPrior
from deblurkit.core.observation import Observation
from deblurkit.core.optimizer import Optimizer, Step
from deblurkit.core.problem import Problem

__all__ = ["DataTerm", "ImagePrior", "KernelPrior", "Observation", "Optimizer", "PixelImagePrior", "Problem", "Step"]
