"""Every known layout becomes the same generator; everything else becomes a sentence."""

import hashlib
from argparse import Namespace
from pathlib import Path

import naive
import numpy as np
import pytest
import safetensors.torch
import torch
import writers
from pickled import write_ada, write_tf
from test_stylegan1 import pair

from deblurkit.checkpoints.found import Checkpoint
from deblurkit.checkpoints.generators import BASICSR, ROSINALITY, build_stylegan2, structure
from deblurkit.checkpoints.layouts import LAYOUTS, import_network, open_generator
from deblurkit.checkpoints.nvidia import NVIDIA
from deblurkit.checkpoints.tensorflow import TENSORFLOW
from deblurkit.errors import ExitCode, UsageError
from deblurkit.nets.kernel_space.paper import PaperSpace
from deblurkit.nets.kernel_space.weights import save_space
from deblurkit.nets.stylegan.stylegan1 import StyleGAN1
from deblurkit.nets.stylegan.stylegan2 import StyleGAN2
from deblurkit.nets.stylegan.weights import load_generator, save_generator


def saved(path: Path, document, zipped=True) -> Path:
    torch.save(document, path, _use_new_zipfile_serialization=zipped)
    return path


def written_rosinality(path, generator):
    document = {
        "g": {name: torch.zeros_like(tensor) for name, tensor in writers.rosinality(generator).items()},
        "d": {"final_linear.0.weight": torch.ones(2, 2)},
        "g_ema": writers.rosinality(generator),
        "g_optim": {"state": {0: {"step": 5, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.002}]},
        "args": Namespace(size=32, channel_multiplier=2),
        "ada_aug_p": 0.0,
    }
    return saved(path, document)


def written_converted(path, generator):
    return saved(path, {"g_ema": writers.rosinality(generator), "latent_avg": generator.mean_style})


def written_tf(path, generator):
    variables, arguments = writers.tensorflow(generator)
    return write_tf(path, variables, static_kwargs=arguments)


def written_ada(path, generator):
    return write_ada(path, *writers.ada(generator))


def written_safetensors(names):
    def write(path, generator):
        state = writers.rosinality(generator) if names == "rosinality" else writers.ada(generator)[0]
        safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        return path

    return write


WAYS = {
    "rosinality, trained": written_rosinality,
    "rosinality, converted": written_converted,
    "rosinality, bare": lambda path, generator: saved(path, writers.rosinality(generator)),
    "rosinality, several devices": lambda path, generator: saved(
        path, {"g_ema": {f"module.{name}": value for name, value in writers.rosinality(generator).items()}}
    ),
    "rosinality, safetensors": written_safetensors("rosinality"),
    "pSp": lambda path, generator: saved(path, writers.psp(generator)),
    "rosinality, before torch 1.6": lambda path, generator: saved(path, writers.rosinality(generator), zipped=False),
    "BasicSR": lambda path, generator: saved(
        path, {"params_ema": writers.basicsr(generator), "latent_avg": generator.mean_style}
    ),
    "ADA": written_ada,
    "ADA names, safetensors": written_safetensors("ADA"),
    "TensorFlow": written_tf,
}


