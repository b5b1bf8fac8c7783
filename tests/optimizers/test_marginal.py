"""The kernel with the image integrated out."""

import torch

from deblurkit.core import Observation
from deblurkit.metrics import kernel_similarity
from deblurkit.optimizers.marginal import marginal_kernels, posterior_mean
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel


def scene(seed=0, noise=0.003):
    kernel = curved_kernel((7, 9))
    y = blur_by_definition(cartoon(1, 1, (76, 88), seed), kernel)
    return Observation.of(y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(1)), noise), kernel


def start(size=(9, 9)):
    kernel = torch.zeros(1, 1, *size)
    kernel[..., 4, 3:6] = torch.tensor([0.25, 0.5, 0.25])
    return kernel


def test_finds_a_kernel_without_knowing_the_image():
    observation, truth = scene()
    *_, (found, _) = marginal_kernels(observation, start(), 30)
    assert kernel_similarity(found, truth).direct > 0.75 > kernel_similarity(start(), truth).direct
    torch.testing.assert_close(found.sum(), torch.tensor(1.0))
    assert float(found.min()) >= 0


def test_the_noise_level_is_annealed():
    observation, _ = scene()
    noises = [float(noise) for _, noise in marginal_kernels(observation, start(), 12)]
    assert noises[-1] < 0.3 * noises[0]


def test_pictures_of_a_batch_do_not_meet():
    (one, _), (two, _) = scene(0), scene(3)
    both = Observation(*(torch.cat(pair) for pair in zip(vars(one).values(), vars(two).values(), strict=True)))
    *_, (together, _) = marginal_kernels(both, start().expand(2, -1, -1, -1), 6)
    for i, alone in enumerate((one, two)):
        *_, (found, _) = marginal_kernels(alone, start(), 6)
        torch.testing.assert_close(together[i : i + 1], found, atol=1e-4, rtol=1e-3)


def test_posterior_mean_solves_its_equations(monkeypatch):
    monkeypatch.setattr("deblurkit.optimizers.marginal.IMAGE_STEPS", 200)
    g = torch.Generator().manual_seed(0)
    shape = (1, 2, 6, 8)
    data, mask = torch.rand(shape, generator=g).double(), (torch.rand(1, 1, 6, 8, generator=g) > 0.2).double()
    data = data * mask
    spectrum = torch.fft.rfft2(torch.rand(1, 1, 6, 8, generator=g).double())
    shrinkage = 0.1 + torch.rand(1, 1, 6, 8, generator=g).double()
    energy = torch.ones(1, 1, 6, 8).double()
    x = posterior_mean(torch.zeros_like(data), data, mask, spectrum, energy, shrinkage)
    blurred = mask * torch.fft.irfft2(spectrum * torch.fft.rfft2(x), s=(6, 8))
    left = torch.fft.irfft2(spectrum.conj() * torch.fft.rfft2(blurred), s=(6, 8)) + shrinkage * x
    right = torch.fft.irfft2(spectrum.conj() * torch.fft.rfft2(data), s=(6, 8))
    torch.testing.assert_close(left, right, atol=1e-8, rtol=1e-6)
