"""Contracts: what every component must do, as ready-made tests.

A plugin's test file derives a class, names its descriptor, and has its tests::

    from deblurkit.testing import ImagePriorContract
    from deblurkit_tv.plugin import TV

    class TestTV(ImagePriorContract):
        spec = TV                       # the ImagePriorSpec that the plugin yields
        overrides = {"iterations": 5}   # parameters that make it small and fast; may be left out

The components that come with deblurkit pass the same contracts. Everything runs on the CPU in float32, on pictures of
about 48 x 56 pixels. Importing this module needs ``pytest``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from deblurkit.core import DataTerm, ImagePrior, KernelPrior, Observation, Optimizer, Problem, Step
from deblurkit.metrics import kernel_similarity
from deblurkit.specs import (
    MOVES,
    ComponentSpec,
    DataTermSpec,
    Fit,
    ImagePriorSpec,
    KernelPriorSpec,
    Offer,
    OptimizerSpec,
)

SIZE = (48, 56)
KERNEL_SIZE = (7, 9)
NOISE = 0.002


def cartoon(batch: int, channels: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Pictures of overlapping flat rectangles (B, C, H, W) in [0.1, 0.9]: sharp, with many edges."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.full((batch, channels, *size), 0.5)
    for b in range(batch):
        for _ in range(25):
            top, left = (int(torch.randint(0, side - 4, (), generator=generator)) for side in size)
            height, width = (int(torch.randint(4, 20, (), generator=generator)) for _ in range(2))
            level = 0.1 + 0.8 * torch.rand(channels, 1, 1, generator=generator)
            x[b, :, top : top + height, left : left + width] = level
    return x


def curved_kernel(size: tuple[int, int], batch: int = 1) -> Tensor:
    """A curved motion path (B, 1, h, w), non-negative, sum 1, centred and not symmetric."""
    height, width = size
    kernel = torch.zeros(height, width)
    for t in torch.linspace(0.0, 1.0, 200):
        row = (height - 1) * (0.2 + 0.6 * math.sin(2.0 * float(t)) ** 2)
        kernel[round(row), round((width - 1) * (0.15 + 0.7 * float(t)))] += 1.0 + float(t)
    return (kernel / kernel.sum()).expand(batch, 1, -1, -1).clone()


def blur_by_definition(x: Tensor, kernel: Tensor) -> Tensor:
    """Valid true convolution of (B, C, H, W) with (B, 1, h, w), as a sum of shifted pictures."""
    height, width = kernel.shape[-2:]
    rows, columns = x.shape[-2] - height + 1, x.shape[-1] - width + 1
    y = torch.zeros(*x.shape[:2], rows, columns, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            top, left = height - 1 - i, width - 1 - j
            y = y + kernel[:, :, i : i + 1, j : j + 1] * x[..., top : top + rows, left : left + columns]
    return y


def example(batch: int = 1, channels: int = 1, seed: int = 0) -> tuple[Observation, Tensor, Tensor]:
    """A blurry observation with its latent image (B, C, H + h - 1, W + w - 1) and its kernel (B, 1, h, w)."""
    kernel = curved_kernel(KERNEL_SIZE, batch)
    x = cartoon(batch, channels, (SIZE[0] + KERNEL_SIZE[0] - 1, SIZE[1] + KERNEL_SIZE[1] - 1), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    y = blur_by_definition(x, kernel)
    return Observation.of(y + NOISE * torch.randn(y.shape, generator=generator), noise=NOISE), x, kernel


def generator(seed: int = 0) -> torch.Generator:
    """A fresh source of randomness."""
    return torch.Generator().manual_seed(seed)


class Contract:
    """What the contracts of all kinds share.

    Attributes:
        spec: The descriptor under test.
        overrides: Parameters that differ from their defaults in the tests.
    """

    spec: ClassVar[ComponentSpec]
    overrides: ClassVar[Mapping[str, Any]] = {}

    @property
    def params(self) -> Any:
        """The component's parameters, small."""
        return self.spec.params(**self.overrides)

    def need(self, *offers: str) -> None:
        """Skip the test where the component does not offer all of these."""
        missing = set(offers) - set(self.spec.offers)
        if missing:
            pytest.skip(f"{self.spec.name} does not offer {', '.join(sorted(missing))}")


