"""The kernel as the output of an hourglass (Double-DIP, Gandelsman et al. 2019; SelfDeblur's ablation, table 2)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.core import KernelPrior, Observation
from deblurkit.kernel_priors.plugin import KernelDIPParams
from deblurkit.nets.hourglass import Hourglass, min_side
from deblurkit.nets.untrained import UntrainedNetworks


class KernelDIP(KernelPrior[KernelDIPParams]):
    """k = G(z) / sum G(z): an hourglass without non-local blocks, its sigmoid image cropped and normalised to sum 1.

    A kernel window smaller than the network can take is made in the centre of a larger picture.
    """

    def __init__(
        self, params: KernelDIPParams, observation: Observation, *, size: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__(params, observation, size=size, generator=generator)
        height, width = (max(side, min_side(params.scales)) for side in size)
        build = partial(
            Hourglass,
            params.input_channels,
            1,
            channels=params.channels,
            skip_channels=params.skip_channels,
            scales=params.scales,
            non_local=False,
        )
        self.networks = UntrainedNetworks(
            build,
            batch=self.batch,
            shape=(params.input_channels, height, width),
            scale=params.input_scale,
            generator=generator,
        ).to(observation.y)

    def kernel(self) -> Tensor:
        """(B, 1, h, w), > 0, sum 1."""
        picture: Tensor = self.networks()
        rows, columns = picture.shape[-2] - self.size[0], picture.shape[-1] - self.size[1]
        picture = functional.pad(
            picture, (-(columns // 2), -(columns - columns // 2), -(rows // 2), -(rows - rows // 2))
        )
        return picture / picture.sum((-2, -1), keepdim=True)

    def fit(self, kernel: Tensor) -> None:
        """Train the networks towards ``kernel`` for ``fit_steps`` Adam steps of squared error."""
        adam = torch.optim.Adam(self.parameters(), lr=self.params.fit_lr)
        for _ in range(self.params.fit_steps):
            adam.zero_grad(set_to_none=True)
            ((self.kernel() - kernel) ** 2).sum((1, 2, 3)).mean().backward()
            adam.step()
