"""A distance of features instead of pixels, as Tran et al. (CVPR 2021) deblur by it in their published code."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.core import DataTerm, Observation
from deblurkit.data_terms.pixelwise import masked_mean
from deblurkit.data_terms.plugin import PerceptualParams
from deblurkit.nets.vgg import load_vgg19
from deblurkit.ops.ssim import masked_ssim

_ROUNDED = 1e-4
"""The stand-in takes the absolute value as a hyperbola of this half width: it has a slope, and 8 bits are coarser."""
_BINOMIAL = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


class Perceptual(DataTerm[PerceptualParams]):
    """``perceptual_weight * P + ssim_weight * (1 - SSIM)`` before step ``switch``, ``late_weight * P`` from it on.

    P is the mean absolute difference of VGG19's relu1_1 to relu5_1, weighted by ``levels``; the inputs are not
    normalised, as in the published code, and a grey picture counts as three equal channels. Where no weights are given,
    P stands on the five levels of a Laplacian pyramid (Burt and Adelson 1983) instead, which knows nothing of what
    pictures show: another distance, of another size, under the same weights.

    Raises:
        UsageError: If the weights' file is missing, damaged, or not VGG19.
    """

    def __init__(self, params: PerceptualParams) -> None:
        super().__init__(params)
        self.network = None if params.weights == Path() else load_vgg19(params.weights)

    def forward(self, prediction: Tensor, observation: Observation, step: int) -> Tensor:
        """(B,)."""
        distance = self.distance(prediction, observation)
        if self.phase(step):
            return self.params.late_weight * distance
        structural = 1.0 - masked_ssim(prediction, observation.y, observation.mask, padding="same")
        return self.params.perceptual_weight * distance + self.params.ssim_weight * structural

    def phase(self, step: int) -> int:
        """1 from the switch on."""
        return int(step >= self.params.switch)

    def distance(self, prediction: Tensor, observation: Observation) -> Tensor:
        """P alone, (B,).

        Where a pixel is not believed, both pictures are made equal; features count by the share of believed pixels that
        they stand for.
        """
        y, mask = observation.y, observation.mask
        prediction = torch.where(mask > 0, prediction, y)
        total = y.new_zeros(y.shape[0])
        for weight, error in zip(self.params.levels, self._errors(prediction, y), strict=False):
            if error.shape[-2:] != mask.shape[-2:]:
                mask = functional.interpolate(mask, size=error.shape[-2:], mode="area")
            total = total + weight * masked_mean(error, mask)
        return total

    def _errors(self, prediction: Tensor, y: Tensor) -> list[Tensor]:
        """Absolute differences of the features, fine to coarse."""
        if self.network is None:
            bands = laplacian_pyramid(prediction - y)
            return [(band.square() + _ROUNDED**2).sqrt() - _ROUNDED for band in bands]
        network = self.network.to(y)
        with torch.no_grad():
            wanted = network(y.expand(-1, 3, -1, -1))
        return [(a - b).abs() for a, b in zip(network(prediction.expand(-1, 3, -1, -1)), wanted, strict=True)]


def laplacian_pyramid(x: Tensor, levels: int = 5) -> list[Tensor]:
    """What each halving of a picture loses, and what is left in the end; linear in the picture.

    Args:
        x: (B, C, H, W).
        levels: How many, the rest included.

    Returns:
        ``levels`` tensors (B, C, h, w), fine to coarse, each (rounded up) half as large as the one before.
    """
    bands = []
    for _ in range(levels - 1):
        coarse = _halved(x)
        bands.append(x - functional.interpolate(coarse, size=x.shape[-2:], mode="bilinear", align_corners=False))
        x = coarse
    return [*bands, x]


def _halved(x: Tensor) -> Tensor:
    """Every second pixel of a binomial low-pass, centred between two pixels; the border is continued."""
    channels = x.shape[1]
    taps = x.new_tensor(_BINOMIAL)
    x = functional.pad(x, (1, 1 + x.shape[-1] % 2, 1, 1 + x.shape[-2] % 2), mode="replicate")
    x = functional.conv2d(x, taps.view(1, 1, 1, -1).expand(channels, -1, -1, -1), stride=(1, 2), groups=channels)
    return functional.conv2d(x, taps.view(1, 1, -1, 1).expand(channels, -1, -1, -1), stride=(2, 1), groups=channels)
