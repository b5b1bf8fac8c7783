"""Files of weights whose headers are out to do harm: one sentence each, and no memory set aside for what they claim."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from deblurkit.errors import UsageError
from deblurkit.nets.header import Header, Kind
from deblurkit.nets.kernel_space.compact import CompactSpace
from deblurkit.nets.kernel_space.header import KERNEL_SPACE
from deblurkit.nets.kernel_space.paper import PaperSpace
from deblurkit.nets.kernel_space.space import Statistics
from deblurkit.nets.kernel_space.weights import load_space, save_space
from deblurkit.nets.seeding import seeded
from deblurkit.nets.stylegan.stylegan1 import StyleGAN1
from deblurkit.nets.stylegan.stylegan2 import StyleGAN2
from deblurkit.nets.stylegan.weights import GENERATOR, load_generator, save_generator

sys.path.insert(0, str(Path(__file__).parents[1] / "checkpoints"))
from hostile import peak  # which stands beside the tests of checkpoints

MEMORY = 256 << 20
"""Bytes that a file of a few hundred may cost, all libraries counted."""
GAN = {"channels": [3, 2], "style": 5, "inputs": 4, "depth": 2}
HARMFUL = [
    (GENERATOR, "stylegan2", {"channels": [16000, 16000]}),
    (GENERATOR, "stylegan1", {"channels": [16000, 16000]}),
    (GENERATOR, "stylegan2", GAN | {"style": 200_000}),
    (GENERATOR, "stylegan2", GAN | {"depth": 100_000_000}),
    (GENERATOR, "stylegan1", GAN | {"depth": 100_000_000}),
    (GENERATOR, "stylegan2", GAN | {"channels": [10**30]}),
    (GENERATOR, "stylegan2", GAN | {"channels": [1] * 100_000}),
    (KERNEL_SPACE, "paper", {"features": 3000}),
    (KERNEL_SPACE, "paper", {"features": 1, "residual_front": 100_000_000}),
    (KERNEL_SPACE, "paper", {"features": 1, "residual_back": 100_000_000}),
    (KERNEL_SPACE, "paper", {"features": 1, "code": 1, "extractor_blocks": 100_000_000}),
    (KERNEL_SPACE, "compact", {"window": 2001, "dimensions": 4_000_000}),
    (KERNEL_SPACE, "compact", {"hidden": 100_000}),
    (KERNEL_SPACE, "compact", {"stages": 100_000_000}),
]


@pytest.fixture
def refusal(tmp_path):
    """Load a file, and return what is said of it."""

    def refused(kind: Kind, file: Path) -> str:
        load = load_generator if kind is GENERATOR else load_space
        with pytest.raises(UsageError) as caught:
            load(file)
        text = str(caught.value)
        assert text.startswith(f"{file}: ")
        assert "\n" not in text
        assert len(text) < 500 + len(str(file))
        return text

    return refused


def written(path: Path, kind: Kind, preset: str, config: dict, tensors=None) -> Path:
    metadata = Header(preset, config).metadata(kind)
    safetensors.torch.save_file({"mean_style": torch.zeros(2)} if tensors is None else tensors, path, metadata)
    return path


@pytest.mark.parametrize(("kind", "preset", "config"), HARMFUL)
def test_a_header_is_not_believed(refusal, tmp_path, kind, preset, config):
    before = peak()
    assert "do not fit the structure" in refusal(kind, written(tmp_path / "a.safetensors", kind, preset, config))
    assert peak() - before < MEMORY


def test_an_unknown_preset_of_any_length(refusal, tmp_path):
    assert "newer deblurkit" in refusal(GENERATOR, written(tmp_path / "a.safetensors", GENERATOR, "x" * 10**5, {}))


@pytest.mark.parametrize(
    ("build", "save", "load"),
    [
        (lambda: StyleGAN1(**GAN), save_generator, load_generator),
        (lambda: StyleGAN2(**GAN), save_generator, load_generator),
        (lambda: CompactSpace(window=9, dimensions=12, hidden=3, stages=2, vae=True), save_space, load_space),
        (lambda: PaperSpace(features=2, code=3, residual_front=1, residual_back=1, vae=True), save_space, load_space),
    ],
)
def test_nothing_of_a_loaded_network_is_a_mere_shape(tmp_path, build, save, load):
    with seeded(torch.Generator().manual_seed(0)):
        network = build()
    save(tmp_path / "a.safetensors", network, card={})
    again = load(tmp_path / "a.safetensors")
    for module in again.modules():
        for value in [*vars(module).values(), *module.parameters(), *module.buffers()]:
            assert not isinstance(value, torch.Tensor) or value.device.type == "cpu"
    torch.testing.assert_close(again.state_dict(), network.state_dict(), atol=0, rtol=0)
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(bytes(len(content)))
    torch.testing.assert_close(again.state_dict(), network.state_dict(), atol=0, rtol=0)


@pytest.mark.parametrize("preset", ["stylegan1", "stylegan2"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"style": "5"}, "style: needs a whole number"),
        ({"style": 0}, "style: needs a whole number"),
        ({"inputs": 4.0}, "inputs: needs a whole number"),
        ({"inputs": None}, "inputs: needs a whole number"),
        ({"depth": True}, "depth: needs a whole number"),
        ({"depth": "2"}, "depth: needs a whole number"),
        ({"channels": ["3", "2"]}, "channels: needs 1 to 11 whole numbers"),
        ({"channels": "32"}, "channels: needs 1 to 11 whole numbers"),
        ({"channels": {"3": 0, "2": 0}}, "channels: needs 1 to 11 whole numbers"),
        ({"channels": [[3], [2]]}, "channels: needs 1 to 11 whole numbers"),
    ],
)
def test_settings_of_a_wrong_type(refusal, tmp_path, preset, changes, words):
    assert words in refusal(GENERATOR, written(tmp_path / "a.safetensors", GENERATOR, preset, GAN | changes))


@pytest.mark.parametrize("clamp", ["256", -1.0, float("nan"), float("inf"), None, True, [1]])
def test_clamps_that_are_no_number(refusal, tmp_path, clamp):
    with seeded(torch.Generator().manual_seed(0)):
        tensors = StyleGAN2(**GAN).state_dict()
    file = written(tmp_path / "a.safetensors", GENERATOR, "stylegan2", GAN | {"clamp": clamp}, tensors)
    assert "clamp: needs a finite number of at least 0" in refusal(GENERATOR, file)


def rewritten(file: Path, **changes) -> Path:
    with safetensors.safe_open(file, framework="pt") as content:
        metadata = content.metadata()
    safetensors.torch.save_file(safetensors.torch.load_file(file) | changes["tensors"], file, metadata)
    return file


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"constant": torch.full((1, 3, 4, 4), torch.nan)}, "its constant holds numbers that are not finite"),
        ({"mean_style": torch.tensor([0, 0, torch.inf, 0, 0])}, "its mean_style holds numbers that are not finite"),
        ({"gaussian.mean": torch.full((5,), torch.nan)}, "its gaussian.mean holds numbers that are not finite"),
        ({"gaussian.std": torch.full((5,), torch.inf)}, "its gaussian.std holds numbers that are not finite"),
        ({"gaussian.std": torch.tensor([1.0, 1, 0, 1, 1])}, "gaussian.std is not positive"),
        ({"gaussian.std": torch.tensor([1.0, 1, -1, 1, 1])}, "gaussian.std is not positive"),
    ],
)
def test_generators_with_numbers_that_make_no_sense(refusal, tmp_path, tensors, words):
    with seeded(torch.Generator().manual_seed(0)):
        generator = StyleGAN2(**GAN)
    generator.gaussian = generator.measure(100, torch.Generator().manual_seed(0))
    save_generator(tmp_path / "a.safetensors", generator, card={})
    assert words in refusal(GENERATOR, rewritten(tmp_path / "a.safetensors", tensors=tensors))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"recon_trunk.0.conv1.bias": torch.full((2,), torch.nan)}, "its recon_trunk.0.conv1.bias holds numbers"),
        ({"statistics.mean": torch.full((3,), torch.nan)}, "its statistics.mean holds numbers that are not finite"),
        ({"statistics.mean": torch.zeros(4)}, r"statistics.mean is (4,) instead of (3,)"),
        ({"statistics.factor": torch.zeros(3)}, r"statistics.factor is (3,) instead of (3, 3)"),
    ],
)
def test_kernel_spaces_with_numbers_that_make_no_sense(refusal, tmp_path, tensors, words):
    with seeded(torch.Generator().manual_seed(0)):
        space = PaperSpace(features=2, code=3, residual_front=1, residual_back=1, extractor_blocks=1)
    space.statistics = Statistics(torch.zeros(3), torch.eye(3))
    save_space(tmp_path / "a.safetensors", space, card={})
    assert words in refusal(KERNEL_SPACE, rewritten(tmp_path / "a.safetensors", tensors=tensors))


def test_a_number_of_styles_of_any_length(refusal, tmp_path):
    with seeded(torch.Generator().manual_seed(0)):
        generator = StyleGAN2(**GAN)
    generator.gaussian = generator.measure(100, torch.Generator().manual_seed(0))
    save_generator(tmp_path / "a.safetensors", generator, card={})
    metadata = Header("stylegan2", GAN, {"style_samples": "9" * 5000}).metadata(GENERATOR)
    assert json.loads(metadata["config"]) == GAN
    tensors = safetensors.torch.load_file(tmp_path / "a.safetensors")
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors", metadata)
    assert "style_samples is '9999" in refusal(GENERATOR, tmp_path / "a.safetensors")


def test_generators_load_without_the_code_with_which_torch_calculates_shapes(tmp_path):
    with seeded(torch.Generator().manual_seed(0)):
        save_generator(tmp_path / "a.safetensors", StyleGAN2(**GAN), card={})
    load = "import sys, pathlib; from deblurkit.nets.stylegan.weights import load_generator as load; "
    load += "load(pathlib.Path(sys.argv[1])); assert 'sympy' not in sys.modules"
    subprocess.run([sys.executable, "-c", load, tmp_path / "a.safetensors"], check=True)
