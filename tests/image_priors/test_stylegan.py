"""The manifold of a generator, against its definition and on a small generator of digits."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deblurkit.checkpoints.layouts import open_generator
from deblurkit.core import Observation
from deblurkit.core.image_prior import extend
from deblurkit.errors import RunError, UsageError
from deblurkit.image_priors import stylegan
from deblurkit.image_priors.plugin import StyleGANParams
from deblurkit.image_priors.stylegan import EXCESS, StyleGANManifold, generator_on, geocross, length
from deblurkit.nets.seeding import seeded
from deblurkit.nets.stylegan.generator import Generator
from deblurkit.nets.stylegan.stylegan2 import StyleGAN2
from deblurkit.nets.stylegan.weights import save_generator
from deblurkit.ops.convolve import convolve_valid
from deblurkit.registry import registry
from deblurkit.testing import cartoon, curved_kernel

DIGITS = Path(__file__).parents[1] / "data" / "digits.safetensors"
MARGIN = (3, 4)


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory) -> Path:
    """A random generator of 16 x 16 pixels, every tensor of which matters."""
    with seeded(torch.Generator().manual_seed(0)):
        network = StyleGAN2(channels=(6, 5, 4), style=8, inputs=7, depth=2)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                scale = 30.0 if name.startswith("mapping.") else 0.2
                parameter.add_(scale * torch.randn(parameter.shape))
            network.mean_style.copy_(torch.randn(8))
    network.gaussian = network.measure(2000, torch.Generator().manual_seed(0))
    file = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_generator(file, network, card={"data": "none"})
    return file


@pytest.fixture(scope="module")
def network() -> Generator:
    return generator_on(DIGITS, torch.device("cpu"), torch.float32)


@pytest.fixture
def tiny(tiny_file):
    """Build a prior on the random generator, whose distribution of styles comes with it."""

    def build(y=None, **flags) -> StyleGANManifold:
        y = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(5)) if y is None else y
        return prior(y, **{"weights": tiny_file, "style_samples": 2000, "candidates": 1} | flags)

    return build


def prior(y: Tensor, seed: int = 0, margin: tuple[int, int] = MARGIN, **flags: Any) -> StyleGANManifold:
    params = StyleGANParams(**{"weights": DIGITS, "candidates": 4} | flags)
    return StyleGANManifold(params, Observation.of(y), margin=margin, generator=torch.Generator().manual_seed(seed))


def picture_of(network: Generator, seed: int, count: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Digits (B, 3, 64, 64) in [0, 1]."""
    z = torch.randn(count, network.inputs, generator=torch.Generator().manual_seed(seed)).to(dtype)
    w = network.map(z)[:, None].expand(-1, network.latents, -1)
    return ((network(w, network.own_noises()) + 1) / 2).clamp(0, 1)


def inner(x: Tensor, margin: tuple[int, int] = MARGIN) -> Tensor:
    return x[..., margin[0] : x.shape[-2] - margin[0], margin[1] : x.shape[-1] - margin[1]]


