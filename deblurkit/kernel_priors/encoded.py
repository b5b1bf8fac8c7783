"""A learned family of blurs as kernel prior (Tran, Tran, Phung and Hoai, CVPR 2021): B(x; k) = F(x, k), F frozen."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from deblurkit.core import KernelPrior, Observation
from deblurkit.files import version_of
from deblurkit.kernel_priors.convolution import closed_form, gradient_misfit
from deblurkit.kernel_priors.plugin import EncodedParams
from deblurkit.nets.code_net import CodeNet
from deblurkit.nets.kernel_space.header import space_path
from deblurkit.nets.kernel_space.space import ConvolutionalSpace, KernelSpace, Statistics
from deblurkit.nets.kernel_space.weights import load_space
from deblurkit.nets.untrained import UntrainedNetworks
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.filter_flow import filter_flow
from deblurkit.ops.resample import resample_kernel
from deblurkit.ops.simplex import normalise

FAINTEST = 1e-3
"""Share of the kernel's maximum below which a value is nothing: a decoder leaves traces all over its window."""
NUDGE = 0.1
"""Standard deviation of a free code's start about the mean, where the space is no convolution."""


class Encoded(KernelPrior[EncodedParams]):
    """k is a code, blurring is what a trained operator does with it.

    Where the operator has a convolution at its core, and one code holds for the whole picture, the prior shows the
    kernel and takes any: ``kernel = normalise(decoded code + correction)``, negative values cut. The correction makes
    up for what the space cannot express of a kernel that was given, so that gradients start exactly there and move the
    kernel along the family; without a given kernel it is 0.

    Attributes:
        explicit: Whether the blur is a convolution with :meth:`kernel`.

    Raises:
        UsageError: If the space's file is missing or is none.
    """

    def __init__(
        self, params: EncodedParams, observation: Observation, *, size: tuple[int, int], generator: torch.Generator
    ) -> None:
        # a frozen operator is nothing that an optimizer may move, so it is kept out of the module's parameters
        self._space = (space_on(params.space, observation.y.device),)
        explicit = isinstance(self.space, ConvolutionalSpace) and params.tiles == 1 and not params.response
        side = 2 * self.space.margin + 1
        super().__init__(params, observation, size=size if explicit else (side, side), generator=generator)
        self.explicit = explicit
        dimensions, *grid = self.space.code_shape(observation.size)
        if isinstance(self.space, ConvolutionalSpace):
            grid = [params.tiles, params.tiles]
        self.grid = (grid[0], grid[1])
        self.dimensions = dimensions
        self.code: nn.Parameter | None = None
        self.networks: UntrainedNetworks | None = None
        self._given: tuple[Tensor, Tensor] | None = None
        self._drawn: Tensor | None = None
        if params.code == "free":
            self.code = nn.Parameter(self._first_code(observation.y) / params.pace)
        else:
            self._draw_networks(observation.y)
            self._fit_code(self._mean_code(observation.y))

    @property
    def space(self) -> KernelSpace:
        """The trained operators, frozen."""
        return self._space[0]

    @property
    def convolutional(self) -> ConvolutionalSpace:
        """The same, where it has a convolution at its core."""
        assert isinstance(self.space, ConvolutionalSpace)
        return self.space

    @property
    def margin(self) -> tuple[int, int]:
        """Half the kernel, or what the operator removes; 0 where it keeps the size."""
        return self.size[0] // 2, self.size[1] // 2

    def codes(self) -> Tensor:
        """The codes (B, D, gy, gx)."""
        if self.networks is None:
            assert self.code is not None
            return self.params.pace * self.code
        z = self.networks.z
        noise = torch.randn(z.shape, generator=self.generator, dtype=torch.float32).to(z)
        self._drawn = self.networks(self.params.perturbation * noise)
        return self._drawn

    def kernel(self) -> Tensor:
        """(B, 1, h, w), >= 0, sum 1; a kernel that was given, to the bit, until its code moves."""
        codes = self.codes()
        if self._given is None:
            return faint_cut(self.decoded(codes))
        kernel, at = self._given
        if not torch.is_grad_enabled() and torch.equal(codes, at):
            return kernel
        with torch.no_grad():
            correction = kernel - self.decoded(at)
        return faint_cut(normalise(self.decoded(codes) + correction))

    def decoded(self, code: Tensor) -> Tensor:
        """The space's own kernel in this prior's window, (B, 1, h, w), >= 0, sum 1.

        A window that is smaller than the space's is cut out of it; for a larger one the space's kernels are enlarged.
        """
        kernel = self.convolutional.kernel(code)
        return resample_kernel(kernel, self._zoom, self.size)

    @property
    def _zoom(self) -> float:
        return max(1.0, max(self.size) / self.convolutional.window)

    def blur(self, x: Tensor) -> Tensor:
        """F(x, k): valid convolution with :meth:`kernel`, or one kernel a tile, or whatever else the operator does."""
        if self.explicit:
            return convolve_valid(x, self.kernel())
        codes = self.codes()
        if self.params.response or not isinstance(self.space, ConvolutionalSpace):
            return self.space.blur(x, codes)
        # the mean code of a training bends tones, and here nobody asked for that
        kernels = self.space.kernel(codes.movedim(1, -1).reshape(-1, self.dimensions, 1, 1))
        return filter_flow(x, kernels.view(self.batch, *self.grid, *self.size))

    def energy(self) -> Tensor:
        """``penalty`` times the Euclidean norm of the code (Tran et al., published code), (B,)."""
        if not self.params.penalty:
            return super().energy()
        # the blur of the same step has asked the networks already
        codes, self._drawn = self._drawn, None
        if codes is None or codes.requires_grad != torch.is_grad_enabled():
            codes, self._drawn = self.codes(), None
        return self.params.penalty * codes.flatten(1).norm(dim=1)

    def fit(self, kernel: Tensor) -> None:
        """Start from a kernel (B, 1, h, w): exactly, where this prior shows one; else from the nearest code."""
        self._fit_code(self._encoded(kernel).expand(-1, -1, *self.grid))
        if self.explicit:
            self._given = kernel.detach().clone(), self.codes().detach().clone()

    def estimate(self, x: Tensor, observation: Observation, *, progress: float = 1.0) -> None:
        """The closed form of `convolution`; with ``project``, brought into the space where that explains as much.

        The space's own kernel stands if it raises the misfit of the gradients by no more than ``tolerance``; else the
        closed form itself does.
        """
        kernel = closed_form(x, observation, self.kernel(), self.params, rough=progress < 1.0)
        if self.params.project:
            inside = faint_cut(self.decoded(self._encoded(kernel)))
            allowed = (1 + self.params.tolerance) * gradient_misfit(x, observation, kernel)
            good = gradient_misfit(x, observation, inside) <= allowed
            kernel = torch.where(good.view(-1, 1, 1, 1), inside, kernel)
        self.fit(kernel)

    @classmethod
    def alternative(cls, params: EncodedParams) -> EncodedParams | None:
        """The other way with the closed form: with the space if it was without."""
        return None if params.project else replace(params, project=True)

    def get_extra_state(self) -> tuple[Tensor, Tensor] | None:
        """The kernel that was given, and the codes that stood for it: a part of the state."""
        return self._given

    def set_extra_state(self, state: tuple[Tensor, Tensor] | None) -> None:
        """Take it over."""
        self._given = state

    def renew(self) -> None:
        """Draw the code's networks and their noise anew; a free code has nothing random."""
        if self.networks is not None:
            self._draw_networks(self.no_energy)
            self._given = self._drawn = None

    def _draw_networks(self, like: Tensor) -> None:
        self.networks = UntrainedNetworks(
            partial(CodeNet, self.dimensions, self.grid),
            batch=self.batch,
            shape=CodeNet.input_shape(self.grid),
            scale=self.params.input_scale,
            generator=self.generator,
        ).to(like)

    def _first_code(self, like: Tensor) -> Tensor:
        """The mean code; a little beside it where a network that rectifies its codes would hold a 0 for ever."""
        mean = self._mean_code(like)
        if isinstance(self.space, ConvolutionalSpace):
            return mean
        return mean + NUDGE * torch.randn(mean.shape, generator=self.generator).to(mean)

    def _mean_code(self, like: Tensor) -> Tensor:
        """The mean code of the training pictures at every place, or zeros where the space's file does not say it."""
        shape = self.batch, self.dimensions, *self.grid
        if self.space.statistics is None:
            return like.new_zeros(shape)
        return self.space.statistics.mean.to(like).view(1, -1, 1, 1).expand(shape).clone()

    @torch.no_grad()
    def _encoded(self, kernel: Tensor) -> Tensor:
        window = self.convolutional.window
        return self.convolutional.encode_kernel(resample_kernel(kernel, 1 / self._zoom, (window, window)))

    def _fit_code(self, code: Tensor) -> None:
        """Take over a code, or train the networks towards it by Adam on the squared error."""
        if self.networks is None:
            assert self.code is not None
            with torch.no_grad():
                self.code.copy_(code / self.params.pace)
            return
        adam = torch.optim.Adam(self.networks.parameters(), lr=self.params.fit_lr)
        for _ in range(self.params.fit_steps):
            adam.zero_grad(set_to_none=True)
            (self.codes() - code).square().mean().backward()
            adam.step()
        self._drawn = None  # of weights that have moved since


def faint_cut(kernel: Tensor) -> Tensor:
    """A kernel (B, 1, h, w) without its faint traces, on the simplex."""
    return normalise(kernel * (kernel > FAINTEST * kernel.amax((-2, -1), keepdim=True)))


def space_on(path: Path, device: torch.device) -> KernelSpace:
    """The space of a file, on a device; kept, as a pyramid asks for it at every scale."""
    path = space_path(path)
    return _space_on(path, version_of(path), device)


@lru_cache(maxsize=2)
def _space_on(path: Path, version: tuple[int, int, int], device: torch.device) -> KernelSpace:
    del version  # a file that was written anew is read anew
    space = load_space(path).to(device)
    if space.statistics is not None:
        space.statistics = Statistics(space.statistics.mean.to(device), space.statistics.factor.to(device))
    return space
