"""Scores against their definitions, written out."""

import math
import pickle

import numpy as np
import pytest
import torch
from scipy import ndimage

from deblurkit import metrics
from deblurkit.datasets import LAYOUTS, Sample
from deblurkit.errors import KernelError, UsageError
from deblurkit.scores import ERROR_RATIOS, RAW, error_ratios, protocol_of
from deblurkit.scores.kohler import registered_luma
from deblurkit.scores.ms_ssim import MIN_SIDE, ms_ssim
from deblurkit.scores.pictures import studio_luma

KERNEL = torch.zeros(1, 1, 5, 5)
KERNEL[0, 0, 1:4, 2:4] = torch.tensor([[1.0, 2.0], [0.0, 3.0], [0.0, 4.0]])
KERNEL /= KERNEL.sum()


def smooth(seed: int, channels: int = 1, height: int = 64, width: int = 60) -> torch.Tensor:
    values = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(seed)).double().numpy()
    values = ndimage.gaussian_filter(values, (0, 0, 1.5, 1.5))
    return torch.from_numpy((values - values.min()) / np.ptp(values))


def sample(*truths: torch.Tensor, kernel: torch.Tensor | None = KERNEL) -> Sample:
    return Sample(truths[0] if truths else smooth(0), truths, kernel)


def noisy(x: torch.Tensor, seed: int = 5, strength: float = 0.05) -> torch.Tensor:
    return x + strength * (torch.rand(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype) - 0.5)


def comp_upto_shift(estimate: np.ndarray, truth: np.ndarray, max_shift: int) -> tuple[float, np.ndarray, np.ndarray]:
    """The published search, shift after shift: ssd, aligned, cropped truth."""
    target = truth[15:-15, 15:-15]
    rows, columns = (np.arange(15, side - 15) for side in truth.shape)
    best = (math.inf, target)
    for dx in np.arange(-max_shift, max_shift + 0.1, 0.25):
        for dy in np.arange(-max_shift, max_shift + 0.1, 0.25):
            grid = np.meshgrid(rows + dy, columns + dx, indexing="ij")
            moved = ndimage.map_coordinates(estimate, grid, order=1, mode="nearest")
            ssd = ((moved - target) ** 2).sum()
            if ssd < best[0]:
                best = (ssd, moved)
    return *best, target


def test_levin_is_the_published_search():
    truth = smooth(1, height=48, width=46)
    image = noisy(torch.from_numpy(ndimage.shift(truth.numpy(), (0, 0, 3.4, -9.8), order=3, mode="nearest")))
    values = protocol_of("levin").measure(image, sample(truth), None)
    ssd, aligned, target = comp_upto_shift(image[0, 0].numpy(), truth[0, 0].numpy(), 10)
    assert values["ssd"] == pytest.approx(ssd, rel=1e-9)
    assert values["psnr-aligned"] == pytest.approx(10 * math.log10(target.size / ssd), abs=1e-9)
    assert values["spectral-norm"] == pytest.approx(np.linalg.svd(aligned - target)[1][0], rel=1e-9)
    assert values["psnr"] == pytest.approx(-10 * math.log10(float((image - truth).square().mean())), abs=1e-9)
    pair = [torch.from_numpy(one)[None, None] for one in (aligned, target)]
    assert values["ssim-wang"] == pytest.approx(float(metrics.ssim_downsampled(*pair)))
    assert values["ssim-aligned"] == pytest.approx(float(metrics.ssim(*pair)))


def test_the_two_ssim_differ_on_large_pictures():
    truth = smooth(2, height=430, width=420)
    values = protocol_of("levin").measure(noisy(truth, strength=0.3), sample(truth), None)
    assert values["ssim-wang"] > values["ssim-aligned"] + 0.05


def test_every_value_has_a_score_and_every_score_a_value():
    for layout in LAYOUTS[1:]:
        protocol = protocol_of(layout)
        assert protocol.layout == layout
        assert protocol.scores[0].name == protocol.primary
        assert protocol.scores[0].published
        names = [score.name for score in protocol.scores]
        assert len(set(names)) == len(names)
        truth = smooth(3, 3, 192, 180)
        kernel = KERNEL if layout in ("levin", "levin-exact", "lai") else None
        case = sample(truth, kernel=kernel)
        values = protocol.measure(noisy(truth), case, KERNEL)
        raw = {score.name for score in RAW} if kernel is not None else set()
        ratios = set(error_ratios(values, values))
        assert set(values) | ratios == set(names) | raw
        for score in (*protocol.scores, *RAW):
            assert score.text.endswith(".")
            assert score.better in ("higher", "lower")
        assert pickle.loads(pickle.dumps(protocol)) == protocol


