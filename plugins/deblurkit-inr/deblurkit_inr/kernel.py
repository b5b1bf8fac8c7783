"""The kernel as a SIREN over kernel coordinates, with softmax, kept in the centre of its window.

Zhang, Quan and Ji, NeurIPS 2024; the network is that of Sitzmann et al., Implicit neural representations with periodic
activation functions, NeurIPS 2020. A blind estimation can move the kernel one way and the image the other. Centring
takes that freedom away: a kernel that crept to the border of its window would be cut there.

The published code centres by rolling the array by whole pixels (``pixels``), a jump that the image has to follow. A
network over coordinates can do better (``coordinates``, the default): it is asked at places moved by its own centre of
mass, a fraction of a pixel as well, and nothing is interpolated or cut. The centre of mass is a function of the
weights, and gradients go through it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from deblurkit.core import KernelPrior, Observation
from deblurkit.nets.seeding import seeded
from deblurkit.ops.simplex import centroid
from torch import Tensor, nn

from deblurkit_inr.plugin import INRKernelParams

ROUNDS = 2
"""How often the coordinates are moved by the centre of mass: what the window did not show before enters the second."""


class Siren(nn.Module):
    """Sine layers and a linear one, from places (N, 2) to values (N,).

    The weights begin as in Sitzmann et al. 2020, section 3.2: uniform, so that every sine sees inputs of like spread.
    """

    def __init__(self, hidden: int, layers: int, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency
        widths = [2, *[hidden] * (layers + 1), 1]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            bound = 1 / 2 if index == 0 else (6 / layer.in_features) ** 0.5 / frequency
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, places: Tensor) -> Tensor:
        """The values, in the precision of the places, under autocast too: phases do not bear less."""
        with torch.autocast(places.device.type, enabled=False):
            for layer in list(self.layers)[:-1]:
                places = torch.sin(self.frequency * layer(places))
            values: Tensor = self.layers[-1](places)
        return values[:, 0]


class CoordinateKernel(KernelPrior[INRKernelParams]):
    """k = softmax(SIREN(place)), one network for every picture of the batch.

    The window of the scale where the network begins goes from -1 to 1.
    """

    def __init__(
        self, params: INRKernelParams, observation: Observation, *, size: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__(params, observation, size=size, generator=generator)
        with seeded(generator):
            self.networks = nn.ModuleList(
                Siren(params.hidden_units, params.hidden_layers, params.frequency) for _ in range(self.batch)
            ).to(observation.y)
        self.register_buffer("places", observation.y.new_empty(0), persistent=False)
        self.places: Tensor
        self.look((1 / max(size[0] // 2, 1), 1 / max(size[1] // 2, 1)))

    def look(self, pitch: tuple[float, float]) -> None:
        """Let neighbouring rows and columns be so far apart from now on."""
        self.pitch = pitch
        axes = [p * (torch.arange(n, dtype=torch.float64) - n // 2) for p, n in zip(pitch, self.size, strict=True)]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 1)
        self.places = places.to(next(self.networks.parameters()))

    def at(self, shift: Tensor) -> Tensor:
        """The kernel (B, 1, h, w) with the window moved by ``shift`` (B, 2), down and right, in pixels."""
        moved = shift * shift.new_tensor(self.pitch)
        values = [network(self.places + one) for network, one in zip(self.networks, moved, strict=True)]
        return torch.softmax(torch.stack(values), -1).view(-1, 1, *self.size)

    def kernel(self) -> Tensor:
        """(B, 1, h, w), > 0, sum 1, centred as the parameters say."""
        shift = self.places.new_zeros(self.batch, 2)
        kernel = self.at(shift)
        if self.params.centring == "coordinates":
            for _ in range(ROUNDS):
                shift = shift + centroid(kernel)
                kernel = self.at(shift)
        elif self.params.centring == "pixels":
            whole = (-centroid(kernel.detach())).round().long().tolist()
            kernel = torch.stack([torch.roll(k, one, (-2, -1)) for k, one in zip(kernel, whole, strict=True)])
        return kernel

    def fit(self, kernel: Tensor) -> None:
        """Train the networks towards ``kernel`` for ``fit_steps`` Adam steps of cross-entropy; centring stays on."""
        adam = torch.optim.Adam(self.networks.parameters(), lr=self.params.fit_lr)
        target = kernel.detach()
        for _ in range(self.params.fit_steps):
            adam.zero_grad(set_to_none=True)
            entropy = -(target * self.kernel().clamp_min(torch.finfo(target.dtype).tiny).log()).sum((1, 2, 3))
            entropy.sum().backward()
            adam.step()

    def take_over(self, coarser: KernelPrior[INRKernelParams], *, ratio: float) -> bool:
        """Share the coarser prior's networks, asked at finer places."""
        assert isinstance(coarser, CoordinateKernel)
        self.networks = coarser.networks
        self.look((coarser.pitch[0] / ratio, coarser.pitch[1] / ratio))
        return True