def psnr(x: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(float((x - truth).square().mean()))


def shown(p: StyleGANManifold, x: Tensor) -> Tensor:
    """What the generator's own range becomes: (x + 1) / 2, and beyond [0, 1] hardly steeper than flat."""
    x = (x + 1) / 2
    return torch.where(x < 0, EXCESS * x, torch.where(x > 1, 1 + EXCESS * (x - 1), x))


def test_it_says_what_it_is():
    spec = registry().spec("image_prior", "stylegan")
    assert spec.synthesises
    assert spec.whole
    assert spec.offers == {"parameters", "energy", "fit"}


# what is shown


def test_it_shows_the_generator_s_picture_and_repeats_its_border(tiny):
    p = tiny()
    with torch.no_grad():
        x = p()
        expected = shown(p, p.network(p.styles(), [p.params.pace * noise for noise in p.searched]))
    assert x.shape == (1, 3, 16 + 6, 16 + 8)
    torch.testing.assert_close(inner(x), expected)
    for index in range(3):
        assert torch.equal(x[..., index, 4:-4], expected[..., 0, :])
        assert torch.equal(x[..., -1 - index, 4:-4], expected[..., -1, :])
    for index in range(4):
        assert torch.equal(x[..., 3:-3, index], expected[..., :, 0])
        assert torch.equal(x[..., 3:-3, -1 - index], expected[..., :, -1])
    assert torch.equal(x[..., :3, :4], expected[..., :1, :1].expand(-1, -1, 3, 4))


def test_values_beyond_the_range_keep_a_little_slope(tiny):
    p = tiny()
    wide = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 5).repeat(1, 3, 1, 1).requires_grad_()
    p.frame, p._network = (1, 5), (lambda styles, noises: wide,)
    x = p._shown(torch.zeros(0), [])
    assert x[0, 0, 0].tolist() == pytest.approx([-EXCESS, 0, 0.5, 1, 1 + EXCESS])
    (slope,) = torch.autograd.grad(x.sum(), wide)
    assert float(slope.min()) == pytest.approx(EXCESS / 2)


def test_grey_is_the_mean_of_the_channels(tiny):
    y = torch.rand(1, 1, 16, 16)
    grey = tiny(y)
    with torch.no_grad():
        raw = grey.network(grey.styles(), grey._noises()).mean(1, keepdim=True)
        torch.testing.assert_close(inner(grey()), shown(grey, raw))
    assert grey().shape == (1, 1, 22, 24)


@pytest.mark.parametrize("side", [32, 16])
def test_a_smaller_observation_is_compared_with_a_shrunk_picture(network, side):
    y = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    p = prior(y, candidates=1)
    assert p.latent_shape == (1, 3, side + 6, side + 8)
    with torch.no_grad():
        raw = network(p.styles(), p._noises())
        small = torch.nn.functional.interpolate(raw, (side, side), mode="bicubic", antialias=True)
        torch.testing.assert_close(inner(p()), shown(p, small), atol=1e-5, rtol=0)


def test_nothing_of_the_generator_can_be_trained_or_saved(tiny):
    p = tiny()
    names = {name for name, _ in p.named_parameters()}
    assert names == {"latent", *(f"searched.{index}" for index in range(5))}
    assert set(p.state_dict()) == names
    p().square().sum().backward()
    assert all(parameter.grad is not None for parameter in p.parameters())
    assert all(parameter.grad is None for parameter in p.network.parameters())


# what is believed


@pytest.mark.parametrize("margin", [(3, 4), (0, 2), (0, 0), (7, 7)])
def test_what_is_believed_is_what_no_pixel_beyond_the_frame_reaches(tiny, margin):
    p = tiny(margin=margin)
    y = Observation.of(torch.rand(1, 3, 16, 16), 0.01)
    generator = torch.Generator().manual_seed(0)
    kernel = torch.rand(1, 1, 2 * margin[0] + 1, 2 * margin[1] + 1, generator=generator)
    x = torch.rand(1, 3, 16 + 2 * margin[0], 16 + 2 * margin[1], generator=generator)
    other = torch.rand(x.shape, generator=generator)
    inner(other, margin).copy_(inner(x, margin))
    same = torch.isclose(convolve_valid(x, kernel), convolve_valid(other, kernel), atol=1e-5).all(1, keepdim=True)
    believed = p.believed(y)
    assert torch.equal(believed.mask, same.float())
    assert believed.y is y.y
    assert torch.equal(believed.noise, y.noise)


def test_what_was_not_believed_before_is_not_believed_now(tiny):
    p = tiny()
    mask = torch.ones(1, 1, 16, 16)
    mask[..., 8, 8] = 0
    saturated = torch.zeros_like(mask)
    saturated[..., 5, 5] = saturated[..., 0, 0] = 1
    believed = p.believed(Observation(torch.rand(1, 3, 16, 16), mask, saturated, torch.zeros(1)))
    assert float(believed.mask[..., 8, 8]) == 0
    assert float(believed.mask.sum()) == 10 * 8 - 1
    assert float(believed.saturated.sum()) == 1, "a bound is a bound only where the generator could reach it"


