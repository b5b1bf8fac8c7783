"""`deblurkit run` with a generator: what is written, what is said about it, and what is refused."""

import importlib
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.cli import console
from deblurkit.core.image_prior import extend
from deblurkit.nets.stylegan.weights import load_generator
from deblurkit.testing import blur_by_definition, curved_kernel

DIGITS = Path(__file__).parents[1] / "data" / "digits.safetensors"
SMALL = (
    *("--recipe", "manifold", "--kernel-prior", "convolution", "--optimizer", "joint"),
    *("--optimizer.iterations", "5", "--threads", "1"),
    *("--image-prior.candidates", "4", "--kernel-size", "7", "--restarts", "0", "-q"),
)
QUICK = (*SMALL, "--image-prior.weights", str(DIGITS))
NOTICE = "the content is synthesised: details, a face's identity among them, may be invented"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DEBLURKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """A blurred digit (64, 64, 3) of 8 bits."""
    network = load_generator(DIGITS)
    z = torch.randn(1, network.inputs, generator=torch.Generator().manual_seed(0))
    x = (network(network.map(z)[:, None].expand(-1, network.latents, -1), network.own_noises()) + 1) / 2
    y = blur_by_definition(extend(x.clamp(0.02, 0.95), (2, 3)), curved_kernel((5, 7)))
    return (y[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


@pytest.fixture
def save(tmp_path, pixels):
    """Write the digit, or something like it, and name the file."""

    def write(name: str = "digit.png", change=lambda values: values) -> Path:
        folder = tmp_path / "pictures"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(change(pixels))).save(folder / name)
        return folder / name

    return write


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def wide(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, values[:, :20]], 1)


def test_a_digit_is_deblurred_and_the_notice_is_on_stderr(deblurkit, save):
    source = save()
    done = deblurkit("run", str(source), *QUICK)
    assert done.code == 0, done.err
    assert done.out == f"{source.with_name('digit.deblurred.png')}\n"
    assert f"{source}: {NOTICE}" in done.err
    assert "never identify anybody by it" in done.err
    assert done.err.count(NOTICE) == 1
    assert "Traceback" not in done.err
    assert names(source.parent) == [
        *("digit.deblurred.kernel.npy", "digit.deblurred.kernel.png", "digit.deblurred.png", "digit.png")
    ]
    assert opened(source.with_name("digit.deblurred.png")).size == (64, 64)


def test_the_document_says_what_was_synthesised_and_how_far_it_is(deblurkit, save):
    done = deblurkit("run", str(save()), *QUICK, "--json")
    assert done.code == 0, done.err
    (image,) = json.loads(done.out)["images"]
    assert image["synthesised"] is True
    assert image["restored"] is False
    assert image["notice"].startswith(NOTICE)
    measures = image["quality"]["measures"]
    assert f"a restoration that invents nothing is {measures['plain_psnr']:.1f} dB from it" in image["notice"]
    assert f"blurred again it misses the picture by {measures['residual']:.3f}" in image["notice"]
    assert 0 < measures["plain_psnr"] < 60
    assert image["config"]["image_prior"]["weights"] == str(DIGITS)


def test_what_is_restored_in_the_end_is_not_synthesised(deblurkit, save):
    done = deblurkit("run", str(save()), *QUICK, "--final", "hyper-laplacian", "--json")
    assert done.code == 0, done.err
    (image,) = json.loads(done.out)["images"]
    assert image["synthesised"] is False
    assert image["notice"] == ""
    assert "synthesised" not in done.err


def test_a_picture_that_is_not_square_is_refused_with_what_helps(deblurkit, save):
    source = save(change=wide)
    done = deblurkit("run", str(source), *QUICK)
    assert (done.code, done.out) == (1, "")
    assert f"{source}: the picture is 84x64, but the generator needs it square" in done.err
    assert "--image-prior.picture resize, crop or pad" in done.err
    assert len(done.err.splitlines()) == 1
    assert names(source.parent) == ["digit.png"]


@pytest.mark.parametrize("way", ["resize", "crop", "pad"])
def test_or_brought_to_the_generator_s_shape(deblurkit, save, way):
    source = save(change=wide)
    done = deblurkit("run", str(source), *QUICK, "--image-prior.picture", way)
    assert done.code == 0, done.err
    assert opened(source.with_name("digit.deblurred.png")).size == (64, 64)
    assert f"{source}: the image prior 'stylegan' made it a picture of 64x64 pixels\n" in done.err