class ImagePriorContract(Contract):
    """What an image prior must do."""

    spec: ClassVar[ImagePriorSpec]

    def build(self, observation: Observation, margin: tuple[int, int] = (3, 4), seed: int = 0) -> ImagePrior[Any]:
        """The prior for an observation."""
        prior = self.spec.load()(self.params, observation, margin=margin, generator=generator(seed))
        assert isinstance(prior, ImagePrior)
        return prior

    @pytest.mark.parametrize(("batch", "channels"), [(1, 1), (1, 3), (2, 3)])
    def test_proposes_images_of_the_latent_size(self, batch: int, channels: int) -> None:
        """The image has the observation's size plus the margin, is finite and lies in [0, 1]."""
        observation, latent, _ = example(batch, channels)
        x = self.build(observation)()
        assert x.shape == latent.shape
        assert torch.isfinite(x).all()
        assert -0.05 <= float(x.detach().min()) <= float(x.detach().max()) <= 1.05

    def test_same_seed_same_image(self) -> None:
        """Randomness comes from the generator alone; torch's global one is left as it was."""
        observation, _, _ = example()
        state = torch.random.get_rng_state()
        first, second = self.build(observation, seed=3)(), self.build(observation, seed=3)()
        assert torch.equal(first, second)
        assert torch.equal(state, torch.random.get_rng_state())

    def test_gradients_reach_the_parameters(self) -> None:
        """A gradient optimizer can move it."""
        self.need(Offer.PARAMETERS)
        prior = self.build(example()[0])
        prior().square().sum().backward()
        gradients = [p.grad for p in prior.parameters() if p.grad is not None]
        assert gradients
        assert all(torch.isfinite(g).all() for g in gradients)
        assert any(float(g.abs().max()) > 0 for g in gradients)

    @pytest.mark.parametrize("batch", [1, 2])
    def test_energy_is_a_number_per_picture_with_the_right_slope(self, batch: int) -> None:
        """R(x) is (B,), >= 0, and its gradient is the one of finite differences."""
        self.need(Offer.ENERGY)
        observation, latent, _ = example(batch)
        prior = self.build(observation)
        x = (latent + 0.05 * torch.randn(latent.shape, generator=generator(1))).requires_grad_()
        energy = prior.energy(x)
        assert energy.shape == (batch,)
        assert torch.isfinite(energy).all()
        assert bool((energy >= 0).all())
        if not energy.requires_grad:
            # an energy that varies must be differentiable
            assert torch.equal(energy, prior.energy(torch.zeros_like(x)))
            return
        # an energy of the prior's own parameters has no slope in the image
        (slope,) = torch.autograd.grad(energy.sum(), x, allow_unused=True, materialize_grads=True)
        direction = torch.randn(x.shape, generator=generator(2))
        delta = 1e-3
        with torch.no_grad():
            ahead, behind = (prior.energy(x + sign * delta * direction).sum() for sign in (1, -1))
        torch.testing.assert_close((slope * direction).sum(), (ahead - behind) / (2 * delta), rtol=2e-2, atol=1e-4)

    @pytest.mark.parametrize(("batch", "channels"), [(1, 1), (2, 3)])
    def test_restore_undoes_a_known_blur(self, batch: int, channels: int) -> None:
        """The restored latent image is clearly nearer to the truth than the blurry picture, and explains it."""
        self.need(Offer.RESTORE)
        observation, latent, kernel = example(batch, channels)
        prior = self.build(observation)
        x = prior.restore(observation, kernel)
        assert x.shape == latent.shape
        assert torch.isfinite(x).all()
        assert not x.requires_grad
        rows, columns = prior.margin
        inner = (..., slice(rows, -rows), slice(columns, -columns))
        blurry_error = (observation.y - latent[inner]).square().mean()
        assert float((x[inner] - latent[inner]).square().mean()) < 0.4 * float(blurry_error)
        residual = (blur_by_definition(x, kernel) - observation.y).square().mean().sqrt()
        assert float(residual) < 0.3 * float(blurry_error.sqrt())
        assert torch.equal(x, prior.restore(observation, kernel))

    def test_restore_with_a_delta_kernel_keeps_the_picture(self) -> None:
        """No blur, nothing to undo: only noise may be taken away."""
        self.need(Offer.RESTORE)
        y = cartoon(1, 1, SIZE)
        observation = Observation.of(y, noise=0.001)
        delta = torch.ones(1, 1, 1, 1)
        x = self.build(observation, margin=(0, 0)).restore(observation, delta)
        assert float((x - y).square().mean().sqrt()) < 0.03

    def test_restore_does_not_believe_masked_pixels(self) -> None:
        """What stands under the mask has no influence."""
        self.need(Offer.RESTORE)
        observation, _, kernel = example()
        mask = observation.mask.clone()
        mask[..., 20:24, 30:34] = 0
        prior = self.build(observation)
        results = []
        for value in (0.0, 1.0):
            y = torch.where(mask > 0, observation.y, torch.full_like(observation.y, value))
            results.append(prior.restore(Observation.of(y, NOISE, mask=mask), kernel))
        torch.testing.assert_close(results[0], results[1], atol=1e-3, rtol=0)

    def test_fit_starts_from_an_image(self) -> None:
        """After `fit` the proposed image is nearer to the given one."""
        self.need(Offer.FIT)
        observation, latent, _ = example()
        prior = self.build(observation)
        before = (prior() - latent).detach().square().mean()
        prior.fit(latent)
        assert float((prior() - latent).detach().square().mean()) < 0.8 * float(before)

    def test_restarted_parameters_are_of_the_same_class(self) -> None:
        """A further attempt is described by the same kind of parameters."""
        restarted = self.spec.load().restarted(self.params, 1)
        assert type(restarted) is self.spec.params


