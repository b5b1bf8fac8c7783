"""`deblurkit import-weights`: one file in, one file out, or one sentence."""

import importlib
from pathlib import Path

import pytest
import torch

from deblurkit.nets.header import read_header as read_any_header
from deblurkit.nets.kernel_space.header import read_header
from deblurkit.nets.kernel_space.paper import PaperSpace
from deblurkit.nets.kernel_space.weights import load_space
from deblurkit.nets.stylegan.weights import GENERATOR, load_generator


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


SAMPLES = ("--samples", "500")


@pytest.fixture
def writers(monkeypatch):
    """Return the modules that write the layouts of others, by name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "checkpoints"))
    return importlib.import_module


@pytest.fixture
def generator(writers):
    return writers("writers").random_generator(channels=(4, 4), style=6, inputs=6, depth=2)


def written(writers, layout, path, generator):
    ours, pickled = writers("writers"), writers("pickled")
    if layout == "StyleGAN2 (rosinality)":
        torch.save({"g_ema": ours.rosinality(generator), "latent_avg": generator.mean_style}, path)
    elif layout == "StyleGAN2 (NVIDIA, PyTorch)":
        pickled.write_ada(path, *ours.ada(generator))
    else:
        variables, kwargs = ours.tensorflow(generator)
        pickled.write_tf(path, variables, static_kwargs=kwargs)
    return path


@pytest.mark.parametrize(
    "layout", ["StyleGAN2 (rosinality)", "StyleGAN2 (NVIDIA, PyTorch)", "StyleGAN2 (NVIDIA, TensorFlow)"]
)
def test_writes_a_generator_and_says_what_it_found(deblurkit, writers, generator, tmp_path, layout):
    source, out = written(writers, layout, tmp_path / "ffhq.pkl", generator), tmp_path / "faces.safetensors"
    done = deblurkit("import-weights", str(source), "-o", str(out), *SAMPLES)
    assert done.code == 0, done.err
    assert done.out == f"{out}\n"
    count = sum(parameter.numel() for parameter in generator.parameters())
    assert done.err.splitlines() == [
        f"{source}: {layout}; preset stylegan2, 8x8 pixels, 4 style vectors of 6, {count:,} parameters",
        "Measuring the distribution of styles on 500 random ones; this takes a while.",
    ]
    made = load_generator(out)
    w = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(made(w, made.own_noises()), generator(w, generator.own_noises()), atol=1e-4, rtol=1e-4)
    measured = generator.measure(500, torch.Generator().manual_seed(0))
    assert made.gaussian.samples == 500
    torch.testing.assert_close(made.gaussian.mean, measured.mean)
    torch.testing.assert_close(made.gaussian.std, measured.std)
    card = read_any_header(out, GENERATOR).card
    assert card["source"] == "ffhq.pkl"
    assert card["layout"] == layout
    again = deblurkit("import-weights", str(out), "-o", str(tmp_path / "b.safetensors"))
    assert again.code == 2
    assert "is a generator of deblurkit already; use it as it is" in again.err


def test_what_a_file_lacks_is_said(deblurkit, writers, generator, tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"g": writers("writers").rosinality(generator, noises=False)}, path)
    done = deblurkit("import-weights", str(path), "-o", str(tmp_path / "a.safetensors"), *SAMPLES)
    assert done.code == 0, done.err
    notes = done.err.splitlines()[1:-1]
    assert len(notes) >= 2
    assert all(note.startswith(f"{path}: ") for note in notes)
    assert any("noise" in note for note in notes)


@pytest.fixture
def pair(writers, tmp_path):
    synthesis, mapping = writers("test_stylegan1").pair((4, 4))
    (tmp_path / "faces").mkdir()
    torch.save(synthesis, tmp_path / "faces" / "synthesis.pt")
    (tmp_path / "other").mkdir()
    torch.save(mapping, tmp_path / "other" / "mapping.pt")
    return tmp_path / "faces" / "synthesis.pt", tmp_path / "other" / "mapping.pt"


def test_a_pair_of_files(deblurkit, pair, tmp_path):
    synthesis, mapping = pair
    out = tmp_path / "a.safetensors"
    lonely = deblurkit("import-weights", str(synthesis), "-o", str(out))
    assert lonely.code == 2
    assert "mapping" in lonely.err
    assert not out.exists()
    done = deblurkit("import-weights", str(synthesis), "--mapping", str(mapping), "-o", str(out), *SAMPLES)
    assert done.code == 0, done.err
    assert "preset stylegan1, 8x8 pixels, 4 style vectors of 6" in done.err
    mapping.rename(synthesis.with_name("mapping.pt"))
    folder = deblurkit("import-weights", str(synthesis.parent), "-o", str(tmp_path / "b.safetensors"), *SAMPLES)
    assert folder.code == 0, folder.err
    first, second = (load_generator(path).state_dict() for path in (out, tmp_path / "b.safetensors"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_mapping_that_nothing_asks_for(deblurkit, source, tmp_path):
    done = deblurkit("import-weights", str(source), "--mapping", str(source), "-o", str(tmp_path / "a.safetensors"))
    assert (done.code, done.out) == (2, "")
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_the_source_is_never_replaced(deblurkit, source):
    path = source.rename(source.with_suffix(".safetensors"))
    content = path.read_bytes()
    done = deblurkit("import-weights", str(path), "-o", str(path), "--overwrite")
    assert (done.code, done.out) == (2, "")
    assert "is the file to read" in done.err
    assert path.read_bytes() == content


@pytest.mark.parametrize("samples", ["1", "0", "many"])
def test_samples_that_measure_nothing(deblurkit, source, tmp_path, samples):
    done = deblurkit("import-weights", str(source), "-o", str(tmp_path / "a.safetensors"), "--samples", samples)
    assert (done.code, done.out) == (2, "")
    assert "--samples" in done.err


def test_help_says_which_files_and_that_nothing_is_run(deblurkit):
    text = " ".join(deblurkit("import-weights", "--help").out.split())
    for word in ("GOPRO_woVAE.pth", "rosinality", "pSp", "NVIDIA's .pkl", "BasicSR", "PULSE", "non-commercial"):
        assert word in text
    assert "Nothing in FILE is run" in text
