"""`deblurkit transfer-blur`: the blur of one pair, given to files of every kind."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.images import read_image
from deblurkit.kernel_space import transfer
from deblurkit.kernels import read_kernel
from deblurkit.metrics import psnr
from deblurkit.nets.kernel_space.weights import save_space
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

KERNEL = curved_kernel((7, 9))


def save(path: Path, x: torch.Tensor, mode: str = "RGB") -> Path:
    """Write (1, C, H, W) in [0, 1]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (x[0].clamp(0, 1) * (65535 if mode == "I;16" else 255)).round().permute(1, 2, 0).numpy()
    values = values.astype(np.uint16 if mode == "I;16" else np.uint8)
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(path)
    return path


def blurred(x):
    return blur_by_definition(torch.nn.functional.pad(x, (4, 4, 3, 3), mode="reflect"), KERNEL)


@pytest.fixture
def album(plain_spaces, tmp_path, monkeypatch) -> Path:
    """A folder with a space, a pair, and pictures of several kinds."""
    save_space(tmp_path / "space.safetensors", plain_spaces.PlainSpace(9), card={})
    save_space(tmp_path / "grid.safetensors", plain_spaces.GridSpace(), card={})
    latent = cartoon(1, 3, (76, 88))
    save(tmp_path / "sharp.png", latent[..., 3:-3, 4:-4])
    save(tmp_path / "blurry.png", blur_by_definition(latent, KERNEL))
    save(tmp_path / "to" / "colour.png", cartoon(1, 3, (50, 90), seed=1))
    save(tmp_path / "to" / "grey16.png", cartoon(1, 1, (64, 40), seed=2), "I;16")
    picture = cartoon(1, 3, (48, 48), seed=3)
    save(tmp_path / "to" / "alpha.png", torch.cat([picture, (picture[:, :1] > 0.4).float()], 1))
    monkeypatch.chdir(tmp_path)
    return tmp_path


FROM = ("transfer-blur", "--space", "space.safetensors", "--from", "sharp.png", "blurry.png")


def test_pictures_of_every_kind_are_blurred_and_stay_what_they_are(deblurkit, album):
    done = deblurkit(*FROM, "--to", "to", "-o", "out")
    assert done.code == 0, done.err
    names = ["alpha.png", "colour.png", "grey16.png"]
    assert done.out.splitlines() == [str(Path("out") / name) for name in names]
    assert "explained at" in done.err
    assert "Warning" not in done.err
    for name in names:
        before, after = read_image(album / "to" / name), read_image(album / "out" / name)
        assert (after.depth, after.mode, after.size) == (before.depth, before.mode, before.size)
        if before.alpha is None:
            inner = (..., slice(5, -5), slice(5, -5))
            assert float(psnr(after.pixels[inner], blurred(before.pixels)[inner])) > 38
        else:
            assert torch.equal(after.alpha, before.alpha)


def test_results_stand_beside_their_pictures_and_are_passed_over_the_next_time(deblurkit, album):
    done = deblurkit(*FROM, "--to", "to/colour.png", "to/grey16.png")
    assert done.out.splitlines() == ["to/colour.blurred.png", "to/grey16.blurred.png"]
    again = deblurkit(*FROM, "--to", "to")
    assert again.code == 2
    assert again.out.splitlines() == ["to/alpha.blurred.png"]
    assert again.err.count("exists already") == 2
    assert deblurkit(*FROM, "--to", "to", "--overwrite").code == 0
    assert len(list((album / "to").iterdir())) == 6


def test_a_result_that_is_in_the_way_is_found_before_the_blur_is_taken(deblurkit, album, monkeypatch):
    (album / "to" / "colour.blurred.png").write_bytes(b"precious")
    (album / "other.kernel.npy").write_bytes(b"precious")
    monkeypatch.setattr(transfer, "take_blur", lambda *args, **settings: pytest.fail("the blur was taken"))
    for args in (("--to", "to/colour.png"), ("--to", "to/grey16.png", "-o", "other.png", "--kernel")):
        done = deblurkit(*FROM, *args)
        assert done.code == 2
        assert done.out == ""
        assert done.err.count("exists already") == 1
        assert len(done.err.splitlines()) == 1