@pytest.mark.parametrize("margin", [(8, 2), (2, 8), (8, 8), (9, 0), (40, 40)])
def test_a_kernel_that_leaves_nothing_is_told(tiny, margin):
    p = tiny(margin=margin)
    kernel = f"{2 * margin[1] + 1}x{2 * margin[0] + 1}"
    cure = r"use a smaller kernel \(--kernel-size\) or a larger picture$"
    sentence = f"^a kernel of {kernel} pixels leaves nothing of a picture of 16x16 that the .* explain; {cure}"
    with pytest.raises(RunError, match=sentence):
        p.believed(Observation.of(torch.rand(1, 3, 16, 16)))


def test_a_picture_without_a_pixel_to_believe_is_told_otherwise(tiny):
    nothing = Observation.of(torch.ones(1, 3, 16, 16), mask=torch.zeros(1, 1, 16, 16))
    with pytest.raises(RunError, match="as what it leaves is saturated or missing; use another picture, or a smaller"):
        tiny().believed(nothing)


# spheres


def norms(p: StyleGANManifold) -> list[Tensor]:
    """Of every style vector, and of every noise map, that is searched for."""
    latent = p.params.pace * p.latent.detach()
    maps = [p.params.pace * noise.detach() for noise in p.searched]
    return [latent.norm(dim=-1), *(noise.flatten(1).norm(dim=1) for noise in maps)]


def walk(p: StyleGANManifold, steps: int = 5, rate: float = 1e-2) -> None:
    adam = torch.optim.Adam(p.parameters(), lr=rate)
    for _ in range(steps):
        adam.zero_grad()
        (p() - 0.3).square().sum().backward()
        adam.step()
        p.project()


def test_style_vectors_and_noise_maps_stay_on_their_spheres(tiny):
    p = tiny(torch.rand(2, 3, 16, 16))
    before, start = norms(p), p.latent.detach().clone()
    assert before[0].shape == (2, 6), "a radius for every vector"
    assert float(before[0].std()) > 0
    walk(p)
    assert not torch.allclose(start, p.latent, atol=1e-2)
    for one, other in zip(before, norms(p), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=0)


def test_projecting_is_the_identity_on_the_sphere_and_scales_back_what_left_it(tiny):
    p = tiny()
    before = [parameter.detach().clone() for parameter in p.parameters()]
    with torch.no_grad():
        for index, parameter in enumerate(p.parameters()):
            parameter.mul_(1.5 + index)
    p.project()
    for one, other in zip(before, p.parameters(), strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-4, atol=1e-6)


def test_without_spheres_they_go_where_they_will(tiny):
    p = tiny(sphere=False)
    before = norms(p)
    walk(p)
    assert all(not torch.allclose(one, other, rtol=1e-4) for one, other in zip(before, norms(p), strict=True))


def test_lengths_are_those_of_vectors_and_of_maps():
    styles, maps = torch.randn(2, 3, 5), torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(length(styles)[..., 0], styles.norm(dim=-1))
    torch.testing.assert_close(length(maps)[:, 0, 0, 0], maps.flatten(1).norm(dim=1))


# GEOCROSS


def by_loops(w: Tensor, divisor: float) -> Tensor:
    """GEOCROSS as its publication writes it, pair by pair."""
    batch, count, width = w.shape
    out = []
    for b in range(batch):
        total = 0.0
        for i in range(count):
            for j in range(count):
                apart = math.sqrt(float((w[b, i] - w[b, j]).square().sum()) + 1e-9)
                together = math.sqrt(float((w[b, i] + w[b, j]).square().sum()) + 1e-9)
                total += width * (2 * math.atan2(apart, together)) ** 2
        out.append(total / count**2 / divisor)
    return torch.tensor(out, dtype=w.dtype)


