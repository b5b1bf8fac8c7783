"""The latent image for a fixed kernel under few dark values and few gradients, by half-quadratic splitting.

Pan, Sun, Pfister and Yang, CVPR 2016, section 4.1. Minimised over the latent image x, which is larger than the
observation by half a kernel on every side, with the mask m of pixels that can be believed::

    ||m (k * x - y)||^2 + edges ||grad x||_0 + dark ||D(x)||_0

by way of g for the gradients and u for the dark channel, with growing penalties alpha and beta::

    ||m (k * x - y)||^2 + alpha ||grad x - g||^2 + edges ||g||_0 + beta ||M x - u||^2_W + dark ||u||_0

The norms are joint over channels: a gradient counts once, by its length over all of them, and so does a dark value. But
the misfit adds up over channels. So the same grey picture in three channels costs three times as much to miss and no
more to have edges, and is not restored as in one.

M is D at the places of the present minima. Many patches pick the same pixel; W divides each of them by their number, so
that a pixel counts once and M' W M is a diagonal of ones at the picked pixels and zeros elsewhere. (With W = 1 a pixel
weighs as many times as it is picked, up to the area of a patch. That system is ill-conditioned, and with as many steps
the kernels found were worse.) For a fixed x, g and u keep what is large enough and are zero elsewhere. For fixed g and
u, x solves a linear system::

    (K' m K + alpha grad' grad + beta M' W M) x = K' m y + alpha grad' g + beta M' W u

The paper divides in Fourier space, as if nothing were masked and every pixel were picked. Here such a division, with
the share of picked pixels, is the preconditioner of conjugate gradients on the system as it stands; so the border is
unknown, and missing pixels are not believed.
"""

from __future__ import annotations

import torch
from deblurkit.core import Observation
from deblurkit.ops.fourier import difference_powers, fast_size, kernel_spectrum
from deblurkit.ops.gradients import forward_differences, forward_differences_adjoint
from torch import Tensor
from torch.nn import functional

from deblurkit_dark_channel.channel import dark_channel, pick, put

GROWTH = 2.0
"""Factor by which the penalties grow from level to level."""
LARGEST_EDGE_PENALTY = 1e3
"""Where the levels end; the paper's published code goes to 1e5."""
LARGEST_DARK_PENALTY = 8.0
"""Where the paper's published code ends; here it stays."""


