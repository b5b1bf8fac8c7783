"""What every kernel space inherits, and its file: header, weights, statistics, and files that are none."""

import json
from pathlib import Path
from typing import ClassVar

import pytest
import safetensors.torch
import torch
from torch import nn

from deblurkit.errors import UsageError
from deblurkit.nets.header import Header
from deblurkit.nets.kernel_space.header import KERNEL_SPACE, read_header, space_path
from deblurkit.nets.kernel_space.paper import PaperSpace
from deblurkit.nets.kernel_space.space import KernelSpace, Statistics
from deblurkit.nets.kernel_space.weights import build_space, load_space, save_space
from deblurkit.nets.weights import differences

NARROW = {"features": 2, "code": 3, "residual_front": 1, "residual_back": 1, "extractor_blocks": 1}


class Scaling(KernelSpace):
    """Two numbers: G is the ratio of means, F multiplies by it and crops two pixels; shows what it was given."""

    preset: ClassVar[str] = "scaling"
    margin = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.gain = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[int, ...]] = []

    def code_shape(self, size):
        return 2, 1, 2

    def extract(self, sharp, blurry):
        self.seen.append(tuple(sharp.shape))
        return (blurry.mean((1, 2, 3)) / sharp.mean((1, 2, 3))).view(-1, 1, 1, 1), None

    def apply_code(self, x, code):
        self.seen.append(tuple(x.shape))
        return (x * code)[..., 2:-2, 2:-2]


@pytest.fixture
def space() -> PaperSpace:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PaperSpace(**NARROW).eval()


@pytest.fixture
def file(space, tmp_path) -> Path:
    save_space(tmp_path / "space.safetensors", space, card={"data": "noise"})
    return tmp_path / "space.safetensors"


def rewritten(file, **changes):
    """The same weights under another header."""
    with safetensors.safe_open(file, framework="pt") as content:
        metadata = {**content.metadata(), **changes}
    safetensors.torch.save_file(safetensors.torch.load_file(file), file, metadata)
    return file


@pytest.mark.parametrize(("networks", "picture", "folded"), [(1, 3, (6, 1)), (3, 1, (2, 3)), (0, 3, (2, 3))])
def test_pictures_meet_networks_of_other_channels(networks, picture, folded):
    space = Scaling(networks)
    x = torch.rand(2, picture, 9, 8, generator=torch.Generator().manual_seed(0))
    code = torch.tensor([2.0, 3.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(space.blur(x, code), (x * code)[..., 2:-2, 2:-2])
    assert space.seen == [(*folded, 9, 8)]
    torch.testing.assert_close(space.encode(x, x * code), code)
    assert space.seen[1][1] == (networks or picture)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (9, 8)])
def test_the_forward_pass_keeps_the_size(size):
    x = torch.rand(1, 1, *size)
    torch.testing.assert_close(Scaling(1)(x, torch.full((1, 1, 1, 1), 0.5)), 0.5 * x)


