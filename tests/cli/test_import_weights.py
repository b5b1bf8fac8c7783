"""`deblurkit import-weights`: one file in, one file out, or one sentence."""

import pytest
import torch

from deblurkit.nets.kernel_space.header import read_header
from deblurkit.nets.kernel_space.paper import PaperSpace
from deblurkit.nets.kernel_space.weights import load_space


@pytest.fixture
def source(tmp_path):
    space = PaperSpace(features=2, code=3, residual_front=1, residual_back=1, extractor_blocks=1, vae=True)
    torch.save({f"module.{name}": tensor for name, tensor in space.state_dict().items()}, tmp_path / "GOPRO_wVAE.pth")
    return tmp_path / "GOPRO_wVAE.pth"


def test_writes_a_space_and_says_what_it_found(deblurkit, source, tmp_path):
    out = tmp_path / "new" / "gopro.safetensors"
    done = deblurkit("import-weights", str(source), "-o", str(out))
    assert done.code == 0, done.err
    assert done.out == f"{out}\n"
    space = load_space(out)
    count = sum(parameter.numel() for parameter in space.parameters())
    assert done.err == (
        f"{source}: kernel space of Tran et al. (CVPR 2021); preset paper, 3 channels, with VAE, {count:,} parameters\n"
    )
    assert read_header(out).card["source"] == "GOPRO_wVAE.pth"


def test_keeps_an_existing_file(deblurkit, source, tmp_path):
    out = tmp_path / "a.safetensors"
    out.write_text("precious")
    done = deblurkit("import-weights", str(source), "-o", str(out))
    assert (done.code, done.out) == (2, "")
    assert "exists already" in done.err
    assert out.read_text() == "precious"
    assert deblurkit("import-weights", str(source), "-o", str(out), "--overwrite").code == 0
    assert load_space(out).preset == "paper"


def test_leaves_nothing_behind_when_it_fails(deblurkit, tmp_path):
    page, out = tmp_path / "REDS_woVAE.pth", tmp_path / "a.safetensors"
    page.write_text("<!DOCTYPE html><html></html>")
    out.write_text("precious")
    done = deblurkit("import-weights", str(page), "-o", str(out), "--overwrite")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"Error: {page}: is a web page")
    assert done.err.count("\n") == 1
    assert out.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {page.name, out.name}


def test_a_disk_that_refuses(deblurkit, source, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    done = deblurkit("import-weights", str(source), "-o", str(tmp_path / "a.safetensors"))
    assert done.code == 1
    assert "No space left" in done.err
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("-o", "a.pth"), "ends in .safetensors"),
        ((), "-o"),
    ],
)
def test_the_output_must_be_named(deblurkit, source, args, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = deblurkit("import-weights", str(source), *args)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert [path.name for path in tmp_path.iterdir()] == [source.name]