def test_error_ratios():
    truth = smooth(4)
    protocol = protocol_of("levin")
    noise = noisy(torch.zeros_like(truth), strength=0.02)
    one, three = (protocol.measure(truth + factor * noise, sample(truth), None) for factor in (1, 3))
    ratios = error_ratios(three, one)
    assert ratios == {"error-ratio-ssd": pytest.approx(9.0), "error-ratio-spectral": pytest.approx(3.0)}
    assert set(ratios) == {score.name for score in ERROR_RATIOS}
    assert error_ratios(one, one) == {"error-ratio-ssd": 1.0, "error-ratio-spectral": 1.0}


def test_error_ratios_by_definition():
    """Of two errors that are no multiples of each other, in colour: the norm of a matrix, largest over channels."""
    truth = smooth(4, 3)
    protocol = protocol_of("levin")
    results = [noisy(truth, seed, strength) for seed, strength in ((5, 0.03), (6, 0.01))]
    ratios = error_ratios(*(protocol.measure(result, sample(truth), None) for result in results))
    errors = [(one.aligned - one.truth)[0].numpy() for one in (metrics.align(result, truth) for result in results)]
    squares = [np.square(error).sum() for error in errors]
    norms = [max(np.linalg.svd(plane, compute_uv=False)[0] for plane in error) for error in errors]
    assert ratios["error-ratio-ssd"] == pytest.approx(squares[0] / squares[1])
    assert ratios["error-ratio-spectral"] == pytest.approx(norms[0] / norms[1])
    assert abs(ratios["error-ratio-spectral"] ** 2 - ratios["error-ratio-ssd"]) > 0.01


def test_error_ratios_that_cannot_be_had():
    assert error_ratios({}, {"ssd": 1.0, "spectral-norm": 1.0}) == {}
    assert error_ratios({"ssd": 1.0}, {"ssd": 0.0}) == {}
    assert error_ratios({"ssd": math.nan}, {"ssd": 1.0}) == {}
    assert error_ratios({"ssd": 3.0, "spectral-norm": 2.0}, {"ssd": 2.0}) == {"error-ratio-ssd": 1.5}


def test_studio_luma_is_that_of_rgb2ycbcr():
    """Against MATLAB's documented values: white is 235, black 16, and the primaries 81, 145 and 41."""
    colours = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    y = studio_luma(colours.view(5, 3, 1, 1)).flatten() * 255
    torch.testing.assert_close(y, torch.tensor([235.0, 16.0, 81.481, 144.553, 40.966], dtype=torch.float64))
    grey = smooth(1)
    assert studio_luma(grey) is grey


def test_lai_scores_luma_of_limited_range():
    truth = smooth(6, 3)
    image = torch.roll(noisy(truth), (2, -3), (2, 3))
    values = protocol_of("lai").measure(image, sample(truth), None)
    weights = np.array([65.481, 128.553, 24.966]) / 255
    y = [16 / 255 + np.tensordot(weights, one[0].numpy(), 1) for one in (image, truth)]
    best = metrics.align(*(torch.from_numpy(one)[None, None] for one in y))
    assert values["psnr-y"] == pytest.approx(best.psnr, abs=1e-9)
    assert values["ssim-y"] == pytest.approx(best.ssim, abs=1e-12)
    assert values["ssd"] == pytest.approx(best.ssd, rel=1e-9)
    assert values["psnr-aligned"] == pytest.approx(metrics.align(image, truth).psnr, abs=1e-9)
    # a grey error shrinks by 219/255
    grey = truth + 0.1
    measured = protocol_of("lai").measure(grey, sample(truth), None)
    assert measured["psnr"] == pytest.approx(20.0)
    assert measured["psnr-y"] == pytest.approx(20.0 + 20 * math.log10(255 / 219), abs=0.01)


def test_pairs_lead_with_the_plain_score():
    truth = smooth(7, 3)
    image = torch.roll(truth, (1, 2), (2, 3))
    values = protocol_of("pairs").measure(image, sample(truth, kernel=None), KERNEL)
    assert values["psnr"] == pytest.approx(float(metrics.psnr(image, truth)))
    assert values["ssim"] == pytest.approx(float(metrics.ssim(image, truth)))
    assert values["psnr-aligned"] == math.inf
    assert values["ssim-aligned"] == pytest.approx(1.0)
    assert "kernel-error" not in values


