"""In which order x and k move. An optimizer yields its steps; whoever asked for them owns the loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torch import Tensor

from deblurkit.core.problem import Problem
from deblurkit.params import Params

P = TypeVar("P", bound=Params)


@dataclass(frozen=True)
class Step:
    """One step: the objective was evaluated, and the parts still are what it was evaluated for.

    Attributes:
        index: Its number, from 0.
        total: How many there will be.
        loss: The objective, a detached scalar tensor; read it rarely, on an accelerator it waits.
        image: The latent image (B, C, H + 2 my, W + 2 mx), detached.
        terms: Parts of the objective by name, detached scalar tensors.
        phase: Number of the phase of the objective, from 0 and rising; losses of different phases cannot be compared.
    """

    index: int
    total: int
    loss: Tensor
    image: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    phase: int = 0


class Optimizer(Generic[P]):
    """A way to minimise a :class:`Problem`. It prints nothing, draws nothing and saves nothing."""

    def __init__(self, params: P) -> None:
        self.params = params

    def steps(self, problem: Problem) -> Iterator[Step]:
        """Minimise, yielding at every step; the priors of ``problem`` are then those that its loss is of."""
        raise NotImplementedError

    @classmethod
    def restarted(cls, params: P, attempt: int) -> P:
        """Parameters for the given further attempt (1, 2, ...); the default keeps them."""
        del attempt
        return params
