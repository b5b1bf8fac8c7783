"""Published weights become kernel spaces; everything else becomes a sentence, and nothing in it is run."""

import hashlib
import io
import os
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from deblurkit.checkpoints.kernel_spaces import convert_kernel_space
from deblurkit.checkpoints.layouts import import_network
from deblurkit.errors import UsageError
from deblurkit.nets.kernel_space.paper import PaperSpace
from deblurkit.nets.kernel_space.weights import load_space, save_space
from deblurkit.nets.seeding import seeded

WIDTHS = (
    {"features": 2, "code": 16},
    {"features": 3, "code": 5, "residual_front": 2, "residual_back": 3, "extractor_blocks": 1},
    {"features": 2, "code": 7, "vae": True, "residual_front": 1, "residual_back": 0, "extractor_blocks": 0},
    {"features": 2, "code": 16, "channels": 1, "residual_front": 0, "residual_back": 1},
)

ANY = "adapter.model.up.1.bias"
PUBLISHED = {
    "channels": 3,
    "features": 64,
    "code": 512,
    "residual_front": 10,
    "residual_back": 20,
    "extractor_blocks": 4,
}


def published(seed=0, **config):
    """A network with the authors' names, its weights random and not small."""
    with seeded(torch.Generator().manual_seed(seed)):
        space = PaperSpace(**(config or WIDTHS[1]))
        with torch.no_grad():
            for parameter in space.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
    return space.eval()


def saved(path: Path, document, zipped=True) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch cannot find the source of a test's classes
        torch.save(document, path, _use_new_zipfile_serialization=zipped)
    return path


def refusal(path) -> str:
    with pytest.raises(UsageError) as caught:
        import_network(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < 350 + len(str(path))
    return text.removeprefix(f"{path}: ")


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return dict(published().state_dict())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("config", WIDTHS, ids=str)
def test_an_imported_space_gives_the_same_pictures(tmp_path, config, zipped):
    space = published(**config)
    source = saved(tmp_path / "GOPRO.pth", space.state_dict(), zipped)
    imported = import_network(source)
    assert imported.network.config() == space.config()
    save_space(tmp_path / "gopro.safetensors", imported.network, card=imported.card)
    again = load_space(tmp_path / "gopro.safetensors")
    sharp, blurry = torch.rand(2, 1, space.channels, 150, 120, generator=torch.Generator().manual_seed(1)).unbind()
    with torch.no_grad():
        for made in (imported.network, again):
            for found, wanted in zip(made.distribution(sharp, blurry), space.distribution(sharp, blurry), strict=True):
                assert (found is None) == (wanted is None)
                if found is not None:
                    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
            code = space.encode(sharp, blurry)
            torch.testing.assert_close(made(sharp, code), space(sharp, code), atol=1e-5, rtol=1e-5)


def test_blurs_are_drawn_from_a_vae_as_its_authors_do(tmp_path):
    for config, drawn in ((WIDTHS[1], False), (WIDTHS[2], True)):
        imported = import_network(saved(tmp_path / "a.pth", published(**config).state_dict()))
        save_space(tmp_path / "a.safetensors", imported.network, card={}, overwrite=True)
        space = load_space(tmp_path / "a.safetensors")
        assert (space.statistics is not None) == drawn
    draws = [space.draw((1, 1), generator=torch.Generator().manual_seed(i), strength=1.2) for i in range(500)]
    assert torch.cat(draws).mean().item() == pytest.approx(0, abs=0.1)
    assert torch.cat(draws).std().item() == pytest.approx(1.2, rel=0.05)


@pytest.mark.parametrize("vae", [False, True])
def test_the_published_sizes_are_found_out(vae):
    with torch.device("meta"):
        weights = PaperSpace(vae=vae).state_dict()
    space, notes = convert_kernel_space(weights)
    assert notes == []
    assert space.config() == PUBLISHED | {"vae": vae}


def test_the_card_says_where_the_weights_come_from(tmp_path, weights):
    path = saved(tmp_path / "REDS_woVAE.pth", weights)
    card = import_network(path).card
    assert card["source"] == "REDS_woVAE.pth"
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "Tran" in card["layout"]
    assert all(isinstance(text, str) for text in card.values())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {f"module.{name}": tensor for name, tensor in weights.items()},
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"params": {f"module.{name}": tensor for name, tensor in weights.items()}},
        lambda weights: {name: nn.Parameter(tensor) for name, tensor in weights.items()},
        lambda weights: {name: tensor.double() for name, tensor in weights.items()},
    ],
    ids=["module.", "state_dict", "params of module.", "parameters", "double"],
)
def test_ways_of_wrapping(tmp_path, weights, wrap):
    space = import_network(saved(tmp_path / "a.pth", wrap(weights))).network
    for name, tensor in space.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, weights[name])


