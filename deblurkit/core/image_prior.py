"""What the sharp image may look like: x = G(theta), R(x)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblurkit.core.observation import Observation
from deblurkit.params import Params

P = TypeVar("P", bound=Params)
ROUGH = 0.5
"""Progress at which a kernel that was rough begins to be refined."""


class ImagePrior(nn.Module, Generic[P]):
    """A parametrisation of the latent image, an energy on it, or both.

    The latent image is larger than the observation by ``margin`` on every side, because a valid blur eats
    half a kernel of border. Which of the methods work is what the component's spec declares in ``offers``.

    Args:
        params: The component's own parameters.
        observation: The blurry picture; shape, dtype and device of the latent image follow it.
        margin: Rows and columns that the latent image has beyond the observation, on every side.
        generator: The only source of randomness, on the CPU.
    """

    def __init__(
        self, params: P, observation: Observation, *, margin: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.params = params
        self.margin = margin
        self.generator = generator
        batch, channels, height, width = observation.y.shape
        self.latent_shape = (batch, channels, height + 2 * margin[0], width + 2 * margin[1])

    def forward(self) -> Tensor:
        """The proposed image, (B, C, H + 2 my, W + 2 mx), in [0, 1] up to what the prior itself allows."""
        raise NotImplementedError

    def energy(self, x: Tensor) -> Tensor:
        """R(x) of an image (B, C, h, w), as (B,); differentiable. Zero unless the prior has an opinion."""
        return x.new_zeros(x.shape[0])

    def restore(self, observation: Observation, kernel: Tensor, *, progress: float = 1.0) -> Tensor:
        """Closed-form or splitting update: the latent image for a fixed kernel (offer ``restore``).

        Args:
            observation: Blurry picture; it may differ in size from the one given at construction.
            kernel: (B, 1, h, w), non-negative, sum 1, true convolution.
            progress: How far an estimation has come: from 0 to ``ROUGH`` at one scale, while the kernel is rough and
                wants edges; from there to 1 while it is refined. Below 1 a prior may relax its weights, and go on where
                its last call for a kernel of this size ended instead of starting anew. 1 is plain non-blind
                deconvolution.

        Returns:
            (B, C, H + h - 1, W + w - 1).
        """
        raise NotImplementedError

    def fit(self, x: Tensor) -> None:
        """Start from this latent image, (B, C, H + 2 my, W + 2 mx) (offer ``fit``)."""
        raise NotImplementedError

    def take_over(self, coarser: ImagePrior[P], *, ratio: tuple[float, float], offset: tuple[float, float]) -> bool:
        """Go on, at a finer scale, from the same prior as it was left at the scale before.

        For a prior whose parameters do not hang on the grid, such as a network over coordinates: it takes them as they
        are, or shares them, and nothing is lost by resampling an image and fitting it anew. Called once, before the
        first step.

        Args:
            coarser: The prior of the scale before.
            ratio: Rows and columns of this picture a row and a column of the coarser one.
            offset: Where the first pixel of the coarser picture lies in this one: pixel (i, j) there is at
                (ratio[0] i + offset[0], ratio[1] j + offset[1]) here. Latent images begin ``margin`` before that.

        Returns:
            Whether it did. The default does not: such priors are started by :meth:`fit` where they offer it.
        """
        del coarser, ratio, offset
        return False

    @classmethod
    def check(cls, params: P) -> None:
        """Look once, before any picture, at what the parameters name; the default finds nothing wrong.

        Args:
            params: The prior's parameters.

        Raises:
            UsageError: If a file that they name is missing, or not what it should be.
        """
        del params

    @classmethod
    def admit(cls, params: P, y: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """The picture as this prior takes it, before anything else is done to it.

        A prior whose pictures are of one size and alignment brings the picture there, or refuses it; the result of the
        run then has that size. The default takes any picture as it is.

        Args:
            params: The prior's parameters.
            y: The blurry picture (1, C, H, W) in [0, 1].
            valid: (1, 1, H, W), 1 where a pixel was observed.

        Raises:
            RunError: If the prior cannot take the picture, with what to do about it.
            UsageError: If a file that the parameters name is not what it should be.
        """
        del params
        return y, valid

    def believed(self, observation: Observation) -> Observation:
        """The observation, with the mask at 0 where this prior's image cannot explain it; all of it by default."""
        return observation

    def project(self) -> None:
        """Bring the parameters back to where they may be; optimizers call it after every update of theirs."""

    def refine(self, objective: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """A last phase of the prior's own, after the optimizer's, in which the blur stays as it was found.

        Args:
            objective: The loss, a scalar, of a latent image; differentiable. It is the data term as it is after the
                optimizer's last step at this scale, plus R and S, each counted once whatever an optimizer's second
                phase made of them.

        Yields:
            The loss, detached, of the image before each update, once the update is done: a time budget or Ctrl-C that
            ends the phase there keeps what was reached. The default has no such phase.
        """
        del objective
        yield from ()

    @classmethod
    def restarted(cls, params: P, attempt: int) -> P:
        """Parameters for the given further attempt (1, 2, ...) after a bad result.

        The default keeps them: a random start differs by its seed alone.
        """
        del attempt
        return params


class PixelImagePrior(ImagePrior[P]):
    """Base of the priors whose image is a plain grid of free pixels, started at the blurry picture."""

    def __init__(
        self, params: P, observation: Observation, *, margin: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__(params, observation, margin=margin, generator=generator)
        self.pixels = nn.Parameter(extend(observation.start, margin))

    def forward(self) -> Tensor:
        """A copy of the pixels, (B, C, H + 2 my, W + 2 mx), which later steps do not change."""
        return self.pixels.clone()

    def fit(self, x: Tensor) -> None:
        """Take over the pixels of ``x``."""
        with torch.no_grad():
            self.pixels.copy_(x)


def extend(y: Tensor, margin: tuple[int, int]) -> Tensor:
    """Repeat the border pixels of (B, C, H, W) outwards by ``margin`` rows and columns."""
    rows, columns = margin
    return functional.pad(y, (columns, columns, rows, rows), mode="replicate")


def inner(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The central window of that height and width of (B, C, h, w): a latent image within the picture's frame."""
    rows, columns = (x.shape[-2] - size[0]) // 2, (x.shape[-1] - size[1]) // 2
    return x[..., rows : rows + size[0], columns : columns + size[1]]
