import itertools

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from deblurkit.ops import upfirdn
from deblurkit.ops.upfirdn import BINOMIAL, SHORT, biased_act, downsample2, filter_taps, upfirdn2d, upsample2

PADS = [(0, 0, 0, 0), (3, 1, 0, 2), (-1, 2, 1, -2), (2, -3, -1, 3), (3, 3, 1, 1)]


def stuffed(x, up):
    """Zeros behind every sample, along both axes of (H, W)."""
    big = torch.zeros(x.shape[0] * up, x.shape[1] * up, dtype=x.dtype)
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            big[row * up, column * up] = x[row, column]
    return big


def padded(x, left, right, top, bottom):
    """Zeros around (H, W); negative numbers cut."""
    height, width = x.shape
    canvas = torch.zeros(height + top + bottom, width + left + right, dtype=x.dtype)
    for row in range(canvas.shape[0]):
        for column in range(canvas.shape[1]):
            if 0 <= row - top < height and 0 <= column - left < width:
                canvas[row, column] = x[row - top, column - left]
    return canvas


def convolved(x, taps):
    """True convolution where the filter lies wholly inside: y[n] = sum_k taps[k] x[n + K - 1 - k]."""
    height, width = taps.shape
    y = torch.zeros(x.shape[0] - height + 1, x.shape[1] - width + 1, dtype=x.dtype)
    for row, column in itertools.product(range(y.shape[0]), range(y.shape[1])):
        for i, j in itertools.product(range(height), range(width)):
            y[row, column] += taps[i, j] * x[row + height - 1 - i, column + width - 1 - j]
    return y


def brute(x, taps, up, down, pad):
    if taps.ndim == 1:
        taps = torch.outer(taps, taps)
    planes = [convolved(padded(stuffed(plane, up), *pad), taps)[::down, ::down] for plane in x.flatten(0, 1)]
    return torch.stack(planes).view(*x.shape[:2], *planes[0].shape)


@pytest.mark.parametrize("taps", [(2, 3), (4,), (1,)], ids=str)
@pytest.mark.parametrize("pad", PADS, ids=str)
@pytest.mark.parametrize("down", [1, 2, 3])
@pytest.mark.parametrize("up", [1, 2, 3])
def test_equals_stuffing_padding_convolving_and_decimating(draw, up, down, pad, taps):
    x, taps = draw(1, 2, 6, 5), draw(*taps)
    expected = brute(x, taps, up, down, pad)
    found = upfirdn2d(x, taps, up=up, down=down, pad=pad)
    torch.testing.assert_close(found, expected)
    left, right, top, bottom = pad
    assert found.shape[-2] == (6 * up + top + bottom - taps.shape[0]) // down + 1
    assert found.shape[-1] == (5 * up + left + right - taps.shape[-1]) // down + 1


@pytest.mark.parametrize("pad", [(5, 5, 4, 4), (7, 6, 8, 3)], ids=str)
@pytest.mark.parametrize("down", [1, 2])
def test_a_long_filter_takes_two_passes(draw, monkeypatch, down, pad):
    x, taps = draw(1, 2, 6, 5), draw(SHORT + 1)
    passes = []
    plain = upfirdn.depthwise
    monkeypatch.setattr(upfirdn, "depthwise", lambda *args: passes.append(args[1].shape) or plain(*args))
    torch.testing.assert_close(upfirdn2d(x, taps, down=down, pad=pad), brute(x, taps, 1, down, pad))
    assert passes == [(SHORT + 1, 1), (1, SHORT + 1)]


def test_the_filter_convolves_and_does_not_correlate():
    x = torch.zeros(1, 1, 5, 5)
    x[..., 2, 2] = 1
    taps = torch.arange(9.0).view(3, 3)
    torch.testing.assert_close(upfirdn2d(x, taps, pad=(1, 1, 1, 1))[0, 0, 1:4, 1:4], taps)


