"""`deblurkit synthesize`: training pairs that fit exactly, and that a manifest makes again."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.images import read_image
from deblurkit.kernel_space import samples
from deblurkit.kernel_space.headers import check_pairs
from deblurkit.kernel_space.pairs import find_pairs
from deblurkit.nets.kernel_space.space import Statistics
from deblurkit.nets.kernel_space.weights import save_space
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

KERNEL = curved_kernel((7, 9))
SPACE = ("--space", "space.safetensors")


def save(path: Path, x: torch.Tensor) -> Path:
    """Write (1, C, H, W) in [0, 1] in 8 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (x[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(path)
    return path


@pytest.fixture
def album(plain_spaces, tmp_path, monkeypatch) -> Path:
    """A folder with spaces, a pair set with two blurs, and pictures to blur."""
    space = plain_spaces.PlainSpace(9)
    save_space(tmp_path / "space.safetensors", space, card={})
    kernels = [torch.nn.functional.pad(curved_kernel((5, 5)), (2, 2, 2, 2)), torch.full((1, 1, 9, 9), 1 / 81)]
    first, second = (space.encode_kernel(kernel)[0, :, 0, 0] for kernel in kernels)
    # one direction of spread: from the one kernel to the other
    factor = torch.zeros(81, 81)
    factor[:, 0] = 0.2 * (second - first)
    space.statistics = Statistics(0.5 * (first + second), factor)
    save_space(tmp_path / "drawn.safetensors", space, card={})
    grid = plain_spaces.GridSpace()
    grid.statistics = Statistics(torch.tensor([0.0, 1.0]), torch.tensor([[0.5, 0.0], [0.0, 0.0]]))
    save_space(tmp_path / "grid.safetensors", grid, card={})
    for name, kernel in {"a": KERNEL, "b": KERNEL.flip(-1)}.items():
        latent = cartoon(1, 3, (76, 88), seed=len(name))
        save(tmp_path / "set" / "sharp" / f"{name}.png", latent[..., 3:-3, 4:-4])
        save(tmp_path / "set" / "blur" / f"{name}.png", blur_by_definition(latent, kernel))
    for seed, name in enumerate(("1.png", "2.png", "deep/3.png"), start=1):
        save(tmp_path / "in" / name, cartoon(1, 3, (60, 70 + seed), seed=seed))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder: Path, *kinds: str) -> dict[str, bytes]:
    """All files below sharp/ and blur/, by relative name."""
    roots = [folder / kind for kind in (kinds or ("sharp", "blur"))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for root in roots for path in root.rglob("*.png")}


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_pairs_are_exact_and_in_the_layout_that_training_reads(deblurkit, album):
    done = deblurkit("synthesize", "in", "-o", "out", "--pairs", "set", "--count", "2", *SPACE)
    assert done.code == 0, done.err
    assert done.out == "out/manifest.jsonl\n"
    names = ("1", "1-2", "2", "2-2", "deep/3", "deep/3-2")
    assert set(tree(album / "out", "sharp")) == {f"sharp/{name}.png" for name in names}
    pairs = find_pairs([album / "out"])
    assert len(pairs) == 6
    assert check_pairs(pairs).channels == 3
    blurs = set()
    for entry in lines(album / "out"):
        source = read_image(album / "out" / entry["source"]).pixels
        sharp, blurry = (read_image(album / "out" / kind / f"{entry['name']}.png").pixels for kind in ("sharp", "blur"))
        assert torch.equal(sharp, source[..., 4:-4, 4:-4])
        kernel = KERNEL if entry["pair"][0].endswith("a.png") else KERNEL.flip(-1)
        blurs.add(entry["code"])
        assert float((blur_by_definition(source, kernel)[..., 1:-1, :] - blurry).abs().max()) < 0.02
        assert entry["reblur_psnr"] > 40
    assert len(blurs) == 2  # both blurs of the set occur


def test_a_manifest_makes_the_identical_files_again(deblurkit, album):
    args = ("--count", "2", "--crop", "32", "--strength", "0.5:1.5", "--noise", "0.02", "--seed", "7")
    assert deblurkit("synthesize", "in", "-o", "out", "--pairs", "set", *args, *SPACE).code == 0
    (album / "moved").mkdir()
    for name in ("out", "in", "set"):
        shutil.move(album / name, album / "moved" / name)  # paths are relative: everything may move together
    shutil.rmtree(album / "moved" / "set")  # the codes stand beside the manifest
    again = deblurkit("synthesize", "--manifest", "moved/out/manifest.jsonl", "-o", "again", *SPACE)
    assert again.code == 0, again.err
    assert "differs" not in again.err
    assert tree(album / "again") == tree(album / "moved" / "out")
    third = deblurkit("synthesize", "--manifest", "again/manifest.jsonl", "-o", "third", *SPACE)
    assert third.code == 0, third.err
    assert tree(album / "third") == tree(album / "again")


@pytest.mark.parametrize("space", ["drawn.safetensors", "grid.safetensors"])
def test_drawn_blurs_are_random_and_repeatable(deblurkit, album, space):
    args = ("synthesize", "in", "--random", "--space", space, "--count", "2", "--noise", "0.01")
    assert deblurkit(*args, "-o", "out").code == 0
    assert deblurkit(*args, "-o", "same").code == 0
    assert deblurkit(*args, "-o", "other", "--seed", "1").code == 0
    assert tree(album / "out") == tree(album / "same")
    assert tree(album / "out", "blur") != tree(album / "other", "blur")
    assert deblurkit("synthesize", "--manifest", "out/manifest.jsonl", "-o", "again", "--space", space).code == 0
    assert tree(album / "out") == tree(album / "again")
    assert not (album / "out" / "codes").exists()
    assert len({entry["seed"] for entry in lines(album / "out")}) == 6


@pytest.mark.parametrize(
    ("kind", "space"), [("pairs", "space"), ("pairs", "grid"), ("random", "drawn"), ("random", "grid")]
)
def test_blur_grows_with_the_strength(deblurkit, album, kind, space):
    changes = []
    for strength in ("0", "0.5", "1", "1.4"):
        blurs = ("--pairs", "set") if kind == "pairs" else ("--random",)
        args = ("--space", f"{space}.safetensors", "--strength", strength, "--overwrite")
        assert deblurkit("synthesize", "in/1.png", "-o", "out", *blurs, *args).code == 0
        sharp, blurry = (read_image(album / "out" / one / "1.png").pixels for one in ("sharp", "blur"))
        changes.append(float((sharp - blurry).square().mean()))
    assert changes[0] < 1e-5
    assert all(a < b for a, b in pairwise(changes)), changes


def test_noise_and_crop(deblurkit, album):
    done = deblurkit(
        "synthesize", "in", "-o", "out", "--pairs", "set", "--crop", "40", "--noise", "0.05", "--strength", "0", *SPACE
    )
    assert done.code == 0, done.err
    for entry in lines(album / "out"):
        sharp, blurry = (read_image(album / "out" / one / f"{entry['name']}.png").pixels for one in ("sharp", "blur"))
        assert sharp.shape == (1, 3, 40, 40)
        assert float((blurry - sharp).std()) == pytest.approx(0.05, rel=0.1)
    assert len({tuple(entry["window"]) for entry in lines(album / "out")}) == 3


def test_resume_makes_only_what_is_missing_and_the_same(deblurkit, album):
    args = ("--pairs", "set", "--crop", "32", *SPACE)
    assert deblurkit("synthesize", "in", "-o", "whole", *args, "--count", "2").code == 0
    assert deblurkit("synthesize", "in", "-o", "out", *args).code == 0
    manifest = album / "out" / "manifest.jsonl"
    text = manifest.read_text()
    manifest.write_text(text[:-30])  # the machine went down in the middle of a line
    (album / "out" / "blur" / "1.png").unlink()
    kept = (album / "out" / "sharp" / "2.png").stat().st_mtime_ns
    refused = deblurkit("synthesize", "in", "-o", "out", *args)
    assert refused.code == 2
    assert "exists already" in refused.err
    done = deblurkit("synthesize", "in", "-o", "out", *args, "--count", "2", "--resume", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"manifest": "out/manifest.jsonl", "made": 5, "skipped": 1, "failed": []}
    assert tree(album / "out") == tree(album / "whole")
    assert (album / "out" / "sharp" / "2.png").stat().st_mtime_ns == kept
    other = deblurkit("synthesize", "in", "-o", "out", *args, "--resume", "--seed", "1")
    assert other.code == 2
    assert "other settings" in other.err


def test_a_failure_leaves_no_sharp_picture_without_its_partner(deblurkit, album, monkeypatch):
    written = samples.write_image
    calls = []

    def fail_once(path, *args):
        calls.append(path)
        if path.parts[-2:] == ("blur", "2.png"):
            raise OSError(28, "No space left on device")
        return written(path, *args)

    monkeypatch.setattr(samples, "write_image", fail_once)
    done = deblurkit("synthesize", "in", "-o", "out", "--pairs", "set", *SPACE, "--json")
    assert done.code == 1
    assert "in/2.png" in done.err
    assert not (album / "out" / "sharp" / "2.png").exists()
    assert sorted(entry["name"] for entry in lines(album / "out")) == ["1", "deep/3"]
    assert len(find_pairs([album / "out"])) == 2


def test_one_bad_picture_and_one_bad_pair_do_not_stop_the_rest(deblurkit, album):
    (album / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    save(album / "in" / "tiny.png", cartoon(1, 3, (20, 60)))
    (album / "set" / "blur" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    done = deblurkit("synthesize", "in", "-o", "out", "--pairs", "set", "--count", "3", *SPACE)
    assert done.code == 1
    assert "bad.png" in done.err
    assert "tiny.png: is 60 x 20 pixels" in done.err
    assert done.err.count("a pair is left out") == 1
    assert len(lines(album / "out")) == 9
    (album / "set" / "blur" / "a.png").write_bytes(b"rubbish")
    none = deblurkit("synthesize", "in", "-o", "none", "--pairs", "set", *SPACE)
    assert none.code in (1, 2)
    assert not (album / "none" / "manifest.jsonl").exists()
    assert "none of the pairs can be used" in none.err


def test_the_pairs_that_blurs_are_taken_from_are_not_overwritten(deblurkit, album):
    before = tree(album / "set")
    done = deblurkit("synthesize", "set/sharp", "-o", "set", "--pairs", "set", "--overwrite", *SPACE)
    assert done.code == 2
    assert "set: holds the pairs that blurs are taken from, such as set/sharp/a.png" in done.err
    assert tree(album / "set") == before
    assert not (album / "set" / "manifest.jsonl").exists()


def test_a_folder_of_results_around_all_pictures_is_refused(deblurkit, album):
    done = deblurkit("synthesize", "in", "-o", ".", "--pairs", "set", *SPACE)
    assert done.code == 2
    assert ".: all pictures to blur lie in this folder of results" in done.err


def test_equal_names_and_results_among_the_sources(deblurkit, album):
    save(album / "more" / "1.png", cartoon(1, 1, (60, 60)))
    args = ("in", "more", "in/1.png", "--pairs", "set", *SPACE)
    assert deblurkit("synthesize", *args, "-o", "in/out").code == 0
    assert sorted(entry["name"] for entry in lines(album / "in" / "out")) == ["1", "1~2", "1~3", "2", "deep/3"]
    again = deblurkit("synthesize", *args, "-o", "in/out", "--resume", "--json")
    assert json.loads(again.out)["skipped"] == 5
    assert json.loads(again.out)["made"] == 0


def test_numbers_of_results_do_not_meet_names_of_pictures(deblurkit, album):
    save(album / "clash" / "1.png", cartoon(1, 1, (60, 60)))
    save(album / "clash" / "1-2.png", cartoon(1, 1, (60, 60)))
    assert deblurkit("synthesize", "clash", "-o", "two", "--pairs", "set", *SPACE, "--count", "2").code == 0
    assert {entry["name"] for entry in lines(album / "two")} == {"1-2", "1-2-2", "1~2", "1~2-2"}


def test_what_an_earlier_call_left_behind_is_said(deblurkit, album):
    args = ("synthesize", "in", "-o", "out", "--pairs", "set", *SPACE, "--overwrite")
    assert "earlier call" not in deblurkit(*args, "--count", "2").err
    again = deblurkit(*args)
    assert again.code == 0
    assert "3 pairs of an earlier call" in again.err
    assert len(lines(album / "out")) == 3


def test_what_a_replay_refuses(deblurkit, album):
    assert deblurkit("synthesize", "in", "-o", "out", "--pairs", "set", *SPACE).code == 0
    again = ("synthesize", "--manifest", "out/manifest.jsonl", "-o")
    assert "another kernel space" in deblurkit(*again, "x", "--space", "drawn.safetensors").err
    assert "folder of the manifest itself" in deblurkit(*again, "out", *SPACE).err
    save(album / "in" / "1.png", cartoon(1, 3, (60, 71), seed=8))
    (album / "in" / "2.png").unlink()
    changed = deblurkit(*again, "x", *SPACE)
    assert changed.code == 2
    assert "has changed since" in changed.err
    assert len(lines(album / "x")) == 1
    entry = lines(album / "out")[0]
    for key, value in {"name": "../../escape", "window": [1, 2], "seed": -1, "format": "other"}.items():
        (album / "odd.jsonl").write_text(json.dumps({**entry, key: value}) + "\n")
        refused = deblurkit("synthesize", "--manifest", "odd.jsonl", "-o", "y", *SPACE)
        assert refused.code == 2
        assert "odd.jsonl: line 1" in refused.err
    assert not (album / "y").exists()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("in", "-o", "out"), "where the blurs come from"),
        (("in", "-o", "out", "--random", "--device", "abacus"), "Error: --device: 'abacus' is no device"),
        (("in", "-o", "out", "--random", "--pairs", "set"), "one of the three"),
        (("-o", "out", "--pairs", "set"), "no picture is named"),
        (("in", "-o", "out", "--random"), "does not know how its codes are distributed"),
        (("empty", "-o", "out", "--pairs", "set"), "holds no pictures"),
        (("absent", "-o", "out", "--pairs", "set"), "does not exist"),
        (("in", "-o", "out", "--pairs", "empty"), "holds no pictures"),
        (("in", "-o", "out", "--pairs", "set", "--strength", "2:1"), "out of range"),
        (("in", "-o", "out", "--pairs", "set", "--strength", "much"), "neither a number"),
        (("in", "-o", "out", "--manifest", "m.jsonl"), "leave pictures"),
        (("-o", "out", "--manifest", "absent.jsonl"), "cannot be read"),
        (("in", "-o", "space.safetensors/out", "--pairs", "set"), "cannot be written"),
    ],
)
def test_bad_requests(deblurkit, album, args, text):
    (album / "empty").mkdir()
    done = deblurkit("synthesize", *args, *SPACE)
    assert done.code in (1, 2)
    assert done.out == ""
    assert text in done.err
    assert done.err.startswith("Error: ")
    assert not (album / "out").exists()
