"""`deblurkit metrics`: two pictures compared, plainly and as published."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.images import read_image
from deblurkit.metrics import align, psnr, ssim
from deblurkit.testing import cartoon


def save(path: Path, x: torch.Tensor) -> str:
    values = (x[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(path)
    return str(path)


@pytest.fixture
def pair(tmp_path) -> tuple[str, str]:
    """A picture with noise, moved by (2, -3) pixels, and the true one."""
    x = cartoon(1, 3, (80, 90))
    noise = 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    moved = torch.roll(x + noise, (2, -3), (-2, -1)).clamp(0, 1)
    return save(tmp_path / "a.png", moved), save(tmp_path / "b.png", x)


def test_prints_two_lines_with_the_numbers_of_the_library(deblurkit, pair):
    done = deblurkit("metrics", *pair)
    assert done.code == 0, done.err
    assert done.err == ""
    a, b = (read_image(Path(path)).pixels for path in pair)
    best = align(a, b)
    plain, aligned = done.out.splitlines()
    assert plain == f"plain    PSNR {float(psnr(a, b)):.2f} dB  SSIM {float(ssim(a, b)):.4f}"
    assert aligned.startswith(f"aligned  PSNR {best.psnr:.2f} dB  SSIM {best.ssim:.4f}  (shift +2.00 down, -3.00 right")


def test_json_is_one_document(deblurkit, pair):
    scores = json.loads(deblurkit("metrics", *pair, "--json").out)
    assert scores["shift"] == {"down": 2.0, "right": -3.0}
    assert scores["aligned_psnr"] > 30 > scores["psnr"]
    assert 0 < scores["ssim"] < scores["aligned_ssim"] <= 1
    assert scores["crop"] == 15
    assert scores["max_shift"] == 10


def test_max_shift_limits_the_alignment(deblurkit, pair):
    scores = json.loads(deblurkit("metrics", *pair, "--json", "--max-shift", "1").out)
    assert max(map(abs, scores["shift"].values())) <= 1
    still = json.loads(deblurkit("metrics", *pair, "--json", "--max-shift", "0").out)
    assert still["shift"] == {"down": 0.0, "right": 0.0}
    done = deblurkit("metrics", *pair, "--max-shift", "16")
    assert done.code == 2
    assert "0<=x<=15" in done.err


def test_equal_pictures_have_no_finite_psnr(deblurkit, pair):
    assert "PSNR inf dB  SSIM 1.0000" in deblurkit("metrics", pair[1], pair[1]).out
    scores = json.loads(deblurkit("metrics", pair[1], pair[1], "--json").out)
    assert scores["psnr"] is None
    assert scores["ssim"] == pytest.approx(1)


def test_sixteen_bits_are_compared_with_eight(deblurkit, tmp_path):
    x = cartoon(1, 1, (64, 64))
    b = save(tmp_path / "b.png", x)
    Image.fromarray((x[0, 0] * 65535).round().numpy().astype(np.uint16)).save(tmp_path / "a.png")
    scores = json.loads(deblurkit("metrics", str(tmp_path / "a.png"), b, "--json").out)
    assert scores["psnr"] > 50


def test_what_cannot_be_compared(deblurkit, tmp_path, pair):
    small = save(tmp_path / "small.png", cartoon(1, 3, (30, 30)))
    grey = save(tmp_path / "grey.png", cartoon(1, 1, (80, 90)))
    (tmp_path / "text.png").write_text("no picture")
    for args, code, words in (
        ((small, pair[1]), 2, "differ in size or channels (30x30x3 and 90x80x3)"),
        ((grey, pair[1]), 2, "differ in size or channels (90x80x1 and 90x80x3)"),
        ((small, small), 2, "is too small for a crop of 15 px"),
        ((str(tmp_path / "gone.png"), pair[1]), 2, "does not exist"),
        ((str(tmp_path / "text.png"), pair[1]), 2, "is not a picture"),
        ((pair[1],), 2, "Missing argument 'B'"),
    ):
        done = deblurkit("metrics", *args)
        assert done.code == code
        assert done.out == ""
        assert words in done.err
        assert done.err.count("\n") == 1