def transparent(values: np.ndarray) -> np.ndarray:
    alpha = np.full((*values.shape[:2], 1), 255, np.uint8)
    alpha[:6] = 0
    return np.concatenate([values, alpha], 2)


def test_transparency_stays_with_the_frame_that_it_belongs_to(deblurkit, save):
    same = save("same.png", transparent)
    other = save("other.png", lambda values: transparent(wide(values)))
    done = deblurkit("run", str(same), str(other), *QUICK, "--image-prior.picture", "resize")
    assert done.code == 0, done.err
    kept = opened(same.with_name("same.deblurred.png"))
    assert kept.mode == "RGBA"
    assert np.array_equal(np.asarray(kept)[..., 3], np.asarray(opened(same))[..., 3])
    assert opened(other.with_name("other.deblurred.png")).mode == "RGB"
    assert "made it a picture of 64x64 pixels, and its transparency is dropped" in done.err
    assert done.err.count("made it a picture") == 1


def test_transparency_does_not_go_into_another_frame_of_the_same_size(deblurkit, save, tmp_path):
    source = save(change=transparent)
    points = np.array([[24.0, 26], [40, 26], [32, 33], [26, 40], [38, 40]])  # of a face that is turned below
    np.save(tmp_path / "face.npy", np.stack([points[:, 1], 64 - points[:, 0]], 1))
    done = deblurkit("run", str(source), *QUICK, "--image-prior.align", str(tmp_path / "face.npy"))
    assert done.code == 0, done.err
    result = opened(source.with_name("digit.deblurred.png"))
    assert result.size == (64, 64)
    assert result.mode == "RGB"


def test_grey_pictures_come_back_grey(deblurkit, save):
    source = save(change=lambda values: values[..., 0])
    done = deblurkit("run", str(source), *QUICK)
    assert done.code == 0, done.err
    assert opened(source.with_name("digit.deblurred.png")).mode == "L"


def test_the_plan_shows_the_size_that_is_admitted(deblurkit, save):
    source = save(change=wide)
    done = deblurkit("run", str(source), *QUICK, "--image-prior.picture", "crop", "--dry-run")
    assert done.code == 0, done.err
    assert "64 x 64 px, 3 channels" in done.out
    assert f'image_prior.weights = "{DIGITS}"  (flag)' in done.out
    done = deblurkit("run", str(source), *QUICK, "--image-prior.picture", "pad", "--dry-run", "--json")
    (plan,) = json.loads(done.out)["plans"]
    assert plan["size"] == [64, 64]
    assert plan["crop"] == {"top": 0, "left": 0, "height": 64, "width": 64}
    assert deblurkit("run", str(source), *QUICK, "--dry-run").code == 1
    assert names(source.parent) == ["digit.png"]


def absent(tmp_path, compact_file):
    return tmp_path / "absent.pt", "No such file or directory"


def space(tmp_path, compact_file):
    return compact_file, "a kernel prior, where a generator of pictures is wanted"


def page(tmp_path, compact_file):
    (tmp_path / "page.pt").write_text("<!DOCTYPE html><html></html>")
    return tmp_path / "page.pt", "is a web page"


def cut(tmp_path, compact_file):
    (tmp_path / "cut.safetensors").write_bytes(DIGITS.read_bytes()[:-1000])
    return tmp_path / "cut.safetensors", "cut.safetensors: "


def others(tmp_path, compact_file):
    torch.save({"conv.weight": torch.zeros(3, 3)}, tmp_path / "others.pt")
    return tmp_path / "others.pt", "its weights have no known layout"


@pytest.mark.parametrize("how", [(), ("--json",), ("--dry-run",)], ids=["run", "json", "dry-run"])
@pytest.mark.parametrize("make", [absent, space, page, cut, others])
def test_weights_that_are_no_generator(deblurkit, save, tmp_path, compact_file, make, how):
    source = save()
    file, sentence = make(tmp_path, compact_file)
    done = deblurkit("run", str(source), *SMALL, "--image-prior.weights", str(file), *how)
    assert done.code == 2, done.err
    assert sentence in done.err
    assert str(file) in done.err
    assert "Traceback" not in done.err
    assert names(source.parent) == ["digit.png"]


