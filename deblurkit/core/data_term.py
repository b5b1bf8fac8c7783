"""How far a re-blurred image is from what was observed: D(B(x; k), y)."""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor, nn

from deblurkit.core.observation import Observation
from deblurkit.params import Params

P = TypeVar("P", bound=Params)


class DataTerm(nn.Module, Generic[P]):
    """A distance between pictures that honours the mask of the observation."""

    def __init__(self, params: P) -> None:
        super().__init__()
        self.params = params

    def forward(self, prediction: Tensor, observation: Observation, step: int) -> Tensor:
        """The distance of each picture of the batch.

        Args:
            prediction: Re-blurred image (B, C, H, W).
            observation: What was observed, with its mask; masked pixels do not count.
            step: Number of steps done so far, from 0; terms that change over time use it.

        Returns:
            (B,), >= 0, differentiable in ``prediction``.
        """
        raise NotImplementedError

    def phase(self, step: int) -> int:
        """Number of the phase, from 0 and rising, at a step; values of different phases cannot be compared."""
        del step
        return 0