def kohler_by_hand(image: np.ndarray, view: np.ndarray) -> float:
    """One view after the published script, the cross-correlation written as a loop over all cyclic shifts."""
    height, width = view.shape[1:]
    scaled = (view * image).sum() / (image * image).sum() * image
    x, z = view.mean(0), scaled.mean(0)
    best = (-math.inf, 0, 0)
    for dy in range(height):
        for dx in range(width):
            best = max(best, ((x * np.roll(z, (dy, dx), (0, 1))).sum(), -dy, -dx))
    dy, dx = -best[1], -best[2]
    dy, dx = dy - height if dy >= height // 2 else dy, dx - width if dx >= width // 2 else dx
    moved, seen = np.zeros_like(view), np.zeros_like(view)
    for p in range(height):
        for q in range(width):
            if 0 <= p - dy < height and 0 <= q - dx < width:
                moved[:, p, q], seen[:, p, q] = scaled[:, p - dy, q - dx], view[:, p, q]
    luma = np.array([0.299, 0.587, 0.114])
    return -10 * math.log10(((np.tensordot(luma, moved, 1) - np.tensordot(luma, seen, 1)) ** 2).mean())


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-1, 4)])
def test_kohler_is_the_published_script(shift):
    views = [smooth(seed, 3, 20, 23) for seed in (1, 2, 3)]
    image = 0.8 * torch.roll(noisy(views[1]), shift, (2, 3))
    values = protocol_of("kohler").measure(image, sample(*views, kernel=None), None)
    by_hand = [kohler_by_hand(image[0].numpy(), view[0].numpy()) for view in views]
    assert values["psnr-kohler"] == pytest.approx(max(by_hand), abs=1e-9)
    assert max(by_hand) == by_hand[1]
    assert "ms-ssim-kohler" not in values  # too small for five scales
    assert "psnr-aligned" not in values


def test_kohler_does_not_depend_on_the_gain_nor_on_black_views():
    views = [smooth(seed, 3, 180, 176) for seed in (1, 2)]
    image = noisy(views[0])
    measure = protocol_of("kohler").measure
    values = measure(image, sample(*views, kernel=None), None)
    scaled = measure(0.5 * image, sample(torch.zeros_like(views[0]), *views, kernel=None), None)
    assert scaled["psnr-kohler"] == pytest.approx(values["psnr-kohler"], abs=1e-9)
    assert scaled["ms-ssim-kohler"] == pytest.approx(values["ms-ssim-kohler"], abs=1e-9)
    assert scaled["psnr-aligned"] < values["psnr-aligned"]
    assert values["psnr-aligned"] == pytest.approx(metrics.align(image, views[0]).psnr)
    black = measure(torch.zeros_like(image), sample(*views, kernel=None), None)
    assert black["psnr-kohler"] < 20
    assert measure(image, sample(torch.zeros_like(image), kernel=None), None) == {}


def test_registration_leaves_the_frame_black():
    view = smooth(8, 3, 30, 32)
    moved, seen = registered_luma(torch.roll(view, (4, -5), (2, 3)), view)
    assert not moved[..., -4:, :].any()
    assert not seen[..., -4:, :].any()
    assert not seen[..., :5].any()
    # the gain is found before the shift, as in the script, so it is below 1
    ratio = (moved / seen)[..., :26, 5:]
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))
    assert 0.5 < ratio.mean() < 1


def test_ms_ssim_against_its_definition():
    truth = smooth(9, height=MIN_SIDE, width=190)
    image = noisy(truth, strength=0.4)
    taps = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    window = np.outer(taps, taps) / taps.sum() ** 2
    low = np.array([0.037828455507260, -0.023849465019560, -0.110624404418440, 0.377402855612830, 0.852698679008890])
    low = np.concatenate((low, low[-2::-1]))
    low = np.outer(low, low) / low.sum() ** 2
    a, b = image[0, 0].numpy(), truth[0, 0].numpy()

    def mean(x: np.ndarray) -> np.ndarray:
        return ndimage.correlate(x, window)[5:-5, 5:-5]

    value = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        ma, mb = mean(a), mean(b)
        sa, sb = (np.sqrt(mean(x * x) - m * m) for x, m in ((a, ma), (b, mb)))
        contrast = ((2 * sa * sb + 0.0009) / (sa**2 + sb**2 + 0.0009)).mean()
        structure = ((mean(a * b) - ma * mb + 0.00045) / (sa * sb + 0.00045)).mean()
        value *= contrast**weight * structure**weight
        if scale == 4:
            value *= ((2 * ma * mb + 0.0001) / (ma**2 + mb**2 + 0.0001)).mean() ** weight
        a, b = (ndimage.correlate(x, low, mode="reflect")[::2, ::2] for x in (a, b))
    assert ms_ssim(image, truth) == pytest.approx(value, rel=1e-9)
    assert ms_ssim(truth, truth) == pytest.approx(1.0)
    assert ms_ssim(image[..., 1:, :], truth[..., 1:, :]) is None
    assert ms_ssim(1 - truth, truth) is None  # anticorrelated