def styles(generator, seed=3, count=2):
    return torch.randn(count, generator.latents, generator.style, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def generator():
    return writers.random_generator()


@pytest.mark.parametrize("way", WAYS)
def test_the_same_weights_in_every_layout_draw_the_same_picture(tmp_path, generator, way):
    imported = import_network(WAYS[way](tmp_path / "a.bin", generator))
    network = imported.network
    assert network.config() == generator.config()
    assert not any(parameter.requires_grad for parameter in network.parameters())
    w, z = styles(generator), torch.randn(3, generator.inputs, generator=torch.Generator().manual_seed(4))
    wanted = generator(w, generator.own_noises())
    assert wanted.std() > 0.3
    torch.testing.assert_close(network(w, network.own_noises()), wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(network.map(z), generator.map(z), atol=1e-5, rtol=1e-5)
    if way.split(",")[0] != "rosinality" or "converted" in way:
        torch.testing.assert_close(network.mean_style, generator.mean_style, atol=1e-5, rtol=1e-5)
        assert not any("average style" in note for note in imported.notes)
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32, name
        assert tensor.is_contiguous(), name


def test_open_generator_takes_originals_and_our_own_files(tmp_path, generator):
    save_generator(tmp_path / "own.safetensors", generator, card={})
    original = written_ada(tmp_path / "a.pkl", generator)
    for path in (tmp_path / "own.safetensors", original):
        opened = open_generator(path)
        w = styles(generator)
        torch.testing.assert_close(
            opened(w, opened.own_noises()), generator(w, generator.own_noises()), atol=1e-4, rtol=1e-4
        )


def test_what_was_imported_survives_saving(tmp_path, generator):
    imported = import_network(written_tf(tmp_path / "a.pkl", generator))
    save_generator(tmp_path / "a.safetensors", imported.network, card=imported.card)
    again = load_generator(tmp_path / "a.safetensors")
    w = styles(generator)
    assert torch.equal(again(w, again.own_noises()), imported.network(w, imported.network.own_noises()))


def test_the_card(tmp_path, generator):
    path = written_tf(tmp_path / "ffhq.pkl", generator)
    assert import_network(path).card == {
        "source": "ffhq.pkl",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "layout": "StyleGAN2 (NVIDIA, TensorFlow)",
        "licence": "not stated in the source",
    }


# Against explicit sums over tensors that are written down in the layout's own names and shapes.

SIDE, INPUTS, STYLE, FIRST, SECOND = 8, 3, 4, 2, 3
ROSINALITY_SHAPES = {
    "style.1.weight": (STYLE, INPUTS),
    "style.1.bias": (STYLE,),
    "style.2.weight": (STYLE, STYLE),
    "style.2.bias": (STYLE,),
    "input.input": (1, FIRST, 4, 4),
    "conv1.conv.weight": (1, FIRST, FIRST, 3, 3),
    "conv1.conv.modulation.weight": (FIRST, STYLE),
    "conv1.conv.modulation.bias": (FIRST,),
    "conv1.noise.weight": (1,),
    "conv1.activate.bias": (FIRST,),
    "to_rgb1.conv.weight": (1, 3, FIRST, 1, 1),
    "to_rgb1.conv.modulation.weight": (FIRST, STYLE),
    "to_rgb1.conv.modulation.bias": (FIRST,),
    "to_rgb1.bias": (1, 3, 1, 1),
    "convs.0.conv.weight": (1, SECOND, FIRST, 3, 3),
    "convs.0.conv.modulation.weight": (FIRST, STYLE),
    "convs.0.conv.modulation.bias": (FIRST,),
    "convs.0.noise.weight": (1,),
    "convs.0.activate.bias": (SECOND,),
    "convs.1.conv.weight": (1, SECOND, SECOND, 3, 3),
    "convs.1.conv.modulation.weight": (SECOND, STYLE),
    "convs.1.conv.modulation.bias": (SECOND,),
    "convs.1.noise.weight": (1,),
    "convs.1.activate.bias": (SECOND,),
    "to_rgbs.0.conv.weight": (1, 3, SECOND, 1, 1),
    "to_rgbs.0.conv.modulation.weight": (SECOND, STYLE),
    "to_rgbs.0.conv.modulation.bias": (SECOND,),
    "to_rgbs.0.bias": (1, 3, 1, 1),
    "noises.noise_0": (1, 1, 4, 4),
    "noises.noise_1": (1, 1, 8, 8),
    "noises.noise_2": (1, 1, 8, 8),
}


def tensorflow_conv(name, inputs, outputs, size=3):
    shapes = {
        f"{name}/weight": (size, size, inputs, outputs),
        f"{name}/mod_weight": (STYLE, inputs),
        f"{name}/mod_bias": (inputs,),
        f"{name}/bias": (outputs,),
    }
    return shapes if size == 1 else {**shapes, f"{name}/noise_strength": ()}


TENSORFLOW_SHAPES = {
    "mapping/Dense0/weight": (INPUTS, STYLE),
    "mapping/Dense0/bias": (STYLE,),
    "mapping/Dense1/weight": (STYLE, STYLE),
    "mapping/Dense1/bias": (STYLE,),
    "synthesis/4x4/Const/const": (1, FIRST, 4, 4),
    **tensorflow_conv("synthesis/4x4/Conv", FIRST, FIRST),
    **tensorflow_conv("synthesis/4x4/ToRGB", FIRST, 3, 1),
    **tensorflow_conv("synthesis/8x8/Conv0_up", FIRST, SECOND),
    **tensorflow_conv("synthesis/8x8/Conv1", SECOND, SECOND),
    **tensorflow_conv("synthesis/8x8/ToRGB", SECOND, 3, 1),
    "synthesis/noise0": (1, 1, 4, 4),
    "synthesis/noise1": (1, 1, 8, 8),
    "synthesis/noise2": (1, 1, 8, 8),
    "dlatent_avg": (STYLE,),
}


def nvidia_conv(name, inputs, outputs, size=3, side=0):
    shapes = {
        f"{name}.weight": (outputs, inputs, size, size),
        f"{name}.affine.weight": (inputs, STYLE),
        f"{name}.affine.bias": (inputs,),
        f"{name}.bias": (outputs,),
    }
    return {**shapes, f"{name}.noise_strength": (), f"{name}.noise_const": (side, side)} if side else shapes


NVIDIA_SHAPES = {
    "mapping.fc0.weight": (STYLE, INPUTS),
    "mapping.fc0.bias": (STYLE,),
    "mapping.fc1.weight": (STYLE, STYLE),
    "mapping.fc1.bias": (STYLE,),
    "mapping.w_avg": (STYLE,),
    "synthesis.b4.const": (FIRST, 4, 4),
    **nvidia_conv("synthesis.b4.conv1", FIRST, FIRST, side=4),
    **nvidia_conv("synthesis.b4.torgb", FIRST, 3, 1),
    **nvidia_conv("synthesis.b8.conv0", FIRST, SECOND, side=8),
    **nvidia_conv("synthesis.b8.conv1", SECOND, SECOND, side=8),
    **nvidia_conv("synthesis.b8.torgb", SECOND, 3, 1),
}
DEFINITIONS = {
    "rosinality": (
        ROSINALITY_SHAPES,
        naive.rosinality_picture,
        naive.rosinality_style,
        [f"noises.noise_{index}" for index in range(3)],
    ),
    "TensorFlow": (
        TENSORFLOW_SHAPES,
        naive.tensorflow_picture,
        naive.tensorflow_style,
        [f"synthesis/noise{index}" for index in range(3)],
    ),
    "NVIDIA": (
        NVIDIA_SHAPES,
        naive.nvidia_picture,
        naive.nvidia_style,
        [f"synthesis.{layer}.noise_const" for layer in ("b4.conv1", "b8.conv0", "b8.conv1")],
    ),
}


def tiny(shapes):
    draw = np.random.default_rng(5)
    large = ("style.", "mapping/", "mapping.")
    return {name: draw.normal(size=shape) * (60 if name.startswith(large) else 1) for name, shape in shapes.items()}


def written(path, family, own):
    single = {name: np.asarray(value, np.float32) for name, value in own.items()}
    if family == "TensorFlow":
        return write_tf(path, {name: value if value.ndim else value[()] for name, value in single.items()})
    tensors = {name: torch.from_numpy(value) for name, value in single.items()}
    return write_ada(path, tensors, {"synthesis_kwargs": {}}) if family == "NVIDIA" else saved(path, {"g_ema": tensors})


@pytest.mark.parametrize("family", DEFINITIONS)
def test_explicit_sums_over_the_files_own_tensors(tmp_path, family):
    shapes, picture, style, noises = DEFINITIONS[family]
    own = tiny(shapes)
    network = import_network(written(tmp_path / "a", family, own)).network
    assert isinstance(network, StyleGAN2)
    assert network.channels == (FIRST, SECOND)
    w, z = np.random.default_rng(6).normal(size=(2 * 2, STYLE)), np.random.default_rng(7).normal(size=INPUTS)
    wanted = picture(own, w, [own[name].reshape(own[name].shape[-2:]) for name in noises])
    found = network(torch.tensor(w)[None].float(), network.own_noises())[0]
    assert wanted.shape == (3, SIDE, SIDE)
    assert wanted.std() > 0.3
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5, rtol=1e-4)
    np.testing.assert_allclose(network.map(torch.tensor(z)[None].float())[0].numpy(), style(own, z), atol=1e-5)


def test_the_explicit_sums_can_tell_a_turned_kernel():
    own = tiny(TENSORFLOW_SHAPES)
    w = np.random.default_rng(6).normal(size=(4, STYLE))
    noises = [own[f"synthesis/noise{index}"][0, 0] for index in range(3)]
    right = naive.tensorflow_picture(own, w, noises)
    own["synthesis/8x8/Conv0_up/weight"] = own["synthesis/8x8/Conv0_up/weight"][::-1, ::-1]
    assert abs(naive.tensorflow_picture(own, w, noises) - right).max() > 0.1


# Structure from shapes.


def bare(generator, family):
    if family == "rosinality":
        return writers.rosinality(generator), ROSINALITY
    if family == "BasicSR":
        return writers.basicsr(generator), BASICSR
    return writers.ada(generator)[0], NVIDIA


@pytest.mark.parametrize("family", ["rosinality", "BasicSR", "ADA"])
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("resolution", [2**level for level in range(3, 11)])
def test_every_published_size_is_found_out(resolution, multiplier, family):
    with torch.device("meta"):
        generator = StyleGAN2.published(resolution, multiplier)
    weights, names = bare(generator, family)
    config = generator.config()
    del config["clamp"]
    assert structure(weights, names) == config


@pytest.mark.parametrize(
    "config",
    [
        {"channels": [8, 8], "style": 64, "inputs": 64, "depth": 2},
        {"channels": [96, 96, 64, 32, 16], "style": 64, "inputs": 64, "depth": 4},
        {"channels": [512, 512, 512, 512, 512, 512], "style": 512, "inputs": 64, "depth": 8},
        {"channels": [5, 7, 3], "style": 4, "inputs": 6, "depth": 1},
        {"channels": [9], "style": 4, "inputs": 6, "depth": 1},
        {"channels": [1, 1, 1], "style": 1, "inputs": 1, "depth": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("family", ["rosinality", "BasicSR", "ADA"])
def test_other_sizes_are_found_out(config, family):
    with torch.device("meta"):
        weights, names = bare(StyleGAN2(**config), family)
    assert structure(weights, names) == config


def test_sizes_of_tensorflow_are_found_out(tmp_path):
    config = {"channels": [5, 7, 3], "style": 4, "inputs": 6, "depth": 5, "clamp": 0.0}
    network = import_network(written_tf(tmp_path / "a.pkl", writers.random_generator(**config))).network
    assert network.config() == config
    assert TENSORFLOW.theirs("layers.3.affine.bias") == "synthesis/16x16/Conv0_up/mod_bias"


# What files lack.


def test_noise_maps_that_are_missing_are_drawn_anew_and_said(tmp_path, generator):
    state = writers.rosinality(generator, noises=False, fir=False)
    first, second = (import_network(saved(tmp_path / f"{i}.pt", {"g_ema": state})) for i in range(2))
    assert any("no noise maps" in note for note in first.notes)
    for one, other in zip(first.network.own_noises(), second.network.own_noises(), strict=True):
        assert torch.equal(one, other)
        assert one.std() > 0.5
    zeros = [torch.zeros_like(noise) for noise in generator.own_noises()]
    w = styles(generator)
    torch.testing.assert_close(first.network(w, zeros), generator(w, zeros), atol=1e-4, rtol=1e-4)
    state["noises.noise_2"] = generator.noise_2
    some = import_network(saved(tmp_path / "c.pt", state))
    assert torch.equal(some.network.noise_2, generator.noise_2)
    assert any("not all noise maps (6 are missing)" in note for note in some.notes)


def test_an_average_style_that_is_missing_is_measured_and_said(tmp_path, generator):
    imported = import_network(saved(tmp_path / "a.pt", writers.rosinality(generator)))
    assert any("no average style" in note for note in imported.notes)
    z = torch.randn(20000, generator.inputs, generator=torch.Generator().manual_seed(11))
    mapped = generator.map(z)
    assert ((imported.network.mean_style - mapped.mean(0)).abs() < 6 * mapped.std(0) / 8192**0.5).all()


def test_average_styles_that_differ_from_layer_to_layer(tmp_path, generator):
    document = writers.psp(generator)
    document["latent_avg"] = document["latent_avg"] + torch.arange(8.0)[:, None]
    imported = import_network(saved(tmp_path / "a.pt", document))
    assert any("differs from layer to layer" in note for note in imported.notes)
    torch.testing.assert_close(imported.network.mean_style, generator.mean_style + 3.5, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "mean",
    [torch.ones(1).expand(10**10, 8), torch.ones(0, 8), torch.ones(7), "a", 1.0],
)
def test_average_styles_that_are_none(tmp_path, generator, mean):
    path = saved(tmp_path / "a.pt", {"g_ema": writers.rosinality(generator), "latent_avg": mean})
    assert "its average style is no vector of 8 numbers" in refusal(path)


def test_weights_of_the_last_step_are_said(tmp_path, generator):
    imported = import_network(saved(tmp_path / "a.pt", {"g": writers.rosinality(generator)}))
    assert any("no averaged weights" in note for note in imported.notes)
    assert not any(
        "averaged weights" in note for note in import_network(written_rosinality(tmp_path / "b", generator)).notes
    )


@pytest.mark.parametrize(
    ("change", "clamp"),
    [
        (lambda kwargs: None, 0.0),
        (lambda kwargs: kwargs["synthesis_kwargs"].update(conv_clamp=256), 256.0),
        (lambda kwargs: kwargs.update(kwargs.pop("synthesis_kwargs"), conv_clamp=None), 0.0),
    ],
    ids=["none", "nested", "flat"],
)
def test_clamps_of_nvidia(tmp_path, generator, change, clamp):
    state, kwargs = writers.ada(generator)
    change(kwargs)
    assert import_network(write_ada(tmp_path / "a.pkl", state, kwargs)).network.clamp == clamp


def test_the_clamp_that_goes_without_saying(generator):
    convert = next(layout.convert for layout in LAYOUTS if "NVIDIA, PyTorch" in layout.name)
    state, kwargs = writers.ada(generator)
    del kwargs["synthesis_kwargs"]["conv_clamp"]
    assert convert(Checkpoint(state, settings=kwargs))[0].clamp == 0.0
    later = {**kwargs, **kwargs["synthesis_kwargs"]}
    del later["synthesis_kwargs"]
    assert convert(Checkpoint(state, settings=later))[0].clamp == 256.0  # as StyleGAN3's program does
    network, notes = convert(Checkpoint(state))
    assert network.clamp == 0.0
    assert any("clamped" in note for note in notes)


@pytest.mark.parametrize("family", ["ADA", "TensorFlow"])
def test_a_mapping_network_that_learnt_at_another_rate(tmp_path, generator, family):
    slower = writers.random_generator()
    for layer in slower.mapping:
        layer.weight.div_(5)
        layer.bias.div_(5)
    if family == "ADA":
        state, kwargs = writers.ada(slower)
        kwargs["mapping_kwargs"]["lr_multiplier"] = 0.05
        path = write_ada(tmp_path / "a.pkl", state, kwargs)
    else:
        variables, kwargs = writers.tensorflow(slower)
        path = write_tf(tmp_path / "a.pkl", variables, static_kwargs={**kwargs, "mapping_lrmul": 0.05})
    z = torch.randn(3, generator.inputs)
    torch.testing.assert_close(import_network(path).network.map(z), generator.map(z), atol=1e-5, rtol=1e-5)


# StyleGAN1.


@pytest.fixture
def halves(tmp_path):
    synthesis, mapping = pair([4, 3, 2])
    folder = tmp_path / "pair"
    folder.mkdir()
    return saved(folder / "one.pt", synthesis), saved(folder / "two.pt", mapping)


def test_a_stylegan1_from_its_halves(tmp_path, halves):
    synthesis, mapping = halves
    saved(synthesis.parent / "gaussian_fit.pt", {"mean": torch.ones(3), "std": torch.ones(3)})
    (synthesis.parent / "broken.pt").write_bytes(b"<html>")
    elsewhere = mapping.rename(tmp_path / "mapping.pt")
    alone = import_network(synthesis, elsewhere)
    in_folder = import_network(synthesis.parent, elsewhere)
    elsewhere.rename(mapping)
    for imported in (import_network(synthesis), import_network(synthesis.parent), alone, in_folder):
        assert isinstance(imported.network, StyleGAN1)
        assert imported.network.channels == (4, 3, 2)
        assert imported.card["source"] in ("one.pt, two.pt", "one.pt, mapping.pt")
        assert imported.card["sha256"].startswith(hashlib.sha256(synthesis.read_bytes()).hexdigest() + ", ")
        assert any("average style" in note for note in imported.notes)
    both = {f"g_synthesis.{name}": value for name, value in torch.load(synthesis).items()}
    both |= {f"g_mapping.{name}": value for name, value in torch.load(mapping).items()}
    whole = import_network(saved(tmp_path / "whole.pt", both)).network
    for name, tensor in in_folder.network.state_dict().items():
        assert torch.equal(whole.state_dict()[name], tensor)
    assert isinstance(open_generator(synthesis.parent), StyleGAN1)


def test_halves_that_cannot_be_put_together(tmp_path, generator, halves):
    synthesis, mapping = halves
    assert "name the file of the synthesis network" in refusal(mapping)
    other = saved(synthesis.parent / "three.pt", torch.load(mapping))
    assert "2 mapping halves lie beside it" in refusal(synthesis)
    assert "1 synthesis and 2 mapping halves" in refusal(synthesis.parent)
    other.unlink()
    assert "and not the mapping half" in refusal(synthesis, synthesis, named=synthesis)
    mapping = mapping.rename(tmp_path / "mapping.pt")
    assert "0 mapping halves lie beside it" in refusal(synthesis)
    whole = saved(tmp_path / "a.pt", writers.rosinality(generator))
    assert "is named only beside" in refusal(whole, mapping, named=mapping)
    assert "is a folder with 0 synthesis and 0 mapping" in refusal(saved_folder(tmp_path / "empty"))
    broken = torch.load(mapping)
    broken["dense0.bias"][0] = torch.nan
    assert "dense0.bias holds numbers that are not finite" in refusal(synthesis, saved(mapping, broken))
    del broken["dense0.bias"]
    assert "dense0.bias" in refusal(synthesis, saved(mapping, broken))


def saved_folder(path):
    path.mkdir()
    return path


# Whatever cannot be used.


def refusal(path, mapping=None, named=None) -> str:
    with pytest.raises(UsageError) as caught:
        import_network(path, mapping)
    text = str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE
    assert text.startswith(f"{named or path}: ")
    assert "\n" not in text
    assert len(text) < 600 + 2 * len(str(path))
    return text


ANY = "convs.0.conv.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop(ANY), f"missing: {ANY}"),
        (lambda w: w.pop("input.input"), "missing: input.input"),
        (lambda w: w.pop("style.2.bias"), "1 missing: style.2.bias"),
        (lambda w: w.pop("convs.1.noise.weight"), "1 missing: convs.1.noise.weight"),
        (lambda w: [w.pop(name) for name in list(w) if name.startswith("style.")], "missing: style.1.weight"),
        (lambda w: [w.pop(name) for name in list(w) if name.startswith("to_rgbs.1.")], "missing: to_rgbs.1."),
        (lambda w: w.update({"to_rgbs.1.bias": torch.ones(1, 4, 1, 1)}), "to_rgbs.1.bias is (1, 4, 1, 1)"),
        (lambda w: w.update({"convs.1.conv.weight": torch.ones(1, 5, 5, 5, 5)}), "of another shape: convs.1.conv"),
        (lambda w: w.update({ANY: torch.ones(3)}), f"{ANY} has the shape (3,)"),
        (lambda w: w.update({"style.2.weight": torch.ones(9, 8)}), "of another shape: style.2.weight"),
        (lambda w: w.update({"noises.noise_1": torch.ones(1, 1, 4, 4)}), "of another shape: noises.noise_1"),
        (lambda w: w.update(extra=torch.ones(1)), "1 unexpected: extra"),
        (lambda w: w.update({"extra\n\x1b[31m" + 900 * "x": torch.ones(1)}), "1 unexpected: extra  [31mxx"),
        (lambda w: w.update({ANY: torch.ones(1, 0, 6, 3, 3)}), f"{ANY} has the shape (1, 0, 6, 3, 3)"),
        (lambda w: w.update({"convs.40.conv.weight": torch.ones(1)}), "1 unexpected: convs.40.conv.weight"),
        (lambda w: w.update({ANY: w[ANY] * torch.nan}), f"{ANY} holds numbers that are not finite"),
        (lambda w: w.update({ANY: w[ANY].int()}), f"{ANY} is of int32"),
        (lambda w: w.update({ANY: [1.0]}), f"{ANY} is no plain tensor"),
        (lambda w: w.update({"input.input": torch.ones(1).expand(1, 10**6, 4, 4)}), "more numbers than the file"),
        (lambda w: w.update({"to_rgb1.conv.weight": torch.ones(1, 1, 6, 1, 1)}), "pictures with 1 channels"),
        (lambda w: w.update({"convs.0.conv.blur.kernel": torch.ones(4, 4)}), "another low-pass filter"),
        (lambda w: w.update({"latent_avg": torch.ones(3)}), "average style is no vector of 8 numbers"),
        (lambda w: w.update({"latent_avg": torch.ones(8).int()}), "latent_avg is of int32"),
        (lambda w: w.update({"latent_avg": torch.full((8,), torch.inf)}), "not finite"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, generator, change, words):
    weights = {name: tensor.clone() for name, tensor in writers.rosinality(generator).items()}
    change(weights)
    assert words in refusal(saved(tmp_path / "a.pt", {"g_ema": weights}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w, k: w.pop("synthesis/8x8/Conv1/mod_bias"), "1 missing: synthesis/8x8/Conv1/mod_bias"),
        (lambda w, k: w.pop("synthesis/8x8/Conv0_up/weight"), "missing: synthesis/8x8/Conv0_up/weight"),
        (lambda w, k: w.update({"mapping/Dense0/weight": np.ones((2, 2, 2), np.float32)}), "has the shape (2, 2, 2)"),
        (lambda w, k: w.update({"mapping/LabelConcat/weight": np.ones((2, 2), np.float32)}), "conditional"),
        (lambda w, k: k.update(label_size=10), "conditional"),
        (lambda w, k: k.update(num_channels=1), "pictures with 1 channels"),
        (lambda w, k: k.update(resample_kernel=[1, 2, 1]), "low-pass filter [1, 2, 1]"),
        (lambda w, k: k.update(resample_kernel=None), "low-pass filter None"),
        (lambda w, k: k.update(nonlinearity="relu"), "['relu', 'lrelu']"),
        (lambda w, k: k.update(architecture="resnet"), "architecture 'resnet'"),
        (lambda w, k: w.update({"synthesis/8x8/Skip/weight": np.ones((1, 1, 2, 3), np.float32)}), "'resnet'"),
        (lambda w, k: w.update({"synthesis/ToRGB_lod0/weight": np.ones((1, 1, 2, 3), np.float32)}), "'orig'"),
        (lambda w, k: k.update(normalize_latents=False), "does not normalise"),
        (lambda w, k: k.update(mapping_lrmul="fast"), "mapping_lrmul is fast and no number"),
        (lambda w, k: k.update(resample_kernel=(1, 3, 3, 1), architecture="skip", nonlinearity="lrelu"), ""),
    ],
)
def test_tensorflow_networks_that_do_not_fit(tmp_path, generator, change, words):
    variables, kwargs = writers.tensorflow(generator)
    change(variables, kwargs)
    path = write_tf(tmp_path / "a.pkl", variables, static_kwargs=kwargs)
    if words:
        assert words in refusal(path)
    else:
        assert import_network(path).network.channels == generator.channels


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w, k: k.update(c_dim=10), "conditional"),
        (lambda w, k: w.update({"mapping.embed.weight": torch.ones(8, 10)}), "conditional"),
        (lambda w, k: k.update(img_channels=1), "pictures with 1 channels"),
        (lambda w, k: k["synthesis_kwargs"].update(architecture="resnet"), "architecture 'resnet'"),
        (lambda w, k: w.update({"synthesis.b8.skip.weight": torch.ones(5, 6, 1, 1)}), "architecture 'resnet'"),
        (
            lambda w, k: [w.pop(n) for n in list(w) if ".torgb." in n and ".b32." not in n],
            "architecture 'orig'",
        ),
        (lambda w, k: k["synthesis_kwargs"].update(use_noise=False), "without noise maps"),
        (lambda w, k: k["synthesis_kwargs"].update(resample_filter=[1, 2, 1]), "low-pass filter [1, 2, 1]"),
        (lambda w, k: k["mapping_kwargs"].update(activation="relu"), "['relu', 'lrelu']"),
        (lambda w, k: w.update({"synthesis.b8.conv0.resample_filter": torch.eye(4)}), "another low-pass filter"),
        (lambda w, k: w.update({"synthesis.input.freqs": torch.ones(2)}), "holds a StyleGAN3 (NVIDIA)"),
        (lambda w, k: w.pop("synthesis.b8.conv0.weight"), "missing: synthesis.b8.conv0.weight"),
        (lambda w, k: w.pop("synthesis.b16.conv1.noise_strength"), "missing: synthesis.b16.conv1.noise_strength"),
    ],
)
def test_nvidia_networks_that_do_not_fit(tmp_path, generator, change, words):
    state, kwargs = writers.ada(generator)
    change(state, kwargs)
    assert words in refusal(write_ada(tmp_path / "a.pkl", state, kwargs))


