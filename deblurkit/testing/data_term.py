"""The contract of data terms."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from deblurkit.core import DataTerm, KernelPrior, Observation, PixelImagePrior, Problem
from deblurkit.core.problem import check_names
from deblurkit.params import Params
from deblurkit.specs import DataTermSpec, Fit
from deblurkit.testing.contract import Contract
from deblurkit.testing.pictures import KERNEL_SIZE, NOISE, curved_kernel, example, generator

FORWARD, TERMS = "core.DataTerm.forward", "core.DataTerm.terms"


class DataTermContract(Contract):
    """What a data term must do."""

    spec: ClassVar[DataTermSpec]
    base = DataTerm
    wanted = DataTermSpec

    def build(self) -> DataTerm[Any]:
        """The data term."""
        term: DataTerm[Any] = self.make(self.params)
        return term

    @pytest.mark.parametrize("step", [0, 10**6])
    @pytest.mark.parametrize(("batch", "channels"), [(1, 1), (2, 3)])
    def test_is_least_for_equal_pictures(self, batch: int, channels: int, step: int) -> None:
        """D is (B,), >= 0, least where prediction and observation agree, and grows with the error."""
        observation, _, _ = example(batch, channels)
        term = self.build()
        noise = torch.randn(observation.y.shape, generator=generator(5))
        amounts = (0.0, 0.02, 0.1)
        values = [term(observation.y + amount * noise, observation, step) for amount in amounts]
        for value in values:
            self.require_shape(value, (batch,), "the distance, one number a picture,", FORWARD)
        self.require(values[0].min() >= 0, f"the distance is negative ({float(values[0].detach().min()):.3g})", FORWARD)
        least = bool((values[0] < values[1]).all() and (values[1] < values[2]).all())
        shown = ", ".join(f"{float(value.detach()[0]):.4g}" for value in values)
        wrong = f"noise of {amounts} on the prediction gives the distances {shown}, which must grow"
        self.require(least, wrong, FORWARD)

    @pytest.mark.parametrize("step", [0, 10**6])
    def test_slope_is_that_of_finite_differences(self, step: int) -> None:
        """The gradient in the prediction is right."""
        observation = example()[0].to(torch.device("cpu"), torch.float64)
        term = self.build()
        noise = torch.randn(observation.y.shape, generator=generator(1), dtype=torch.float64)
        x = (observation.y + 0.1 * noise).requires_grad_()
        value = term(x, observation, step)
        self.require(value.requires_grad, "the distance has no gradient in the prediction", FORWARD)
        (slope,) = torch.autograd.grad(value.sum(), x)
        direction = torch.randn(x.shape, generator=generator(2), dtype=torch.float64)
        delta = 1e-5
        with torch.no_grad():
            ahead, behind = (term(x + sign * delta * direction, observation, step).sum() for sign in (1, -1))
        along, measured = (slope * direction).sum(), (ahead - behind) / (2 * delta)
        self.require(torch.isfinite(slope).all(), "the gradient of the distance is NaN or infinite", FORWARD)
        wrong = (
            f"the gradient of the distance says {float(along):.6g} where finite differences say {float(measured):.6g}"
        )
        self.require_near(along, measured, wrong, FORWARD, rtol=1e-4, atol=1e-8)

    @pytest.mark.parametrize("step", [0, 10**6])
    def test_masked_pixels_do_not_count(self, step: int) -> None:
        """What the prediction says under the mask has no influence."""
        observation, _, _ = example()
        mask = observation.mask.clone()
        mask[..., 10:20, 10:20] = 0
        masked = Observation.of(observation.y, NOISE, mask=mask)
        term, prediction = self.build(), observation.y * 0.9
        other = torch.where(mask > 0, prediction, torch.ones_like(prediction))
        wrong = "the distance depends on pixels where observation.mask is 0"
        first, second = term(prediction, masked, step), term(other, masked, step)
        self.require_near(first, second, wrong, "core.Observation", atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize("step", [0, 10**6])
    @pytest.mark.parametrize("scales", [1, 2])
    @pytest.mark.parametrize("batch", [1, 2])
    def test_terms_are_named_numbers_per_picture_with_the_right_slope(self, batch: int, scales: int, step: int) -> None:
        """What the data say is ``data`` and what else the term names, each (B,); their sum has the right gradient."""
        term = self.build()
        problem = estimation(term, batch, scales)
        x = problem.image().detach().requires_grad_()
        terms = term.terms(problem, x, step)
        self.require(isinstance(terms, dict), f"terms() returns {type(terms).__name__}, and must return a dict", TERMS)
        try:
            check_names(type(term).__name__, terms)
        except ValueError as error:
            self.require(False, str(error), TERMS)
        for name, value in terms.items():
            self.require_shape(value, (batch,), f"{name!r} of terms(), one number a picture,", TERMS)
        total = torch.stack([value.sum() for value in terms.values()]).sum()
        self.require(total.requires_grad, "the sum of terms() has no gradient in the latent image", TERMS)
        (slope,) = torch.autograd.grad(total, x)
        self.require(torch.isfinite(slope).all(), "the gradient of terms() is NaN or infinite", TERMS)
        direction = torch.randn(x.shape, generator=generator(2), dtype=x.dtype)
        delta = 1e-6  # so small that absolute values in a term are smooth along it
        with torch.no_grad():
            ahead, behind = (
                torch.stack(list(term.terms(problem, x + sign * delta * direction, step).values())).sum()
                for sign in (1, -1)
            )
        along, measured = (slope * direction).sum(), (ahead - behind) / (2 * delta)
        wrong = f"the gradient of terms() says {float(along):.6g} where finite differences say {float(measured):.6g}"
        self.require_near(along, measured, wrong, TERMS, rtol=1e-3, atol=1e-7)


class Shown(KernelPrior[Params]):
    """A curved kernel without parameters."""

    def kernel(self) -> Tensor:
        """The kernel (B, 1, h, w)."""
        return curved_kernel(self.size, self.batch).to(self.no_energy)


def estimation(term: DataTerm[Any], batch: int, scales: int) -> Problem:
    """An estimation in float64 with free pixels and a curved kernel, at the finest of one or two scales.

    Of two, the coarser picture is every other pixel of the finer one, and counts as taken over.
    """
    finest, _, _ = example(batch)
    problem = None
    for scale in range(scales):
        stride = 2 ** (scales - 1 - scale)
        observation = Observation.of(finest.y[..., ::stride, ::stride].double(), NOISE)
        rows, columns = (max(3, side // stride // 2 * 2 + 1) for side in KERNEL_SIZE)
        kernel = Shown(Params(), observation, size=(rows, columns), generator=generator())
        image = PixelImagePrior[Params](Params(), observation, margin=kernel.margin, generator=generator())
        ways = Fit(frozenset({"parameters"}), frozenset(), 0)
        problem = Problem(observation, image, kernel, term, ways, scale, scales, problem, 2 if problem else 0)
    assert problem is not None
    return problem
