"""Examples: aligned, determined by their number alone, and what they are said to be."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.errors import KernelError, UsageError
from deblurkit.kernel_space.datasets import BlurData, Exposure, PairData, PictureStore, TextureStore
from deblurkit.kernel_space.draws import everywhere, generator, normal
from deblurkit.kernel_space.kernel_sources import (
    ORIENTATIONS,
    PERIOD,
    POOL,
    KernelFiles,
    KernelSource,
    Trajectories,
    centred,
    find_kernels,
    oriented,
)
from deblurkit.kernel_space.pairs import find_pairs
from deblurkit.kernel_space.textures import texture
from deblurkit.testing import blur_by_definition, curved_kernel

CPU = torch.device("cpu")


@pytest.fixture
def pairs(tmp_path):
    """Write three pairs in which the blurry pixel is 255 less the sharp one."""
    random = np.random.default_rng(0)
    for index in range(3):
        sharp = random.integers(0, 256, (20, 26, 3)).astype(np.uint8)
        for name, picture in (("sharp", sharp), ("blur", 255 - sharp)):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / name / f"{index}.png")
    return find_pairs([tmp_path])


def pair_data(pairs, **settings):
    return PairData(pairs, **{"crop": 12, "flips": True, "limit": 1e9, "grey": False, "warn": print, **settings})


def test_crops_are_aligned_and_turned_alike(pairs):
    data = pair_data(pairs)
    sharp, blurry = data.collate([data.draw(0, "training", number) for number in range(40)], CPU)
    assert sharp.shape == (40, 3, 12, 12)
    assert torch.allclose(sharp + blurry, torch.ones(()))
    assert len({float(one.sum()) for one in sharp}) > 30


def test_an_example_depends_on_its_number_alone(pairs):
    one, other = pair_data(pairs), pair_data(pairs, limit=0)
    backwards = {number: other.draw(7, "training", number) for number in reversed(range(6))}
    for number in range(6):
        assert torch.equal(one.draw(7, "training", number).sharp, backwards[number].sharp)
    assert not torch.equal(one.draw(7, "training", 0).sharp, one.draw(8, "training", 0).sharp)
    assert not torch.equal(one.draw(7, "training", 0).sharp, one.draw(7, "codes", 0).sharp)


def test_every_picture_place_and_orientation_is_drawn(pairs):
    data = pair_data(pairs, crop=19, grey=True)
    counts = Counter(tuple(data.draw(0, "t", number).sharp.flatten()[:40].tolist()) for number in range(6000))
    assert len(counts) == 3 * 2 * 8 * 8  # pictures, rows, columns, orientations


def test_pictures_are_kept_while_there_is_room(pairs):
    paths = [pair.sharp for pair in pairs]
    size = 20 * 26 * 3
    store = PictureStore(paths, limit=2 * size, grey=False, warn=print)
    first = store.get(0)
    assert first.dtype == torch.uint8
    store.get(1)
    assert store.get(0) is first
    assert store.get(2) is not store.get(2)
    assert torch.equal(store.get(2), store.get(2))


def test_deep_pictures_keep_their_bits(tmp_path):
    values = np.arange(0, 65536, 113, dtype=np.uint16)[:480].reshape(20, 24)
    Image.fromarray(values).save(tmp_path / "a.png")
    store = PictureStore([tmp_path / "a.png"], limit=1e9, grey=False, warn=print)
    assert torch.allclose(store.get(0)[0], torch.from_numpy(values.astype(np.float32)) / 65535, atol=1e-7)


class OneKernel(KernelSource):
    """The same kernel for all."""

    names = ("one",)

    def __init__(self, kernel):
        self.kernel = kernel
        self.window = kernel.shape[-1]

    def take(self, seed, purpose, numbers):
        return self.kernel.expand(len(numbers), -1, -1, -1)


def test_blur_on_the_fly_is_the_blur(pairs):
    kernel = curved_kernel((5, 5)).float()
    store = PictureStore([pair.sharp for pair in pairs], limit=1e9, grey=False, warn=print)
    data = BlurData(store, OneKernel(kernel), Exposure(), crop=14, flips=True)
    examples = [data.draw(0, "training", number) for number in range(5)]
    sharp, blurry = data.collate(examples, CPU)
    scene = torch.stack([example.sharp for example in examples])
    assert scene.shape[-2:] == (18, 18)
    assert torch.allclose(blurry, blur_by_definition(scene, kernel).float(), atol=1e-5)
    assert torch.equal(sharp, scene[..., 2:-2, 2:-2])


def test_shares_of_gamma_overexposure_and_noise(pairs):
    store = PictureStore([pair.sharp for pair in pairs], limit=1e9, grey=False, warn=print)
    exposure = Exposure(gamma_share=0.5, saturated_share=0.25, gain=2.0, noise=0.1)
    data = BlurData(store, Trajectories(5, 1.0), exposure, crop=12, flips=True)
    light = torch.stack([data.draw(0, "training", number).light for number in range(400)])
    assert float((light[:, 0] > 2).float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float((light[:, 1] > 1).float().mean()) == pytest.approx(0.25, abs=0.07)
    assert float(light[:, 1].max()) <= 2
    assert torch.equal(data.draw(0, "training", 3).noise, data.draw(0, "training", 3).noise)
    _, blurry = data.collate([data.draw(0, "training", number) for number in range(4)], CPU)
    assert float(blurry.min()) >= 0
    assert float(blurry.max()) <= 1


def test_trajectories_are_seen_in_all_orientations_and_then_no_more():
    source = Trajectories(7, 1.0)
    index = 5
    turned = [source.take(0, "k", range(number, number + 1))[0] for number in range(index, PERIOD, POOL)]
    assert len(turned) == ORIENTATIONS
    alike = {tuple(one.flatten().tolist()) for one in turned}
    assert alike == {tuple(oriented(turned[0], which).flatten().tolist()) for which in range(ORIENTATIONS)}
    fresh = source.take(0, "k", range(PERIOD + index, PERIOD + index + 1))[0]
    assert all(not torch.allclose(fresh, one) for one in turned)
    several = source.take(0, "k", range(60, 70))
    assert torch.equal(several[7], source.take(0, "k", range(67, 68))[0])


def test_kernel_files_are_found_and_mixed(tmp_path):
    for side in (5, 9):
        np.save(tmp_path / f"{side}.npy", curved_kernel((side, side))[0, 0].numpy())
    Image.fromarray(np.full((3, 3), 9, np.uint8)).save(tmp_path / "9.png")  # what one looks at
    source = find_kernels([tmp_path], window=7, shift=3.0)
    assert isinstance(source, KernelFiles)
    assert (source.window, source.names) == (9, ["5.npy", "9.npy"])
    taken = source.take(0, "k", range(50))
    assert torch.allclose(taken.sum((-2, -1)), torch.ones(()))
    assert {int((one > 0).sum()) for one in taken} == {int((one > 0).sum()) for one in source.kernels}
    both = find_kernels([tmp_path / "5.npy", tmp_path.__class__("trajectories")], window=7, shift=3.0)
    assert both.window == 7
    assert torch.equal(both.take(0, "k", range(3, 9))[2], both.take(0, "k", range(5, 6))[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no kernels"):
        find_kernels([tmp_path / "empty"], window=7, shift=3.0)
    with pytest.raises(KernelError, match="does not exist"):
        find_kernels([tmp_path / "no.npy"], window=7, shift=3.0)


def test_a_small_kernel_stands_in_the_middle_of_a_large_window():
    kernel = torch.rand(2, 1, 3, 5)
    large = centred(kernel, 9)
    assert torch.equal(large[..., 3:6, 2:7], kernel)
    assert float(large.sum()) == pytest.approx(float(kernel.sum()))


def test_global_draws_are_bound_to_a_generator():
    before = torch.get_rng_state()
    with everywhere(generator(0, "a", 1), CPU):
        one = torch.randn(3)
    with everywhere(generator(0, "a", 1), CPU):
        assert torch.equal(torch.randn(3), one)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(normal((2,), 0, "b", range(2, 5))[1:], normal((2,), 0, "b", range(3, 5)))


def test_textures_are_pictures_with_a_natural_spectrum():
    pictures = [texture(128, generator=generator(0, "texture", number)) for number in range(3)]
    assert pictures[0].shape == (3, 128, 128)
    assert pictures[0].dtype == torch.uint8
    assert torch.equal(pictures[0], texture(128, generator=generator(0, "texture", 0)))
    spectrum = torch.stack([torch.fft.rfft2(one.float().mean(0)).abs().square() for one in pictures]).mean(0)
    rows, columns = torch.fft.fftfreq(128)[:, None].expand(-1, 65), torch.fft.rfftfreq(128)[None].expand(128, -1)
    radius = (rows.square() + columns.square()).sqrt()
    edges = [0.02, 0.04, 0.08, 0.16, 0.32]
    power = [
        float(spectrum[(radius > low) & (radius <= high)].mean().log2()) for low, high in itertools.pairwise(edges)
    ]
    slope = (power[-1] - power[0]) / 3  # an octave each
    assert -2.8 < slope < -1.2  # natural pictures: about -2


def test_textures_stand_after_the_pictures_of_a_store(pairs):
    store = TextureStore([pairs[0].sharp], [(0, 3, 64)], limit=0, grey=True, warn=print)
    assert len(store) == 2
    assert store.get(0).shape == (1, 20, 26)
    assert store.get(1).shape == (1, 64, 64)
    assert store.paths[1].name == "texture-0-3"
