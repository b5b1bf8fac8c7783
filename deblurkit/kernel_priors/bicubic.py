"""The fixed blur of bicubic down-sampling: what PULSE (Menon et al., CVPR 2020) assumes every picture went through."""

from __future__ import annotations

import torch
from torch import Tensor

from deblurkit.core import KernelPrior, Observation
from deblurkit.kernel_priors.plugin import BicubicParams
from deblurkit.ops.convolve import convolve_valid


class Bicubic(KernelPrior[BicubicParams]):
    """The low-pass in front of down-sampling by ``params.factor``, at the picture's own size; nothing is estimated.

    The window is the blur's own, 4 factor - 1 taps a side; the size asked for does not matter. The weights have
    negative lobes, so there is no kernel on the simplex to show.
    """

    def __init__(
        self, params: BicubicParams, observation: Observation, *, size: tuple[int, int], generator: torch.Generator
    ) -> None:
        taps = cubic_taps(params.factor)
        del size
        super().__init__(params, observation, size=(len(taps), len(taps)), generator=generator)
        self.register_buffer("weights", torch.outer(taps, taps).to(observation.y)[None, None])
        self.weights: Tensor

    def blur(self, x: Tensor) -> Tensor:
        """Valid convolution with the bicubic low-pass."""
        return convolve_valid(x, self.weights)


def cubic_taps(factor: int) -> Tensor:
    """Keys' cubic (a = -0.5), stretched by a factor and sampled at the whole pixels, of sum 1.

    PULSE's down-sampling has 4 factor taps, halfway between pixels: kept at full size, such a blur would shift the
    picture by half a pixel. So the same curve is sampled at i / factor, |i| < 2 factor, an odd number of taps about the
    centre; at |i| = 2 factor it is 0.

    Args:
        factor: Of the down-sampling, at least 1; 1 is no blur.

    Returns:
        (4 factor - 1,) float64.
    """
    distance = torch.arange(1 - 2 * factor, 2 * factor, dtype=torch.float64).abs() / factor
    near = (1.5 * distance - 2.5) * distance**2 + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    taps = torch.where(distance <= 1.0, near, far)
    return taps / taps.sum()
