"""The distribution of styles: from the generator, from the cache, or measured."""

import os
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch

from deblurkit.nets.seeding import seeded
from deblurkit.nets.stylegan import styles
from deblurkit.nets.stylegan.generator import Gaussian
from deblurkit.nets.stylegan.stylegan2 import StyleGAN2
from deblurkit.nets.stylegan.styles import cache_folder, styles_of


@pytest.fixture
def generator():
    with seeded(torch.Generator().manual_seed(0)):
        return StyleGAN2(channels=(2, 2), style=4, inputs=3, depth=2)


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(styles, "MEASURED", {})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEBLURKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(cache):
    return sorted(path for path in cache.rglob("*") if path.is_file())


def refuse(*_, **__):
    raise AssertionError("measured again")


def same(one, other):
    return torch.equal(one.mean, other.mean) and torch.equal(one.std, other.std) and one.samples == other.samples


def test_what_is_measured_once_is_read_afterwards(generator, cache, monkeypatch):
    first = styles_of(generator, 500)
    assert same(first, generator.measure(500, torch.Generator().manual_seed(0)))
    assert generator.gaussian is None
    assert len(files(cache)) == 1
    monkeypatch.setattr(StyleGAN2, "measure", refuse)
    assert same(styles_of(generator, 500), first)
    with pytest.raises(AssertionError, match="measured again"):
        styles_of(generator, 501)


def test_only_the_mapping_network_and_the_number_count(generator, cache, monkeypatch):
    styles_of(generator, 100)
    with torch.no_grad():
        generator.constant += 1
    monkeypatch.setattr(StyleGAN2, "measure", refuse)
    styles_of(generator, 100)
    for change in (generator.mapping[1].bias, generator.mapping[0].weight):
        with torch.no_grad():
            change += 1
        with pytest.raises(AssertionError, match="measured again"):
            styles_of(generator, 100)


def test_the_generators_own_comes_first(generator, cache):
    generator.gaussian = Gaussian(torch.zeros(4), torch.ones(4), 100)
    assert same(styles_of(generator, 100), generator.gaussian)
    assert same(styles_of(generator, 50), generator.gaussian)
    assert not files(cache)
    assert styles_of(generator, 101).samples == 101
    assert len(files(cache)) == 1


def test_the_precision_is_the_generators(generator, cache):
    styles_of(generator, 100)
    assert styles_of(generator.double(), 100).mean.dtype == torch.float64


def spoil(content):
    def write(file):
        file.write_bytes(content(file.read_bytes()))

    return write


@pytest.mark.parametrize(
    "damage",
    [
        spoil(lambda content: b""),
        spoil(lambda content: content[: len(content) // 2]),
        spoil(lambda content: b"<html>" * 20),
        spoil(lambda _: safetensors.torch.save({"mean": torch.ones(4)})),
        spoil(lambda _: safetensors.torch.save({"mean": torch.ones(5), "std": torch.ones(5)})),
        spoil(lambda _: safetensors.torch.save({"mean": torch.ones(4), "std": torch.zeros(4)})),
        spoil(lambda _: safetensors.torch.save({"mean": torch.full((4,), float("nan")), "std": torch.ones(4)})),
    ],
)
def test_a_damaged_file_is_measured_anew(generator, cache, damage):
    first = styles_of(generator, 100)
    (file,) = files(cache)
    sound = file.read_bytes()
    damage(file)
    assert same(styles_of(generator, 100), first)
    assert file.read_bytes() == sound


def test_a_folder_in_the_files_place(generator, cache):
    first = styles_of(generator, 100)
    (file,) = files(cache)
    file.unlink()
    file.mkdir()
    assert same(styles_of(generator, 100), first)


def test_a_cache_that_cannot_be_written_is_no_error(generator, cache):
    cache.write_text("a file, where a folder should be")
    assert styles_of(generator, 100).samples == 100
    assert cache.read_text() == "a file, where a folder should be"


def test_a_cache_that_cannot_be_written_measures_once(generator, cache, monkeypatch):
    cache.write_text("a file, where a folder should be")
    first = styles_of(generator, 100)
    monkeypatch.setattr(StyleGAN2, "measure", refuse)
    assert same(styles_of(generator, 100), first)
    assert styles_of(generator.double(), 100).mean.dtype == torch.float64


def test_few_distributions_are_remembered(generator, cache):
    cache.write_text("a file, where a folder should be")
    for samples in range(10, 30):
        styles_of(generator, samples)
    assert [measured.samples for measured in styles.MEASURED.values()] == list(range(22, 30))


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_no_home_is_no_error(generator, monkeypatch, platform):
    def home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("DEBLURKIT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", home)
    monkeypatch.setattr(styles.sys, "platform", platform)
    assert cache_folder() is None
    first = styles_of(generator, 100)
    monkeypatch.setattr(StyleGAN2, "measure", refuse)
    assert same(styles_of(generator, 100), first)


def test_two_at_once_leave_one_whole_file(generator, cache):
    barrier, found = threading.Barrier(4), []

    def work():
        barrier.wait()
        found.append(styles_of(generator, 300))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(same(one, found[0]) for one in found)
    (file,) = files(cache)  # and no temporary one
    assert set(safetensors.torch.load_file(file)) == {"mean", "std"}


def test_the_folder_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.delenv("DEBLURKIT_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    for platform, folder in (
        ("linux", ".cache/deblurkit"),
        ("darwin", "Library/Caches/deblurkit"),
        ("win32", "AppData/Local/deblurkit"),
    ):
        monkeypatch.setattr(styles.sys, "platform", platform)
        assert cache_folder() == tmp_path / folder
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "deblurkit"
    monkeypatch.setattr(styles.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "deblurkit"
    monkeypatch.setenv("DEBLURKIT_CACHE", os.fspath(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


@pytest.mark.parametrize("samples", [1, 0, -5])
def test_too_few_samples(generator, cache, samples):
    with pytest.raises(ValueError, match="at least 2 samples"):
        styles_of(generator, samples)
