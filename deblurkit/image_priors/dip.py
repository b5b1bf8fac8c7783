"""The deep image prior: the latent image is what an untrained hourglass makes of fixed noise.

Ulyanov et al., CVPR 2018; as SelfDeblur uses it, Ren et al., CVPR 2020.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from deblurkit.core import ImagePrior, Observation
from deblurkit.errors import RunError
from deblurkit.image_priors.plugin import DIPParams
from deblurkit.nets.hourglass import Hourglass, min_side
from deblurkit.nets.untrained import UntrainedNetworks
from deblurkit.ops.gradients import hyper_laplacian, quadratic_variation, total_variation


class DeepImagePrior(ImagePrior[DIPParams]):
    """x = G(z + perturbation), one network and one noise input for every picture of the batch.

    The networks stay in training mode: their batch norms see one picture, as in the published code.

    Raises:
        RunError: If the latent image is too small for the number of scales.
    """

    def __init__(
        self, params: DIPParams, observation: Observation, *, margin: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__(params, observation, margin=margin, generator=generator)
        batch, channels, height, width = self.latent_shape
        need = min_side(params.scales)
        if min(height, width) < need:
            raise RunError(
                f"a latent image of {width}x{height} pixels is too small for {params.scales} scales of the deep image "
                f"prior, which need {need}; lower image_prior.scales or use a larger picture"
            )
        build = partial(
            Hourglass,
            params.input_channels,
            channels,
            channels=params.channels,
            skip_channels=params.skip_channels,
            scales=params.scales,
            non_local=params.non_local,
        )
        self.networks = UntrainedNetworks(
            build,
            batch=batch,
            shape=(params.input_channels, height, width),
            scale=params.input_scale,
            generator=generator,
        ).to(observation.y)

    def forward(self) -> Tensor:
        """The networks' images (B, C, H + 2 my, W + 2 mx) in (0, 1), for freshly perturbed inputs."""
        perturbation = None
        if self.params.perturbation:
            z = self.networks.z
            noise = torch.randn(z.shape, generator=self.generator, dtype=torch.float32)
            perturbation = self.params.perturbation * noise.to(z)
        image: Tensor = self.networks(perturbation)
        return image

    def energy(self, x: Tensor) -> Tensor:
        """The chosen regulariser of the network's image, times its weight, (B,)."""
        weight = self.params.regulariser_weight
        if self.params.regulariser == "none" or weight == 0:
            return super().energy(x)
        if self.params.regulariser == "hyper-laplacian":
            return weight * hyper_laplacian(x, self.params.exponent)
        if self.params.regulariser == "total-variation":
            return weight * total_variation(x)
        return weight * quadratic_variation(x)

    def fit(self, x: Tensor) -> None:
        """Train the networks towards ``x`` for ``fit_steps`` Adam steps of mean squared error."""
        adam = torch.optim.Adam(self.parameters(), lr=self.params.fit_lr)
        for _ in range(self.params.fit_steps):
            adam.zero_grad(set_to_none=True)
            ((self() - x) ** 2).mean().backward()
            adam.step()
