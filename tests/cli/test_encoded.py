"""`deblurkit run --kernel-prior encoded`: files of kernel spaces, good and bad, and what is planned with them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

PROGRAM = """
import sys
from deblurkit.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "scipy", "PIL", "rich", "numpy", "safetensors"}
print(code, sorted(heavy & {name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.fixture
def picture(tmp_path) -> Path:
    y = blur_by_definition(cartoon(1, 3, (54, 64)), curved_kernel((7, 9)))
    y = y + 0.002 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    folder = tmp_path / "pictures"
    folder.mkdir()
    values = (y[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(values).save(folder / "a.png")
    return folder / "a.png"


def reheaded(source: Path, target: Path, **changes: str) -> Path:
    """The weights of a space under another header."""
    with safetensors.safe_open(source, framework="pt") as content:
        metadata = {**content.metadata(), **changes}
    safetensors.torch.save_file(safetensors.torch.load_file(source), target, metadata)
    return target


def missing(file, good):
    return file


def html(file, good):
    file.write_text("<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>")
    return file


def pickled(file, good):
    torch.save({"g_ema": {"style.1.weight": torch.zeros(512, 512)}, "latent_avg": torch.zeros(512)}, file)
    return file


def stylegan(file, good):
    weights = {"style.1.weight": torch.zeros(8, 8), "convs.0.conv.weight": torch.zeros(1, 8, 8, 3, 3)}
    safetensors.torch.save_file(weights, file, {"format": "pt"})
    return file


def folder(file, good):
    file.mkdir()
    return file


def empty(file, good):
    file.touch()
    return file


def newer(file, good):
    return reheaded(good, file, version="2")


def preset(file, good):
    return reheaded(good, file, preset="enormous")


def misfit(file, good):
    return reheaded(good, file, config=json.dumps({"window": 11}))


def cut(file, good):
    file.write_bytes(good.read_bytes()[:-1000])
    return file


NAMED = "name a kernel space's file"
TOLD_BY_HEADER = [
    (missing, f"cannot be read (No such file or directory); {NAMED}"),
    (folder, f"cannot be read (Is a directory); {NAMED}"),
    (html, "is no kernel space of deblurkit; make one by deblurkit train-kernel-space, or convert the authors'"),
    (empty, "is no kernel space of deblurkit"),
    (pickled, "is no kernel space of deblurkit"),
    (stylegan, "is no kernel space of deblurkit"),
    (newer, "is written in version 2 of the format, and this deblurkit reads version 1; update deblurkit"),
]
TOLD_BY_WEIGHTS = [
    (preset, "is a kernel space of the preset 'enormous', which needs a newer deblurkit"),
    (misfit, "its weights do not fit the structure that its header names ("),
    (cut, "cannot be read as a kernel space ("),
]


@pytest.mark.parametrize("how", [(), ("--dry-run",), ("--json",)], ids=["run", "dry-run", "json"])
@pytest.mark.parametrize("optimizer", ["alternating", "joint"])
@pytest.mark.parametrize(("spoil", "sentence"), TOLD_BY_HEADER + TOLD_BY_WEIGHTS)
def test_a_bad_file_is_one_sentence_and_nothing_is_written(
    deblurkit, picture, tmp_path, compact_file, spoil, sentence, optimizer, how
):
    file = spoil(tmp_path / "my.safetensors", compact_file)
    before = sorted(tmp_path.rglob("*"))
    done = deblurkit(
        *("run", str(picture), "-o", str(tmp_path / "out.png"), "--image-prior", "hyper-laplacian"),
        *("--kernel-prior", "encoded", "--kernel-prior.space", str(file), "--optimizer", optimizer, "--threads", "1"),
        *("--optimizer.iterations", "2", "--kernel-size", "9", "--start", "own", *how),
    )
    if "--dry-run" in how and done.code == 0:
        assert spoil in (preset, misfit, cut), "the header alone was read"
        return
    assert done.code == 2, done.err
    assert f"{file}: {sentence}" in done.err + done.out
    assert "Traceback" not in done.err
    assert done.err.count("my.safetensors") <= 1
    if not how:
        assert done.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("spoil", [missing, html])
def test_a_bad_file_is_found_before_anything_heavy_is_imported(picture, tmp_path, compact_file, spoil):
    file = spoil(tmp_path / "my.safetensors", compact_file)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "run", str(picture), "--kernel-prior", "encoded", "--kernel-prior.space", file],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert f"Error: {file}: " in done.stderr
    assert done.stderr.splitlines()[-1] == "2 []"


def test_a_misfit_of_the_space_s_offers_is_told_with_its_cures(deblurkit, picture, paper_file):
    done = deblurkit(
        *("run", str(picture), "--image-prior", "l0-gradient", "--kernel-prior", "encoded"),
        *("--kernel-prior.space", str(paper_file)),
    )
    assert done.code == 2
    assert "its restore needs a convolution kernel, which kernel prior 'encoded' does not show" in done.err
    assert "kernel priors convolution" in done.err


SMALL = ("--kernel-size", "9", "--threads", "1", "--polish", "0", "--restarts", "0")


@pytest.mark.parametrize("prior", ["hyper-laplacian", "identity"])
def test_it_deblurs_and_writes_its_kernel(deblurkit, picture, compact_file, prior):
    done = deblurkit(
        *("run", str(picture), "--image-prior", prior, "--kernel-prior", "encoded", *SMALL, "--start", "own"),
        *("--kernel-prior.space", str(compact_file), "--optimizer.iterations", "3"),
    )
    assert done.code == 0, done.err
    kernel = np.load(picture.with_name("a.deblurred.kernel.npy"))
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert done.out == f"{picture.with_name('a.deblurred.png')}\n"


def test_a_result_that_is_the_starting_kernel_s_is_told(deblurkit, picture, compact_file):
    done = deblurkit(
        *("run", str(picture), "--image-prior", "identity", "--kernel-prior", "encoded", *SMALL, "--json"),
        *("--kernel-prior.space", str(compact_file), "--optimizer.iterations", "2", "--optimizer.kernel-lr", "0.5"),
    )
    assert done.code == 0, done.err
    (image,) = json.loads(done.out)["images"]
    assert image["kept_start"] is True
    assert "the kernel that the recipe 'fast' found stands" in done.err


def test_without_a_kernel_none_is_written(deblurkit, picture, paper_file):
    done = deblurkit(
        *("run", str(picture), "--image-prior", "identity", "--kernel-prior", "encoded", *SMALL, "--json"),
        *("--kernel-prior.space", str(paper_file), "--optimizer.iterations", "2"),
    )
    assert done.code == 0, done.err
    (image,) = json.loads(done.out)["images"]
    assert not image.get("kernel")
    assert sorted(path.name for path in picture.parent.iterdir()) == ["a.deblurred.png", "a.png"]


def test_a_dry_run_says_which_space_and_from_where(deblurkit, picture, compact_file):
    args = ("run", str(picture), "--image-prior", "hyper-laplacian", "--kernel-prior", "encoded", *SMALL, "--dry-run")
    done = deblurkit(*args, "--kernel-prior.space", str(compact_file))
    assert done.code == 0, done.err
    for words in (
        f'kernel_prior.space = "{compact_file}"  (flag)',
        "kernel_prior.project = false  (default)",
        'run.scales = "auto"  (default)',
        "run.start = ",
        "56 x 48 px, 3 channels",
    ):
        assert words in done.out
    assert 'kernel_prior.space = ""  (default)' in deblurkit(*args).out
    assert sorted(path.name for path in picture.parent.iterdir()) == ["a.png"]


def test_a_dry_run_of_gradients_names_the_recipe_that_finds_the_start(deblurkit, picture, compact_file):
    args = ("run", str(picture), "--image-prior", "identity", "--kernel-prior", "encoded", "--start", "kernel", *SMALL)
    done = deblurkit(*args, "--kernel-prior.space", str(compact_file), "--optimizer", "joint", "--dry-run", "--json")
    assert done.code == 0, done.err
    (plan,) = json.loads(done.out)["plans"]
    assert plan["size_recipe"] == "fast"
    assert plan["kernel_window"] == 9


def test_help_shows_what_there_is_to_choose(deblurkit):
    done = deblurkit("run", "--kernel-prior", "encoded", "--help")
    assert done.code == 0
    for flag in ("space", "code", "tiles", "response", "project", "tolerance", "penalty", "pace", "ridge"):
        assert f"--kernel-prior.{flag}" in done.out


def test_a_record_of_a_run_replays(deblurkit, picture, compact_file, tmp_path):
    first = deblurkit(
        *("run", str(picture), "-o", str(tmp_path / "1.png"), "--record", str(tmp_path / "rec"), *SMALL),
        *("--image-prior", "identity", "--kernel-prior", "encoded", "--kernel-prior.space", str(compact_file)),
        *("--kernel-prior.code", "network", "--kernel-prior.fit-steps", "2", "--optimizer.iterations", "3"),
    )
    assert first.code == 0, first.err
    config = tmp_path / "rec" / "1" / "config.json"
    again = deblurkit("run", str(picture), "-o", str(tmp_path / "2.png"), "--config", str(config))
    assert again.code == 0, again.err
    assert (tmp_path / "2.png").read_bytes() == (tmp_path / "1.png").read_bytes()