class KernelPriorContract(Contract):
    """What a kernel prior must do."""

    spec: ClassVar[KernelPriorSpec]

    def build(self, observation: Observation, size: tuple[int, int] = KERNEL_SIZE, seed: int = 0) -> KernelPrior[Any]:
        """The prior for an observation."""
        prior = self.spec.load()(self.params, observation, size=size, generator=generator(seed))
        assert isinstance(prior, KernelPrior)
        return prior

    @pytest.mark.parametrize(("batch", "channels"), [(1, 1), (1, 3), (2, 3)])
    def test_blur_removes_the_margin(self, batch: int, channels: int) -> None:
        """A latent image that is larger by the margin becomes a picture of the observation's size."""
        observation, _, _ = example(batch, channels)
        prior = self.build(observation)
        rows, columns = prior.margin
        x = cartoon(batch, channels, (SIZE[0] + 2 * rows, SIZE[1] + 2 * columns)).requires_grad_()
        y = prior.blur(x)
        assert y.shape == observation.y.shape
        assert torch.isfinite(y).all()
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        assert float(gradient.abs().max()) > 0

    def test_same_seed_same_blur(self) -> None:
        """Randomness comes from the generator alone; torch's global one is left as it was."""
        observation, _, _ = example()
        state = torch.random.get_rng_state()
        first, second = self.build(observation, seed=3), self.build(observation, seed=3)
        rows, columns = first.margin
        x = cartoon(1, 1, (SIZE[0] + 2 * rows, SIZE[1] + 2 * columns))
        assert torch.equal(first.blur(x), second.blur(x))
        assert torch.equal(state, torch.random.get_rng_state())

    def test_gradients_reach_the_parameters(self) -> None:
        """A gradient optimizer can move it."""
        self.need(Offer.PARAMETERS)
        observation, _, _ = example()
        prior = self.build(observation)
        rows, columns = prior.margin
        prior.blur(cartoon(1, 1, (SIZE[0] + 2 * rows, SIZE[1] + 2 * columns))).square().sum().backward()
        gradients = [p.grad for p in prior.parameters() if p.grad is not None]
        assert any(float(g.abs().max()) > 0 for g in gradients)
        assert all(torch.isfinite(g).all() for g in gradients)

    @pytest.mark.parametrize("batch", [1, 2])
    def test_energy_is_a_number_per_picture(self, batch: int) -> None:
        """S(k) is (B,), finite and >= 0."""
        energy = self.build(example(batch)[0]).energy()
        assert energy.shape == (batch,)
        assert torch.isfinite(energy).all()
        assert bool((energy >= 0).all())

    @pytest.mark.parametrize("batch", [1, 2])
    def test_kernel_is_on_the_simplex_and_is_the_blur(self, batch: int) -> None:
        """The kernel is >= 0, sums to 1, and blurring is true convolution with it."""
        self.need(Offer.KERNEL)
        observation, _, _ = example(batch)
        prior = self.build(observation)
        kernel = prior.kernel().detach()
        assert kernel.shape == (batch, 1, *prior.size)
        assert float(kernel.min()) >= 0
        torch.testing.assert_close(kernel.sum((1, 2, 3)), torch.ones(batch), atol=1e-5, rtol=0)
        rows, columns = prior.margin
        x = cartoon(batch, 1, (SIZE[0] + 2 * rows, SIZE[1] + 2 * columns))
        torch.testing.assert_close(prior.blur(x).detach(), blur_by_definition(x, kernel), atol=1e-4, rtol=0)

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
        for one, truth in zip(found.split(1), kernel.split(1), strict=True):
            assert kernel_similarity(one, truth).direct > 0.9  # up to a shift, which an image would undo

    def test_fit_starts_from_a_kernel(self) -> None:
        """After `fit` the kernel is nearer to the given one."""
        self.need(Offer.FIT, Offer.KERNEL)
        observation, _, kernel = example()
        prior = self.build(observation)
        before = (prior.kernel() - kernel).detach().abs().sum()
        prior.fit(kernel)
        assert float((prior.kernel() - kernel).detach().abs().sum()) < 0.8 * float(before)

    def test_restarted_parameters_are_of_the_same_class(self) -> None:
        """A further attempt is described by the same kind of parameters."""
        assert type(self.spec.load().restarted(self.params, 1)) is self.spec.params