@pytest.mark.parametrize(("count", "divisor"), [(18, 8.0), (14, 6.0), (10, 4.0), (4, 1.0), (2, 1.0)])
def test_geocross_is_the_mean_over_all_pairs_over_the_published_constant(count, divisor):
    w = torch.randn(2, count, 512 if count > 10 else 7, generator=torch.Generator().manual_seed(count)).double()
    torch.testing.assert_close(geocross(w), by_loops(w, divisor), rtol=1e-9, atol=0)


def test_geocross_of_known_angles():
    axes = torch.eye(4, dtype=torch.float64)[None]
    assert float(geocross(axes)) == pytest.approx(4 * (12 / 16) * (math.pi / 2) ** 2, rel=1e-6)
    opposite = torch.tensor([[[1.0, 0], [-1, 0]]], dtype=torch.float64)
    assert float(geocross(opposite)) == pytest.approx(2 * 0.5 * math.pi**2, rel=1e-3)


def test_geocross_is_nothing_where_all_styles_agree_and_has_a_slope_there():
    w = torch.randn(2, 1, 64).expand(-1, 10, -1).clone().requires_grad_()
    energy = geocross(w)
    assert float(energy.detach().max()) < 1e-6
    (slope,) = torch.autograd.grad(energy.sum(), w)
    assert bool(slope.isfinite().all())


def test_its_energy_is_geocross_times_its_weight(tiny):
    y = torch.rand(2, 3, 16, 16)
    p = tiny(y, cross=0.25)
    energy = p.energy(p())
    assert energy.shape == (2,)
    torch.testing.assert_close(energy, 0.25 * geocross(p.styles()))
    assert float(energy.detach().min()) > 0
    energy.sum().backward()
    assert float(p.latent.grad.abs().max()) > 0
    for without in (tiny(y, cross=0.0), tiny(y, cross=0.25, latent="w")):
        assert torch.equal(without.energy(without()), torch.zeros(2))


# styles


def test_styles_are_the_whitened_ones_through_the_distribution(tiny):
    p = tiny()
    v = p.params.pace * p.latent
    expected = torch.nn.functional.leaky_relu(p.gaussian.std * v + p.gaussian.mean, 0.2)
    torch.testing.assert_close(p.styles(), expected)


@pytest.mark.parametrize(("kept", "cutoff"), [(0.7, 0), (0.7, 2), (0.0, 3), (0.5, 6), (0.5, 99)])
def test_truncation_is_a_share_of_the_distance_from_the_mean_style(tiny, kept, cutoff):
    p, plain = tiny(truncation=kept, truncated_layers=cutoff), tiny()
    w, mean = plain.styles().detach(), plain.network.mean_style
    for layer in range(6):
        expected = w[:, layer] if cutoff and layer >= cutoff else mean + kept * (w[:, layer] - mean)
        torch.testing.assert_close(p.styles()[:, layer].detach(), expected)


def test_no_truncation_whatever_the_cutoff(tiny):
    assert torch.equal(tiny(truncated_layers=2).styles(), tiny().styles())


def test_one_style_for_all_layers(tiny):
    p = tiny(torch.rand(2, 3, 16, 16), latent="w")
    assert p.latent.shape == (2, 1, 8)
    w = p.styles()
    assert w.shape == (2, 6, 8)
    assert torch.equal(w, w[:, :1].expand(-1, 6, -1))
    walk(p)
    w = p.styles()
    assert torch.equal(w, w[:, :1].expand(-1, 6, -1))
    assert tiny().latent.shape == (1, 6, 8)


def test_the_learning_rate_means_so_much_more_at_a_higher_pace(tiny):
    slow, quick = tiny(pace=1.0), tiny(pace=8.0)
    torch.testing.assert_close(slow(), quick())
    start = slow.latent.detach().clone()
    for p in (slow, quick):
        (p.latent * torch.arange(1.0, 9.0)).sum().backward()
        torch.optim.Adam(p.parameters(), lr=1e-3).step()
    torch.testing.assert_close(slow.latent.detach() - start, torch.full_like(start, -1e-3), rtol=1e-2, atol=0)
    torch.testing.assert_close(8 * quick.latent.detach() - start, torch.full_like(start, -8e-3), rtol=1e-2, atol=0)
    for one, other in zip(slow.searched, quick.searched, strict=True):
        torch.testing.assert_close(one, 8 * other, rtol=1e-4, atol=1e-5)


