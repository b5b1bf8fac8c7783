"""How a picture comes into a generator's frame: what is refused, what is resampled, what is believed."""

import pytest
import torch

from deblurkit.errors import RunError
from deblurkit.image_priors.framing import framed
from deblurkit.ops.resample import resample_image

WAYS = ("strict", "resize", "crop", "pad")


def picture(height, width, channels=3):
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0)), torch.ones(
        1, 1, height, width
    )


def smooth(height, width):
    """A picture whose values do not depend on how finely it is sampled."""
    rows, columns = ((torch.arange(n) + 0.5) / n for n in (height, width))
    return (0.5 + 0.3 * torch.cos(3 * rows)[:, None] * torch.cos(2 * columns))[None, None], torch.ones(
        1, 1, height, width
    )


@pytest.mark.parametrize("how", WAYS)
def test_a_picture_of_the_right_size_comes_back_bit_for_bit(how):
    y, valid = picture(32, 32)
    valid[..., 3:5, 7] = 0
    got, believed = framed(y, valid, 32, how)
    assert torch.equal(got, y)
    assert torch.equal(believed, valid)


@pytest.mark.parametrize("edge", [64, 32, 16])
def test_strict_takes_squares_of_the_side_over_powers_of_two(edge):
    y, valid = picture(edge, edge, 1)
    got, believed = framed(y, valid, 64, "strict")
    assert got is y
    assert believed is valid


@pytest.mark.parametrize(("height", "width"), [(64, 48), (48, 64), (48, 48), (128, 128), (8, 8), (63, 63), (1, 1)])
def test_strict_refuses_all_others_and_names_the_cures(height, width):
    with pytest.raises(RunError) as error:
        framed(*picture(height, width), 64, "strict")
    text = str(error.value)
    assert f"{width}x{height}" in text
    assert "square and aligned" in text
    assert "64 pixels a side (or 32, 16)" in text
    assert "--image-prior.picture resize, crop or pad" in text
    assert "--image-prior.align FILE" in text
    assert "\n" not in text


@pytest.mark.parametrize("how", ["resize", "crop", "pad"])
@pytest.mark.parametrize("size", [(15, 40), (40, 15), (3, 3)])
def test_too_small_a_picture_is_refused(how, size):
    with pytest.raises(RunError, match="fewer than 16 pixels"):
        framed(*picture(*size), 64, how)


def test_a_tiny_generator_takes_tiny_pictures():
    assert framed(*picture(8, 12), 8, "crop")[0].shape == (1, 3, 8, 8)
    assert framed(*picture(8, 8), 8, "strict")[0].shape == (1, 3, 8, 8)


@pytest.mark.parametrize("how", ["resize", "crop", "pad"])
@pytest.mark.parametrize("size", [(20, 50), (97, 31), (24, 24), (200, 130)])
def test_all_sizes_come_to_the_generator_s(how, size):
    y, believed = framed(*picture(*size), 64, how)
    assert y.shape == (1, 3, 64, 64)
    assert believed.shape == (1, 1, 64, 64)
    assert 0 <= y.min() <= y.max() <= 1
    assert set(believed.unique().tolist()) <= {0.0, 1.0}
    if how != "pad":
        assert believed.all()


def test_resize_stretches_what_is_the_same_at_all_sizes():
    got, _ = framed(*smooth(90, 150), 64, "resize")
    want, _ = smooth(64, 64)
    torch.testing.assert_close(got, want, atol=2e-3, rtol=0)


def test_resize_does_not_alias():
    checkerboard = (torch.arange(256)[:, None] + torch.arange(256)).remainder(2).float()[None, None]
    y, _ = framed(checkerboard, torch.ones_like(checkerboard), 96, "resize")
    assert (y[..., 3:-3, 3:-3] - 0.5).abs().max() < 0.02


@pytest.mark.parametrize(("height", "width", "place"), [
    (32, 51, (slice(None), slice(9, 41))), (45, 32, (slice(6, 38), slice(None))),
])  # fmt: skip
def test_crop_is_the_central_square(height, width, place):
    y, valid = picture(height, width)
    valid[..., 12, 12] = 0
    got, believed = framed(y, valid, 32, "crop")
    assert torch.equal(got, y[..., *place])
    assert torch.equal(believed, valid[..., *place])


def test_crop_then_resizes():
    y, valid = picture(40, 61)
    got, _ = framed(y, valid, 32, "crop")
    assert torch.equal(got, resample_image(y[..., 10:50], (32, 32)).clamp(0, 1))


def test_pad_mirrors_without_repeating_the_border_and_does_not_believe_it():
    y, valid = picture(32, 21)
    got, believed = framed(y, valid, 32, "pad")
    assert torch.equal(got[..., 5:26], y)
    assert torch.equal(got[..., :5], y[..., 1:6].flip(-1))
    assert torch.equal(got[..., 26:], y[..., 14:20].flip(-1))
    assert believed[..., 5:26].all()
    assert believed.sum() == 32 * 21


def test_pad_mirrors_as_often_as_a_strip_needs():
    y, valid = picture(16, 100)
    got, believed = framed(y, valid, 100, "pad")
    assert torch.equal(got[..., 42:58, :], y)
    for row in range(100):  # walked by hand: bounce between the first and the last row
        place, step = 0, 1 if row >= 42 else -1
        for _ in range(abs(row - 42)):
            if not 0 <= place + step <= 15:
                step = -step
            place += step
        assert torch.equal(got[..., row, :], y[..., place, :])
    assert believed.sum() == 1600


def test_pad_then_resizes_and_believes_only_what_no_padding_went_into():
    y, valid = picture(64, 128)
    _, believed = framed(y, valid, 64, "pad")
    assert not believed[..., :16, :].any()
    assert not believed[..., 48:, :].any()
    assert believed[..., 18:46, :].all()


@pytest.mark.parametrize("side", [32, 64, 100])
def test_a_hole_spoils_what_it_goes_into_and_nothing_else(side):
    y, valid = picture(64, 60)
    valid[..., 20:23, 30:34] = 0
    got, believed = framed(y, valid, side, "resize")
    other, _ = framed(torch.where(valid > 0, y, 1 - y), valid, side, "resize")
    assert (got - other).abs().max() > 0.1
    assert ((got - other).abs() * believed).max() < 0.02
    assert (1 - believed).mean() < 0.02