def test_safetensors_of_the_same_names(tmp_path, weights):
    safetensors.torch.save_file(weights, tmp_path / "a.safetensors")
    space = import_network(tmp_path / "a.safetensors").network
    assert torch.equal(space.state_dict()[ANY], weights[ANY])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop(ANY), f"1 missing: {ANY}"),
        (lambda w: w.pop("feature_extractor.0.weight"), "missing: feature_extractor.0.weight"),
        (lambda w: [w.pop(name) for name in list(w) if not name.startswith("adapter")], "missing: feature_extractor.0"),
        (lambda w: w.update(extra=torch.ones(1)), "1 unexpected: extra"),
        (
            lambda w: w.update({ANY: torch.ones(4)}),
            f"{ANY} is (4,) instead of (3,)",
        ),
        (lambda w: w.update({"feature_extractor.0.weight": torch.ones(3)}), "is no convolution"),
        (lambda w: w.update({"feature_extractor.0.weight": torch.ones(3, 4, 3, 3)}), "1 or 3 channels, not 4"),
        (
            lambda w: w[ANY].fill_(torch.nan),
            f"{ANY} holds numbers that are not finite",
        ),
        (lambda w: w[ANY].fill_(torch.inf), "not finite"),
        (lambda w: w.update({ANY: torch.ones(3).int()}), "is of int32"),
        (lambda w: w.update({ANY: torch.ones(3) * 1j}), "is of complex64"),
        (
            lambda w: w.update({ANY: [1.0, 2.0, 3.0]}),
            f"{ANY} is no plain tensor",
        ),
        (lambda w: w.update({ANY: torch.ones(1).expand(10**12)}), "more numbers than the file"),
        (lambda w: w.update({ANY: torch.tensor([1e300] * 3).double()}), "not finite"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, weights, change, words):
    change(weights)
    text = refusal(saved(tmp_path / "a.pth", weights))
    assert words in text
    assert "Tran" in text


class Malice:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_not_run(tmp_path, weights, zipped):
    target = tmp_path / "hacked"
    for document in (Malice(target), {**weights, "more": Malice(target)}):
        text = refusal(saved(tmp_path / "a.pth", document, zipped))
        assert "holds more than weights" in text
        assert "mkdir" in text
        assert not target.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_is_not_opened(tmp_path, protocol):
    path, target = tmp_path / "a.pth", tmp_path / "hacked"
    path.write_bytes(pickle.dumps(Malice(target), protocol))
    assert "pickle" in refusal(path) or protocol < 2  # those begin like any text
    assert not target.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_network_is_told_apart(tmp_path, zipped):
    network = nn.Sequential(nn.Linear(200, 1000), nn.ReLU6(), nn.Linear(1000, 9))
    assert "whole network" in refusal(saved(tmp_path / "im1_knet.pth", network, zipped))
    assert "SelfDeblur" in refusal(tmp_path / "im1_knet.pth")


def zip_of(name, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr(name, bytes(5000))
    return content.getvalue()


def tar():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.pth"))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>", "is a web page, not weights"),
        (b"\xef\xbb\xbf\n  <HTML>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\x1f\x8b" + bytes(40), "is an archive"),
        (tar(), "is an archive"),
        (zip_of("GOPRO.pth"), "is a zip archive, not weights"),
        (zip_of("a/data.pkl", zipfile.ZIP_DEFLATED), "is compressed"),
        (zip_of("a/constants.pkl"), "TorchScript"),
        (zip_of("a/data.pkl"), "damaged or incomplete"),
        (zip_of("a/data.pkl")[:100], "damaged or incomplete"),
        (bytes(range(255, 0, -1)), "neither a PyTorch nor a safetensors file"),
        (b"deadlink", "neither"),
        (bytes.fromhex("80028a0a6cfc9c46f9206aa850192e") + b"garbage", "damaged or incomplete"),
        (bytes.fromhex("80028a0a6cfc9c46f9206aa850192e"), "damaged or incomplete"),
        ((5).to_bytes(8, "little") + b"{bad}", "damaged or incomplete"),
    ],
)
def test_files_that_are_no_weights(tmp_path, content, words):
    path = tmp_path / "GOPRO_woVAE.pth"
    path.write_bytes(content)
    assert words in refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.999])
def test_truncated_files(tmp_path, weights, kept, zipped):
    path = saved(tmp_path / "a.pth", weights, zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "damaged or incomplete" in refusal(path)


def test_a_converted_file(tmp_path):
    save_space(tmp_path / "a.safetensors", published(), card={})
    assert "is a kernel space of deblurkit already" in refusal(tmp_path / "a.safetensors")


def test_missing_file_and_folder(tmp_path):
    assert "No such file" in refusal(tmp_path / "no.pth")
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"epoch": 3, "iter": 5, "optimizers": [], "schedulers": []}, "it holds epoch, iter, optimizers, ..."),
        ({}, "it holds nothing"),
        (torch.ones(3), "holds a Tensor"),
        ([torch.ones(3)], "holds a list"),
        ({0: torch.ones(3)}, "it holds 0"),
    ],
)
def test_other_content(tmp_path, document, words):
    assert words in refusal(saved(tmp_path / "a.pth", document))