# noise


@pytest.mark.parametrize(
    ("flags", "places"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"trainable_noises": 2}, [0, 1]),
        ({"trainable_noises": 0}, []),
        ({"trainable_noises": 99}, [0, 1, 2, 3, 4]),
        ({"zero_noises": (3,)}, [0, 1, 2, 4]),
        ({"zero_noises": (0, 1), "trainable_noises": 3}, [2]),
        ({"noise": "fixed"}, []),
        ({"noise": "zero"}, []),
        ({"noise": "own"}, []),
        ({"noise": "own", "zero_noises": (1,)}, []),
    ],
)
def test_noise_maps_are_searched_for_fixed_zero_or_the_generator_s_own(tiny, flags, places):
    y = torch.rand(2, 3, 16, 16)
    p = tiny(y, **flags)
    before = [noise.detach().clone() for noise in p._noises()]
    assert [noise.shape[-1] for noise in before] == [4, 8, 8, 16, 16]
    walk(p)
    after = p._noises()
    moved = [index for index, one in enumerate(before) if not torch.equal(one, after[index])]
    assert moved == places
    assert len(list(p.searched)) == len(places)
    for index, (noise, own) in enumerate(zip(before, p.network.own_noises(), strict=True)):
        if p.params.noise == "zero" or index in p.params.zero_noises:
            assert not noise.any()
        elif p.params.noise == "own":
            assert torch.equal(noise, own.expand_as(noise))
        else:
            assert noise.shape[0] == 2
            assert not torch.equal(noise[0], noise[1])
            assert 0.5 < float(noise.std()) < 1.5


def test_noise_changes_the_picture(tiny):
    with torch.no_grad():
        pictures = [tiny(noise=kind)() for kind in ("fixed", "zero", "own")]
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[0], pictures[2])
    torch.testing.assert_close(tiny(noise="fixed")(), tiny(noise="trainable")())


# starts


def test_of_the_candidates_the_nearest_one_is_taken(tiny):
    glances = {}
    for count in (2, 5, 20):
        p = tiny(candidates=count, noise="own")
        assert torch.equal(p.latent, p.latent[:, :1].expand(-1, 6, -1)), "the same style in every layer"
        drawn = torch.randn(count, 1, 8, generator=torch.Generator().manual_seed(0))
        y = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            errors = [
                float((p._shown(p._styled(one[None]), p.network.own_noises()) - y).square().mean()) for one in drawn
            ]
            assert errors.index(min(errors)) == int((drawn[:, 0] - p.params.pace * p.latent[0, 0]).norm(dim=1).argmin())
            glances[count] = float((inner(p()) - y).square().mean())
        assert glances[count] == pytest.approx(min(errors), rel=1e-4)
    assert glances[20] < glances[2]


def test_a_lone_candidate_is_a_draw_of_every_layer(tiny):
    p = tiny()
    assert not torch.equal(p.latent[:, 0], p.latent[:, 1])
    assert 0.5 < float((p.params.pace * p.latent).detach().std()) < 1.5


