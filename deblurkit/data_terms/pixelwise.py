"""Distances that compare pixel with pixel."""

from __future__ import annotations

from torch import Tensor

from deblurkit.core import DataTerm, Observation
from deblurkit.data_terms.plugin import CharbonnierParams, MSEParams


class MSE(DataTerm[MSEParams]):
    """Mean of (B(x) - y)^2 over the pixels that can be believed."""

    def forward(self, prediction: Tensor, observation: Observation, step: int) -> Tensor:
        """(B,)."""
        del step
        return masked_mean((prediction - observation.y).square(), observation.mask)


class Charbonnier(DataTerm[CharbonnierParams]):
    """Mean of sqrt((B(x) - y)^2 + epsilon^2); identical pictures give epsilon."""

    def forward(self, prediction: Tensor, observation: Observation, step: int) -> Tensor:
        """(B,)."""
        del step
        squared = (prediction - observation.y).square() + self.params.epsilon**2
        return masked_mean(squared.sqrt(), observation.mask)


def masked_mean(value: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, C, H, W) over channels and the pixels where (B, 1, H, W) is 1, as (B,); 0 where there are none."""
    channels = value.shape[1]
    return (value * mask).sum((1, 2, 3)) / (mask.sum((1, 2, 3)) * channels).clamp_min(1.0)
