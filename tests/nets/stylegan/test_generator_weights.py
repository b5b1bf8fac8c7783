"""Generators in files: round trips, and files that are none."""

import json

import pytest
import safetensors.torch
import torch

from deblurkit.errors import RunError, UsageError
from deblurkit.nets.header import read_header
from deblurkit.nets.kernel_space.paper import PaperSpace
from deblurkit.nets.kernel_space.weights import load_space, save_space
from deblurkit.nets.seeding import seeded
from deblurkit.nets.stylegan.stylegan1 import StyleGAN1
from deblurkit.nets.stylegan.stylegan2 import StyleGAN2
from deblurkit.nets.stylegan.weights import GENERATOR, load_generator, save_generator

SIZES = {"channels": (3, 2), "style": 5, "inputs": 4, "depth": 2}


@pytest.fixture(params=[StyleGAN1, StyleGAN2])
def generator(request):
    with seeded(torch.Generator().manual_seed(0)):
        return request.param(**SIZES)


@pytest.fixture
def file(tmp_path, generator):
    save_generator(tmp_path / "g.safetensors", generator, card={"data": "nothing", "licence": "none"})
    return tmp_path / "g.safetensors"


def rewritten(file, change):
    """The same file after ``change(tensors, metadata)``."""
    with safetensors.safe_open(file, framework="pt") as content:
        metadata = content.metadata()
    tensors = safetensors.torch.load_file(file)
    change(tensors, metadata)
    safetensors.torch.save_file(tensors, file, metadata)
    return file


def picture(generator):
    w = torch.randn(2, generator.latents, generator.style, generator=torch.Generator().manual_seed(1))
    return generator(w, generator.own_noises())


def test_a_round_trip_keeps_every_bit(file, generator):
    again = load_generator(file)
    assert type(again) is type(generator)
    assert again.config() == generator.config()
    assert again.gaussian is None
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    torch.testing.assert_close(again.state_dict(), generator.state_dict(), atol=0, rtol=0)
    assert torch.equal(picture(again), picture(generator.eval()))


def test_the_header_says_what_is_in_it(file, generator):
    header = read_header(file, GENERATOR)
    assert header.preset == generator.preset
    assert header.config == generator.config()
    assert header.card == {"data": "nothing", "licence": "none"}


def test_half_takes_half_and_comes_back_single(tmp_path, file, generator):
    generator.gaussian = generator.measure(100, torch.Generator().manual_seed(2))
    save_generator(tmp_path / "half.safetensors", generator, card={}, half=True)
    again = load_generator(tmp_path / "half.safetensors")
    stored = safetensors.torch.load_file(tmp_path / "half.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    for name, tensor in generator.state_dict().items():
        assert again.state_dict()[name].dtype == torch.float32
        torch.testing.assert_close(again.state_dict()[name], tensor, atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(again.gaussian.mean, generator.gaussian.mean, atol=1e-6, rtol=1e-3)


def test_the_distribution_of_styles_is_kept(tmp_path, generator):
    generator.gaussian = generator.measure(100, torch.Generator().manual_seed(2))
    save_generator(tmp_path / "g.safetensors", generator, card={})
    again = load_generator(tmp_path / "g.safetensors").gaussian
    assert again is not None
    assert again.samples == 100
    assert torch.equal(again.mean, generator.gaussian.mean)
    assert torch.equal(again.std, generator.gaussian.std)


def test_a_file_is_not_replaced_unasked(file, generator):
    before = file.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        save_generator(file, generator, card={})
    assert file.read_bytes() == before
    save_generator(file, generator, card={}, overwrite=True)
    assert file.read_bytes() != before
    assert list(file.parent.iterdir()) == [file]


def test_a_place_that_cannot_be_written(tmp_path, generator):
    (tmp_path / "file").write_text("")
    with pytest.raises((RunError, UsageError), match=r"cannot be written|not a"):
        save_generator(tmp_path / "file" / "g.safetensors", generator, card={})


def test_loading_draws_from_no_global_generator(file):
    state = torch.random.get_rng_state()
    load_generator(file)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_kernel_space_is_no_generator_and_the_other_way_round(tmp_path, file):
    with seeded(torch.Generator().manual_seed(0)):
        space = PaperSpace(features=2, code=3, residual_front=1, residual_back=1, extractor_blocks=1)
    save_space(tmp_path / "space.safetensors", space, card={})
    with pytest.raises(UsageError, match="is no generator of deblurkit; convert a StyleGAN checkpoint"):
        load_generator(tmp_path / "space.safetensors")
    with pytest.raises(UsageError, match="is no kernel space"):
        load_space(file)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_truncated_file(file, keep):
    content = file.read_bytes()
    file.write_bytes(content[:keep])
    with pytest.raises(UsageError, match=r"g\.safetensors: cannot be read as a generator"):
        load_generator(file)


def test_no_file(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_generator(tmp_path / "none.safetensors")


def drop(name):
    return lambda tensors, metadata: tensors.pop(name)


def put(name, *shape):
    return lambda tensors, metadata: tensors.__setitem__(name, torch.ones(shape))


def say(**words):
    return lambda tensors, metadata: metadata.update(words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("constant"), "1 missing: constant"),
        (put("constant", 1, 3, 8, 8), r"constant is \(1, 3, 8, 8\) instead of \(1, 3, 4, 4\)"),
        (put("constants", 1), "1 unexpected: constants"),
        (say(preset="stylegan9"), "preset 'stylegan9', which needs a newer deblurkit"),
        (say(config=json.dumps(SIZES | {"depth": 3})), "missing: mapping.2.weight"),
        (say(config=json.dumps(SIZES | {"hair": 3})), "do not fit"),
        (say(config=json.dumps(SIZES | {"channels": []})), "do not fit"),
        (say(config=json.dumps(SIZES | {"channels": [1] * 20})), "do not fit"),
        (say(config=json.dumps(SIZES | {"channels": [3, 0]})), "do not fit"),
        (say(config=json.dumps(SIZES | {"channels": 3})), "do not fit"),
        (say(config=json.dumps(SIZES | {"style": "wide"})), "do not fit"),
        (say(config="[]"), "header is damaged"),
        (say(version="9"), "written in version 9"),
    ],
)
def test_weights_that_do_not_fit_their_header(file, change, words):
    with pytest.raises(UsageError, match=words):
        load_generator(rewritten(file, change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("gaussian.std"), "missing: gaussian.std"),
        (put("gaussian.mean", 6), r"gaussian.mean is \(6,\) instead of \(5,\)"),
        (say(style_samples="many"), "style_samples"),
    ],
)
def test_a_distribution_of_styles_that_does_not_fit(tmp_path, generator, change, words):
    generator.gaussian = generator.measure(100, torch.Generator().manual_seed(2))
    save_generator(tmp_path / "g.safetensors", generator, card={})
    with pytest.raises(UsageError, match=words):
        load_generator(rewritten(tmp_path / "g.safetensors", change))
