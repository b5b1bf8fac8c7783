"""What the blur may look like, and how it blurs: B(x; k), k = K(phi), S(k)."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from deblurkit.core.observation import Observation
from deblurkit.ops.convolve import convolve_valid
from deblurkit.params import Params

P = TypeVar("P", bound=Params)


class KernelPrior(nn.Module, Generic[P]):
    """A family of blurs. Its essence is :meth:`blur`; only some families can also show a :meth:`kernel`.

    Args:
        params: The component's own parameters.
        observation: The blurry picture; batch size, dtype and device follow it.
        size: Height and width of the window that holds the blur, odd, in pixels.
        generator: The only source of randomness, on the CPU.
    """

    def __init__(
        self, params: P, observation: Observation, *, size: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.params = params
        self.size = size
        self.generator = generator
        self.batch = observation.y.shape[0]
        # a fixed kernel has no parameters that would know the device
        self.register_buffer("no_energy", observation.y.new_zeros(self.batch), persistent=False)
        self.no_energy: Tensor

    @property
    def margin(self) -> tuple[int, int]:
        """Rows and columns that :meth:`blur` removes on every side: half a kernel, or 0 where the size is kept."""
        return self.size[0] // 2, self.size[1] // 2

    def blur(self, x: Tensor) -> Tensor:
        """Blur a latent image (B, C, H + 2 my, W + 2 mx) to (B, C, H, W); differentiable in x and in the parameters.

        Unless a prior says otherwise, the valid convolution with its :meth:`kernel`.
        """
        return convolve_valid(x, self.kernel())

    def kernel(self) -> Tensor:
        """The convolution kernel (B, 1, h, w), non-negative, sum 1, true convolution (offer ``kernel``)."""
        raise NotImplementedError

    def energy(self) -> Tensor:
        """S(k) as (B,); differentiable. Zero unless the prior has an opinion."""
        return self.no_energy

    def estimate(self, x: Tensor, observation: Observation, *, progress: float = 1.0) -> None:
        """Closed-form update: set the kernel to the best one for a fixed latent image (offer ``estimate``).

        Args:
            x: Latent image (B, C, H + 2 my, W + 2 mx).
            observation: The blurry picture of that image.
            progress: How far the estimation has come, from 0; see ``ImagePrior.restore``. Below 1 a rough image says
                what the kernel is like; with 1 the image is as good as it gets, and the kernel must stay where the
                image expects it.
        """
        raise NotImplementedError

    def fit(self, kernel: Tensor) -> None:
        """Start from this kernel, (B, 1, h, w) of this prior's size (offer ``fit``)."""
        raise NotImplementedError

    def take_over(self, coarser: KernelPrior[P], *, ratio: float) -> bool:
        """Go on, at a finer scale, from the same prior as it was left at the scale before.

        The counterpart of ``ImagePrior.take_over``; the centre of the window is the same point at both scales.

        Args:
            coarser: The prior of the scale before.
            ratio: Pixels of this window a pixel of the coarser one.

        Returns:
            Whether it did. The default does not: the kernel is resampled, and the prior started by :meth:`fit`.
        """
        del coarser, ratio
        return False

    def renew(self) -> None:
        """Start anew from another draw where the start is random, as algorithm 1 of Tran et al. does in every round."""

    @classmethod
    def alternative(cls, params: P) -> P | None:
        """Parameters of a second closed-form estimation that is worth its time on any clean picture, or ``None``.

        The one whose restored picture has the sparser gradients is kept.
        """
        del params
        return None

    @classmethod
    def restarted(cls, params: P, attempt: int) -> P:
        """Parameters for the given further attempt (1, 2, ...) after a bad result; the default keeps them."""
        del attempt
        return params