class DataTermContract(Contract):
    """What a data term must do."""

    spec: ClassVar[DataTermSpec]

    def build(self) -> DataTerm[Any]:
        """The data term."""
        term = self.spec.load()(self.params)
        assert isinstance(term, DataTerm)
        return term

    @pytest.mark.parametrize("step", [0, 10**6])
    @pytest.mark.parametrize(("batch", "channels"), [(1, 1), (2, 3)])
    def test_is_least_for_equal_pictures(self, batch: int, channels: int, step: int) -> None:
        """D is (B,), >= 0, least where prediction and observation agree, and grows with the error."""
        observation, _, _ = example(batch, channels)
        term = self.build()
        noise = torch.randn(observation.y.shape, generator=generator(5))
        values = [term(observation.y + amount * noise, observation, step) for amount in (0.0, 0.02, 0.1)]
        assert all(value.shape == (batch,) for value in values)
        assert float(values[0].min()) >= 0
        assert bool((values[0] < values[1]).all())
        assert bool((values[1] < values[2]).all())

    @pytest.mark.parametrize("step", [0, 10**6])
    def test_slope_is_that_of_finite_differences(self, step: int) -> None:
        """The gradient in the prediction is right."""
        observation = example()[0].to(torch.device("cpu"), torch.float64)
        term = self.build()
        noise = torch.randn(observation.y.shape, generator=generator(1), dtype=torch.float64)
        x = (observation.y + 0.1 * noise).requires_grad_()
        (slope,) = torch.autograd.grad(term(x, observation, step).sum(), x)
        direction = torch.randn(x.shape, generator=generator(2), dtype=torch.float64)
        delta = 1e-5
        with torch.no_grad():
            ahead, behind = (term(x + sign * delta * direction, observation, step).sum() for sign in (1, -1))
        torch.testing.assert_close((slope * direction).sum(), (ahead - behind) / (2 * delta), rtol=1e-4, atol=1e-8)

    @pytest.mark.parametrize("step", [0, 10**6])
    def test_masked_pixels_do_not_count(self, step: int) -> None:
        """What the prediction says under the mask has no influence."""
        observation, _, _ = example()
        mask = observation.mask.clone()
        mask[..., 10:20, 10:20] = 0
        masked = Observation.of(observation.y, NOISE, mask=mask)
        term, prediction = self.build(), observation.y * 0.9
        other = torch.where(mask > 0, prediction, torch.ones_like(prediction))
        torch.testing.assert_close(term(prediction, masked, step), term(other, masked, step), atol=1e-6, rtol=1e-5)


