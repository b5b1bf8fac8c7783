"""Everything that an optimizer needs to know about one estimation at one scale."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deblurkit.core.data_term import DataTerm
from deblurkit.core.image_prior import ImagePrior
from deblurkit.core.kernel_prior import KernelPrior
from deblurkit.core.observation import Observation
from deblurkit.specs import Fit

ENERGIES = frozenset({"image", "kernel"})
"""Names of R and S among the parts of the objective; a data term may not use them."""


@dataclass(frozen=True)
class Problem:
    """Find x and k that minimise D(B(x; k), y) + R(x) + S(k).

    Attributes:
        observation: The blurry picture.
        image: The image prior, already sized for this observation.
        kernel: The kernel prior.
        data: The data term.
        ways: By which of their offers the optimizer moves the two parts; empty for a part that is fixed.
        scale: Which scale of a coarse-to-fine estimation this is, from 0, the coarsest.
        scales: How many scales there are.
        coarser: The estimation at the scale before, as far as both priors took over from their coarser selves there, or
            ``None``. Priors that share their networks with them go on moving there too.
        stride: The coarser picture is every stride-th pixel of this one, from the first; 0 where it was averaged.
    """

    observation: Observation
    image: ImagePrior[Any]
    kernel: KernelPrior[Any]
    data: DataTerm[Any]
    ways: Fit
    scale: int = 0
    scales: int = 1
    coarser: Problem | None = None
    stride: int = 0

    def loss(
        self, x: Tensor, step: int, *, image_weight: float = 1.0, kernel_weight: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective summed over the batch, and its parts by name: those of the data term, ``image``, ``kernel``.

        Args:
            x: The latent image.
            step: Number of the step, which a data term may depend on.
            image_weight: Factor on R(x).
            kernel_weight: Factor on S(k).

        Raises:
            ValueError: If the data term's parts lack ``data``, or have the name of R or S.
        """
        said = self.data.terms(self, x, step)
        check_names(type(self.data).__name__, said)
        terms = {
            **{name: term.sum() for name, term in said.items()},
            "image": image_weight * self.image.energy(x).sum(),
            "kernel": kernel_weight * self.kernel.energy().sum(),
        }
        return torch.stack(list(terms.values())).sum(), terms


def check_names(owner: str, terms: Collection[str]) -> None:
    """Refuse names by which a part of the objective would be lost.

    Args:
        owner: The data term's class, for the message.
        terms: Names of its parts.

    Raises:
        ValueError: If ``data`` is not among them, or the name of R or S is.
    """
    taken = sorted(ENERGIES.intersection(terms))
    if taken:
        raise ValueError(
            f"terms() of the data term {owner} returns {taken[0]!r}, which is the name of a prior's energy and would "
            "be lost; give that part another name"
        )
    if "data" not in terms:
        found = ", ".join(map(repr, terms)) or "nothing"
        raise ValueError(
            f"terms() of the data term {owner} returns {found}, and must return 'data' among its parts: what "
            "the re-blurred image says"
        )
