"""Filling what was not observed."""

import torch

from deblurkit.ops.inpaint import fill


def test_believed_pixels_stay_and_the_others_have_no_influence(draw):
    y, mask = draw(2, 3, 21, 18), (draw(2, 1, 21, 18) > 0.4).double()
    filled = fill(y, mask)
    torch.testing.assert_close(filled * mask, y * mask)
    torch.testing.assert_close(filled, fill(torch.where(mask > 0, y, torch.full_like(y, 9.0)), mask))


def test_a_hole_in_a_flat_picture_is_flat():
    y = torch.full((1, 1, 40, 33), 0.7)
    mask = torch.ones_like(y)
    mask[..., 5:30, 4:25] = 0
    torch.testing.assert_close(fill(y * mask, mask), y)


def test_what_is_filled_lies_between_its_surroundings(draw):
    y, mask = draw(1, 1, 32, 32), torch.ones(1, 1, 32, 32, dtype=torch.float64)
    mask[..., 10:20, 10:20] = 0
    filled = fill(y, mask)
    assert y.min() <= filled.min() <= filled.max() <= y.max()


def test_nothing_observed_gives_zeros_and_everything_observed_the_picture(draw):
    y = draw(1, 1, 7, 9)
    assert torch.equal(fill(y, torch.zeros_like(y)), torch.zeros_like(y))
    assert fill(y, torch.ones_like(y)) is y
