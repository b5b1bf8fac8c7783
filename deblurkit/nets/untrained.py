"""Networks that nobody trained, each with a fixed noise input: the common part of all deep priors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deblurkit.nets.seeding import seeded


class UntrainedNetworks(nn.Module):
    """One network and one noise input for every picture of a batch, so that pictures do not meet.

    Args:
        build: Makes a network; called once a picture.
        batch: Number of pictures.
        shape: Shape of one input, without the batch dimension.
        scale: The input is uniform on [0, scale] (SelfDeblur, Ren et al., CVPR 2020: 0.1).
        generator: Source of inputs and weights, on the CPU; each input is drawn before its network.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        *,
        batch: int,
        shape: tuple[int, ...],
        scale: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        inputs, networks = [], []
        for _ in range(batch):
            inputs.append(torch.rand((1, *shape), generator=generator) * scale)
            with seeded(generator):
                networks.append(build())
        self.networks = nn.ModuleList(networks)
        self.register_buffer("z", torch.cat(inputs))
        self.z: Tensor

    def forward(self, perturbation: Tensor | None = None) -> Tensor:
        """What the networks make of their inputs, plus a perturbation (B, *shape) where one is given, (B, ...)."""
        z = self.z if perturbation is None else self.z + perturbation
        return torch.cat([network(z[i : i + 1]) for i, network in enumerate(self.networks)])
