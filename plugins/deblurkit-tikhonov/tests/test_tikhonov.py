import subprocess
import sys

import pytest
import torch
from deblurkit.core import Observation
from deblurkit.errors import KernelError
from deblurkit.ops.convolve import convolve_valid, convolve_valid_adjoint
from deblurkit.registry import registry
from deblurkit.testing import ImagePriorContract, blur_by_definition, cartoon, curved_kernel, example, generator

from deblurkit_tikhonov.plugin import TIKHONOV, TikhonovParams
from deblurkit_tikhonov.prior import GRADIENT_VARIANCE, ROUNDING, Tikhonov


class TestContract(ImagePriorContract):
    spec = TIKHONOV


def prior(observation, margin=(3, 4), **params):
    return Tikhonov(TikhonovParams(**params), observation, margin=margin, generator=generator())


def dense_differences(height, width):
    """Periodic forward differences as a matrix, from their definition."""
    place = torch.arange(height * width).view(height, width)
    matrices = []
    for dim in (0, 1):
        matrix = -torch.eye(height * width, dtype=torch.float64)
        matrix[place.flatten(), place.roll(-1, dim).flatten()] += 1
        matrices.append(matrix)
    return torch.cat(matrices)


def dense_blur(kernel, height, width):
    """Valid true convolution of a (height, width) image as a matrix: one column a pixel."""
    columns = torch.eye(height * width).view(-1, 1, height, width)
    return blur_by_definition(columns, kernel).flatten(1).T.double()


def test_restores_the_minimiser_that_linear_algebra_finds(monkeypatch):
    # 12 x 14 pixels and a 5 x 3 kernel make a 16 x 16 latent image; let the periodic grid be just that
    monkeypatch.setattr("deblurkit_tikhonov.prior.fast_size", lambda _: 16)
    kernel = curved_kernel((5, 3))
    latent = cartoon(1, 1, (16, 16), seed=3)
    noise = 0.01
    y = blur_by_definition(latent, kernel)
    mask = torch.ones_like(y)
    mask[..., 4:6, 7:10] = 0
    found = prior(Observation.of(y), margin=(2, 1), rounds=200).restore(Observation.of(y, noise, mask=mask), kernel)
    blur, differences = dense_blur(kernel, 16, 16), dense_differences(16, 16)
    believed = mask.flatten().double()
    weight = (noise**2 + ROUNDING**2) / GRADIENT_VARIANCE
    system = blur.T @ (believed[:, None] * blur) + weight * differences.T @ differences
    exact = torch.linalg.solve(system, blur.T @ (believed * y.flatten().double()))
    torch.testing.assert_close(found.flatten().double(), exact, atol=2e-3, rtol=0)


def test_few_rounds_are_nearly_as_good_as_many():
    observation, latent, kernel = example(1, 3)
    few, many = (prior(observation, rounds=n).restore(observation, kernel) for n in (TikhonovParams().rounds, 300))
    inner = (..., slice(3, -3), slice(4, -4))
    errors = [float((x - latent)[inner].square().mean().sqrt()) for x in (few, many)]
    assert errors[0] < 1.05 * errors[1]


def test_the_border_does_not_wrap_around():
    """A bright left side must not leak into a dark right side, as a periodic filter lets it."""
    latent = torch.cat([torch.full((1, 1, 54, 32), 0.9), torch.full((1, 1, 54, 32), 0.1)], dim=-1)
    kernel = torch.full((1, 1, 1, 9), 1 / 9)
    observation = Observation.of(convolve_valid(latent, kernel), noise=0.001)
    x = prior(observation, margin=(0, 4)).restore(observation, kernel)[..., 4:-4]
    # the periodic filter with the same weight errs by 1.9 here
    assert float((x[..., -8:] - 0.1).abs().max()) < 0.05
    assert float((x[..., :8] - 0.9).abs().max()) < 0.05


def test_noise_and_strength_smooth():
    observation, _, kernel = example()

    def roughness(noise, strength=1.0):
        x = prior(observation, strength=strength).restore(Observation.of(observation.y, noise), kernel)
        return float(torch.diff(x, dim=-1).square().mean())

    assert roughness(0.001) > roughness(0.01) > roughness(0.05)
    assert roughness(0.01) > roughness(0.01, strength=10.0)


def test_energy_is_the_mean_squared_gradient():
    x = torch.zeros(2, 1, 3, 4)
    x[1, 0, 1, 2] = 1.0  # two of 8 vertical and two of 9 horizontal differences are 1
    energy = prior(Observation.of(x), energy_weight=0.5).energy(x)
    torch.testing.assert_close(energy, torch.tensor([0.0, 0.5 * (2 / 8 + 2 / 9)]))


def test_residual_is_orthogonal_where_the_prior_is_weak():
    """With a tiny weight the solution is the least-squares one: its residual has no part that a blur could explain."""
    observation, _, kernel = example()
    exact = Observation.of(observation.y, 0.0)
    x = prior(observation, rounds=300, strength=1e-3).restore(exact, kernel)
    residual = convolve_valid(x, kernel) - observation.y
    assert float(convolve_valid_adjoint(residual, kernel).abs().max()) < 1e-3


def test_an_even_kernel_is_refused():
    observation, _, _ = example()
    with pytest.raises(KernelError):
        prior(observation).restore(observation, torch.full((1, 1, 4, 4), 1 / 16))


def test_deblurkit_finds_it_under_its_distribution():
    entry = registry().find("image_prior", "tikhonov")
    assert entry.provider.distribution == "deblurkit-tikhonov"
    assert not [broken for broken in registry().broken if broken.provider == entry.provider]
    assert entry.spec.load() is Tikhonov


def test_reading_the_plugin_does_not_import_torch():
    program = "import sys, deblurkit_tikhonov.plugin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
