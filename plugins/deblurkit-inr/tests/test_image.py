import pytest
import torch
from deblurkit.core import Observation
from deblurkit.errors import RunError
from deblurkit.testing import example, generator
from torch.nn.functional import avg_pool2d

from deblurkit_inr.coordinates import Frame, fourier_features
from deblurkit_inr.image import CoordinateImage
from deblurkit_inr.plugin import INRImageParams


def prior(size, margin=(3, 4), seed=0, **params):
    small = {"channels": 8, "skip_channels": 2, "scales": 3} | params
    observation = Observation.of(torch.rand(1, 1, *size, generator=generator(7)))
    return CoordinateImage(INRImageParams(**small), observation, margin=margin, generator=generator(seed))


def test_the_waves_are_those_of_their_definition():
    frame = Frame((0.1, -0.2), (0.03, 0.05))
    waves = fourier_features(frame, (5, 7), count=3, growth=2.5)
    assert waves.shape == (1, 12, 5, 7)
    for i in range(3):
        for row, column in ((0, 0), (4, 6), (2, 3)):
            down, right = 2.5**i * (0.1 + 0.03 * row), 2.5**i * (-0.2 + 0.05 * column)
            seen = waves[0, [i, 3 + i, 6 + i, 9 + i], row, column]
            expected = torch.tensor([down, down, right, right])
            expected = torch.stack([expected[0].cos(), expected[1].sin(), expected[2].cos(), expected[3].sin()])
            torch.testing.assert_close(seen, expected)


def test_a_latent_image_goes_from_0_to_1():
    frame = Frame.whole((11, 21))
    torch.testing.assert_close(frame.axis(0, 11)[[0, -1]], torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(frame.axis(1, 21)[[0, -1]], torch.tensor([0.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_the_finer_frame_is_the_same_place(offset):
    """Pixel i of the coarser picture is pixel 2 i + offset of the finer one, whatever the margins."""
    coarse = Frame((0.2, 0.1), (0.01, 0.02))
    fine = coarse.finer((2.0, 2.0), (offset, offset), ((4, 3), (7, 6)))
    for dim, margins in enumerate(((4, 7), (3, 6))):
        there, here = coarse.axis(dim, 30), fine.axis(dim, 60)
        for i in (0, 5, 11):
            at = 2 * i + offset + margins[1]
            between = torch.lerp(here[int(at)], here[int(at) + 1], at - int(at))
            torch.testing.assert_close(there[i + margins[0]], between)


def test_taking_over_shares_the_network_and_sees_every_second_pixel_alike():
    coarse, fine = prior((20, 24), margin=(3, 4)), prior((40, 48), margin=(6, 8), seed=5)
    before = fine().detach()
    assert fine.take_over(coarse, ratio=(2.0, 2.0), offset=(0.0, 0.0))
    assert fine.networks is coarse.networks
    assert set(fine.parameters()) == set(coarse.parameters())
    torch.testing.assert_close(fine.waves[..., ::2, ::2], coarse.waves, atol=2e-2, rtol=0)
    torch.testing.assert_close(fine.waves[:, :12, ::2, ::2], coarse.waves[:, :12], atol=1e-4, rtol=0)
    after = fine().detach()
    assert not torch.equal(before, after)
    # another scale after that: places are still those of the first
    finest = prior((80, 96), margin=(12, 16), seed=6)
    finest.take_over(fine, ratio=(2.0, 2.0), offset=(0.0, 0.0))
    torch.testing.assert_close(finest.frame.axis(0, 104)[::4], coarse.frame.axis(0, 26))


def test_taking_over_counts_the_offset_and_unequal_margins():
    """By hand, at half a pixel: finer pixel 0 of the picture is pixel -1/4 of the coarser one, and so on."""
    coarse, fine = prior((20, 24), margin=(3, 4)), prior((40, 48), margin=(7, 5), seed=5)
    assert fine.take_over(coarse, ratio=(2.0, 2.0), offset=(0.5, 0.5))
    # the coarser latent image has 26 x 32 pixels from 0 to 1; the finer one begins 7 / 2 and 5 / 2 of them earlier
    expected = Frame(((3 - 0.25 - 3.5) / 25, (4 - 0.25 - 2.5) / 31), (1 / 50, 1 / 62))
    torch.testing.assert_close(fine.frame.axis(0, 54), expected.axis(0, 54))
    torch.testing.assert_close(fine.frame.axis(1, 58), expected.axis(1, 58))
    waves = fourier_features(expected, (54, 58), count=16, growth=2 ** (8 / 7))
    torch.testing.assert_close(fine.waves, waves, atol=2e-2, rtol=0)
    torch.testing.assert_close(fine.waves[:, :12], waves[:, :12], atol=1e-4, rtol=0)


def test_it_fits_for_as_many_steps_as_its_parameters_say():
    one = prior((20, 24), fit_steps=7)
    calls = []
    one.networks[0].register_forward_hook(lambda *_: calls.append(1))
    one.fit(torch.full(one.latent_shape, 0.5))
    assert len(calls) == 7


def test_a_smooth_network_makes_the_same_scene_on_a_finer_grid():
    """With slow waves alone, and fitted on the coarse grid, the finer image is near the finer truth at once."""
    places = torch.linspace(0, 1, 96)
    truth = (0.5 + 0.3 * torch.sin(5 * places)[:, None] * torch.cos(4 * places)[None, :])[None, None]
    coarse, fine = (prior(size, margin=(0, 0), scales=2, frequencies=4, fit_steps=100) for size in ((48, 48), (96, 96)))
    coarse.fit(avg_pool2d(truth, 2))
    error = float((fine() - truth).square().mean().sqrt().detach())
    fine.take_over(coarse, ratio=(2.0, 2.0), offset=(0.5, 0.5))
    taken = float((fine() - truth).square().mean().sqrt().detach())
    assert taken < 0.4 * error
    assert taken < 0.06


def test_colour_and_pictures_of_a_batch_have_their_own():
    observation, _, _ = example(2, 3)
    both = CoordinateImage(INRImageParams(channels=8, scales=3), observation, margin=(3, 4), generator=generator())
    x = both()
    assert x.shape == (2, 3, 54, 64)
    assert not torch.equal(x[0], x[1])
    x[0].sum().backward()
    assert any(float(p.grad.abs().max()) > 0 for p in both.networks[0].parameters())
    assert all(p.grad is None or float(p.grad.abs().max()) == 0 for p in both.networks[1].parameters())


def test_a_picture_too_small_for_the_u_net_is_refused():
    with pytest.raises(RunError, match=r"too small for the 5 scales .* lower image_prior.scales"):
        prior((20, 20), scales=5)