class Splitting:
    """The problem of one observation and one kernel, on a periodic grid with room for half a kernel around the picture.

    Args:
        observation: The blurry picture, y (B, C, H, W).
        kernel: (B, 1, h, w), odd sides, non-negative, sum 1, true convolution.
        patch: Side of the dark channel's patches, odd.
        rounds: Conjugate gradients for every image.
    """

    def __init__(self, observation: Observation, kernel: Tensor, *, patch: int, rounds: int) -> None:
        (height, width), (rows, columns) = observation.size, kernel.shape[-2:]
        self.size = height + rows - 1, width + columns - 1
        self.grid = fast_size(self.size[0]), fast_size(self.size[1])
        self.patch, self.rounds = patch, rounds
        top, left = rows // 2, columns // 2
        frame = (left, self.grid[1] - width - left, top, self.grid[0] - height - top)
        self.spectrum = kernel_spectrum(kernel, self.grid)
        self.power = self.spectrum.abs().square()
        py, px = difference_powers(self.grid, observation.y)
        self.differences = py + px
        self.mask = functional.pad(observation.mask, frame)
        self.explained = self.adjoint(self.mask * functional.pad(observation.y, frame))
        self.x = functional.pad(observation.start, frame, mode="replicate")

    def blurred(self, x: Tensor) -> Tensor:
        """K x on the grid."""
        return torch.fft.irfft2(self.spectrum * torch.fft.rfft2(x), s=self.grid)

    def adjoint(self, y: Tensor) -> Tensor:
        """K' y on the grid."""
        return torch.fft.irfft2(self.spectrum.conj() * torch.fft.rfft2(y), s=self.grid)

    def picture(self) -> Tensor:
        """The latent image (B, C, H + h - 1, W + w - 1)."""
        return self.x[..., : self.size[0], : self.size[1]]

    def step(self, dark: float, beta: float, edges: float, alpha: float) -> None:
        """One level: u and g by thresholds, then x by conjugate gradients from the x before.

        Args:
            dark: Cost of a dark-channel value that is not zero.
            beta: Penalty of the dark channel's distance from u; 0 leaves the dark channel out.
            edges: Cost of a gradient that is not zero.
            alpha: Penalty of the gradients' distance from g.
        """
        right = self.explained + alpha * self.kept_gradients(edges / alpha)
        weights = torch.zeros_like(self.x)
        if beta > 0:
            picked, wanted = self.kept_dark(dark / beta)
            weights, right = beta * picked, right + beta * wanted
        self.solve(right, weights, alpha)

    def kept_dark(self, threshold: float) -> tuple[Tensor, Tensor]:
        """M' W M and M' W u, where u is the dark channel of x wherever its square exceeds the threshold, else 0.

        Returns:
            On the grid (B, C, H, W): 1 at every pixel that a patch picked, else 0; and u there.
        """
        x = self.picture()
        value, places = dark_channel(x, self.patch)
        count = put(torch.ones_like(value), places, x.shape)
        u = value * (value.square() > threshold)
        weighted = u / pick(count, places)
        return self.widened((count > 0).to(x.dtype)), self.widened(put(weighted, places, x.shape))

    def kept_gradients(self, threshold: float) -> Tensor:
        """The adjoint gradient of g: the gradient of x wherever its squared length exceeds the threshold, else 0."""
        dx, dy = forward_differences(self.x, periodic=True)
        keep = (dx.square() + dy.square()).sum(1, keepdim=True) > threshold
        return forward_differences_adjoint(dx * keep, dy * keep, periodic=True)

    def widened(self, x: Tensor) -> Tensor:
        """A latent image on the grid, 0 in the rest."""
        return functional.pad(x, (0, self.grid[1] - self.size[1], 0, self.grid[0] - self.size[0]))

    def solve(self, right: Tensor, weights: Tensor, alpha: float) -> None:
        """Solve (K' m K + alpha grad' grad + weights) x = right from the present x."""
        mean = weights.mean((1, 2, 3), keepdim=True)
        inverse = 1.0 / (self.power + alpha * self.differences + mean).clamp_min(1e-8)

        def normal(x: Tensor) -> Tensor:
            transformed = torch.fft.rfft2(x)
            believed = self.mask * torch.fft.irfft2(self.spectrum * transformed, s=self.grid)
            smooth = self.spectrum.conj() * torch.fft.rfft2(believed) + alpha * self.differences * transformed
            return torch.fft.irfft2(smooth, s=self.grid) + weights * x

        def divided(x: Tensor) -> Tensor:
            return torch.fft.irfft2(inverse * torch.fft.rfft2(x), s=self.grid)

        tiny = torch.finfo(right.dtype).tiny
        residual = right - normal(self.x)
        direction = scaled = divided(residual)
        slope = _dot(residual, scaled)
        for _ in range(self.rounds):
            moved = normal(direction)
            length = slope / _dot(direction, moved).clamp_min(tiny)
            self.x = self.x + length * direction
            residual = residual - length * moved
            scaled = divided(residual)
            slope, before = _dot(residual, scaled), slope
            direction = scaled + slope / before.clamp_min(tiny) * direction


def sharpened(
    observation: Observation, kernel: Tensor, *, dark: float, edges: float, patch: int, rounds: int
) -> Tensor:
    """The minimiser, as far as the splitting finds it.

    Both penalties grow from level to level: the gradients' from 2 ``edges`` while it is below ``LARGEST_EDGE_PENALTY``,
    the dark channel's from 2 ``dark`` up to ``LARGEST_DARK_PENALTY``, where it stays. The paper starts the gradients'
    anew at every level of the dark channel's.

    Args:
        observation: The blurry picture.
        kernel: (B, 1, h, w), odd sides, non-negative, sum 1, true convolution.
        dark: Cost of a dark value that is not zero; 0 leaves the dark channel out.
        edges: Cost of a gradient that is not zero, above 0.
        patch: Side of the dark channel's patches, odd.
        rounds: Conjugate gradients for every image.

    Returns:
        (B, C, H + h - 1, W + w - 1), not clipped.
    """
    problem = Splitting(observation, kernel, patch=patch, rounds=rounds)
    alpha, beta = 2 * edges, 2 * dark
    while alpha < LARGEST_EDGE_PENALTY:
        problem.step(dark, min(beta, LARGEST_DARK_PENALTY), edges, alpha)
        alpha, beta = GROWTH * alpha, GROWTH * beta
    return problem.picture()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar products of every picture of a batch, (B, 1, 1, 1)."""
    return (a * b).sum((1, 2, 3), keepdim=True)
