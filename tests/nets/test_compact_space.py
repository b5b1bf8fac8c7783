import copy
import math

import pytest
import torch

from deblurkit.kernel_space.exposure import expose
from deblurkit.kernel_space.trajectories import random_kernels
from deblurkit.nets.kernel_space.compact import CompactSpace
from deblurkit.nets.kernel_space.kernel_basis import picture_power, principal_kernels, visible_error
from deblurkit.nets.kernel_space.refine import refine
from deblurkit.nets.kernel_space.regression import Blurred, Regression, regress
from deblurkit.nets.kernel_space.response import NUMBERS
from deblurkit.nets.kernel_space.weights import build_space, load_space, save_space
from deblurkit.ops.convolve import convolve_valid

WINDOW = 15


def smooth_pictures(batch: int, height: int, width: int, channels: int = 1) -> torch.Tensor:
    """Noise with the spectrum of photographs, in [0, 1]."""
    generator = torch.Generator().manual_seed(11)
    noise = torch.randn(batch, channels, height, width, generator=generator)
    rows, columns = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)
    shaped = torch.fft.irfft2(
        torch.fft.rfft2(noise) / (rows.square()[:, None] + columns.square() + 1e-4).sqrt(), s=noise.shape[-2:]
    )
    low, high = shaped.amin((1, 2, 3), keepdim=True), shaped.amax((1, 2, 3), keepdim=True)
    return (shaped - low) / (high - low)


@pytest.fixture(scope="module")
def kernels():
    return random_kernels(400, WINDOW, generator=torch.Generator().manual_seed(0), shift=1.0)


@pytest.fixture(scope="module")
def space(kernels):
    torch.manual_seed(0)
    space = CompactSpace(window=WINDOW, dimensions=104, hidden=4, stages=2)
    space.fit_basis(kernels)
    return space.eval().requires_grad_(False)


def psnr(one, other):
    return -10 * math.log10(float((one - other).square().mean()))


def cut(x, border=WINDOW // 2):
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border]


