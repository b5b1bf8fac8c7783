"""Free pixels without an opinion: the control of every comparison."""

from __future__ import annotations

from deblurkit.core import PixelImagePrior
from deblurkit.image_priors.plugin import IdentityParams


class Identity(PixelImagePrior[IdentityParams]):
    """x is a grid of free pixels and R(x) = 0."""
