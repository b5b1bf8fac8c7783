"""Distances that compare local structure."""

from __future__ import annotations

from torch import Tensor

from deblurkit.core import DataTerm, Observation
from deblurkit.data_terms.pixelwise import masked_mean
from deblurkit.data_terms.plugin import MSEThenSSIMParams, SSIMParams
from deblurkit.ops.ssim import masked_ssim


class SSIM(DataTerm[SSIMParams]):
    """1 - SSIM with zero padding, as SelfDeblur's published code has it (Ren et al., CVPR 2020)."""

    def forward(self, prediction: Tensor, observation: Observation, step: int) -> Tensor:
        """(B,)."""
        del step
        return 1.0 - masked_ssim(prediction, observation.y, observation.mask, padding="same")


class MSEThenSSIM(DataTerm[MSEThenSSIMParams]):
    """Mean squared error while ``step < switch``, 1 - SSIM from then on (Ren et al., CVPR 2020, published code)."""

    def forward(self, prediction: Tensor, observation: Observation, step: int) -> Tensor:
        """(B,)."""
        if self.phase(step) == 0:
            return masked_mean((prediction - observation.y).square(), observation.mask)
        return 1.0 - masked_ssim(prediction, observation.y, observation.mask, padding="same")

    def phase(self, step: int) -> int:
        """1 from the switch on."""
        return int(step >= self.params.switch)
