"""The hyper-Laplacian prior over the course of an estimation: a cartoon, then ever more of a picture."""

import pytest
import torch

from deblurkit.core import Observation
from deblurkit.core.image_prior import ROUGH
from deblurkit.image_priors.l0_gradient import RESTART_FACTORS, L0Gradient, cartoon
from deblurkit.image_priors.plugin import HyperLaplacianParams, L0GradientParams
from deblurkit.image_priors.sparse_gradients import HyperLaplacian
from deblurkit.testing import blur_by_definition, curved_kernel
from deblurkit.testing import cartoon as rectangles

KERNEL = curved_kernel((7, 9))


@pytest.fixture(scope="module")
def observation() -> Observation:
    y = blur_by_definition(rectangles(1, 1, (54, 64)), KERNEL)
    return Observation.of(y + 0.004 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)), 0.004)


def hyper(observation: Observation, **params) -> HyperLaplacian:
    made = HyperLaplacianParams(**params)
    return HyperLaplacian(made, observation, margin=(3, 4), generator=torch.Generator())


def strong_edges(x: torch.Tensor) -> int:
    return sum(int((x[..., 8:-8, 8:-8].diff(dim=axis).abs() > 0.1).sum()) for axis in (-1, -2))


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.49])
def test_while_the_kernel_is_rough_it_is_a_cartoon_whose_weight_falls(observation, progress):
    prior = hyper(observation, edges=8e-3, relax=3.0)
    x = prior.restore(observation, KERNEL, progress=progress)
    assert torch.equal(x, cartoon(observation, KERNEL, 8e-3 * 3.0 ** (-progress / ROUGH)))
    assert prior.last is None
    few = L0Gradient(L0GradientParams(weight=8e-3, relax=3.0), observation, margin=(3, 4), generator=torch.Generator())
    torch.testing.assert_close(x, few.restore(observation, KERNEL, progress=progress))


def test_by_default_it_begins_as_l0_gradient_does():
    assert (HyperLaplacianParams().edges, HyperLaplacianParams().relax) == (
        L0GradientParams().weight,
        L0GradientParams().relax,
    )


def test_from_the_middle_on_it_goes_on_where_it_ended(observation):
    prior = hyper(observation)
    first = prior.restore(observation, KERNEL, progress=ROUGH)
    assert prior.last is not None
    assert float((first - cartoon(observation, KERNEL, 4e-3)).abs().max()) > 0.02
    second = prior.restore(observation, KERNEL, progress=0.75)
    assert not torch.equal(first, second), "it went on"
    assert torch.equal(hyper(observation).restore(observation, KERNEL, progress=0.75), first), "a fresh one begins"


def test_at_the_end_it_is_plain_deconvolution_whatever_came_before(observation):
    prior = hyper(observation)
    for progress in (0.1, 0.6):
        prior.restore(observation, KERNEL, progress=progress)
    at_the_end = prior.restore(observation, KERNEL)
    assert torch.equal(at_the_end, hyper(observation, edges=1.0, relax=9.0).restore(observation, KERNEL, progress=1.0))


def test_dearer_edges_are_fewer(observation):
    counts = [strong_edges(cartoon(observation, KERNEL, weight)) for weight in (1e-4, 1e-3, 1e-2, 5e-2, 0.2)]
    assert counts == sorted(counts, reverse=True)
    assert counts[1] > 1.5 * counts[2] > 5 * counts[3]
    assert counts[4] == 0


def test_a_cartoon_that_is_one_is_found_again():
    x = rectangles(1, 3, (54, 64))
    y = Observation.of(blur_by_definition(x, KERNEL))
    found = cartoon(y, KERNEL, 1e-3)
    assert found.shape == x.shape
    inner = (..., slice(8, -8), slice(8, -8))
    blurry = torch.nn.functional.pad(y.y, (4, 4, 3, 3))
    assert float((found - x)[inner].square().mean()) < 0.2 * float((blurry - x)[inner].square().mean())


def test_a_cartoon_does_not_believe_masked_pixels(observation):
    mask = torch.ones_like(observation.mask)
    mask[..., 10:15, 10:15] = 0
    found = []
    for value in (0.0, 1.0):
        y = torch.where(mask > 0, observation.y, torch.full_like(mask, value))
        found.append(cartoon(Observation.of(y, 0.004, mask=mask), KERNEL, 4e-3))
    torch.testing.assert_close(*found, atol=1e-3, rtol=0)


@pytest.mark.parametrize("attempt", range(6))
def test_other_attempts_have_another_cost_of_edges_and_nothing_else(attempt):
    params = HyperLaplacianParams(edges=1e-3, strength=2.0, relax=4.0)
    again = HyperLaplacian.restarted(params, attempt)
    factor = RESTART_FACTORS[attempt % 4]
    assert again == HyperLaplacianParams(edges=factor * 1e-3, strength=2.0, relax=4.0)
    few = L0Gradient.restarted(L0GradientParams(weight=1e-3), attempt)
    assert few.weight == again.edges