def test_stylegan1_in_tensorflow_is_named(tmp_path, generator):
    variables, kwargs = writers.tensorflow(generator)
    text = refusal(write_tf(tmp_path / "a.pkl", variables, version=3, static_kwargs=kwargs))
    assert "holds a StyleGAN1 (or older) network in NVIDIA's TensorFlow format" in text


ONE = torch.ones(2)
NAMED = {
    "StyleGAN3 (NVIDIA)": {"synthesis.input.freqs": ONE, "mapping.fc0.weight": ONE},
    "StyleGAN2 (lucidrains)": {"GAN": {"S.net.0.weight": ONE, "G.blocks.0.to_style1.weight": ONE}, "version": "1.8.9"},
    "StyleGAN1 (rosinality)": {"g_running": {"generator.progression.0.conv1.1.bias": ONE, "style.1.weight": ONE}},
    "discriminator": {"d": {"convs.0.0.weight": ONE, "final_linear.0.weight": ONE}},
    "lone encoder": {"state_dict": {"encoder.input_layer.0.weight": ONE}, "latent_avg": ONE},
    "restoration network (GFPGAN)": {"params_ema": {"stylegan_decoder.style_mlp.1.weight": ONE}},
    "bilinear": {"params_ema": {"style_mlp.1.weight": ONE, "style_mlp.3.weight": ONE, "style_conv1.bias": ONE}},
}


