import numpy as np
import pytest
import torch
from scipy import ndimage

from deblurkit import metrics
from deblurkit.errors import UsageError


@pytest.fixture
def picture() -> torch.Tensor:
    values = torch.rand(1, 2, 60, 52, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return torch.from_numpy(ndimage.gaussian_filter(values.numpy(), (0, 0, 1.2, 1.2)))


def exhaustive(estimate: np.ndarray, truth: np.ndarray, crop: int, max_shift: int, step: float) -> tuple:
    """All shifts, each by scipy's bilinear interpolation of one channel after the other."""
    rows, columns = (np.arange(crop, side - crop) for side in truth.shape[1:])
    target = truth[:, crop:-crop, crop:-crop]
    shifts = np.arange(-max_shift, max_shift + step / 2, step)
    best = (np.inf, 0.0, 0.0)
    for dy in shifts:
        for dx in shifts:
            grid = np.meshgrid(rows + dy, columns + dx, indexing="ij")
            moved = np.stack([ndimage.map_coordinates(one, grid, order=1, mode="nearest") for one in estimate])
            best = min(best, (((moved - target) ** 2).sum(), dy, dx))
    return best


@pytest.mark.parametrize(("shift", "crop", "max_shift", "step"), [((0.6, -2.2), 6, 4, 0.25), ((-3.0, 3.0), 3, 3, 0.5)])
def test_alignment_equals_the_exhaustive_search(picture, shift, crop, max_shift, step):
    noise = torch.rand(picture.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    moved = ndimage.shift(picture.numpy(), (0, 0, *shift), order=3, mode="nearest") + 0.02 * noise.numpy()
    found = metrics.align(torch.from_numpy(moved), picture, crop=crop, max_shift=max_shift, step=step)
    ssd, dy, dx = exhaustive(moved[0], picture[0].numpy(), crop, max_shift, step)
    assert found.shift == (dy, dx)
    assert found.ssd == pytest.approx(ssd, rel=1e-9)
    assert found.psnr == pytest.approx(-10 * np.log10(ssd / found.truth.numel()), abs=1e-9)


def test_every_value_of_the_closed_form_is_the_squared_difference(picture):
    search = picture[0, :, 4:40, 4:40].numpy()
    target = picture[0, :, 6:36, 7:37].numpy()[:, :28, :28]
    values = metrics._squared_differences(search, target, 4)
    for i, j in ((0, 0), (5, 18), (13, 2), (31, 31), (20, 7)):
        grid = np.meshgrid(np.arange(28) + i / 4, np.arange(28) + j / 4, indexing="ij")
        moved = np.stack([ndimage.map_coordinates(one, grid, order=1) for one in search])
        assert values[i, j] == pytest.approx(((moved - target) ** 2).sum(), rel=1e-9)


def test_a_whole_shift_is_undone_exactly(picture):
    found = metrics.align(torch.roll(picture, (2, -3), dims=(2, 3)), picture, crop=5, max_shift=5)
    assert found.shift == (2.0, -3.0)
    assert found.psnr == np.inf
    assert found.ssim == pytest.approx(1.0)


def test_psnr_and_ssim(picture):
    torch.testing.assert_close(
        metrics.psnr(picture + 0.1, picture), torch.tensor([20.0], dtype=torch.float64), atol=1e-9, rtol=0
    )
    assert metrics.ssim(picture, picture).item() == pytest.approx(1.0)
    assert metrics.ssim(picture * 0.5, picture).item() < 0.9


def test_ssim_downsampling_as_published():
    big = torch.rand(1, 1, 400, 520, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    other = (big + 0.2 * torch.rand(big.shape, generator=torch.Generator().manual_seed(2))).double()
    # round(400 / 256) = 2: a 2x2 box over pixel and right/lower neighbour, the last ones mirrored.
    halves = []
    for one in (big, other):
        padded = torch.cat(
            (torch.cat((one, one[..., -1:]), dim=3), torch.cat((one, one[..., -1:]), dim=3)[..., -1:, :]), 2
        )
        box = (padded[..., :-1, :-1] + padded[..., 1:, :-1] + padded[..., :-1, 1:] + padded[..., 1:, 1:]) / 4
        halves.append(box[..., ::2, ::2])
    torch.testing.assert_close(metrics.ssim_downsampled(big, other), metrics.ssim(*halves))
    small = (big[..., :255, :255], other[..., :255, :255])
    torch.testing.assert_close(metrics.ssim_downsampled(*small), metrics.ssim(*small))


def test_kernel_similarity():
    generator = torch.Generator().manual_seed(0)
    k = torch.zeros(1, 1, 9, 9)
    k[..., 1:5, 3:7] = torch.rand(4, 4, generator=generator)
    moved = torch.nn.functional.pad(torch.roll(k, (3, -2), dims=(2, 3)), (1, 1, 2, 2)) * 5.0
    same = metrics.kernel_similarity(k, moved)
    assert same.value == same.direct == pytest.approx(1.0)
    assert same.rotated < 0.99
    turned = metrics.kernel_similarity(k.flip(-2, -1), moved)
    assert turned.value == turned.rotated == pytest.approx(1.0)


def test_kernel_error_equals_the_exhaustive_search():
    generator = torch.Generator().manual_seed(6)
    for a_shape, b_shape in (((3, 5), (7, 5)), ((5, 5), (3, 3)), ((5, 3), (5, 3))):
        a, b = (torch.rand(1, 1, *shape, generator=generator, dtype=torch.float64) for shape in (a_shape, b_shape))
        a, b = a / a.sum(), b / b.sum()
        pad = 8
        fixed = np.pad(b[0, 0].numpy(), pad)
        best = np.inf
        for one in (a[0, 0].numpy(), a[0, 0].numpy()[::-1, ::-1]):
            for dy in range(fixed.shape[0] - one.shape[0] + 1):
                for dx in range(fixed.shape[1] - one.shape[1] + 1):
                    moved = np.zeros_like(fixed)
                    moved[dy : dy + one.shape[0], dx : dx + one.shape[1]] = one
                    best = min(best, np.linalg.norm(moved - fixed))
        assert metrics.kernel_error(a, b) == pytest.approx(best / np.linalg.norm(fixed), rel=1e-12)
    turned = torch.nn.functional.pad(b.flip(-2, -1), (3, 1, 0, 2))
    assert metrics.kernel_error(turned, b) == pytest.approx(0.0, abs=1e-15)
    assert metrics.kernel_error(2.0 * b, b) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="estimate"):
        metrics.kernel_error(b[0], b)


def test_bad_input(picture):
    with pytest.raises(UsageError, match="60x52 with 2 channels and 60x51 with 2 channels"):
        metrics.psnr(picture, picture[..., :-1])
    with pytest.raises(UsageError, match="needs at least 41x41"):
        metrics.align(picture[..., :40], picture[..., :40])
    with pytest.raises(UsageError, match="max_shift: must lie between 0 and the crop of 3 px"):
        metrics.align(picture, picture, crop=3, max_shift=4)
    with pytest.raises(UsageError, match="step: "):
        metrics.align(picture, picture, step=0.3)
    with pytest.raises(UsageError, match="batch of 2"):
        metrics.align(picture.expand(2, -1, -1, -1), picture.expand(2, -1, -1, -1))
    with pytest.raises(UsageError, match="smaller than the 11x11 window"):
        metrics.ssim(picture[..., :8], picture[..., :8])


def test_strips_change_nothing(picture, monkeypatch):
    noise = torch.rand(picture.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    moved = torch.roll(picture, (1, -2), dims=(2, 3)) + 0.02 * noise
    whole, index = metrics.align(moved, picture, crop=5, max_shift=4), metrics.ssim(moved, picture)
    monkeypatch.setattr(metrics, "_STRIP", 7)
    strips = metrics.align(moved, picture, crop=5, max_shift=4)
    assert strips.shift == whole.shift
    assert strips.ssd == pytest.approx(whole.ssd, rel=1e-9)
    assert strips.ssim == pytest.approx(whole.ssim, rel=1e-9)
    torch.testing.assert_close(metrics.ssim(moved, picture), index)