@pytest.mark.parametrize(("up", "down", "shape"), [(1, 1, (3,)), (2, 1, (4,)), (1, 2, (2, 3)), (3, 2, (4,))])
def test_first_and_second_derivatives(draw, up, down, shape):
    x, taps = draw(1, 2, 4, 3).requires_grad_(), draw(*shape).requires_grad_()

    def resample(x, taps):
        return upfirdn2d(x, taps, up=up, down=down, pad=(2, 1, -1, 3))

    assert gradcheck(resample, (x, taps))
    assert gradgradcheck(resample, (x, taps))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"up": 0}, "factors of 1 or more"),
        ({"down": 0}, "factors of 1 or more"),
        ({"taps": torch.ones(1, 1, 1)}, "taps of 1 or 2 dimensions"),
        ({"taps": torch.tensor(1.0)}, "taps of 1 or 2 dimensions"),
        ({"taps": torch.ones(5)}, "larger than the padded picture"),
        ({"taps": torch.ones(1, 5)}, "larger than the padded picture"),
        ({"pad": (-3, -3, 0, 0)}, "larger than the padded picture"),
        ({"pad": (0, 0, -4, 0)}, "larger than the padded picture"),
    ],
)
def test_bad_input(options, words):
    arguments = {"x": torch.rand(1, 1, 4, 4), "taps": torch.ones(2)} | options
    with pytest.raises(ValueError, match=words):
        upfirdn2d(**arguments)


def test_taps_are_normalised():
    taps = filter_taps(gain=4.0, like=torch.zeros(1, dtype=torch.float64))
    assert taps.dtype == torch.float64
    torch.testing.assert_close(taps, torch.tensor(BINOMIAL, dtype=torch.float64) / 4)
    assert torch.outer(filter_taps((1.0, 2.0, 1.0)), filter_taps((1.0, 2.0, 1.0))).sum() == pytest.approx(1.0)


def test_doubling_is_the_published_filter(draw):
    x = draw(2, 3, 4, 5)
    found = upsample2(x)
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8
    torch.testing.assert_close(found, brute(x, 4 * torch.outer(taps, taps), 2, 1, (2, 1, 2, 1)))
    assert found.shape == (2, 3, 8, 10)
    # along an axis: a quarter of the farther neighbour, three quarters of the nearer
    row = torch.tensor([[0.0, 0, 4, 8, 0, 0]], dtype=torch.float64).expand(1, 1, 6, 6)
    torch.testing.assert_close(upsample2(row)[0, 0, 5, 4:8], torch.tensor([3.0, 5, 7, 6], dtype=torch.float64))
    torch.testing.assert_close(upsample2(torch.ones(1, 1, 6, 6))[..., 1:-1, 1:-1], torch.ones(1, 1, 10, 10))


def test_halving_is_the_published_filter(draw):
    x = draw(2, 3, 4, 6)
    found = downsample2(x)
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8
    torch.testing.assert_close(found, brute(x, taps, 1, 2, (1, 1, 1, 1)))
    assert found.shape == (2, 3, 2, 3)


def test_halving_is_the_adjoint_of_doubling(draw):
    x, y = draw(1, 1, 4, 6), draw(1, 1, 8, 12)
    torch.testing.assert_close((upsample2(x) * y).sum(), 4 * (x * downsample2(y)).sum())


@pytest.mark.parametrize("ndim", [2, 4])
def test_biased_act(draw, ndim):
    x = 4 * draw(2, 3, *[5] * (ndim - 2)) - 2
    bias = draw(3)
    column = bias.view(1, 3, *[1] * (ndim - 2))
    moved = x + column
    expected = torch.where(moved < 0, 0.2 * moved, moved) * 2**0.5
    torch.testing.assert_close(biased_act(x, bias), expected)
    torch.testing.assert_close(biased_act(x, bias, clamp=0.7), expected.clamp(-0.7, 0.7))
    torch.testing.assert_close(biased_act(x, None, slope=0.5, gain=1.0), torch.where(x < 0, 0.5 * x, x))
    torch.testing.assert_close(biased_act(x, bias, slope=1.0, gain=3.0), 3 * moved)
    assert expected.abs().max() > 0.7


def test_biased_act_has_second_derivatives(draw):
    x, bias = (4 * draw(2, 3, 2) - 2).requires_grad_(), draw(3).requires_grad_()
    assert gradcheck(biased_act, (x, bias))
    assert gradgradcheck(lambda x, bias: biased_act(x, bias).square(), (x, bias))