@pytest.mark.parametrize(("latent", "rows"), [("w", 1), ("w+", 6)])
def test_a_lone_candidate_is_the_first_draw(tiny, latent, rows):
    p = tiny(latent=latent)
    drawn = torch.randn(1, rows, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(p.params.pace * p.latent.detach(), drawn)


def test_the_distribution_is_of_the_observation_s_precision(tiny):
    p = tiny(torch.rand(1, 3, 16, 16, dtype=torch.float64))
    assert p.gaussian.mean.dtype == p.gaussian.std.dtype == torch.float64


def test_starts_of_digits_are_nearer_than_a_single_draw(network):
    y = picture_of(network, 3)
    first, second = (psnr(inner(prior(y, candidates=count)().detach()), y) for count in (2, 64))
    assert second >= first


# inversion


def test_fitting_a_picture_of_the_generator_s_finds_it(network):
    y = picture_of(network, 1)
    p = prior(torch.full_like(y, 0.5), candidates=32, fit_steps=100, fit_lr=1e-2)
    before = psnr(inner(p().detach()), y)
    p.fit(extend(y, MARGIN))
    after = psnr(inner(p().detach()), y)
    assert after > before + 5
    assert after > 18


def test_fitting_moves_on_the_spheres_of_the_new_start(tiny):
    x = torch.rand(1, 3, 22, 24, generator=torch.Generator().manual_seed(7))
    start, fitted = tiny(candidates=3, fit_steps=0), tiny(candidates=3, fit_steps=4)
    before = norms(start)
    for p in (start, fitted):
        p.fit(x)
    assert not torch.allclose(before[0], norms(start)[0], rtol=1e-3), "another style was drawn"
    assert not torch.allclose(start.latent, fitted.latent, atol=1e-4)
    for one, other in zip(norms(start), norms(fitted), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=0)


def test_fitting_without_steps_takes_the_nearest_start(tiny):
    p = tiny(fit_steps=0, candidates=4, noise="own")
    x = torch.rand(1, 3, 22, 24, generator=torch.Generator().manual_seed(7))
    p.fit(x)
    drawn = torch.Generator().manual_seed(0)
    draws = [torch.randn(4, 1, 8, generator=drawn)]
    draws += [torch.randn(1, 1, side, side, generator=drawn) for side in (4, 8, 8, 16, 16)]
    again = torch.randn(4, 1, 8, generator=drawn)
    with torch.no_grad():
        errors = [
            float((p._shown(p._styled(one[None]), p.network.own_noises()) - inner(x)).square().mean()) for one in again
        ]
    torch.testing.assert_close(p.params.pace * p.latent[0, 0].detach(), again[errors.index(min(errors)), 0])


def test_pictures_of_a_batch_do_not_know_of_each_other(tiny):
    y = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    p = tiny(y, candidates=3)
    (slope,) = torch.autograd.grad(p()[0].square().sum() + p.energy(p())[0], p.latent)
    assert float(slope[0].abs().max()) > 0
    assert not slope[1].any()
    # what the other one is changes nothing of the first
    other = torch.cat([y[:1], 1 - y[1:]])
    walks = []
    for pair in (y, other):
        q = tiny(pair, candidates=3, fit_steps=3)
        q.fit(extend(pair, MARGIN))
        walks.append(q().detach())
    torch.testing.assert_close(walks[0][0], walks[1][0], atol=1e-5, rtol=0)
    assert not torch.allclose(walks[0][1], walks[1][1], atol=1e-3)


def test_the_seed_decides(network):
    y = picture_of(network, 2)
    first, second, third = (prior(y, seed=seed, fit_steps=2) for seed in (1, 1, 2))
    for p in (first, second, third):
        p.fit(extend(y, MARGIN))
    assert torch.equal(first(), second())
    assert not torch.equal(first(), third())


def test_double_precision_all_the_way(tiny):
    y = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    p = tiny(y, candidates=3, fit_steps=2, tune_steps=1, truncation=0.8)
    assert p().dtype == torch.float64
    assert p.energy(p()).dtype == torch.float64
    assert all(parameter.dtype == torch.float64 for parameter in p.parameters())
    p.fit(extend(y, MARGIN))
    list(p.refine(lambda x: x.square().mean()))
    assert p().dtype == torch.float64
    single = tiny(y.float(), candidates=3, truncation=0.8)
    double = tiny(y, candidates=3, truncation=0.8)
    torch.testing.assert_close(double().float(), single(), atol=1e-4, rtol=0)


def test_the_gradient_of_the_styles_is_that_of_finite_differences(tiny):
    p = tiny(torch.rand(1, 3, 16, 16, dtype=torch.float64), pace=3.0)
    weights = torch.randn(p.latent_shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def value() -> Tensor:
        return (weights * p()).sum() + p.energy(p()).sum()

    slopes = torch.autograd.grad(value(), list(p.parameters()))
    for parameter, slope in zip(list(p.parameters()), slopes, strict=True):
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        with torch.no_grad():
            parameter.add_(1e-6 * direction)
            ahead = value()
            parameter.sub_(2e-6 * direction)
            behind = value()
            parameter.add_(1e-6 * direction)
        torch.testing.assert_close((slope * direction).sum(), (ahead - behind) / 2e-6, rtol=1e-4, atol=1e-7)


# pivotal tuning


def state(network: Generator) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_tuning_moves_the_prior_s_own_generator_only(tiny, tiny_file):
    y = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    p, other = tiny(y, tune_steps=12, tune_lr=3e-3), tiny(y)
    shared = generator_on(tiny_file, torch.device("cpu"), torch.float32)
    assert p.network is shared
    before, theirs = state(shared), other().detach()
    own = [parameter.detach().clone() for parameter in p.parameters()]
    losses = list(p.refine(lambda x: (inner(x) - y).square().mean()))
    assert len(losses) == 12
    assert all(not loss.requires_grad for loss in losses)
    assert float(losses[-1]) < 0.9 * float(losses[0])
    assert float((inner(p().detach()) - y).square().mean()) < float(losses[0])
    assert p.network is not shared
    for name, value in shared.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in shared.parameters())
    assert torch.equal(other(), theirs)
    assert torch.equal(tiny(y)(), theirs), "a new prior is as if nothing had been"
    for one, parameter in zip(own, p.parameters(), strict=True):
        assert torch.equal(one, parameter), "styles and noise stay"


def test_tuning_stays_near_the_picture_as_far_as_it_is_told(tiny):
    y = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    moves = []
    for stay in (0.0, 100.0):
        p = tiny(y, tune_steps=12, tune_lr=3e-3, tune_stay=stay)
        pivot = p().detach()
        list(p.refine(lambda x: (inner(x) - y).square().mean()))
        moves.append(float((p().detach() - pivot).square().mean()))
    assert moves[1] < 0.3 * moves[0]


def test_the_first_loss_of_tuning_is_the_objective(tiny):
    p = tiny(tune_steps=1)
    x = p().detach()
    (loss,) = p.refine(lambda x: 3 * x.mean())
    assert float(loss) == pytest.approx(3 * float(x.mean()), rel=1e-5)


def test_there_is_no_tuning_unless_it_is_asked_for(tiny):
    p = tiny()
    shared = p.network
    assert list(p.refine(lambda x: x.mean())) == []
    assert p.network is shared


# files


def test_a_generator_is_read_once_and_anew_when_the_file_changes(tiny_file, tmp_path):
    cpu = torch.device("cpu")
    file = tmp_path / "g.safetensors"
    file.write_bytes(tiny_file.read_bytes())
    first = generator_on(file, cpu, torch.float32)
    assert generator_on(file, cpu, torch.float32) is first
    with seeded(torch.Generator().manual_seed(1)):
        save_generator(file, StyleGAN2(channels=(3, 3), style=4, inputs=4, depth=1), card={}, overwrite=True)
    assert generator_on(file, cpu, torch.float32).resolution == 8


def test_a_file_is_parsed_once_whatever_the_precision(tiny_file, tmp_path, monkeypatch):
    file, opened = tmp_path / "g.safetensors", []
    file.write_bytes(tiny_file.read_bytes())

    def count(path: Path) -> Generator:
        opened.append(path)
        return open_generator(path)

    monkeypatch.setattr(stylegan, "open_generator", count)
    StyleGANManifold.admit(StyleGANParams(weights=file), torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16))
    single, double = (generator_on(file, torch.device("cpu"), dtype) for dtype in (torch.float32, torch.float64))
    assert opened == [file]
    assert (single.mean_style.dtype, double.mean_style.dtype) == (torch.float32, torch.float64)
    assert generator_on(file, torch.device("cpu"), torch.float64) is double
    assert generator_on(file, torch.device("cpu"), torch.float32) is single
    assert torch.equal(double.mean_style.float(), single.mean_style)


