"""How far a re-blurred image is from what was observed: D(B(x; k), y)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from torch import Tensor, nn

from deblurkit.core.observation import Observation
from deblurkit.params import Params

if TYPE_CHECKING:
    from deblurkit.core.problem import Problem

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

    def terms(self, problem: Problem, x: Tensor, step: int) -> dict[str, Tensor]:
        """What the data say of a latent image, by name, each (B,); their sum enters the objective.

        The default is :meth:`forward` of the re-blurred image alone. A term that compares scales overrides it: where
        both priors took over from their coarser selves, ``problem.coarser`` is the estimation there.

        Args:
            problem: The estimation at hand, with its priors as they are.
            x: The latent image (B, C, H + 2 my, W + 2 mx).
            step: Number of steps done so far at this scale, from 0.

        Returns:
            ``data`` at least; ``image`` and ``kernel`` are the names of R and S, and refused by ``Problem.loss``.
        """
        return {"data": self(problem.kernel.blur(x), problem.observation, step)}

    def phase(self, step: int) -> int:
        """Number of the phase, from 0 and rising, at a step; values of different phases cannot be compared."""
        del step
        return 0
