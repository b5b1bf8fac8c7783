"""A data term that looks at two scales at once.

Let y' be every s-th pixel of y = k * x, x' every s-th pixel of x, and k' every s-th tap of k from its centre, elsewhere
zero in k". The taps of k" meet no other pixels than those of x', so (Zhang, Quan and Ji, NeurIPS 2024)::

    (k" * x)' = k' * x'    and thus    y' = (k * x)' + s^2 (k' * x' - (k" * x)')

holds exactly. Coordinate networks give a coarse image and a coarse kernel of their own. With them in place of x' and
s^2 k' the difference of the two sides tells how far the networks on the coarse grid are from what they say on the fine
one. The paper writes the second sum with modulated kernels, and compares in Fourier space.

The coarse kernel sums to 1, so the taps of k" are held to a sum of about 1 / s^2. That is wanted: of a smooth image a
kernel on the black pixels of a checkerboard alone makes the same y' as one on all of them. (The published code
multiplies the blur with the normalised coarse kernel by s^2 once more, and so asks for another brightness at the coarse
scale; this is not followed.)
"""

from __future__ import annotations

import torch
from deblurkit.core import DataTerm, Observation, Problem
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.ssim import masked_ssim
from torch import Tensor

from deblurkit_inr.plugin import CrossScaleParams


class CrossScaleSSIM(DataTerm[CrossScaleParams]):
    """1 - SSIM; before ``until`` on every s-th pixel, and with the consistency of the two scales.

    There is a coarser scale to compare with where both priors share their networks with it and ``run.decimation`` is
    ``stride``. Elsewhere, as at the coarsest scale, it is 1 - SSIM throughout.

    Attributes:
        compares: Whether the last estimation that was asked for its terms has a coarser scale to compare with.
    """

    def __init__(self, params: CrossScaleParams) -> None:
        super().__init__(params)
        self.compares = False

    def forward(self, prediction: Tensor, observation: Observation, step: int) -> Tensor:
        """1 - SSIM of the whole pictures, (B,)."""
        del step
        return 1.0 - masked_ssim(prediction, observation.y, observation.mask, padding="same")

    def terms(self, problem: Problem, x: Tensor, step: int) -> dict[str, Tensor]:
        """``data``, and where scales are compared ``scales``: the weighted distance of the two sides; each (B,)."""
        coarser, stride = problem.coarser, problem.stride
        self.compares = coarser is not None and stride > 0
        if coarser is None or stride == 0 or step >= self.params.until:
            return super().terms(problem, x, step)
        kernel, there = problem.kernel.kernel(), coarser.observation
        every = (..., slice(None, None, stride), slice(None, None, stride))
        blurred = convolve_valid(x, kernel)[every]
        taps = strided_taps(kernel, stride)
        apart = coarser.kernel.blur(coarser.image()) - stride**2 * convolve_valid(x, taps)[every]
        difference = there.y - blurred - apart
        distance = torch.fft.fft2(difference * there.mask).abs().mean((1, 2, 3))
        return {"data": self(blurred, there, step), "scales": self.params.weight * distance}

    def phase(self, step: int) -> int:
        """1 from ``until`` on where scales are compared, for the objective changes there; elsewhere it never does.

        A step alone does not tell the scale: it is the one whose terms were asked for last, as optimizers do first.
        """
        return int(self.compares and step >= self.params.until)


def strided_taps(kernel: Tensor, stride: int) -> Tensor:
    """The kernel (B, 1, h, w) with all but every ``stride``-th tap, counted from its centre, set to zero."""
    height, width = kernel.shape[-2:]
    place = (..., slice(height // 2 % stride, None, stride), slice(width // 2 % stride, None, stride))
    kept = torch.zeros_like(kernel)
    kept[place] = 1.0
    return kept * kernel
