"""``deblurkit metrics``: compare two pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from deblurkit.cli import console
from deblurkit.errors import UsageError

CROP = 15


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("estimate", metavar="A", type=click.Path(path_type=Path))
@click.argument("truth", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--max-shift",
    type=click.IntRange(0, CROP),
    default=10,
    show_default=True,
    help="Largest shift of the alignment, in pixels.",
)
@click.option("--json", "json_", is_flag=True, help="Print one JSON document on stdout.")
def metrics(estimate: Path, truth: Path, max_shift: int, json_: bool) -> None:
    """Compare picture A with the true picture B.

    Prints PSNR in dB and SSIM, plain and aligned. Blind deblurring may shift the picture, so published scores align
    first: B is cropped by 15 pixels on every side, A is shifted in steps of a quarter of a pixel by bilinear
    interpolation, and the shift of least squared difference counts. The aligned SSIM is Wang's with automatic
    downsampling, as published; the plain one is at full resolution.
    """
    from deblurkit.images import read_image
    from deblurkit.metrics import align, psnr, ssim

    a, b = read_image(estimate).pixels, read_image(truth).pixels
    if a.shape != b.shape:
        raise UsageError(
            f"{estimate} and {truth} differ in size or channels ({a.shape[-1]}x{a.shape[-2]}x{a.shape[1]} and "
            f"{b.shape[-1]}x{b.shape[-2]}x{b.shape[1]}); compare like with like"
        )
    best = align(a, b, crop=CROP, max_shift=max_shift)
    scores: dict[str, Any] = {
        "psnr": float(psnr(a, b)),
        "ssim": float(ssim(a, b)),
        "aligned_psnr": float(best.psnr),
        "aligned_ssim": float(best.ssim),
        "shift": {"down": float(best.shift[0]), "right": float(best.shift[1])},
        "crop": CROP,
        "max_shift": max_shift,
    }
    if json_:
        # equal pictures have an infinite PSNR, which JSON cannot say
        console.document({key: None if value == float("inf") else value for key, value in scores.items()})
        return
    console.result(f"plain    PSNR {scores['psnr']:.2f} dB  SSIM {scores['ssim']:.4f}")
    console.result(
        f"aligned  PSNR {scores['aligned_psnr']:.2f} dB  SSIM {scores['aligned_ssim']:.4f}  "
        f"(shift {best.shift[0]:+.2f} down, {best.shift[1]:+.2f} right; crop {CROP}, up to {max_shift} px)"
    )
