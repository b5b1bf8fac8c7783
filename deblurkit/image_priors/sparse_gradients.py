"""Priors on sparse gradients: hyper-Laplacian and total variation. Each is an energy and a non-blind deconvolution."""

from __future__ import annotations

from torch import Tensor

from deblurkit.core import Observation, PixelImagePrior
from deblurkit.image_priors.plugin import HyperLaplacianParams, TotalVariationParams
from deblurkit.ops.deconvolve import deconvolve, noise_weight
from deblurkit.ops.gradients import hyper_laplacian, total_variation
from deblurkit.ops.shrink import power_shrink, soft_shrink


class HyperLaplacian(PixelImagePrior[HyperLaplacianParams]):
    """|gradient|^exponent with an exponent below 1, as natural pictures have it (Krishnan and Fergus 2009)."""

    def energy(self, x: Tensor) -> Tensor:
        """``energy_weight`` times the hyper-Laplacian energy of Tran et al. 2021, eq. 5, (B,)."""
        return self.params.energy_weight * hyper_laplacian(x, self.params.energy_exponent)

    def restore(self, observation: Observation, kernel: Tensor, *, progress: float = 1.0) -> Tensor:
        """ADMM with a masked data term, whose border is unknown; the weight follows from the noise level.

        Before the end of an estimation a third of the iterations is enough.
        """
        return deconvolve(
            observation.start,
            kernel,
            mask=observation.mask + observation.saturated,
            shrink=power_shrink(self.params.exponent),
            weight=self.params.strength * noise_weight(observation.noise),
            second_order=self.params.second_order,
            iterations=self.params.iterations if progress == 1.0 else -(-self.params.iterations // 3),
        )


class TotalVariation(PixelImagePrior[TotalVariationParams]):
    """Isotropic total variation (Rudin, Osher and Fatemi 1992)."""

    def energy(self, x: Tensor) -> Tensor:
        """``energy_weight`` times the mean gradient magnitude, (B,)."""
        return self.params.energy_weight * total_variation(x)

    def restore(self, observation: Observation, kernel: Tensor, *, progress: float = 1.0) -> Tensor:
        """ADMM with a masked data term, whose border is unknown; the weight follows from the noise level.

        Before the end of an estimation a third of the iterations is enough.
        """
        return deconvolve(
            observation.start,
            kernel,
            mask=observation.mask + observation.saturated,
            shrink=soft_shrink,
            weight=self.params.strength * noise_weight(observation.noise),
            second_order=0.0,
            isotropic=True,
            iterations=self.params.iterations if progress == 1.0 else -(-self.params.iterations // 3),
        )