def test_visible_error_is_the_squared_error_of_pictures_with_that_spectrum(kernels):
    difference = kernels[:4] - kernels[4:8]
    side = 2 * WINDOW + 2
    full = torch.fft.fft2(difference[:, 0].double(), s=(side, side)).abs().square()
    rows = torch.fft.fftfreq(side, dtype=torch.float64)
    power = 4.5e-4 / (rows.square()[:, None] + rows.square() + 0.006**2)
    power[0, 0] = 0
    torch.testing.assert_close(visible_error(difference.double()), (full * power).sum((1, 2)) / side**2)
    torch.testing.assert_close(picture_power(side, difference.double()), power[:, : side // 2 + 1])


def test_principal_kernels_are_the_best_in_the_visible_metric(kernels):
    mean, basis, measurement = principal_kernels(kernels.double(), 20)
    codes = (kernels.double().flatten(1) - mean) @ measurement.T
    torch.testing.assert_close(codes.square().mean(0), torch.ones(20, dtype=torch.float64), atol=1e-6, rtol=0)

    def error(codes):
        return visible_error((mean + codes @ basis - kernels.double().flatten(1)).view_as(kernels)).mean()

    least = error(codes)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        worse = codes + 0.05 * torch.randn(codes.shape, generator=generator, dtype=torch.float64)
        assert error(worse) > least
    assert error(codes[:, :10] @ torch.eye(10, 20, dtype=torch.float64)) > least


def test_decoded_kernels_are_kernels(space):
    code = 3 * torch.randn(5, 104, 1, 1, generator=torch.Generator().manual_seed(0))
    kernel = space.kernel(code)
    assert kernel.shape == (5, 1, WINDOW, WINDOW)
    assert kernel.min() > 0
    torch.testing.assert_close(kernel.sum((1, 2, 3)), torch.ones(5))


def test_kernels_survive_encoding(space, kernels):
    again = space.kernel(space.encode_kernel(kernels[:64]))
    assert visible_error(again - kernels[:64]).median() < 10**-4.5
    assert not space.encode_kernel(kernels[:2])[:, space.measured :].any()


def test_without_response_blur_is_convolution_with_the_kernel(space, kernels):
    x = smooth_pictures(2, 40, 44, 3)
    code = space.encode_kernel(kernels[:2])
    expected = convolve_valid(x, space.kernel(code))
    torch.testing.assert_close(space.blur(x, code), expected)
    bent = code.clone()
    bent[:, space.measured] = 0.7
    assert (space.blur(x, bent) - expected).abs().max() > 0.01


def test_regression_is_least_squares_on_the_inner_pixels(space, kernels):
    sharp = smooth_pictures(1, 40, 44).double()
    blurry = convolve_valid(smooth_pictures(1, 54, 58).double(), kernels[:1].double())
    mean, basis = (part.double() for part in space.decoder.linear())
    basis = basis[:10]
    system = Regression(Blurred.of(sharp, blurry, WINDOW), mean, basis)
    code = regress(system, rounds=1, steps=40)
    shifted = [convolve_valid(sharp - sharp.mean(), one.view(1, 1, WINDOW, WINDOW)).flatten() for one in (*basis, mean)]
    design, right = torch.stack(shifted[:-1], 1), (cut(blurry) - sharp.mean()).flatten() - shifted[-1]
    ridge = 1e-5 * torch.eye(10, dtype=torch.float64)  # the noise's variance that it starts from
    expected = torch.linalg.solve(design.T @ design + ridge, design.T @ right)
    torch.testing.assert_close(code[0], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("channels", "size"), [(1, (64, 80)), (3, (61, 67))])
def test_extraction_finds_the_blur_and_it_transfers(space, kernels, channels, size):
    x = smooth_pictures(2, size[0] + WINDOW - 1, size[1] + WINDOW - 1, channels)
    blurry = convolve_valid(x, kernels[8:10])
    code = space.encode(cut(x), blurry)
    assert code.shape == (2, 104, 1, 1)
    assert psnr(space.blur(cut(x), code), cut(blurry)) > 45
    other = smooth_pictures(1, 70, 70, channels).flip(-1)
    transferred = space.blur(other, code[:1])
    expected = convolve_valid(other, kernels[8:9])
    assert psnr(transferred, expected) > psnr(cut(other), expected) + 12
    assert psnr(transferred, expected) > 40


def test_extraction_recognises_the_tone_curve(space, kernels):
    x = smooth_pictures(2, 94, 94)
    sharp, blurry = expose(x, kernels[8:9], gamma=torch.tensor([1.0, 2.2]), gain=torch.ones(2))
    code = space.encode(sharp, blurry)
    assert not code[0, space.measured :].any()
    assert abs(float(code[1, space.measured].exp()) - 2.2) < 0.1
    assert psnr(space.blur(sharp, code), cut(blurry)) > 42


def test_saturation_is_explained_better_than_by_a_linear_camera(space, kernels):
    x = smooth_pictures(1, 94, 94).square()
    sharp, blurry = expose(x, kernels[8:9], gamma=torch.tensor([2.2]), gain=torch.tensor([8.0]))
    assert 0.01 < (sharp == 1).float().mean() < 0.6
    code = space.encode(sharp, blurry)
    again = space.blur(sharp, code)
    linear = CompactSpace(window=WINDOW, dimensions=100, hidden=4, stages=2, response=False)
    linear.decoder.load_state_dict(space.decoder.state_dict())
    linear.eval().requires_grad_(False)
    assert psnr(again, cut(blurry)) > psnr(linear.blur(sharp, linear.encode(sharp, blurry)), cut(blurry)) + 3


def test_codes_stay_among_those_that_the_decoder_knows(space, kernels):
    x = smooth_pictures(2, 140, 140)
    ramp = torch.linspace(0, 1, 126)
    blurry = (1 - ramp) * convolve_valid(x, kernels[20:21]) + ramp * convolve_valid(x, kernels[31:32])
    trained = copy.deepcopy(space)
    point = torch.zeros(1, 1, WINDOW, WINDOW)
    point[..., WINDOW // 2, WINDOW // 2] = 1

    def decode(code):
        """Far out, where no kernel was in training, nonsense."""
        return torch.where((code.square().mean(1) > 0.6).view(-1, 1, 1, 1), point, space.decoder(code))

    trained.decoder.forward = decode
    code = trained.encode(cut(x), blurry)
    assert (code[:, trained.measured].abs() < 0.2).all()
    assert psnr(trained.blur(cut(x), code), cut(blurry)) > 36


def test_a_linear_camera_is_preferred_to_a_response_that_misleads(space, kernels):
    sharp, blurry = expose(smooth_pictures(2, 94, 94), kernels[8:9], gamma=torch.tensor([1.6, 1.0]), gain=torch.ones(2))
    assert space.encode(sharp, blurry)[0, space.measured] > 0.4
    misled = copy.deepcopy(space)
    misled.response.residual.last.bias.fill_(-5.0)
    code = misled.encode(sharp, blurry)
    assert not code[:, space.measured :].any()
    assert psnr(misled.blur(sharp, code)[0], cut(blurry)[0]) > 40


def test_tiles_follow_a_blur_that_varies(space, kernels):
    x = smooth_pictures(1, 140, 140)
    ramp = torch.linspace(0, 1, 126)
    blurry = (1 - ramp) * convolve_valid(x, kernels[8:9]) + ramp * convolve_valid(x, kernels[9:10])
    sharp = cut(x)
    codes = space.encode_tiles(sharp, blurry, (2, 3))
    assert codes.shape == (1, 104, 2, 3)
    one = psnr(space.blur(sharp, space.encode(sharp, blurry)), cut(blurry))
    assert psnr(space.blur(sharp, codes), cut(blurry)) > one + 3


def test_tiles_have_one_camera(space, kernels):
    x = smooth_pictures(1, 140, 140)
    sharp, blurry = expose(x, kernels[8:9], gamma=torch.tensor([2.2]), gain=torch.ones(1))
    codes = space.encode_tiles(sharp, blurry, (2, 2))
    numbers = codes[:, space.measured :].flatten(2)
    torch.testing.assert_close(numbers, numbers[..., :1].expand_as(numbers))
    assert psnr(space.blur(sharp, codes), cut(blurry)) > 38


@pytest.mark.parametrize("size", [(8, 8), (16, 40), (30, 31)])
def test_small_pictures_have_codes_too(space, size):
    x = smooth_pictures(2, *size)
    code = space.encode(x, x)
    assert code.shape == (2, 104, 1, 1)
    assert code.isfinite().all()


def test_pictures_without_structure_have_codes_too(space):
    for value in (0.0, 0.5, 1.0):
        x = torch.full((1, 3, 64, 64), value)
        assert space.encode(x, x).isfinite().all()
        assert space(x, space.encode(x, x)).isfinite().all()


def test_unblurred_pictures_have_next_to_no_blur(space):
    x = smooth_pictures(1, 90, 90)
    assert psnr(space.blur(x, space.encode(x, x)), cut(x)) > 45


def test_refining_never_makes_worse(space, kernels):
    x = smooth_pictures(2, 60, 60)
    blurry = convolve_valid(x, kernels[8:10])
    start = space.encode_kernel(kernels[20:22])
    found = refine(space, cut(x), blurry, start, steps=15, lr=0.1)
    target = cut(blurry)
    for index in range(2):
        before, after = (psnr(space.blur(cut(x), one)[index], target[index]) for one in (start, found))
        assert after > before + 3
    same = refine(space, cut(x), blurry, found, steps=3, lr=100.0)
    assert psnr(space.blur(cut(x), same), target) >= psnr(space.blur(cut(x), found), target) - 1e-3


def test_kernel_loss_teaches_the_decoder(kernels):
    torch.manual_seed(0)
    space = CompactSpace(window=WINDOW, dimensions=30, hidden=4, stages=1, response=False)
    space.fit_basis(kernels)
    adam = torch.optim.Adam(space.parameters(), lr=3e-3)
    before = float(space.eval().kernel_loss(kernels[:64]).detach())
    space.train()
    for _ in range(30):
        adam.zero_grad()
        space.kernel_loss(kernels[:64]).backward()
        adam.step()
    assert float(space.eval().kernel_loss(kernels[:64]).detach()) < before - 0.1


def test_pictures_teach_the_response_even_when_linear(kernels):
    space = CompactSpace(window=WINDOW, dimensions=30, hidden=4, stages=1)
    space.fit_basis(kernels)
    x = smooth_pictures(1, 40, 40)
    code = space.train().encode_kernel(kernels[:1])
    space.blur(x, code).square().mean().backward()
    assert all(parameter.grad is None for parameter in space.decoder.parameters())
    bent = code.clone()
    bent[:, space.measured] = 0.5
    space.blur(x, bent).square().mean().backward()
    assert space.response.residual.last.weight.grad.abs().max() > 0


def test_variational_space_has_a_spread_that_learns(kernels):
    space = CompactSpace(window=WINDOW, dimensions=30, hidden=4, stages=1, vae=True)
    x = smooth_pictures(1, 54, 54)
    mean, spread = space.distribution(cut(x), convolve_valid(x, kernels[:1]))
    assert mean.shape == spread.shape == (1, 30, 1, 1)
    spread.sum().backward()
    assert space.spread.weight.grad.abs().max() > 0


def test_file_round_trip_in_half_precision(space, kernels, tmp_path):
    path = tmp_path / "space.safetensors"
    save_space(path, space, card={"seed": "0"}, half=True)
    again = load_space(path)
    assert again.config() == space.config()
    code = space.encode_kernel(kernels[:8])
    error = visible_error(again.kernel(code) - kernels[:8])
    assert error.median() < 1.5 * visible_error(space.kernel(code) - kernels[:8]).median()


def test_the_default_takes_less_than_5_megabytes_in_half_precision():
    space = build_space("compact", {})
    assert 2 * sum(tensor.numel() for tensor in space.state_dict().values()) < 5e6
    assert space.code_shape((480, 640)) == (256, 1, 1)


@pytest.mark.parametrize(
    "config",
    [
        {"window": 30},
        {"window": 1},
        {"dimensions": NUMBERS},
        {"window": 5, "dimensions": 40},
        {"hidden": 0},
        {"stages": -1},
    ],
)
def test_refuses_what_cannot_be(config):
    with pytest.raises(ValueError, match=r"window|dimensions|hidden"):
        CompactSpace(**config)
