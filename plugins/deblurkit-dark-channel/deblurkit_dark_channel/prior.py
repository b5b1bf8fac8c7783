"""Few patches without a black pixel, and few gradients, as an image prior."""

from __future__ import annotations

from dataclasses import replace

import torch
from deblurkit.core import Observation, PixelImagePrior
from deblurkit.core.image_prior import ROUGH
from deblurkit.ops.gradients import forward_differences
from torch import Tensor

from deblurkit_dark_channel.channel import dark_channel
from deblurkit_dark_channel.plugin import DarkChannelParams
from deblurkit_dark_channel.splitting import sharpened

LARGEST_PATCH = 35
"""Side of the paper's patches, for pictures of 238 pixels and more; smaller ones have smaller patches."""
PATCHES = 7
"""Patches that fit side by side into the smaller side of a small picture."""
KNEE = 0.05
"""Where the energy's smooth count is half way: a dark value or a gradient of this size counts one half."""
RESTART_FACTORS = (1.0, 1.0, 0.5, 5.0)
"""Costs of the attempts, relative to the first: few strong edges want less, a kernel that collapsed wants more."""


class DarkChannel(PixelImagePrior[DarkChannelParams]):
    """L0 norms of the dark channel and of the gradients (Pan, Sun, Pfister and Yang, CVPR 2016)."""

    def energy(self, x: Tensor) -> Tensor:
        """A smooth count of what the L0 norms count, (B,): a value v counts v^2 / (v^2 + KNEE^2), from 0 to 1.

        The norms themselves have no slope anywhere. The two counts, of dark values and of gradients, are shares of the
        pixels, weighed like ``dark`` and ``edges``, and as a whole by ``energy_weight``.
        """
        dark, _ = dark_channel(x, self.patch((x.shape[-2], x.shape[-1])))
        dx, dy = forward_differences(x)
        squares = dark.square(), (dx.square() + dy.square()).sum(1, keepdim=True)
        counts = [(square / (square + KNEE**2)).mean((1, 2, 3)) for square in squares]
        total = self.params.dark + self.params.edges
        return self.params.energy_weight / total * (self.params.dark * counts[0] + self.params.edges * counts[1])

    @torch.no_grad()
    def restore(self, observation: Observation, kernel: Tensor, *, progress: float = 1.0) -> Tensor:
        """The sharp image (B, C, H + h - 1, W + w - 1); both costs fall with progress by the factor ``relax``."""
        p = self.params
        fallen = p.relax ** -min(1.0, progress / ROUGH)
        return sharpened(
            observation,
            kernel,
            dark=p.dark * fallen,
            edges=p.edges * fallen,
            patch=self.patch(observation.size),
            rounds=p.rounds,
        )

    def patch(self, size: tuple[int, int]) -> int:
        """Side of the patches, odd, in a picture of that size."""
        if self.params.patch != "auto":
            return int(self.params.patch)
        return 2 * min(LARGEST_PATCH // 2, min(size) // PATCHES // 2) + 1

    @classmethod
    def restarted(cls, params: DarkChannelParams, attempt: int) -> DarkChannelParams:
        """Other costs."""
        factor = RESTART_FACTORS[attempt % len(RESTART_FACTORS)]
        return replace(params, dark=params.dark * factor, edges=params.edges * factor)