@pytest.mark.parametrize("numbers", [(5,), (0, 99)])
def test_noise_maps_that_there_are_not(tiny, tiny_file, numbers):
    params = StyleGANParams(weights=tiny_file, zero_noises=numbers)
    words = rf"^image_prior\.zero_noises: there is no noise map {numbers[-1]}, as the generator has 5; give .* 0 to 4$"
    with pytest.raises(UsageError, match=words):
        StyleGANManifold.admit(params, torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16))
    with pytest.raises(UsageError, match=words):
        tiny(zero_noises=numbers)


def kernel_space(tmp_path, compact_file):
    return compact_file


def nothing(tmp_path, compact_file):
    return tmp_path / "absent.safetensors"


def page(tmp_path, compact_file):
    (tmp_path / "page.pt").write_text("<!DOCTYPE html><html><title>Quota exceeded</title></html>")
    return tmp_path / "page.pt"


def empty_folder(tmp_path, compact_file):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (kernel_space, "a kernel prior, where a generator of pictures is wanted"),
        (nothing, "No such file or directory"),
        (page, "is a web page"),
        (empty_folder, "is a folder with 0 synthesis and 0 mapping halves"),
    ],
)
def test_what_is_no_generator_is_told_at_the_door(tmp_path, compact_file, make, sentence):
    file = make(tmp_path, compact_file)
    y = torch.rand(1, 3, 64, 64)
    with pytest.raises(UsageError, match=sentence) as told:
        StyleGANManifold.admit(StyleGANParams(weights=file), y, torch.ones(1, 1, 64, 64))
    assert str(told.value).startswith(str(file))
    with pytest.raises(UsageError, match=sentence):
        prior(y, weights=file)


