import io

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.errors import UsageError
from deblurkit.noise import estimate_noise
from deblurkit.ops.convolve import convolve_valid


def blurry_picture(seed: int = 0, size: int = 240) -> torch.Tensor:
    """Random discs of random colours under a slanted motion blur of 13 pixels: edges, flats and slopes."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(size + 12.0), torch.arange(size + 12.0), indexing="ij")
    picture = torch.full((3, size + 12, size + 12), 0.4) + 0.2 * rows / size
    for _ in range(25):
        place, radius = torch.rand(2, generator=generator) * size, 4 + 30 * torch.rand(1, generator=generator)
        inside = (rows - place[0]) ** 2 + (columns - place[1]) ** 2 < radius**2
        colour = 0.1 + 0.8 * torch.rand(3, 1, generator=generator)
        picture[:, inside] = colour
    kernel = torch.zeros(1, 1, 13, 13)
    for step in range(13):
        kernel[0, 0, step, 3 + step // 2] = 1 / 13
    return convolve_valid(picture[None], kernel)


def noisy(clean: torch.Tensor, level: float) -> torch.Tensor:
    return clean + level * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))


def as_jpeg(y: torch.Tensor, quality: int) -> torch.Tensor:
    array = (y[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(file)).astype(np.float32) / 255
    return torch.from_numpy(decoded).permute(2, 0, 1)[None]


@pytest.mark.parametrize("level", [0.003, 0.01, 0.03, 0.1])
def test_noise_of_a_blurry_picture(level):
    y = noisy(torch.cat((blurry_picture(0), blurry_picture(1))), level)
    assert estimate_noise(y).tolist() == pytest.approx([level, level], rel=0.12)


def test_no_noise():
    assert estimate_noise(blurry_picture()).item() < 2e-4


def test_white_noise_alone_holds_the_two_constants():
    y = 0.5 + 0.02 * torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(7))
    assert estimate_noise(y).item() == pytest.approx(0.02, rel=0.02)
    from deblurkit import noise

    half = noise._quiet_level(2 * torch.nn.functional.avg_pool2d(y, 2), 8, 2.0) / noise._HALF_QUIET
    assert half.item() == pytest.approx(0.02, rel=0.05)


def test_rounding_to_8_bits_is_small_noise():
    y = blurry_picture()
    assert estimate_noise((y * 255).round() / 255).item() < 0.0015
    rounded = (noisy(y, 0.003) * 255).round() / 255
    assert estimate_noise(rounded).item() == pytest.approx((0.003**2 + 1 / (12 * 255**2)) ** 0.5, rel=0.12)


@pytest.mark.parametrize("quality", [95, 80])
@pytest.mark.parametrize("level", [0.01, 0.03])
def test_jpeg_hides_at_most_half_of_the_noise_and_invents_none(quality, level):
    y = blurry_picture()
    found = estimate_noise(as_jpeg(noisy(y, level), quality)).item()
    assert 0.35 * level < found < 1.1 * level
    assert estimate_noise(as_jpeg(y, quality)).item() < 0.004


def test_clipped_regions_do_not_count():
    y = noisy(blurry_picture(), 0.01)
    y[..., :100, :] = 1.0
    assert estimate_noise(y).item() == pytest.approx(0.01, rel=0.15)


def test_bad_input():
    with pytest.raises(UsageError, match="7x40 is too small"):
        estimate_noise(torch.rand(1, 1, 7, 40))
    with pytest.raises(ValueError, match="image: needs"):
        estimate_noise(torch.rand(40, 40))
    assert estimate_noise(torch.full((2, 1, 8, 8), 0.3)).max() < 1e-7
