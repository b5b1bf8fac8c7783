"""What every encoded blur kernel space can do, whatever its structure.

A space is two operators that are learned together from sharp and blurry pictures (Tran, Tran, Phung and Hoai, Explore
image deblurring via encoded blur kernel space, CVPR 2021, section 3.1):

* the extractor G: ``code = G(sharp, blurry)`` says how a picture was blurred,
* the family F: ``blurry = F(sharp, code)`` blurs a picture in that way.

(The letters are the paper's; the authors' code swaps them.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Statistics:
    """A Gaussian over the codes of the training pictures, the same at every place of the code's grid.

    Attributes:
        mean: (D,).
        factor: (D, D), lower triangular: ``mean + factor @ N(0, I)`` has the codes' mean and covariance.
    """

    mean: Tensor
    factor: Tensor


class KernelSpace(nn.Module):
    """A family of blurs F and its extractor G.

    Pictures are (B, C, H, W) in [0, 1], C = 1 or 3, of any size; codes are (B, D, gy, gx).

    Attributes:
        preset: Name of the structure, as in a file's header.
        channels: Channels of the pictures that the networks see; 0 where any number will do.
        margin: Rows and columns that :meth:`blur` removes on every side.
        statistics: The Gaussian over the training codes, where it was fitted.
    """

    preset: ClassVar[str]
    channels: int = 0
    margin: int = 0
    statistics: Statistics | None = None

    def config(self) -> dict[str, int | float | bool]:
        """The arguments that construct an equal structure."""
        raise NotImplementedError

    def code_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """(D, gy, gx) of the code of a picture of that height and width."""
        raise NotImplementedError

    def encode(self, sharp: Tensor, blurry: Tensor) -> Tensor:
        """G: the code (B, D, gy, gx) of the blur between two pictures of one size; the mean, where it has a spread."""
        return self.distribution(sharp, blurry)[0]

    def distribution(self, sharp: Tensor, blurry: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and spread of the code, (B, D, gy, gx) each; the spread only of a variational space, and of any sign."""
        if sharp.shape != blurry.shape:
            raise ValueError(f"sharp and blurry pictures differ: {tuple(sharp.shape)} and {tuple(blurry.shape)}")
        if self.channels == 1:
            return self.extract(sharp.mean(1, keepdim=True), blurry.mean(1, keepdim=True))
        if self.channels == 3:
            return self.extract(sharp.expand(-1, 3, -1, -1), blurry.expand(-1, 3, -1, -1))
        return self.extract(sharp, blurry)

    def blur(self, x: Tensor, code: Tensor) -> Tensor:
        """F as a valid operation: (B, C, H + 2 margin, W + 2 margin) to (B, C, H, W).

        Where the networks see another number of channels than the picture has, a grey picture counts as three equal
        channels, and the channels of a colour picture are blurred one by one.
        """
        batch, channels = x.shape[:2]
        if self.channels == 1 and channels != 1:
            folded = x.reshape(batch * channels, 1, *x.shape[-2:])
            blurred = self.apply_code(folded, code.repeat_interleave(channels, dim=0))
            return blurred.reshape(batch, channels, *blurred.shape[-2:])
        if self.channels == 3 and channels == 1:
            return self.apply_code(x.expand(-1, 3, -1, -1), code).mean(1, keepdim=True)
        return self.apply_code(x, code)

    def forward(self, sharp: Tensor, code: Tensor) -> Tensor:
        """F of a picture (B, C, H, W), of the same size; beyond its border it goes on as :func:`extend` says."""
        return self.blur(extend(sharp, (self.margin,) * 4), code)

    def extract(self, sharp: Tensor, blurry: Tensor) -> tuple[Tensor, Tensor | None]:
        """G for pictures with the right number of channels; see :meth:`distribution`."""
        raise NotImplementedError

    def apply_code(self, x: Tensor, code: Tensor) -> Tensor:
        """F for pictures with the right number of channels; see :meth:`blur`."""
        raise NotImplementedError

    def draw(self, size: tuple[int, int], *, generator: torch.Generator, strength: float = 1.0) -> Tensor:
        """A random code (1, D, gy, gx) for pictures of that size: ``mean + strength * factor @ N(0, I)``.

        One draw serves the whole grid, so that the blur is of one kind everywhere.

        Raises:
            ValueError: If the space has no statistics.
        """
        if self.statistics is None:
            raise ValueError("this kernel space has no statistics of its training codes, so nothing can be drawn")
        dimensions, rows, columns = self.code_shape(size)
        noise = torch.randn(dimensions, generator=generator).to(self.statistics.mean)
        code = self.statistics.mean + strength * (self.statistics.factor @ noise)
        code = code.to(next(self.parameters()).device)  # the statistics stay where they were made
        return code.view(1, dimensions, 1, 1).expand(-1, -1, rows, columns).clone()


class ConvolutionalSpace(KernelSpace):
    """A space whose F has a convolution at its core: every code stands for a kernel.

    Attributes:
        window: Side of the kernels, odd; :attr:`margin` is half of it.
    """

    window: int

    def kernel(self, code: Tensor) -> Tensor:
        """The kernels (B, 1, window, window), >= 0, sum 1, true convolution, of codes (B, D, 1, 1)."""
        raise NotImplementedError

    def encode_kernel(self, kernel: Tensor) -> Tensor:
        """The codes (B, D, 1, 1) of kernels (B, 1, window, window)."""
        raise NotImplementedError

    def kernel_loss(self, kernels: Tensor) -> Tensor:
        """How badly kernels (B, 1, window, window) survive encoding and decoding, as a scalar to train on.

        Costs a fraction of training on pictures, and counts errors as pictures would show them.
        """
        raise NotImplementedError


def extend(x: Tensor, borders: tuple[int, int, int, int]) -> Tensor:
    """Extend pictures by their mirror image, or by their last row or column where they are too small for that.

    Args:
        x: (B, C, H, W).
        borders: Columns on the left and on the right, rows at the top and at the bottom.

    Returns:
        (B, C, H + top + bottom, W + left + right).
    """
    left, right, top, bottom = borders
    for border, side in (((left, right, 0, 0), x.shape[-1]), ((0, 0, top, bottom), x.shape[-2])):
        if any(border):
            x = functional.pad(x, border, mode="reflect" if max(border) < side else "replicate")
    return x
