"""Kernels in and out of files."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from scipy.signal import convolve2d

from deblurkit.errors import ExitCode, KernelError, UsageError
from deblurkit.kernels import check_kernel_fits, read_kernel, write_kernel


def kernel(height: int = 5, width: int = 7) -> np.ndarray:
    values = np.random.default_rng(height * width).random((height, width))
    return values / values.sum()


def npy(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def refused(path: Path, words: str, **options) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        read_kernel(path, **options)
    assert caught.value.exit_code == ExitCode.USAGE
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(".")


def test_reads_and_normalises(tmp_path):
    for number, values in enumerate((kernel(), kernel() * 1e30, kernel().astype(np.float32), kernel()[None, None])):
        loaded = read_kernel(npy(tmp_path / f"{number}.npy", values))
        assert loaded.kernel.shape == (1, 1, 5, 7)
        assert loaded.kernel.dtype == torch.float32
        assert loaded.notes == ()
        assert np.allclose(loaded.kernel[0, 0].numpy(), kernel(), rtol=1e-5)


def test_flip_turns_by_180_degrees(tmp_path):
    path = npy(tmp_path / "k.npy", kernel())
    assert torch.equal(read_kernel(path, flip=True).kernel, read_kernel(path).kernel.flip(-2, -1))


@pytest.mark.parametrize("shape", [(4, 6), (4, 5), (5, 6)])
def test_even_kernels_are_padded_with_a_note_and_keep_their_anchor(tmp_path, shape):
    values = kernel(*shape)
    loaded = read_kernel(npy(tmp_path / "k.npy", values))
    assert len(loaded.notes) == 1
    odd = loaded.kernel[0, 0].double().numpy()
    assert all(side % 2 == 1 for side in odd.shape)
    # The middle of the padded kernel is index n // 2 of the original: y[p] = Σ k[j] x[p - j + n // 2].
    picture = np.random.default_rng(0).random((20, 20))
    full = convolve2d(picture, values)
    expected = full[shape[0] // 2 :][:20, shape[1] // 2 :][:, :20]
    assert np.allclose(convolve2d(picture, odd, mode="same"), expected, atol=1e-6)


def test_flipping_an_even_kernel_keeps_its_anchor(tmp_path):
    values = np.zeros((4, 4))
    values[2, 2] = 1  # the anchor itself
    loaded = read_kernel(npy(tmp_path / "k.npy", values), flip=True).kernel
    assert loaded[0, 0, 2, 2] == 1


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_reads_grey_pictures_of_8_and_16_bits(tmp_path, suffix, dtype):
    values = np.rint(kernel() / kernel().max() * np.iinfo(dtype).max).astype(dtype)
    Image.fromarray(values).save(tmp_path / f"k{suffix}")
    loaded = read_kernel(tmp_path / f"k{suffix}")
    assert np.allclose(loaded.kernel[0, 0].numpy(), values / values.sum(dtype=np.float64), rtol=1e-5)


def test_reads_floating_point_tiff(tmp_path):
    Image.fromarray(kernel().astype(np.float32)).save(tmp_path / "k.tif")
    assert np.allclose(read_kernel(tmp_path / "k.tif").kernel[0, 0].numpy(), kernel(), rtol=1e-5)


def test_a_coloured_picture_is_a_kernel_only_if_it_is_grey(tmp_path):
    grey = np.rint(kernel() * 2000).astype(np.uint8)
    for mode in ("RGB", "P", "RGBA"):
        Image.fromarray(grey).convert(mode).save(tmp_path / "k.png")
        expected = grey / grey.sum(dtype=np.float64)
        assert np.allclose(read_kernel(tmp_path / "k.png").kernel[0, 0].numpy(), expected, rtol=1e-5)
    colour = np.stack([grey, grey, grey // 2], -1)
    Image.fromarray(colour).save(tmp_path / "k.png")
    refused(tmp_path / "k.png", "coloured")
    Image.fromarray(np.dstack([grey, grey, grey, grey])).save(tmp_path / "k.png")
    refused(tmp_path / "k.png", "transparent")


@pytest.mark.parametrize("name", ["kernel", "k", "psf", "PSF", "f", "h"])
def test_finds_the_kernel_of_a_matlab_file_by_name(tmp_path, name):
    path = tmp_path / "k.mat"
    savemat(path, {"x": np.eye(9), "y": np.eye(9), name: kernel(), "title": "text"})
    assert np.allclose(read_kernel(path).kernel[0, 0].numpy(), kernel(), rtol=1e-5)


def test_takes_the_only_matrix_of_a_matlab_file(tmp_path):
    path = tmp_path / "k.mat"
    savemat(path, {"whatever": kernel(), "scale": 3.0, "cell": np.array([kernel(), kernel()], dtype=object)})
    assert np.allclose(read_kernel(path).kernel[0, 0].numpy(), kernel(), rtol=1e-5)


def test_names_the_variables_where_none_is_a_clear_choice(tmp_path):
    path = tmp_path / "k.mat"
    savemat(path, {"first": kernel(), "second": kernel()})
    refused(path, "first, second")
    savemat(path, {"stack": np.zeros((3, 3, 8))})
    refused(path, "stack")


@pytest.mark.parametrize("content", [b"MATLAB 7.3 MAT-file, Platform: GLNXA64", b"\x89HDF\r\n\x1a\n"])
def test_matlab_73_is_refused_with_the_cure(tmp_path, content):
    (tmp_path / "k.mat").write_bytes(content + bytes(500))
    refused(tmp_path / "k.mat", "-v7")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((3, 3), np.nan), "not finite"),
        (np.array([[0, np.inf, 0]]), "not finite"),
        (np.zeros((3, 3)), "no value above 0"),
        (-np.ones((3, 3)), "no value above 0"),
        (np.array([[-0.2, 1.0, 0.2]]), "negative"),
        (np.ones(5), "two dimensions"),
        (np.float64(1), "two dimensions"),
        (np.ones((3, 3, 3)), "two dimensions"),
        (np.ones((0, 3)), "two dimensions"),
        (np.ones((1, 5001)), "larger than any kernel"),
        (np.ones((3, 3)) * 1j, "complex"),
        (np.array([["a", "b"]]), "no kernel"),
    ],
)
def test_refuses_arrays_that_are_no_kernel(tmp_path, values, words):
    refused(npy(tmp_path / "k.npy", values), words)


def test_rounding_below_zero_is_forgiven(tmp_path):
    loaded = read_kernel(npy(tmp_path / "k.npy", np.array([[-1e-4, 1.0, 0.5]])))
    assert loaded.kernel.min() == 0
    assert loaded.kernel.sum() == pytest.approx(1)


def test_python_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "k.npy", np.array([[1, {}]], dtype=object), allow_pickle=True)
    refused(tmp_path / "k.npy", "Python objects")


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, k=kernel())
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif", ".mat"])
@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html></html>", b"\x93NUMPY\1\0\xff\xff", b"\x89PNG\r\n\x1a\n"]
)
def test_rubbish_is_refused_in_one_sentence(tmp_path, suffix, content):
    path = tmp_path / f"k{suffix}"
    path.write_bytes(content)
    refused(path, "k")


def test_archives_truncated_and_missing_files_are_refused(tmp_path):
    (tmp_path / "z.npy").write_bytes(npz())
    refused(tmp_path / "z.npy", "npz")
    path = npy(tmp_path / "k.npy", kernel())
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, "damaged")
    refused(tmp_path / "missing.npy", "does not exist")
    refused(tmp_path / "k.jpg", "convert it")
    (tmp_path / "folder.npy").mkdir()
    refused(tmp_path / "folder.npy", "cannot be read")


def test_a_bomb_is_refused_by_its_header(tmp_path):
    Image.new("1", (20000, 20000)).save(tmp_path / "k.png")
    refused(tmp_path / "k.png", "larger than any kernel")


def test_a_kernel_must_fit_into_its_picture():
    check_kernel_fits(torch.ones(1, 1, 15, 9), (15, 9))
    for size in ((14, 9), (15, 8)):
        with pytest.raises(KernelError, match="9 × 15"):
            check_kernel_fits(torch.ones(1, 1, 15, 9), size)


def test_writes_numbers_and_a_picture(tmp_path):
    values = torch.from_numpy(kernel(5, 7) * 3)[None, None]
    path, view = tmp_path / "a.kernel.npy", tmp_path / "a.kernel.png"
    write_kernel(path, view, values, False)
    numbers = np.load(path, allow_pickle=False)
    assert numbers.dtype == np.float32
    assert numbers.shape == (5, 7)
    assert np.allclose(numbers, kernel(5, 7), rtol=1e-6)
    with Image.open(view) as image:
        assert (image.mode, image.size) == ("L", (133, 95))
        assert np.asarray(image).max() == 255
    assert sorted(os.listdir(tmp_path)) == ["a.kernel.npy", "a.kernel.png"]
    with pytest.raises(UsageError, match="--overwrite"):
        write_kernel(path, view, values, False)


def test_what_is_written_is_read_back(tmp_path):
    path, view = tmp_path / "a.kernel.npy", tmp_path / "a.kernel.png"
    write_kernel(path, view, torch.from_numpy(kernel())[None, None], False)
    assert np.allclose(read_kernel(path).kernel[0, 0].numpy(), kernel(), rtol=1e-6)
    loaded = read_kernel(view)
    assert "enlarged 19 times" in loaded.notes[0]
    assert np.allclose(loaded.kernel[0, 0].numpy(), kernel(), atol=kernel().max() / 200)


@pytest.mark.parametrize(
    "values",
    [
        torch.ones(3, 3),
        torch.ones(2, 1, 3, 3),
        torch.zeros(1, 1, 3, 3),
        torch.full((1, 1, 3, 3), torch.nan),
        -torch.ones(1, 1, 3, 3),
    ],
)
def test_what_is_no_kernel_is_not_written(tmp_path, values):
    with pytest.raises(ValueError, match="kernel must be"):
        write_kernel(tmp_path / "a.npy", tmp_path / "a.png", values, False)
    assert os.listdir(tmp_path) == []


def test_the_sample_kernel_makes_the_sample_picture():
    """Fixes the convention: true convolution, anchor in the middle."""
    folder = Path(__file__).parent / "data"
    k = read_kernel(folder / "sample_kernel.npy").kernel[0, 0].double().numpy()
    with Image.open(folder / "sample_sharp.png") as sharp, Image.open(folder / "sample_blurry.png") as blurry:
        x, y = np.asarray(sharp)[..., 1] / 255, np.asarray(blurry)[..., 1] / 255
    border = k.shape[0] // 2
    residual = convolve2d(x, k, mode="valid") - y[border:-border, border:-border]
    assert abs(residual.std() - 0.01) < 0.001
    turned = convolve2d(x, k[::-1, ::-1], mode="valid") - y[border:-border, border:-border]
    assert turned.std() > 2 * residual.std()