def test_one_document_with_the_kernel_beside_the_first_result(deblurkit, album):
    done = deblurkit(*FROM, "--to", "to/colour.png", "--to", "to/grey16.png", "-o", "out", "--kernel", "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["psnr"] > 40
    assert facts["control_psnr"] > 40
    assert facts["unblurred_psnr"] < 30
    assert facts["swapped"] is False
    assert facts["swapped_gain"] < 0
    assert [one["kernel"] for one in facts["images"]] == ["out/colour.kernel.npy", None]
    found = read_kernel(album / "out" / "colour.kernel.npy").kernel[..., 1:-1, :]
    assert float((found - KERNEL).abs().sum()) < 0.1


def test_strength(deblurkit, album):
    changes = []
    for strength in ("0", "0.3", "0.6", "1"):
        done = deblurkit(*FROM, "--to", "to/colour.png", "-o", "x.png", "--overwrite", "--strength", strength)
        assert done.code == 0, done.err
        changes.append(float((read_image(Path("x.png")).pixels - read_image(Path("to/colour.png")).pixels).std()))
    assert changes[0] < 1e-3
    assert changes == sorted(changes)
    far = deblurkit(*FROM, "--to", "to/colour.png", "-o", "far.png", "--strength", "4")
    assert "is longer than this space can show" in far.err


def test_tiles_and_a_space_without_kernels(deblurkit, album):
    refined = ("--tiles", "2", "--steps", "3", "--kernel")
    done = deblurkit(*FROM, "--to", "to/colour.png", *refined, "-o", "tiles.png")
    assert done.code == 0, done.err
    assert "no single kernel" in done.err
    args = ("transfer-blur", "--space", "grid.safetensors", *FROM[3:], "--to", "to/colour.png", "-o", "grid.png")
    assert deblurkit(*args, "--strength", "0.5").code == 0
    assert deblurkit(*args, "--tiles", "2").code == 2


def test_a_swapped_pair_is_said(deblurkit, album):
    done = deblurkit(*FROM[:4], "blurry.png", "sharp.png", "--to", "to/colour.png", "-o", "out", "--json")
    assert done.code == 0
    assert "seem to be swapped" in done.err
    assert json.loads(done.out)["swapped"] is True


def test_two_equal_pictures_are_said(deblurkit, album):
    done = deblurkit(*FROM[:4], "sharp.png", "sharp.png", "--to", "to/colour.png", "-o", "out")
    assert done.code == 0
    assert "sharp.png and sharp.png are equal, so there is no blur to give" in done.err
    assert done.err.count("Warning") == 1


def test_a_poor_pair_is_said(deblurkit, album):
    save(album / "other.png", cartoon(1, 3, (70, 80), seed=9))
    done = deblurkit(*FROM[:4], "sharp.png", "other.png", "--to", "to/colour.png", "-o", "out")
    assert done.code == 0
    assert "is poor" in done.err


def test_one_bad_picture_does_not_stop_the_others(deblurkit, album):
    (album / "to" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    done = deblurkit(*FROM, "--to", "to", "absent.png", "-o", "out", "--json")
    assert done.code == 2
    facts = json.loads(done.out)["images"]
    assert len([one for one in facts if "output" in one]) == 3
    assert {Path(one["input"]).name for one in facts if "error" in one} == {"absent.png", "bad.png"}
    assert "absent.png: does not exist" in done.err
    assert not (album / "out" / "bad.png").exists()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--from", "sharp.png", "blurry.png"), "no picture is named"),
        (("--from", "sharp.png", "absent.png", "--to", "to/colour.png"), "absent.png"),
        (("--from", "sharp.png", "to/colour.png", "--to", "to/colour.png"), "differ in size"),
        (("--from", "sharp.png", "blurry.png", "--to", "to", "--space", "sharp.png"), "cannot be read|no kernel space"),
        (
            ("--from", "sharp.png", "blurry.png", "--to", "to", "--device", "abacus"),
            "Error: --device: 'abacus' is no device",
        ),
        (("--from", "sharp.png", "blurry.png", "--to", "to", "--strength", "-1"), "strength"),
        (("--to", "to/colour.png"), "--from"),
        (("--from", "sharp.png", "--to", "to/colour.png"), "two pictures"),
        (("--from", "sharp.png", "blurry.png", "--to", "to", "--space", "grid.safetensors", "--tiles", "2"), "--tiles"),
        (("--from", "sharp.png", "blurry.png", "--to", "absent.png"), "absent.png"),
    ],
)
def test_bad_requests(deblurkit, album, args, text):
    done = deblurkit("transfer-blur", "--space", "space.safetensors", *args, "-o", "out")
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("Error: ")
    import re

    assert re.search(text, done.err), done.err
    assert not (album / "out").exists()


@pytest.mark.parametrize("name", ["sharp.png", "blurry.png"])
def test_the_pair_is_never_written_over(deblurkit, album, name):
    before = Path(name).read_bytes()
    done = deblurkit(*FROM, "--to", "to/colour.png", "-o", name, "--overwrite")
    assert done.code == 2
    assert "is a picture of the pair that the blur comes from" in done.err
    assert Path(name).read_bytes() == before
