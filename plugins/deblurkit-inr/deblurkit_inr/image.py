"""The latent image as a U-Net over Fourier features of the pixel coordinates.

Zhang, Quan and Ji, Cross-scale self-supervised blind image deblurring via implicit neural representation, NeurIPS 2024.
Their U-Net is the hourglass of the deep image prior without non-local blocks; its input is not noise but a function of
the place, so the same weights show the same scene on a finer grid: nearly so with slow waves and few scales of the
U-Net. Its convolutions see nearer neighbours there, and waves faster than the pixels differ between them, so with the
published settings the finer image is only a start.
"""

from __future__ import annotations

import torch
from deblurkit.core import ImagePrior, Observation
from deblurkit.errors import RunError
from deblurkit.nets.hourglass import Hourglass, min_side
from deblurkit.nets.seeding import seeded
from torch import Tensor, nn

from deblurkit_inr.coordinates import Frame, fourier_features
from deblurkit_inr.plugin import INRImageParams


class CoordinateImage(ImagePrior[INRImageParams]):
    """x = G(waves(place)), one network for every picture of the batch.

    Raises:
        RunError: If the latent image is too small for the U-Net.
    """

    def __init__(
        self, params: INRImageParams, observation: Observation, *, margin: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__(params, observation, margin=margin, generator=generator)
        batch, channels, height, width = self.latent_shape
        need = min_side(params.scales)
        if min(height, width) < need:
            raise RunError(
                f"a latent image of {width}x{height} pixels is too small for the {params.scales} scales of the "
                f"U-Net of 'inr', which need {need}; lower image_prior.scales or run.scales, or use a larger picture"
            )
        with seeded(generator):
            self.networks = nn.ModuleList(
                Hourglass(
                    4 * params.frequencies,
                    channels,
                    channels=params.channels,
                    skip_channels=params.skip_channels,
                    scales=params.scales,
                    non_local=False,
                )
                for _ in range(batch)
            ).to(observation.y)
        self.register_buffer("waves", observation.y.new_empty(0), persistent=False)
        self.waves: Tensor
        self.look(Frame.whole((height, width)))

    def look(self, frame: Frame) -> None:
        """See the scene within ``frame`` from now on."""
        self.frame = frame
        size = self.latent_shape[-2], self.latent_shape[-1]
        waves = fourier_features(frame, size, count=self.params.frequencies, growth=self.params.growth)
        self.waves = waves.to(next(self.networks.parameters()))

    def forward(self) -> Tensor:
        """The networks' images (B, C, H + 2 my, W + 2 mx) in (0, 1)."""
        return torch.cat([network(self.waves) for network in self.networks])

    def fit(self, x: Tensor) -> None:
        """Train the networks towards ``x`` for ``fit_steps`` Adam steps of mean squared error."""
        adam = torch.optim.Adam(self.networks.parameters(), lr=self.params.fit_lr)
        for _ in range(self.params.fit_steps):
            adam.zero_grad(set_to_none=True)
            (self() - x).square().mean().backward()
            adam.step()

    def take_over(
        self, coarser: ImagePrior[INRImageParams], *, ratio: tuple[float, float], offset: tuple[float, float]
    ) -> bool:
        """Share the coarser prior's networks, and see the same scene on the finer grid."""
        assert isinstance(coarser, CoordinateImage)
        self.networks = coarser.networks
        self.look(coarser.frame.finer(ratio, offset, (coarser.margin, self.margin)))
        return True