def test_kernel_scores():
    truth = smooth(1)
    moved = torch.nn.functional.pad(KERNEL.flip(-2, -1), (4, 0, 2, 0))
    values = protocol_of("levin").measure(truth, sample(truth), moved)
    assert values["kernel-similarity"] == pytest.approx(1.0)
    assert values["kernel-error"] == pytest.approx(0.0, abs=1e-6)
    flat = protocol_of("levin").measure(truth, sample(truth), torch.full((1, 1, 5, 5), 0.04))
    assert flat["kernel-similarity"] < 0.9
    assert flat["kernel-error"] > 0.5
    empty = protocol_of("levin").measure(truth, sample(truth), torch.zeros(1, 1, 5, 5))
    assert empty["kernel-error"] == pytest.approx(1.0)
    assert "kernel-similarity" not in empty
    broken = protocol_of("levin").measure(truth, sample(truth), KERNEL * math.nan)
    assert "kernel-error" not in broken
    assert "psnr-aligned" in broken
    with pytest.raises(KernelError, match="has no centre"):
        protocol_of("levin").measure(truth, sample(truth), torch.ones(1, 1, 4, 4))


def test_what_cannot_be_had_is_absent():
    truth = smooth(1, height=41, width=41)
    for layout in LAYOUTS[1:]:
        measure = protocol_of(layout).measure
        for bad in (math.nan, math.inf):
            spoilt = truth.clone()
            spoilt[..., 3, 3] = bad
            assert measure(spoilt, sample(truth, kernel=None), None) == {}
        assert measure(truth, sample(kernel=None), None) == {}
        assert set(measure(truth, sample(), KERNEL)) == {"kernel-similarity", "kernel-error"}
        small = truth[..., :40]
        assert "psnr-aligned" in measure(truth, sample(truth), None)
        assert "psnr-aligned" not in measure(small, sample(small), None)
        tiny = truth[..., :8, :8]
        assert "ssim" not in measure(tiny, sample(tiny), None)


def test_colour_and_grey():
    grey, colour = smooth(1), smooth(2, 3)
    for layout in LAYOUTS[1:]:
        measure = protocol_of(layout).measure
        primary = protocol_of(layout).primary
        widened = measure(grey, sample(colour), None)
        assert widened == measure(grey.expand(-1, 3, -1, -1), sample(colour), None)
        luma = (colour * torch.tensor([0.299, 0.587, 0.114]).double().view(1, 3, 1, 1)).sum(1, keepdim=True)
        narrowed, expected = measure(colour, sample(grey), None), measure(luma, sample(grey), None)
        assert narrowed[primary] == pytest.approx(expected[primary], abs=1e-6)


def test_nothing_is_rounded_or_clipped():
    truth = smooth(1)
    near = protocol_of("levin").measure(truth + 1e-6, sample(truth), None)
    assert near["psnr-aligned"] == pytest.approx(120.0, abs=0.01)
    beyond = protocol_of("pairs").measure(truth + 2.0, sample(truth), None)
    assert beyond["psnr"] == pytest.approx(-20 * math.log10(2.0))


def test_float32_on_any_device_is_scored_in_double():
    truth = smooth(1).float()
    image = noisy(truth).requires_grad_()
    values = protocol_of("levin").measure(image, sample(truth), None)
    double = protocol_of("levin").measure(image.detach().double(), sample(truth.double()), None)
    assert values == double


def test_bad_input():
    truth = smooth(1)
    for layout in LAYOUTS[1:]:
        with pytest.raises(UsageError, match="must agree in size"):
            protocol_of(layout).measure(truth[..., :-1], sample(truth), None)
    with pytest.raises(ValueError, match="image: needs a floating point tensor"):
        protocol_of("levin").measure(truth[0], sample(truth), None)
    with pytest.raises(UsageError, match="layout: 'auto' has no protocol; those that have one are levin, levin-exact"):
        protocol_of("auto")
