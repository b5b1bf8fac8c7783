"""Priors on sparse gradients: hyper-Laplacian and total variation. Each is an energy and a non-blind deconvolution."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from deblurkit.core import Observation, PixelImagePrior
from deblurkit.core.image_prior import ROUGH
from deblurkit.image_priors.l0_gradient import RESTART_FACTORS, cartoon
from deblurkit.image_priors.plugin import HyperLaplacianParams, TotalVariationParams
from deblurkit.ops.deconvolve import Splitting, deconvolve, noise_weight
from deblurkit.ops.gradients import hyper_laplacian, total_variation
from deblurkit.ops.shrink import power_shrink, soft_shrink

ROUGH_FLOOR = 1e-4
ROUGH_NOISE = 5.0
"""Weight of the prior while the kernel still moves: a floor, and a factor on the noise variance."""


class HyperLaplacian(PixelImagePrior[HyperLaplacianParams]):
    """|gradient|^exponent with an exponent below 1, as natural pictures have it (Krishnan and Fergus 2009)."""

    last: tuple[Observation, torch.Size, Splitting] | None = None
    """Where the last rough restoration ended, and of what."""

    def energy(self, x: Tensor) -> Tensor:
        """``energy_weight`` times the hyper-Laplacian energy of Tran et al. 2021, eq. 5, (B,)."""
        return self.params.energy_weight * hyper_laplacian(x, self.params.energy_exponent)

    def restore(self, observation: Observation, kernel: Tensor, *, progress: float = 1.0) -> Tensor:
        """ADMM with a masked data term, whose border is unknown; the weight follows from the noise level.

        While the kernel is rough, the exponent is 0: only edges help to find a kernel (Xu, Zheng and Jia 2013). While
        it is refined, the weight is larger than at the end, and a few iterations from where the last call ended will
        do.
        """
        if progress < ROUGH:
            return cartoon(observation, kernel, self.params.edges * self.params.relax ** (-progress / ROUGH))
        if progress < 1.0:
            return self._roughly(observation, kernel)
        return deconvolve(
            observation.start,
            kernel,
            mask=observation.mask + observation.saturated,
            shrink=power_shrink(self.params.exponent),
            weight=self.params.strength * noise_weight(observation.noise),
            second_order=self.params.second_order,
            iterations=self.params.iterations,
        )

    @classmethod
    def restarted(cls, params: HyperLaplacianParams, attempt: int) -> HyperLaplacianParams:
        """Another cost of edges."""
        return replace(params, edges=params.edges * RESTART_FACTORS[attempt % len(RESTART_FACTORS)])

    @torch.no_grad()
    def _roughly(self, observation: Observation, kernel: Tensor) -> Tensor:
        known = self.last is not None and self.last[0] is observation and self.last[1] == kernel.shape
        if self.last is not None and known:
            splitting = self.last[2]
            splitting.renew(kernel)
        else:
            splitting = Splitting(
                observation.start,
                kernel,
                mask=observation.mask,
                weight=self.params.strength * (ROUGH_FLOOR + ROUGH_NOISE * observation.noise.square()),
                second_order=self.params.second_order,
            )
            self.last = observation, kernel.shape, splitting
        for _ in range(self.params.rough_iterations):
            splitting.step(power_shrink(self.params.exponent), isotropic=False)
        return splitting.picture()


class TotalVariation(PixelImagePrior[TotalVariationParams]):
    """Isotropic total variation (Rudin, Osher and Fatemi 1992)."""

    def energy(self, x: Tensor) -> Tensor:
        """``energy_weight`` times the mean gradient magnitude, (B,)."""
        return self.params.energy_weight * total_variation(x)

    def restore(self, observation: Observation, kernel: Tensor, *, progress: float = 1.0) -> Tensor:
        """ADMM with a masked data term, whose border is unknown; the weight follows from the noise level."""
        del progress
        return deconvolve(
            observation.start,
            kernel,
            mask=observation.mask + observation.saturated,
            shrink=soft_shrink,
            weight=self.params.strength * noise_weight(observation.noise),
            second_order=0.0,
            isotropic=True,
            iterations=self.params.iterations,
        )
