"""One sentence, the right exit code, nothing half written, and the other pictures still processed."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

QUICK = ("--kernel-size", "9", "--threads", "1", "--polish", "0", "--restarts", "0")


@pytest.fixture
def good(tmp_path) -> Path:
    """A picture that can be deblurred, in a folder of its own."""
    y = blur_by_definition(cartoon(1, 1, (54, 64)), curved_kernel((7, 9)))
    folder = tmp_path / "good"
    folder.mkdir()
    Image.fromarray((y[0, 0] * 255).round().to(torch.uint8).numpy()).save(folder / "good.png")
    return folder / "good.png"


def truncated(folder: Path) -> tuple[Path, int, str]:
    path = folder / "half.png"
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:4000])
    return path, 1, "is damaged"


def text(folder: Path) -> tuple[Path, int, str]:
    path = folder / "letter.jpg"
    path.write_text("Dear Sir or Madam")
    return path, 2, "is not a picture"


def empty(folder: Path) -> tuple[Path, int, str]:
    path = folder / "empty.png"
    path.touch()
    return path, 2, "is empty"


def missing(folder: Path) -> tuple[Path, int, str]:
    return folder / "gone.png", 2, "does not exist; check the name"


def hollow(folder: Path) -> tuple[Path, int, str]:
    path = folder / "folder"
    path.mkdir()
    (path / "notes.txt").write_text("no picture")
    return path, 2, "holds no pictures"


def dot(folder: Path) -> tuple[Path, int, str]:
    path = folder / "dot.png"
    Image.new("RGB", (1, 1)).save(path)
    return path, 1, "is 1 × 1 pixels, and deblurring needs at least 16 × 16"


def strip(folder: Path) -> tuple[Path, int, str]:
    path = folder / "strip.png"
    Image.new("L", (8, 3)).save(path)
    return path, 1, "is 8 × 3 pixels, and deblurring needs at least 16 × 16"


def bomb(folder: Path) -> tuple[Path, int, str]:
    path = folder / "bomb.png"
    Image.new("1", (20000, 20000)).save(path)
    return path, 1, "more than the 200 million that are allowed"


@pytest.mark.parametrize("make", [truncated, text, empty, missing, hollow, dot, strip, bomb])
def test_a_bad_picture_costs_only_itself(deblurkit, tmp_path, good, make):
    bad, code, words = make(tmp_path)
    before = set(tmp_path.rglob("*"))
    done = deblurkit("run", str(bad), *QUICK)
    assert done.code == code
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"Error: {bad}: ")
    assert words in done.err
    assert set(tmp_path.rglob("*")) == before, "nothing is written"

    out = tmp_path / "out"
    done = deblurkit("run", str(bad), str(good), "-o", str(out), *QUICK)
    assert done.code == code
    assert done.out == f"{out / 'good.png'}\n"
    assert words in done.err
    assert {path.name for path in out.iterdir()} == {"good.png", "good.kernel.npy", "good.kernel.png"}


def test_the_worst_exit_code_counts(deblurkit, tmp_path, good):
    letter, small = text(tmp_path)[0], dot(tmp_path)[0]
    assert deblurkit("run", str(letter), str(small), str(good), *QUICK).code == 2
    assert deblurkit("run", str(small), str(good), "--overwrite", *QUICK).code == 1


def kernel_file(folder: Path, values: np.ndarray) -> str:
    np.save(folder / "k.npy", values)
    return str(folder / "k.npy")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((5, 5), np.nan), "holds values that are not finite"),
        (np.zeros((5, 5)), "has no value above 0"),
        (np.array([[1.0, -1.0]]), "has negative values"),
        (np.ones(5), "a kernel has two dimensions"),
    ],
)
def test_what_is_no_kernel(deblurkit, tmp_path, good, values, words):
    done = deblurkit("deconvolve", str(good), "--kernel", kernel_file(tmp_path, values))
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1
    assert len(list(good.parent.iterdir())) == 1


def test_a_kernel_that_is_missing_or_no_kernel_file(deblurkit, tmp_path, good):
    for name, words in (("gone.npy", "does not exist"), ("good/good.txt", "kernels are read from")):
        done = deblurkit("deconvolve", str(good), "--kernel", str(tmp_path / name))
        assert done.code == 2
        assert words in done.err


def test_a_known_kernel_that_is_not_named(deblurkit, good):
    done = deblurkit("run", str(good), "--kernel-prior", "known", "--image-prior", "hyper-laplacian")
    assert done.code == 2
    assert "kernel prior 'known': no kernel was given; name its file by --kernel-prior.file" in done.err
    assert len(list(good.parent.iterdir())) == 1


def test_a_kernel_larger_than_the_picture(deblurkit, tmp_path, good):
    done = deblurkit("deconvolve", str(good), "--kernel", kernel_file(tmp_path, np.ones((51, 101))))
    assert done.code == 2
    assert "The kernel (101 × 51) is larger than the picture (56 × 48 pixels)" in done.err
    done = deblurkit("run", str(good), "--kernel-size", "51")
    assert done.code == 1
    assert "a kernel of 51 pixels is too large for the picture of 56x48" in done.err
    assert len(list(good.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--image-prior", "l0-gradeint"), "no image prior 'l0-gradeint'; did you mean 'l0-gradient'? (--image-prior)"),
        (("--image-prior.wieght", "1"), "image_prior.wieght: no such parameter; did you mean 'weight'?"),
        (("--kernel-size", "8"), "must be 'auto' or an odd integer"),
        (("--final.nmae", "none"), "final.nmae: no such parameter; did you mean '--final'? (--final.nmae)"),
        (("--image-prior.name=dip",), "image_prior.name: no such parameter; did you mean '--image-prior'?"),
        (("--recipe", "fsat"), "no recipe 'fsat'; did you mean 'fast'?"),
        (("--device", "cuda:77"), "run.device: "),
        (("--device", "toaster"), "run.device: 'toaster' is no device"),
    ],
)
def test_a_wrong_command_line_is_found_before_anything_else(deblurkit, good, args, words):
    done = deblurkit("run", str(good), *args)
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1
    assert len(list(good.parent.iterdir())) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_asked_for_and_absent(deblurkit, good):
    done = deblurkit("run", str(good), "--device", "cuda")
    assert done.code == 2
    assert "cuda was asked for, but PyTorch sees no CUDA device here; use --device cpu or auto" in done.err


@pytest.mark.parametrize("place", ["below a file", "in a system folder"])
def test_an_output_that_cannot_be_written(deblurkit, tmp_path, good, place, monkeypatch):
    if place == "below a file":
        (tmp_path / "file").touch()
        out = tmp_path / "file" / "a.png"
    else:
        out = Path("/proc/deblurkit/a.png")
        if not os.path.isdir("/proc/self"):
            pytest.skip("no /proc here")
    monkeypatch.setattr("deblurkit.cli.batch.deblur", lambda *a, **k: pytest.fail("found too late"))
    done = deblurkit("run", str(good), "-o", str(out), *QUICK)
    assert done.code == 2
    assert f"{out}: cannot be written" in done.err
    assert "-o" in done.err


def test_a_record_that_cannot_be_written_is_found_beforehand(deblurkit, tmp_path, good):
    (tmp_path / "file").touch()
    done = deblurkit("run", str(good), "--record", str(tmp_path / "file"), *QUICK)
    assert done.code == 2
    assert "cannot be written" in done.err
    assert not (good.parent / "good.deblurred.png").exists()


def test_a_disk_that_fills_up_leaves_no_half_file(deblurkit, tmp_path, good, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deblurkit.kernels.np.save", full)
    done = deblurkit("run", str(good), *QUICK)
    assert done.code == 1
    assert "No space left on device" in done.err
    assert done.out == ""
    assert not list(good.parent.glob("*.part"))
    assert not list(good.parent.glob("*.npy"))


def test_running_out_of_memory_is_one_sentence(deblurkit, tmp_path, good, monkeypatch):
    def hungry(*args, **kwargs):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr("deblurkit.cli.batch.deblur", hungry)
    done = deblurkit("run", str(good), *QUICK)
    assert done.code == 1
    assert done.err == f"Error: {good}: out of memory; give a smaller --crop or a smaller picture\n"


def test_a_bug_is_one_sentence_and_costs_one_picture(deblurkit, tmp_path, good, monkeypatch):
    import deblurkit.cli.batch as batch

    real, calls = batch.deblur, []

    def buggy(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("a\nbug")
        return real(*args, **kwargs)

    monkeypatch.setattr(batch, "deblur", buggy)
    monkeypatch.delenv("DEBLURKIT_DEBUG", raising=False)
    (tmp_path / "other.png").write_bytes(good.read_bytes())
    done = deblurkit("run", str(good), str(tmp_path / "other.png"), *QUICK)
    assert done.code == 1
    assert done.out == f"{tmp_path / 'other.deblurred.png'}\n"
    assert "unexpected ZeroDivisionError: a bug (set DEBLURKIT_DEBUG=1" in done.err
    assert "Traceback" not in done.err


def test_a_broken_plugin_that_is_needed(deblurkit, good, use_plugins):
    use_plugins("builtin", "good", "broken")
    done = deblurkit("run", str(good), "--image-prior", "tv")
    assert done.code == 3
    assert "plugin deblurkit-broken 0.3: could not be loaded" in done.err
    assert "pip uninstall deblurkit-broken" in done.err


@pytest.mark.usefixtures("fake")
def test_a_component_that_cannot_be_imported(deblurkit, good):
    done = deblurkit("run", str(good), "--recipe", "fast")
    assert done.code == 3, done.err
    assert done.err.count("\n") == 1
    assert len(list(good.parent.iterdir())) == 1


@pytest.mark.parametrize("colour", ["black", "white", "half white"])
def test_pictures_that_show_nothing_do_not_crash(deblurkit, tmp_path, colour):
    values = np.zeros((48, 56, 3), np.uint8)
    values[:, 28 if colour == "half white" else 0 :] = 0 if colour == "black" else 255
    Image.fromarray(values).save(tmp_path / "a.png")
    done = deblurkit("run", str(tmp_path / "a.png"), *QUICK)
    assert done.code == 0, done.err
    assert "Warning: " in done.err
    assert (tmp_path / "a.deblurred.png").is_file()


def test_a_picture_that_is_all_transparent_does_not_crash(deblurkit, tmp_path):
    Image.new("RGBA", (48, 48), (90, 120, 30, 0)).save(tmp_path / "a.png")
    done = deblurkit("run", str(tmp_path / "a.png"), *QUICK)
    assert done.code == 0, done.err
    assert "bad" in done.err