@pytest.mark.parametrize("how", [(), ("--json",), ("--dry-run",)], ids=["run", "json", "dry-run"])
def test_weights_that_are_no_generator_are_told_once_and_not_for_every_picture(deblurkit, save, tmp_path, how):
    sources = [str(save(name)) for name in ("a.png", "b.png", "c.png")]
    done = deblurkit("run", *sources, *SMALL, "--image-prior.weights", str(tmp_path / "absent.pt"), *how)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1, done.err
    assert "absent.pt" in done.err
    assert "a.png" not in done.err


@pytest.mark.parametrize("how", [(), ("--dry-run",)], ids=["run", "dry-run"])
def test_without_weights(deblurkit, save, how):
    source = save()
    done = deblurkit("run", str(source), *SMALL, *how)
    assert done.code == 2
    assert "--image-prior.weights" in done.err
    assert names(source.parent) == ["digit.png"]


def test_a_failure_costs_only_its_own_picture(deblurkit, save):
    good, bad = save("b.png"), save("a.png", wide)
    done = deblurkit("run", str(bad), str(good), *QUICK)
    assert done.code == 1
    assert done.out == f"{good.with_name('b.deblurred.png')}\n"
    assert f"{bad}: the picture is 84x64" in done.err


def test_a_checkpoint_of_somebody_else_s_is_taken_as_it_is(deblurkit, save, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "checkpoints"))
    writers = importlib.import_module("writers")
    generator = writers.random_generator()
    file = tmp_path / "550000.pt"
    torch.save({"g_ema": writers.rosinality(generator), "latent_avg": generator.mean_style}, file)
    before = file.read_bytes()
    source = save(change=lambda values: values[:32, :32])
    flags = (*SMALL, "--image-prior.weights", str(file), "--image-prior.style-samples", "1000", "--json")
    done = deblurkit("run", str(source), *flags)
    assert done.code == 0, done.err
    (image,) = json.loads(done.out)["images"]
    assert image["synthesised"] is True
    assert "plain_psnr" not in image["quality"]["measures"], "too small to be aligned"
    assert opened(source.with_name("digit.deblurred.png")).size == (32, 32)
    assert file.read_bytes() == before
    assert names(tmp_path) == ["550000.pt", "pictures"]


def test_when_the_time_is_over_the_best_so_far_is_written(deblurkit, save):
    source = save()
    done = deblurkit("run", str(source), *QUICK, "--optimizer.iterations", "100000", "--time-budget", "0.3")
    assert done.code == 0, done.err
    assert "the estimation ended early (time budget); the best image so far was written" in done.err
    assert NOTICE in done.err
    assert opened(source.with_name("digit.deblurred.png")).size == (64, 64)


def test_a_record_replays(deblurkit, save, tmp_path):
    source = save()
    first = deblurkit("run", str(source), "-o", str(tmp_path / "1.png"), "--record", str(tmp_path / "rec"), *QUICK)
    assert first.code == 0, first.err
    config = tmp_path / "rec" / "1" / "config.json"
    again = deblurkit("run", str(source), "-o", str(tmp_path / "2.png"), "--config", str(config), "-q")
    assert again.code == 0, again.err
    assert (tmp_path / "2.png").read_bytes() == (tmp_path / "1.png").read_bytes()


@pytest.mark.parametrize("stage", ["estimate", "refine"])
def test_ctrl_c_is_heard_in_every_stage_that_takes_long(deblurkit, save, monkeypatch, stage):
    seen = []

    def update(display, event):
        if event.stage == stage:
            seen.append(event.done)
            if event.done == 2:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(console.ProgressDisplay, "update", update)
    source = save()
    done = deblurkit("run", str(source), *QUICK, "--image-prior.tune-steps", "9", "--optimizer.iterations", "9")
    assert done.code == 130
    assert seen == [1, 2]
    assert "ended early (interrupted)" in done.err
    assert opened(source.with_name("digit.deblurred.png")).size == (64, 64)


def test_help_shows_what_there_is_to_choose(deblurkit):
    done = deblurkit("run", "--image-prior", "stylegan", "--help")
    assert done.code == 0
    for flag in ("weights", "picture", "align", "latent", "sphere", "cross", "noise", "truncation", "tune-steps"):
        assert f"--image-prior.{flag}" in done.out
