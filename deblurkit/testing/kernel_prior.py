"""The contract of kernel priors."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from deblurkit.core import KernelPrior, Observation
from deblurkit.metrics import kernel_similarity
from deblurkit.specs import KernelPriorSpec, Offer
from deblurkit.testing.contract import Contract, gradients_of
from deblurkit.testing.pictures import (
    KERNEL_SIZE,
    NOISE,
    SIZE,
    bell_kernel,
    blur_by_definition,
    cartoon,
    example,
    generator,
)

BLUR, KERNEL, PRIOR = "core.KernelPrior.blur", "core.KernelPrior.kernel", "core.KernelPrior"
TAKE_OVER = "core.KernelPrior.take_over"


class KernelPriorContract(Contract):
    """What a kernel prior must do."""

    spec: ClassVar[KernelPriorSpec]
    base = KernelPrior
    wanted = KernelPriorSpec
    methods: ClassVar = {
        Offer.ENERGY: "energy",
        Offer.ESTIMATE: "estimate",
        Offer.KERNEL: "kernel",
        Offer.FIT: "fit",
    }

    def build(self, observation: Observation, size: tuple[int, int] = KERNEL_SIZE, seed: int = 0) -> KernelPrior[Any]:
        """The prior for an observation."""
        prior: KernelPrior[Any] = self.make(self.params, observation, size=size, generator=generator(seed))
        return prior

    def latent(self, prior: KernelPrior[Any], batch: int = 1, channels: int = 1) -> Tensor:
        """A sharp picture (B, C, H + 2 my, W + 2 mx) of the size that the prior's margin asks for."""
        rows, columns = prior.margin
        return cartoon(batch, channels, (SIZE[0] + 2 * rows, SIZE[1] + 2 * columns))

    @pytest.mark.parametrize(("batch", "channels"), [(1, 1), (1, 3), (2, 3)])
    def test_blur_removes_the_margin(self, batch: int, channels: int) -> None:
        """A latent image that is larger by the margin becomes a picture of the observation's size."""
        observation, _, _ = example(batch, channels)
        prior = self.build(observation)
        x = self.latent(prior, batch, channels).requires_grad_()
        y = prior.blur(x)
        rows, columns = prior.margin
        what = f"blur(x), which removes the margin of {rows} rows and {columns} columns on every side,"
        self.require_shape(y, tuple(observation.y.shape), what, BLUR)
        self.require(y.requires_grad, "blur(x) has no gradient in x", BLUR)
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        self.require(float(gradient.abs().max()) > 0, "blur(x) does not depend on x", BLUR)

    def test_same_seed_same_blur(self) -> None:
        """Randomness comes from the generator alone; torch's global one is left as it was."""
        observation, _, _ = example()
        state = torch.random.get_rng_state()
        first, second = self.build(observation, seed=3), self.build(observation, seed=3)
        x = self.latent(first)
        same = torch.equal(first.blur(x), second.blur(x))
        untouched = torch.equal(state, torch.random.get_rng_state())
        self.require(untouched, "it drew from torch's global randomness; draw from the generator it is given", PRIOR)
        self.require(same, "two priors of one seed blur differently", PRIOR)

    def test_gradients_reach_the_parameters(self) -> None:
        """A gradient optimizer can move it."""
        self.need(Offer.PARAMETERS)
        observation, _, _ = example()
        prior = self.build(observation)
        y = prior.blur(self.latent(prior))
        wrong = "it offers 'parameters', and blur(x) has no gradient in any nn.Parameter of it"
        self.require(y.requires_grad, wrong, BLUR)
        y.square().sum().backward()
        gradients = gradients_of(prior)
        self.require(any(float(g.abs().max()) > 0 for g in gradients), wrong, BLUR)
        finite = all(torch.isfinite(g).all() for g in gradients)
        self.require(finite, "a gradient of blur(x) is NaN or infinite", BLUR)

    @pytest.mark.parametrize("batch", [1, 2])
    def test_energy_is_a_number_per_picture(self, batch: int) -> None:
        """S(k) is (B,), finite and >= 0."""
        energy = self.build(example(batch)[0]).energy()
        where = "core.KernelPrior.energy"
        self.require_shape(energy, (batch,), "energy(), one number a picture,", where)
        self.require((energy >= 0).all(), f"energy() is negative ({float(energy.detach().min()):.3g})", where)

    @pytest.mark.parametrize("batch", [1, 2])
    def test_kernel_is_on_the_simplex_and_is_the_blur(self, batch: int) -> None:
        """The kernel is >= 0, sums to 1, and blurring is true convolution with it."""
        self.need(Offer.KERNEL)
        observation, _, _ = example(batch)
        prior = self.build(observation)
        kernel = prior.kernel().detach()
        self.require_shape(kernel, (batch, 1, *prior.size), "kernel(), one for every picture,", KERNEL)
        self.require(kernel.min() >= 0, f"kernel() is negative ({float(kernel.min()):.3g})", KERNEL)
        total = kernel.sum((1, 2, 3))
        self.require_near(total, torch.ones(batch), "kernel() does not sum to 1", KERNEL, atol=1e-5, rtol=0)
        x = self.latent(prior, batch)
        wrong = "blur(x) is not the valid true convolution with kernel() (deblurkit.ops.convolve.convolve_valid)"
        right = blur_by_definition(x, kernel)
        self.require_near(prior.blur(x).detach(), right, wrong, BLUR, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("batch", [1, 2])
    def test_estimate_finds_the_kernel_of_a_known_image(self, batch: int) -> None:
        """Given the sharp image, the kernel is nearly the true one, and each picture of a batch gets its own."""
        self.need(Offer.ESTIMATE, Offer.KERNEL)
        observation, latent, kernel = example(batch)
        if batch == 2:
            kernel = torch.cat([kernel[:1], kernel[1:].flip(-1)])
            observation = Observation.of(blur_by_definition(latent, kernel), noise=NOISE)
        prior = self.build(observation)
        prior.estimate(latent, observation)
        found = prior.kernel().detach()
        for index, (one, truth) in enumerate(zip(found.split(1), kernel.split(1), strict=True)):
            likeness = kernel_similarity(one, truth).direct  # up to a shift, which an image would undo
            wrong = f"given the sharp picture, estimate() finds a kernel of likeness {likeness:.2f} to the true one"
            cure = f"at least 0.9 (picture {index} of the batch; each has a kernel of its own)"
            self.require(likeness > 0.9, f"{wrong}, {cure}", "core.KernelPrior.estimate")

    def test_fit_starts_from_a_kernel(self) -> None:
        """After `fit` the kernel is nearer to the given one."""
        self.need(Offer.FIT, Offer.KERNEL)
        observation, _, kernel = example()
        prior = self.build(observation)
        before = float((prior.kernel() - kernel).detach().abs().sum())
        prior.fit(kernel)
        left = float((prior.kernel() - kernel).detach().abs().sum()) / before
        wrong = f"after fit(kernel) its kernel still has {left:.0%} of its distance from that one, at most 80 %"
        self.require(left < 0.8, wrong, "core.KernelPrior.fit")

    def test_take_over_goes_on_where_the_coarser_prior_was(self) -> None:
        """It says whether it did; if so, the kernel is that of the coarser prior where the two grids have a tap."""
        self.need_to_take_over()
        self.need(Offer.KERNEL)
        observation, _, _ = example()
        coarser = self.build(Observation.of(observation.y[..., ::2, ::2], NOISE), seed=1)
        if Offer.FIT in self.spec.offers:
            coarser.fit(bell_kernel(coarser.size))
        finer = self.build(observation, size=(2 * coarser.size[0] - 1, 2 * coarser.size[1] - 1), seed=2)

        def apart() -> float:
            taps = finer.kernel().detach()[..., ::2, ::2]
            return float((taps / taps.sum() - coarser.kernel().detach()).abs().sum())

        before = apart()
        took = finer.take_over(coarser, ratio=2.0)
        self.require(isinstance(took, bool), f"take_over() returns {took!r:.40}, and must return a bool", TAKE_OVER)
        if took:
            wrong = (
                f"take_over() says that it did, and at the taps that both grids have the kernel, made to sum to 1, is "
                f"{apart():.3g} off the coarser one (sum of absolute differences; {before:.3g} before), at most half "
                "of that; is ratio heeded, and the centre of the window the same point?"
            )
            self.require(apart() <= 0.5 * before, wrong, TAKE_OVER)