def test_without_weights_it_says_which_are_wanted():
    y = torch.rand(1, 3, 64, 64)
    with pytest.raises(UsageError, match=r"image_prior\.weights: the stylegan prior needs .*--image-prior\.weights"):
        StyleGANManifold.admit(StyleGANParams(), y, torch.ones(1, 1, 64, 64))
    with pytest.raises(UsageError, match=r"--image-prior\.weights"):
        prior(y, weights=Path())


def test_it_admits_by_the_way_that_was_chosen(tiny_file):
    params = StyleGANParams(weights=tiny_file)
    y, valid = cartoon(1, 3, (16, 20)), torch.ones(1, 1, 16, 20)
    with pytest.raises(RunError, match=r"--image-prior\.picture resize, crop or pad"):
        StyleGANManifold.admit(params, y, valid)
    for way in ("resize", "crop", "pad"):
        admitted, seen = StyleGANManifold.admit(dataclasses.replace(params, picture=way), y, valid)
        assert admitted.shape == (1, 3, 16, 16)
        assert seen.shape == (1, 1, 16, 16)
        assert bool(seen.all()) == (way != "pad")
    square = y[..., :16]
    assert StyleGANManifold.admit(params, square, valid[..., :16])[0] is square


def test_the_distribution_is_measured_where_the_file_has_too_few_styles(tiny_file, tmp_path, monkeypatch):
    monkeypatch.setenv("DEBLURKIT_CACHE", str(tmp_path))
    p = prior(torch.rand(1, 3, 16, 16), weights=tiny_file, style_samples=3000, candidates=1)
    assert p.gaussian.samples == 3000
    assert len(list((tmp_path / "styles").iterdir())) == 1


def test_a_blur_of_a_known_kernel_is_explained(network):
    """Search by hand, as an optimizer would: the error of the re-blurred picture falls where it is believed."""
    kernel = curved_kernel((7, 9))
    y = convolve_valid(extend(picture_of(network, 4), MARGIN), kernel)
    p = prior(y, candidates=16)
    mask = p.believed(Observation.of(y)).mask
    adam = torch.optim.Adam(p.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        adam.zero_grad()
        loss = (mask * (convolve_valid(p(), kernel) - y).square()).mean()
        loss.backward()
        adam.step()
        p.project()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.4 * losses[0]
