import pytest
import torch

from deblurkit.config import resolve
from deblurkit.core import Observation
from deblurkit.pipeline import Parts, Progress, deblur
from deblurkit.pipeline import restore as restore_module
from deblurkit.pipeline.progress import silent
from deblurkit.pipeline.restore import BLEND, restore_frame, spans
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

KERNEL = curved_kernel((7, 9))


@pytest.fixture
def parts() -> Parts:
    return Parts.load(resolve({"run.threads": 1}, registry=registry()), registry())


def frame(channels: int = 1, size: tuple[int, int] = (150, 170)) -> Observation:
    y = blur_by_definition(cartoon(1, channels, (size[0] + 6, size[1] + 8)), KERNEL)
    return Observation.of(y + 0.005 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)), 0.005)


@pytest.mark.parametrize(("length", "halo"), [(64, 9), (65, 9), (200, 9), (1000, 31)])
def test_weights_of_all_tiles_cover_every_pixel_once(monkeypatch, length, halo):
    monkeypatch.setattr(restore_module, "TILE", 64)
    total = torch.zeros(length)
    found = spans(length, halo)
    assert found[0].start == 0
    assert found[-1].stop == length
    for span in found:
        total[span.start : span.stop] += span.weights(halo, total)
    torch.testing.assert_close(total, torch.ones(length), atol=1e-5, rtol=0)


def test_the_outer_halo_of_a_tile_does_not_count(monkeypatch):
    monkeypatch.setattr(restore_module, "TILE", 64)
    middle = spans(200, 9)[1]
    weights = middle.weights(9, torch.zeros(1))
    assert float(weights[:9].max()) == float(weights[-9:].max()) == 0
    assert float(weights[9 + BLEND : -9 - BLEND].min()) == 1


def test_a_picture_of_one_tile_is_restored_in_one_piece(parts):
    observation = frame()
    whole = parts.restorer(observation, (3, 4)).restore(observation, KERNEL)[..., 3:-3, 4:-4]
    told: list[Progress] = []
    torch.testing.assert_close(restore_frame(observation, parts, KERNEL, told.append), whole, atol=1e-6, rtol=0)
    assert [(one.stage, one.done, one.total) for one in told] == [("restore", 1, 1)]


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_equal_the_whole(parts, monkeypatch, channels):
    observation = frame(channels)
    whole = restore_frame(observation, parts, KERNEL, silent)
    monkeypatch.setattr(restore_module, "TILE", 60)
    told: list[Progress] = []
    tiled = restore_frame(observation, parts, KERNEL, told.append)
    assert told[-1].done == told[-1].total == 9
    difference = (tiled - whole).abs()
    # the prior is not convex: thresholds fall either way here and there, below the noise of 0.005
    assert float(difference.square().mean().sqrt()) < 0.005
    truth = cartoon(1, channels, (156, 178))[..., 3:-3, 4:-4]
    errors = [float((image - truth).square().mean()) for image in (whole, tiled)]
    assert errors[1] == pytest.approx(errors[0], rel=0.05)


def test_missing_pixels_are_missing_in_their_tile(parts, monkeypatch):
    monkeypatch.setattr(restore_module, "TILE", 60)
    results = []
    for value in (0.0, 1.0):
        observation = frame()
        y, mask = observation.y.clone(), observation.mask.clone()
        y[..., 100:108, 110:118], mask[..., 100:108, 110:118] = value, 0
        results.append(restore_frame(Observation.of(y, 0.005, mask=mask), parts, KERNEL, silent))
    torch.testing.assert_close(results[0], results[1], atol=2e-3, rtol=0)


def test_a_picture_larger_than_the_crop_is_restored_whole_with_one_kernel(monkeypatch):
    monkeypatch.setattr(restore_module, "TILE", 100)
    observation = frame(3, (150, 200))
    flags = {"run.threads": 1, "run.crop": 110, "run.kernel_size": 11, "run.restarts": 0}
    stages: list[str] = []
    result = deblur(
        observation.y, resolve(flags, registry=registry()), listener=lambda event: stages.append(event.stage)
    )
    assert result.plan.cropped
    assert result.image.shape == (1, 3, 150, 200)
    assert result.kernel is not None
    assert result.kernel.shape[:2] == (1, 1)
    assert stages[-1] == "restore"
    assert stages.count("restore") == 4
    assert 0 <= float(result.image.min()) <= float(result.image.max()) <= 1
