"""`deblurkit deconvolve`: a kernel that is known is undone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from deblurkit.metrics import psnr
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

KERNEL = curved_kernel((7, 9))
SHARP = cartoon(1, 3, (86, 94))


def to_tensor(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        values = np.asarray(image).astype(np.float32) / 255
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def score(path: Path) -> float:
    return float(psnr(to_tensor(path), SHARP[..., 3:-3, 4:-4]))


@pytest.fixture
def blurry(tmp_path) -> Path:
    y = blur_by_definition(SHARP, KERNEL)
    y = y + 0.003 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "a.png"
    Image.fromarray((y[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()).save(path)
    return path


@pytest.fixture
def kernel(tmp_path) -> Path:
    np.save(tmp_path / "k.npy", KERNEL[0, 0].numpy())
    return tmp_path / "k.npy"


def test_a_known_blur_is_undone(deblurkit, blurry, kernel):
    done = deblurkit("deconvolve", str(blurry), "--kernel", str(kernel), "--threads", "1")
    assert done.code == 0, done.err
    assert done.out == f"{blurry.with_name('a.deblurred.png')}\n"
    assert done.err == ""
    assert score(blurry.with_name("a.deblurred.png")) > score(blurry) + 8
    written = np.load(blurry.with_name("a.deblurred.kernel.npy"))
    assert np.allclose(written, KERNEL[0, 0], atol=1e-6)


def test_the_orientation_is_true_convolution_and_flip_turns_it(deblurkit, blurry, kernel, tmp_path):
    np.save(tmp_path / "turned.npy", KERNEL[0, 0].flip(0, 1).numpy())
    args = ("deconvolve", str(blurry), "--overwrite", "--threads", "1")
    scores = {}
    for name, more in {"right": (kernel,), "wrong": (kernel, "--flip"), "turned": ("turned.npy", "--flip")}.items():
        assert deblurkit(*args, "-k", str(tmp_path / more[0]), *more[1:]).code == 0
        scores[name] = score(blurry.with_name("a.deblurred.png"))
    assert scores["turned"] == scores["right"] > scores["wrong"] + 5


def test_every_kind_of_kernel_file(deblurkit, blurry, kernel, tmp_path):
    savemat(tmp_path / "k.mat", {"psf": KERNEL[0, 0].numpy(), "note": "a camera"})
    Image.fromarray((KERNEL[0, 0] / KERNEL.max() * 65535).round().to(torch.int32).numpy().astype(np.uint16)).save(
        tmp_path / "k.png"
    )
    Image.fromarray(KERNEL[0, 0].numpy()).save(tmp_path / "k.tif")
    for name in ("k.mat", "k.png", "k.tif"):
        done = deblurkit("deconvolve", str(blurry), "-k", str(tmp_path / name), "--overwrite", "--threads", "1")
        assert done.code == 0, done.err
        assert score(blurry.with_name("a.deblurred.png")) > score(blurry) + 8


def test_the_kernel_that_was_written_is_read_back(deblurkit, blurry, kernel, tmp_path):
    args = ("deconvolve", str(blurry), "--threads", "1")
    assert deblurkit(*args, "-k", str(kernel), "-o", str(tmp_path / "1.png")).code == 0
    assert deblurkit(*args, "-k", str(tmp_path / "1.kernel.npy"), "-o", str(tmp_path / "2.png")).code == 0
    assert score(tmp_path / "2.png") == pytest.approx(score(tmp_path / "1.png"), abs=0.05)


def test_even_sides_are_padded_with_one_note(deblurkit, blurry, tmp_path):
    np.save(tmp_path / "even.npy", np.pad(KERNEL[0, 0].numpy(), ((0, 1), (0, 1))))
    done = deblurkit("deconvolve", str(blurry), "-k", str(tmp_path / "even.npy"), "--threads", "1")
    assert done.code == 0
    assert done.err.count("was padded to 11 × 9") == 1


def test_json_says_the_kernel_and_the_config_replays(deblurkit, blurry, kernel, tmp_path, monkeypatch):
    monkeypatch.chdir(kernel.parent)
    args = ("deconvolve", str(blurry), "-k", kernel.name, "--json", "--record", "rec", "-o", "1.png", "--threads", "1")
    (image,) = json.loads(deblurkit(*args).out)["images"]
    assert image["kernel_size"] == [7, 9]
    assert image["plan"]["scales"] == []
    assert image["plan"]["kernel_window"] is None
    assert image["config"]["kernel_prior"] == {"name": "known", "file": str(kernel), "flip": False}
    monkeypatch.chdir("/")
    done = deblurkit(
        *("run", str(blurry), "--config", str(tmp_path / "rec" / "1" / "config.json"), "-o", str(tmp_path / "2.png"))
    )
    assert done.code == 0, done.err
    assert (tmp_path / "2.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_another_prior_and_its_parameters(deblurkit, blurry, kernel):
    args = ("deconvolve", str(blurry), "-k", str(kernel), "--threads", "1", "--overwrite")
    assert deblurkit(*args, "--image-prior", "total-variation", "--image-prior.strength", "1").code == 0
    first = score(blurry.with_name("a.deblurred.png"))
    assert first > score(blurry) + 5
    assert deblurkit(*args, "--image-prior", "total-variation", "--image-prior.strength", "100").code == 0
    assert score(blurry.with_name("a.deblurred.png")) != first


def test_without_a_last_step_the_image_prior_restores(deblurkit, blurry, kernel, tmp_path):
    args = ("deconvolve", str(blurry), "-k", str(kernel), "--threads", "1")
    assert deblurkit(*args, "-o", str(tmp_path / "1.png")).code == 0
    assert deblurkit(*args, "-o", str(tmp_path / "2.png"), "--final", "none").code == 0
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_a_given_kernel_keeps_its_window_beside_a_network(deblurkit, blurry, tmp_path):
    wide = np.zeros((5, 21), np.float32)
    wide[2, 6:15] = 1
    np.save(tmp_path / "wide.npy", wide)
    done = deblurkit(
        *("deconvolve", str(blurry), "-k", str(tmp_path / "wide.npy"), "--threads", "1", "--json"),
        *("--image-prior", "dip", "--image-prior.channels", "4", "--image-prior.scales", "2"),
        *("--optimizer.iterations", "2"),
    )
    assert done.code == 0, done.err
    assert json.loads(done.out)["images"][0]["kernel_size"] == [5, 21]


def test_a_dry_run_says_that_the_kernel_is_given(deblurkit, blurry, kernel):
    done = deblurkit("deconvolve", str(blurry), "-k", str(kernel), "--dry-run")
    assert done.code == 0
    assert "  kernel        given\n" in done.out
    assert "none, nothing is estimated" in done.out


def test_without_a_kernel(deblurkit, blurry):
    done = deblurkit("deconvolve", str(blurry))
    assert done.code == 2
    assert "Missing option '-k' / '--kernel'" in done.err


def test_a_recipe_that_estimates_the_kernel_is_refused(deblurkit, blurry, kernel):
    done = deblurkit("deconvolve", str(blurry), "--kernel", str(kernel), "--recipe", "fast")
    assert done.code == 2
    assert "'convolution' estimates the kernel, and here it is given; use deblurkit run" in done.err
    assert not blurry.with_name("a.deblurred.png").exists()