def test_draws_follow_the_statistics():
    space = Scaling(1)
    factor = torch.tensor([[1.0, 0.0], [2.0, 0.5]])
    space.statistics = Statistics(torch.tensor([3.0, -4.0]), factor)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([space.draw((9, 9), generator=generator) for _ in range(4000)])
    assert draws.shape == (4000, 1, 2, 1, 2)
    assert torch.equal(draws[..., 0], draws[..., 1])
    flat = draws[..., 0].flatten(1)
    torch.testing.assert_close(flat.mean(0), torch.tensor([3.0, -4.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(flat.T.cov(), factor @ factor.T, atol=0.2, rtol=0)
    again = space.draw((9, 9), generator=torch.Generator().manual_seed(0))
    assert torch.equal(again, draws[0])
    still = space.draw((9, 9), generator=generator, strength=0.0)
    assert torch.equal(still[0, :, 0, 0], space.statistics.mean)


def test_nothing_to_draw_from():
    with pytest.raises(ValueError, match="statistics"):
        Scaling(1).draw((9, 9), generator=torch.Generator())


def test_a_space_comes_back(space, file):
    before = torch.random.get_rng_state()
    again = load_space(file)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert isinstance(again, PaperSpace)
    assert again.config() == space.config()
    assert again.statistics is None
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    for name, tensor in space.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    x, y = torch.rand(2, 1, 3, 70, 130).unbind()
    with torch.no_grad():
        assert torch.equal(again(x, again.encode(x, y)), space(x, space.encode(x, y)))


def test_statistics_come_back(space, tmp_path):
    space.statistics = Statistics(torch.randn(3), torch.randn(3, 3).tril())
    save_space(tmp_path / "a.safetensors", space, card={})
    again = load_space(tmp_path / "a.safetensors").statistics
    assert again is not None
    assert torch.equal(again.mean, space.statistics.mean)
    assert torch.equal(again.factor, space.statistics.factor)


def test_half_precision_halves_the_file(space, file, tmp_path):
    save_space(tmp_path / "half.safetensors", space, card={}, half=True)
    tensors = safetensors.torch.load_file(tmp_path / "half.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    again = load_space(tmp_path / "half.safetensors").state_dict()
    for name, tensor in space.state_dict().items():
        assert again[name].dtype == torch.float32
        torch.testing.assert_close(again[name], tensor, atol=1e-6, rtol=1e-3)


def test_the_header_is_read_without_the_weights(space, file):
    header = read_header(file)
    assert header == Header("paper", space.config(), {"data": "noise"})
    assert build_space(header.preset, header.config).config() == space.config()


def test_the_card_cannot_change_the_structure(space, tmp_path):
    save_space(tmp_path / "a.safetensors", space, card={"preset": "compact", "format": "x"})
    assert read_header(tmp_path / "a.safetensors").preset == "paper"


def test_an_existing_file_is_kept(space, file):
    before = file.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        save_space(file, space, card={})
    assert file.read_bytes() == before
    save_space(file, space, card={"data": "other"}, overwrite=True)
    assert read_header(file).card == {"data": "other"}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_empty_path_is_the_space_of_the_package():
    assert space_path(Path()).name == "compact.safetensors"
    assert space_path(Path("a")) == Path("a")


def test_an_unknown_preset():
    with pytest.raises(UsageError, match="compact, paper"):
        build_space("huge", {})


NUMBERS = b'{"__metadata__":{"format":"deblurkit-kernel-space","version":"1","config":5,"preset":7}}'
NONE = {
    "empty": b"",
    "text": b"no weights at all, but a longer text",
    "html": b"<!DOCTYPE html><html><body>not found</body></html>",
    "no object": (2).to_bytes(8, "little") + b"[]",
    "odd metadata": (18).to_bytes(8, "little") + b'{"__metadata__":5}',
    "numbers for text": (len(NUMBERS)).to_bytes(8, "little") + NUMBERS,
    "no json": (4).to_bytes(8, "little") + b"{{{{",
    "deep": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "endless": b"\xff" * 64,
}


@pytest.mark.parametrize("content", NONE.values(), ids=NONE)
def test_files_that_are_no_space(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is no kernel space of deblurkit"):
        read_header(path)
    with pytest.raises(UsageError) as caught:
        load_space(path)
    sentence(caught.value, path)


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path, tmp_path / "no.safetensors"):
        for read in (read_header, load_space):
            with pytest.raises(UsageError, match="cannot be read") as caught:
                read(path)
            sentence(caught.value, path)


def test_weights_of_something_else(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"weight": torch.ones(2)}, path)
    for read in (read_header, load_space):
        with pytest.raises(UsageError, match="is no kernel space of deblurkit"):
            read(path)


def test_a_truncated_file(file):
    file.write_bytes(file.read_bytes()[:-100])
    read_header(file)
    with pytest.raises(UsageError) as caught:
        load_space(file)
    sentence(caught.value, file)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "2"}, "update deblurkit"),
        ({"preset": "huge"}, "needs a newer deblurkit"),
        ({"config": "[1]"}, "no table"),
        ({"config": "{"}, "damaged"),
        ({"config": json.dumps({**NARROW, "features": 0})}, "at least 1"),
        ({"config": json.dumps({**NARROW, "width": 3})}, "width"),
        ({"config": json.dumps({**NARROW, "features": "2"})}, "do not fit"),
        ({"config": json.dumps({**NARROW, "features": 3})}, "of another shape: feature_extractor.0.weight is (2, 3,"),
        ({"config": json.dumps({**NARROW, "residual_back": 2})}, "missing: recon_trunk.1.conv1.weight"),
        ({"config": json.dumps({**NARROW, "residual_front": 0})}, "unexpected: feature_extractor.6.conv1.bias"),
    ],
)
def test_headers_that_do_not_fit(file, changes, words):
    with pytest.raises(UsageError) as caught:
        load_space(rewritten(file, **changes))
    assert words in str(caught.value)
    sentence(caught.value, file)


def test_differences_are_told_in_a_few_words():
    expected = {name: torch.empty(2) for name in "abcdef"}
    assert differences(expected, expected) == ""
    found = {"a": torch.empty(3), "x": torch.empty(1)}
    assert differences(expected, found) == (
        "5 missing: b, c, d, ...; 1 unexpected: x; 1 of another shape: a is (3,) instead of (2,)"
    )


def test_the_format_is_named():
    assert Header("paper", {}).metadata(KERNEL_SPACE)["format"] == KERNEL_SPACE.format


def sentence(error, path):
    text = str(error)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < 400 + len(str(path))