class OptimizerContract(Contract):
    """What an optimizer must do.

    Attributes:
        partners: Image and kernel priors to try it with, with small parameters; those that do not fit are passed over.
        data: A data term.
    """

    spec: ClassVar[OptimizerSpec]
    partners: ClassVar[list[tuple[ImagePriorSpec, Mapping[str, Any], KernelPriorSpec, Mapping[str, Any]]]] = []
    data: ClassVar[DataTermSpec]

    def problems(self) -> list[Problem]:
        """A problem for every pair of partners that fits."""
        from deblurkit.specs import find_fit

        problems = []
        for image_spec, image_overrides, kernel_spec, kernel_overrides in self.partners:
            ways = find_fit(self.spec, image_spec, kernel_spec)
            if ways is None:
                continue
            problems.append(self.problem(ways, image_spec, image_overrides, kernel_spec, kernel_overrides))
        return problems

    def problem(
        self,
        ways: Fit,
        image_spec: ImagePriorSpec,
        image_overrides: Mapping[str, Any],
        kernel_spec: KernelPriorSpec,
        kernel_overrides: Mapping[str, Any],
    ) -> Problem:
        """One problem on the example picture."""
        observation, _, _ = example()
        kernel = kernel_spec.load()(
            kernel_spec.params(**kernel_overrides), observation, size=KERNEL_SIZE, generator=generator(1)
        )
        image = image_spec.load()(
            image_spec.params(**image_overrides), observation, margin=kernel.margin, generator=generator(2)
        )
        return Problem(observation, image, kernel, self.data.load()(self.data.params()), ways)

    def run(self, problem: Problem) -> list[Step]:
        """All steps on a problem."""
        optimizer = self.spec.load()(self.params)
        assert isinstance(optimizer, Optimizer)
        return list(optimizer.steps(problem))

    def test_yields_numbered_steps_with_finite_losses(self) -> None:
        """Steps are counted from 0 to total - 1; loss and image are finite, detached, of the right shape."""
        problems = self.problems()
        assert problems, "no pair of partners fits this optimizer; add one"
        for problem in problems:
            steps = self.run(problem)
            assert [step.index for step in steps] == list(range(steps[0].total))
            for step in steps:
                assert torch.isfinite(step.loss)
                assert not step.loss.requires_grad
                assert not step.image.requires_grad
                assert step.image.shape == problem.image.latent_shape
                assert torch.isfinite(step.image).all()

    def test_moves_what_can_move(self) -> None:
        """Image and blur differ afterwards from before, unless they are fixed."""
        for problem in self.problems():
            x = problem.image().detach().clone()
            before_image, before_blur = x, problem.kernel.blur(x).detach()
            self.run(problem)
            if problem.ways.image:
                assert not torch.equal(before_image, problem.image().detach())
            if problem.ways.kernel and MOVES & problem.ways.kernel:
                assert not torch.equal(before_blur, problem.kernel.blur(x).detach())

    def test_same_seeds_same_steps(self) -> None:
        """Two runs from the same start give the same losses."""
        first, second = ([float(step.loss) for p in self.problems() for step in self.run(p)] for _ in range(2))
        assert first == second
