"""A kernel prior whose kernel is a code: against the space it decodes with, its closed form, and its start."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from deblurkit.core import Observation
from deblurkit.errors import UsageError
from deblurkit.kernel_priors.convolution import Convolution, gradient_misfit
from deblurkit.kernel_priors.encoded import FAINTEST, Encoded, faint_cut, space_on
from deblurkit.kernel_priors.plugin import EncodedParams
from deblurkit.kernel_priors.space_offers import offers
from deblurkit.metrics import kernel_similarity
from deblurkit.nets.kernel_space.weights import load_space
from deblurkit.ops.filter_flow import filter_flow
from deblurkit.ops.resample import resample_kernel
from deblurkit.ops.simplex import centroid, short_line
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

WINDOW = 9


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def observed(kernel: torch.Tensor, channels: int = 1, noise: float = 0.0) -> tuple[Observation, torch.Tensor]:
    """A picture (B, C, 48, 56) blurred by every kernel of a batch, and its latent image."""
    rows, columns = kernel.shape[-2] - 1, kernel.shape[-1] - 1
    x = cartoon(len(kernel), channels, (48 + rows, 56 + columns))
    y = blur_by_definition(x, kernel)
    return Observation.of(y + noise * torch.randn(y.shape, generator=generator()), noise), x


def two_kernels(size: tuple[int, int]) -> torch.Tensor:
    kernel = curved_kernel(size)
    return torch.cat([kernel, kernel.flip(-1)])


def shown(prior: Encoded) -> torch.Tensor:
    with torch.no_grad():
        return prior.kernel()


@pytest.fixture
def build(compact_file):
    def make(observation=None, *, size=(WINDOW, WINDOW), seed=0, batch=1, **params) -> Encoded:
        if observation is None:
            observation = Observation.of(cartoon(batch, 1, (48, 56)))
        made = EncodedParams(**{"space": compact_file, "fit_steps": 20, **params})
        return Encoded(made, observation, size=size, generator=generator(seed))

    return make


# what is offered


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {"parameters", "energy", "estimate", "kernel", "fit"}),
        ({"code": "network"}, {"parameters", "energy", "kernel", "fit"}),
        ({"tiles": 2}, {"parameters", "energy", "fit"}),
        ({"response": True}, {"parameters", "energy", "fit"}),
        ({"response": True, "tiles": 3, "code": "network"}, {"parameters", "energy", "fit"}),
    ],
)
def test_offers_follow_from_the_parameters(compact_file, params, expected):
    assert offers(EncodedParams(space=compact_file, **params)) == expected


def test_a_space_without_a_convolution_has_no_kernel(paper_file):
    assert offers(EncodedParams(space=paper_file)) == {"parameters", "energy"}
    spec = registry().spec("kernel_prior", "encoded")
    assert spec.narrowed(EncodedParams(space=paper_file)).offers == {"parameters", "energy"}


def test_tiles_are_refused_where_the_space_has_a_grid_of_its_own(paper_file):
    with pytest.raises(UsageError, match=r"kernel_prior\.tiles: the preset 'paper' of .* leave tiles out"):
        offers(EncodedParams(space=paper_file, tiles=2))


# the start


def test_it_starts_from_the_mean_code_of_the_training_pictures(build, compact_file):
    space = load_space(compact_file)
    assert space.statistics is not None
    prior = build(batch=2)
    mean = space.statistics.mean.view(1, -1, 1, 1).expand(2, -1, -1, -1)
    torch.testing.assert_close(prior.codes().detach(), mean)
    slow = build(pace=0.1)
    torch.testing.assert_close(slow.codes().detach(), mean[:1])
    torch.testing.assert_close(shown(prior), faint_cut(space.kernel(mean)), atol=1e-6, rtol=1e-5)


def test_without_statistics_it_starts_beside_zero_where_gradients_get_through(paper_file):
    """The published family rectifies its code, so that at 0 itself no gradient would ever reach it."""
    y = cartoon(2, 3, (48, 150))
    prior = Encoded(EncodedParams(space=paper_file), Observation.of(y), size=(9, 9), generator=generator())
    assert prior.codes().shape == (2, 6, 1, 2)
    assert 0 < float(prior.codes().detach().abs().max()) < 0.5
    prior.blur(y).square().sum().backward()
    (code,) = prior.parameters()
    assert code.grad is not None
    assert bool((code.grad.abs().amax((1, 2, 3)) > 0).all())


def test_the_space_is_frozen_and_no_parameter_of_the_prior(build):
    prior = build()
    weights = {name: value.clone() for name, value in prior.space.state_dict().items()}
    assert [p.shape for p in prior.parameters()] == [(1, 42, 1, 1)]
    assert [name for name, _ in prior.named_parameters()] == ["code"]
    adam = torch.optim.Adam(prior.parameters(), lr=0.1)
    prior.blur(cartoon(1, 1, (56, 64))).square().sum().backward()
    adam.step()
    assert all(p.grad is None for p in prior.space.parameters())
    assert all(torch.equal(weights[name], value) for name, value in prior.space.state_dict().items())


# a kernel that is given

SIZES = [(7, 5), (5, 9), (9, 9), (15, 13)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_given_kernel_is_shown_to_the_bit(build, size, batch):
    prior = build(size=size, batch=batch)
    kernel = two_kernels(size)[:batch]
    prior.fit(kernel)
    assert torch.equal(shown(prior), kernel)
    assert shown(prior).shape == (batch, 1, *size)
    kernel.zero_()
    assert float(shown(prior).sum()) == pytest.approx(batch), "it keeps a copy"


@pytest.mark.parametrize("size", SIZES)
def test_gradients_start_at_the_given_kernel_and_reach_the_code(build, size):
    prior = build(size=size, batch=2)
    kernel = two_kernels(size)
    prior.fit(kernel)
    started = prior.kernel()
    torch.testing.assert_close(started.detach(), kernel, atol=1e-6, rtol=1e-5)
    (started * torch.rand(started.shape, generator=generator())).sum().backward()
    (code,) = prior.parameters()
    assert code.grad is not None
    assert bool((code.grad.abs().amax((1, 2, 3)) > 0).all()), "each picture's own"


def test_the_slope_at_a_given_kernel_is_that_of_finite_differences(build):
    """With a kernel that is positive everywhere, so that nothing is cut there."""
    prior = build(batch=1)
    bell = torch.exp(-0.1 * (torch.arange(WINDOW) - 4.0) ** 2)
    kernel = torch.outer(bell, bell + 0.3)[None, None]
    prior.fit(kernel / kernel.sum())
    (code,) = prior.parameters()
    weight = torch.rand(1, 1, WINDOW, WINDOW, generator=generator(1))
    (slope,) = torch.autograd.grad((prior.kernel() * weight).sum(), code)
    direction = torch.randn(code.shape, generator=generator(2))
    direction /= direction.norm()
    start, delta, values = code.detach().clone(), 2e-2 / prior.params.pace, []
    for sign in (1, -1):
        with torch.no_grad():
            code.copy_(start + sign * delta * direction)
            values.append((prior.kernel() * weight).double().sum())
    numeric = (values[0] - values[1]) / (2 * delta)
    torch.testing.assert_close((slope * direction).double().sum(), numeric, rtol=2e-2, atol=1e-7)


def test_a_moved_code_keeps_the_correction_and_stays_a_kernel(build):
    prior = build(batch=2)
    kernel = two_kernels((WINDOW, WINDOW))
    prior.fit(kernel)
    at = prior.codes().detach().clone()
    correction = kernel - prior.decoded(at)
    with torch.no_grad():
        for p in prior.parameters():
            p.add_(1e-3 * torch.randn(p.shape, generator=generator()))
    moved = shown(prior)
    assert not torch.equal(moved, kernel)
    assert float((moved - kernel).abs().sum((1, 2, 3)).max()) < 0.2
    wanted = (prior.decoded(prior.codes()) + correction).detach().clamp_min(0)
    torch.testing.assert_close(moved, faint_cut(wanted / wanted.sum((1, 2, 3), keepdim=True)))
    assert float(moved.min()) >= 0
    torch.testing.assert_close(moved.sum((1, 2, 3)), torch.ones(2))


@pytest.mark.parametrize(("size", "share"), [((7, 7), 0.5), ((9, 9), 0.5), ((13, 13), 0.8)])
def test_a_code_moved_by_adam_lowers_the_data_loss(build, size, share):
    truth = two_kernels(size)
    observation, x = observed(truth)
    prior = build(observation, size=size)
    prior.fit(short_line(size, observation.y).expand(2, -1, -1, -1))
    adam = torch.optim.Adam(prior.parameters(), lr=0.1 / prior.params.pace)
    losses = []
    for _ in range(40):
        adam.zero_grad()
        each = (prior.blur(x) - observation.y).square().mean((1, 2, 3))
        each.sum().backward()
        adam.step()
        losses.append(each.detach())
    assert bool((losses[-1] < share * losses[0]).all())


# windows of other sizes


@pytest.mark.parametrize("size", [(5, 7), (9, 9), (3, 3)])
def test_a_smaller_window_is_cut_out_of_the_space_s(build, size):
    prior = build(size=size)
    whole = prior.convolutional.kernel(prior.codes())
    top, left = (WINDOW - size[0]) // 2, (WINDOW - size[1]) // 2
    part = whole[..., top : top + size[0], left : left + size[1]]
    torch.testing.assert_close(prior.decoded(prior.codes()), part / part.sum())


@pytest.mark.parametrize("size", [(17, 17), (11, 17)])
def test_for_a_larger_window_the_space_s_kernels_are_enlarged(build, size):
    prior = build(size=size)
    kernel = curved_kernel((7, 9))
    with torch.no_grad():
        code = prior.convolutional.encode_kernel(resample_kernel(kernel, 1.0, (WINDOW, WINDOW)))
        large, small = prior.decoded(code), prior.convolutional.kernel(code)
    assert large.shape == (1, 1, *size)
    torch.testing.assert_close(large, resample_kernel(small, 17 / 9, size))
    if size == (17, 17):
        torch.testing.assert_close(centroid(large), 17 / 9 * centroid(small), atol=0.15, rtol=0)


@pytest.mark.parametrize("size", [(5, 5), (17, 17)])
def test_what_is_encoded_in_another_window_is_decoded_there(build, size):
    prior = build(size=size)
    kernel = curved_kernel(size)
    prior.fit(kernel)
    decoded = prior.decoded(prior.codes()).detach()
    other = prior.decoded(torch.zeros_like(prior.codes())).detach()
    x = cartoon(1, 1, (48, 56))
    errors = [
        float((blur_by_definition(x, one) - blur_by_definition(x, kernel)).square().mean()) for one in (decoded, other)
    ]
    assert errors[0] < 0.1 * errors[1]


# blur


def test_blur_is_convolution_with_the_kernel_it_shows(build):
    observation = Observation.of(cartoon(2, 3, (48, 56)))
    prior = build(observation, size=(7, 11))
    prior.fit(two_kernels((7, 11)))
    assert prior.explicit
    assert prior.margin == (3, 5)
    x = cartoon(2, 3, (54, 66))
    torch.testing.assert_close(
        prior.blur(x).detach(), blur_by_definition(x, two_kernels((7, 11))), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("how", [{"response": True}, {"tiles": 3, "response": True}])
def test_with_the_response_the_space_itself_blurs(build, how):
    prior = build(size=(21, 5), batch=2, **how)
    assert not prior.explicit
    assert prior.margin == (4, 4), "the space's window, whatever was asked for"
    assert prior.size == (9, 9)
    side = how.get("tiles", 1)
    assert prior.codes().shape == (2, 42, side, side)
    x = cartoon(2, 1, (56, 64))
    torch.testing.assert_close(prior.blur(x), prior.space.blur(x, prior.codes()))


def test_tiles_alone_do_not_bend_the_tones_whatever_the_mean_code_says(build):
    prior = build(tiles=2, batch=2)
    measured = prior.convolutional.measured
    assert bool(prior.codes()[:, measured:].any()), "the training's mean camera is not a linear one"
    flat = torch.full((2, 3, 56, 64), 0.3)
    torch.testing.assert_close(prior.blur(flat), torch.full((2, 3, 48, 56), 0.3))
    prior.blur(cartoon(2, 1, (56, 64))).square().sum().backward()
    slope = prior.code.grad.abs().amax((0, 2, 3))
    assert float(slope[:measured].max()) > 0
    assert not slope[measured:].any()


def test_tiles_have_kernels_of_their_own(build):
    prior = build(tiles=2)
    kernels = torch.cat([two_kernels((9, 9)), two_kernels((9, 9)).transpose(-1, -2)])
    with torch.no_grad():
        codes = prior.convolutional.encode_kernel(kernels)
        prior._fit_code(codes[..., 0, 0].T.reshape(1, 42, 2, 2))
        x = cartoon(1, 1, (56, 64))
        decoded = prior.convolutional.kernel(codes).view(1, 2, 2, 9, 9)
        torch.testing.assert_close(prior.blur(x), filter_flow(x, decoded), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("how", [{"tiles": 2}, {"response": True}])
def test_fit_gives_the_nearest_code_to_every_place(build, how):
    prior = build(batch=2, **how)
    kernel = two_kernels((9, 9))
    x = cartoon(2, 1, (56, 64))
    wanted = blur_by_definition(x, kernel)
    before = float((prior.blur(x) - wanted).detach().square().mean())
    prior.fit(kernel)
    assert float((prior.blur(x) - wanted).detach().square().mean()) < 0.05 * before


def test_the_response_bends_the_tones(build):
    x = cartoon(1, 1, (56, 64))
    prior = build(response=True)
    prior.fit(curved_kernel((9, 9)))
    straight = prior.blur(x).detach()
    with torch.no_grad():
        code = prior.codes().clone()
        code[:, prior.convolutional.measured] = 0.7  # the first of the camera's numbers
        prior._fit_code(code)
    assert float((prior.blur(x).detach() - straight).abs().max()) > 0.01


def test_faint_traces_are_cut():
    kernel = torch.full((2, 1, 3, 3), 0.5 * FAINTEST)
    kernel[0, 0, 1, 1], kernel[1, 0, 0, 0], kernel[1, 0, 2, 2] = 1.0, 1.0, 2 * FAINTEST
    cut = faint_cut(kernel)
    assert (cut > 0).sum((1, 2, 3)).tolist() == [1, 2]
    torch.testing.assert_close(cut.sum((1, 2, 3)), torch.ones(2))


# energy


@pytest.mark.parametrize("code", ["free", "network"])
def test_energy_is_the_weighted_norm_of_the_code(build, code):
    prior = build(batch=2, code=code, penalty=0.3, perturbation=0.0, fit_steps=2)
    norm = prior.codes().detach().square().sum((1, 2, 3)).sqrt()
    torch.testing.assert_close(prior.energy().detach(), 0.3 * norm)
    prior.energy().sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in prior.parameters())
    assert torch.equal(build(batch=2, fit_steps=0, code=code).energy(), torch.zeros(2))


@pytest.mark.parametrize("tiles", [1, 2])
def test_energy_has_slopes_after_a_fit_after_showing_and_after_a_step(build, tiles):
    prior = build(code="network", penalty=0.3, perturbation=0.0, fit_steps=2, tiles=tiles)
    prior.fit(curved_kernel((9, 9)))
    x = cartoon(1, 1, (56, 64))
    for _ in range(2):
        before = prior.energy()
        torch.autograd.grad(before.sum(), list(prior.parameters()))
        with torch.no_grad():
            prior.blur(x)  # as a caller does who draws a picture of it
        torch.testing.assert_close(prior.energy(), before)
        assert prior.energy().requires_grad
        with torch.no_grad():
            prior.blur(x)
            assert not prior.energy().requires_grad


# closed forms


def test_without_projection_its_closed_form_is_that_of_convolution(build):
    truth = two_kernels((9, 9))
    observation, x = observed(truth, noise=0.002)
    for progress in (0.2, 1.0):
        prior, plain = build(observation), Convolution(EncodedParams(), observation, size=(9, 9), generator=generator())
        prior.fit(plain.kernel().detach())
        prior.estimate(x, observation, progress=progress)
        plain.estimate(x, observation, progress=progress)
        torch.testing.assert_close(shown(prior), plain.kernel().detach(), atol=1e-6, rtol=1e-5)


def test_the_closed_form_goes_on_from_gradients(build):
    """Adam moves the code; then the closed form starts at the moved kernel, and its result is again exact."""
    observation, x = observed(curved_kernel((9, 9)))
    prior = build(observation)
    prior.fit(short_line((9, 9), observation.y))
    with torch.no_grad():
        for p in prior.parameters():
            p.mul_(1.01)
    prior.estimate(x, observation)
    kernel = shown(prior)
    assert kernel_similarity(kernel, curved_kernel((9, 9))).direct > 0.9
    torch.testing.assert_close(prior.kernel().detach(), kernel, atol=1e-6, rtol=1e-5)


def estimated(build, observation, x, **params):
    prior = build(observation, **params)
    prior.fit(short_line((9, 9), observation.y).expand(len(x), -1, -1, -1))
    prior.estimate(x, observation)
    return prior, shown(prior)


def test_project_brings_the_estimate_into_the_space_if_that_explains_as_much(build):
    prior = build()
    with torch.no_grad():
        inside = faint_cut(prior.decoded(prior.convolutional.encode_kernel(two_kernels((9, 9)))))
    observation, x = observed(inside, noise=0.004)
    _, closed = estimated(build, observation, x)
    prior, kernel = estimated(build, observation, x, project=True, tolerance=0.1)
    assert not torch.equal(kernel, closed)
    torch.testing.assert_close(kernel, faint_cut(prior.decoded(prior.codes())).detach(), atol=0.02, rtol=0)
    misfits = [gradient_misfit(x, observation, one) for one in (kernel, closed)]
    assert bool((misfits[0] <= 1.1 * misfits[1]).all())


def test_project_keeps_the_closed_form_where_the_space_explains_clearly_less(build):
    """Two far dots and a third: on a clean picture, next to nothing may be lost."""
    truth = torch.zeros(1, 1, 9, 9)
    truth[0, 0, 1, 1], truth[0, 0, 7, 8], truth[0, 0, 3, 6] = 0.5, 0.3, 0.2
    observation, x = observed(truth)
    prior, kernel = estimated(build, observation, x, project=True, tolerance=0.0)
    _, closed = estimated(build, observation, x)
    assert torch.equal(kernel, closed)
    inside = faint_cut(prior.decoded(prior.codes())).detach()
    assert float(gradient_misfit(x, observation, inside)) > 2 * float(gradient_misfit(x, observation, closed))
    _, projected = estimated(build, observation, x, project=True, tolerance=1e9)
    torch.testing.assert_close(projected, inside, atol=0.05, rtol=0)


def test_every_picture_of_a_batch_is_projected_or_not_by_itself(build):
    prior = build()
    with torch.no_grad():
        inside = faint_cut(prior.decoded(prior.convolutional.encode_kernel(curved_kernel((9, 9)))))
    outside = torch.zeros(1, 1, 9, 9)
    outside[0, 0, 1, 1], outside[0, 0, 7, 8], outside[0, 0, 3, 6] = 0.5, 0.3, 0.2
    observation, x = observed(torch.cat([inside, outside]), noise=0.004)
    _, closed = estimated(build, observation, x)
    _, kernel = estimated(build, observation, x, project=True, tolerance=0.05)
    assert [torch.equal(*pair) for pair in zip(kernel, closed, strict=True)] == [False, True]


def test_gradient_misfit_is_what_it_says():
    truth = two_kernels((7, 9))
    observation, x = observed(truth, channels=3, noise=0.01)
    mask = torch.ones(2, 1, 48, 56)
    mask[0, 0, 10:20, 5:9] = 0
    masked = replace(observation, mask=mask)
    error = blur_by_definition(x, truth) - observation.y
    across = torch.diff(error, dim=-1) * mask[..., 1:] * mask[..., :-1]
    down = torch.diff(error, dim=-2) * mask[..., 1:, :] * mask[..., :-1, :]
    got = gradient_misfit(x, masked, truth)
    assert got.shape == (2,)
    # the gradients are taken on a common frame, so one row or column less is seen of each
    full = across.square().sum((1, 2, 3)) + down.square().sum((1, 2, 3))
    assert bool((got <= full * 1.0001).all())
    assert bool((got > 0.9 * full).all())
    wrong = gradient_misfit(x, masked, truth.flip(-1))
    assert bool((wrong > 3 * got).all())


def test_the_other_way_is_with_the_space_once():
    params = EncodedParams(space=Path("x"), ridge=0.5)
    other = Encoded.alternative(params)
    assert other == replace(params, project=True)
    assert other is not None
    assert Encoded.alternative(other) is None


# networks


def test_a_network_is_trained_towards_the_mean_code_and_towards_a_given_kernel(build):
    untrained = build(code="network", fit_steps=0, perturbation=0.0)
    trained = build(code="network", fit_steps=20, fit_lr=2e-3, perturbation=0.0)
    mean = trained._mean_code(trained.no_energy)
    errors = [float((one.codes() - mean).detach().square().mean()) for one in (untrained, trained)]
    assert errors[1] < 0.3 * errors[0]
    kernel = curved_kernel((9, 9))
    code = trained._encoded(kernel)
    before = float((trained.codes() - code).detach().square().mean())
    trained.fit(kernel)
    assert float((trained.codes() - code).detach().square().mean()) < 0.5 * before
    assert torch.equal(shown(trained), kernel), "without noise on its input the code has not moved"


def test_fresh_noise_moves_the_code_of_a_network_a_little(build):
    prior = build(code="network", fit_steps=0)
    first, second = prior.codes().detach(), prior.codes().detach()
    assert not torch.equal(first, second)
    assert float((first - second).norm()) < 0.1 * float(first.norm())


@pytest.mark.parametrize("code", ["free", "network"])
def test_a_seed_makes_it_again_and_the_global_generator_is_left_alone(build, code):
    state = torch.random.get_rng_state()
    x = cartoon(1, 1, (56, 64))
    runs = []
    for seed in (3, 3, 4):
        prior = build(code=code, seed=seed, penalty=0.1, fit_steps=2)
        prior.fit(curved_kernel((9, 9)))
        prior.renew()
        runs.append((prior.blur(x) + prior.energy()).detach())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2]) == (code == "free")


def test_renewing_draws_the_networks_anew_and_leaves_a_free_code(build):
    prior = build(batch=2, code="network", fit_steps=0, perturbation=0.0)
    before, old = prior.codes().detach(), {id(p) for p in prior.parameters()}
    prior.renew()
    assert prior.codes().shape == before.shape
    assert not torch.allclose(prior.codes().detach(), before)
    assert not {id(p) for p in prior.parameters()} & old
    free = build()
    free.fit(curved_kernel((9, 9)))
    free.renew()
    assert torch.equal(shown(free), curved_kernel((9, 9)))


def test_a_network_makes_the_grid_of_a_published_space(paper_file):
    observation = Observation.of(cartoon(2, 3, (48, 150)))
    params = EncodedParams(space=paper_file, code="network", fit_steps=2, penalty=0.1)
    prior = Encoded(params, observation, size=(31, 31), generator=generator())
    assert prior.margin == (0, 0)
    assert prior.codes().shape == (2, 6, 1, 2)
    x = cartoon(2, 3, (48, 150))
    loss = prior.blur(x).square().sum() + prior.energy().sum()
    loss.backward()
    assert all(p.grad is not None for p in prior.parameters())


# files


def test_the_empty_path_is_the_space_that_comes_along():
    space = space_on(Path(), torch.device("cpu"))
    assert space.preset == "compact"
    assert space.statistics is not None
    assert space_on(Path(), torch.device("cpu")) is space, "read once"
    prior = Encoded(EncodedParams(), Observation.of(cartoon(1, 1, (48, 56))), size=(15, 15), generator=generator())
    prior.fit(curved_kernel((15, 15)))
    x = cartoon(1, 1, (62, 70))
    exact = blur_by_definition(x, curved_kernel((15, 15)))
    error = (blur_by_definition(x, prior.decoded(prior.codes()).detach()) - exact).square().mean().sqrt()
    assert float(error) < 0.01, "it knows kernels that it has not seen"


def test_a_file_that_was_written_anew_is_read_anew(compact_file, tmp_path):
    file = tmp_path / "space.safetensors"
    file.write_bytes(compact_file.read_bytes())
    first = space_on(file, torch.device("cpu"))
    with safetensors.safe_open(compact_file, framework="pt") as content:
        metadata = content.metadata()
    weights = safetensors.torch.load_file(compact_file)
    weights["statistics.mean"] += 1
    safetensors.torch.save_file(weights, tmp_path / "next", metadata)
    os.utime(tmp_path / "next", ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))  # within a tick of the clock
    os.replace(tmp_path / "next", file)
    second = space_on(file, torch.device("cpu"))
    assert first.statistics is not None
    assert second.statistics is not None
    torch.testing.assert_close(second.statistics.mean, first.statistics.mean + 1)


@pytest.mark.parametrize("content", [None, b"<!DOCTYPE html><html></html>", b"\x80\x02}q\x00."])
def test_a_file_that_is_none_is_refused_in_a_sentence(tmp_path, content):
    file = tmp_path / "space.safetensors"
    if content is not None:
        file.write_bytes(content)
    for door in (offers, lambda params: space_on(params.space, torch.device("cpu"))):
        with pytest.raises(UsageError, match=r"space\.safetensors: .*(name a kernel space's file|import-weights)"):
            door(EncodedParams(space=file))