@pytest.mark.parametrize("words", NAMED)
def test_what_cannot_be_used_is_named(tmp_path, words):
    text = refusal(saved(tmp_path / "a.pt", NAMED[words]))
    assert words in text
    assert "; name" in text


def test_unknown_layouts(tmp_path):
    text = refusal(saved(tmp_path / "a.pt", {"net": {"layer.weight": ONE}, "epoch": 5}))
    assert "it holds net, epoch)" in text
    assert "it holds a b)" in refusal(saved(tmp_path / "b.pt", {"a\nb": ONE}))
    for family in ("rosinality", "pSp", "BasicSR", "NVIDIA, PyTorch", "NVIDIA, TensorFlow", "lernapparat", "Tran"):
        assert family in text


def test_a_space_is_not_taken_for_a_generator(tmp_path):
    space = PaperSpace(features=2, code=3, residual_front=0, residual_back=0, extractor_blocks=0)
    theirs = saved(tmp_path / "GOPRO.pth", space.state_dict())
    save_space(tmp_path / "space.safetensors", space, card={})
    for path in (theirs, tmp_path / "space.safetensors"):
        with pytest.raises(UsageError, match="a generator of pictures is wanted"):
            open_generator(path)
    assert import_network(theirs).notes == []


@pytest.mark.parametrize("name", ["no.pt", "."])
def test_nothing_there(tmp_path, name):
    with pytest.raises(UsageError, match=r"No such file|is a folder"):
        open_generator(tmp_path / name)


def test_weights_of_half_precision(generator):
    state = {name: tensor.half() for name, tensor in writers.rosinality(generator).items()}
    network, _ = build_stylegan2(Checkpoint(state, generator.mean_style.double()), ROSINALITY)
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
