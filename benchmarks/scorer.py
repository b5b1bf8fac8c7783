"""Is the scorer right? Levin's set scored by `deblurkit.scores` beside numbers that others measured.

    python benchmarks/scorer.py [--data ../shared/data] [--solvers wiener,levin,deconvolve] [--images 1,2,3,4]

Four comparisons, all on the 32 pictures unless fewer images are named:

* the blurry pictures themselves;
* `wiener`: a plain deconvolution with the true kernel (Laplacian penalty, edges tapered, the best of three weights),
  against alignment.json, which was computed by another program with another alignment (whole pixels first, then
  quarters around the best);
* `levin`: sparse deconvolution as Levin et al. 2009 describe it for their table (penalty |.|^0.8 of first and second
  derivatives, weight 0.0068, three rounds of 200 conjugate gradients), against their own squared errors;
* `deconvolve`: deblurkit's recipe with the true kernel, against the same table.
"""

import argparse
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblurkit.config import resolve
from deblurkit.datasets import Case, Sample, find_cases
from deblurkit.ops.convolve import convolve_valid, convolve_valid_adjoint
from deblurkit.pipeline import deblur
from deblurkit.registry import registry
from deblurkit.scores import protocol_of

WEIGHTS = (1e-3, 3e-3, 1e-2)
SPARSE, ROUNDS, STEPS, POWER, FLOOR = 0.0068, 3, 200, 0.8, 0.01
FILTERS = (
    (torch.tensor([[1.0, -1.0]]), 1.0),
    (torch.tensor([[1.0], [-1.0]]), 1.0),
    (torch.tensor([[-1.0, 2.0, -1.0]]), 0.25),
    (torch.tensor([[-1.0], [2.0], [-1.0]]), 0.25),
    (torch.tensor([[-1.0, 1.0], [1.0, -1.0]]), 0.25),
)
"""Derivatives, and how much each counts."""


def wiener(y: Tensor, kernel: Tensor, weight: float) -> Tensor:
    """Regularised inverse filter: ``conj(H) Y / (|H|^2 + weight L)`` with L the Laplacian's symbol, (1, 1, H, W)."""
    values, k = y[0, 0].double().numpy(), kernel[0, 0].double().numpy()
    side = k.shape[0]
    padded = np.pad(values, side, mode="reflect")
    frame = np.zeros_like(padded)
    frame[:side, :side] = k
    response = np.fft.fft2(np.roll(frame, (-(side // 2), -(side // 2)), (0, 1)))
    ramps = [np.minimum(1.0, np.minimum(np.arange(n), n - 1 - np.arange(n)) / side) for n in padded.shape]
    taper = np.outer(*ramps)
    cyclic = np.fft.ifft2(np.fft.fft2(padded) * response).real
    tapered = taper * padded + (1.0 - taper) * cyclic
    cosines = [2.0 * np.cos(2.0 * np.pi * np.fft.fftfreq(n)) for n in padded.shape]
    laplacian = 4.0 - cosines[0][:, None] - cosines[1][None, :]
    found = np.fft.ifft2(np.fft.fft2(tapered) * response.conj() / (np.abs(response) ** 2 + weight * laplacian)).real
    return torch.from_numpy(np.clip(found, 0.0, 1.0)[side:-side, side:-side].copy())[None, None]


def sparse(y: Tensor, kernel: Tensor) -> Tensor:
    """Deconvolution under ``|derivative|^0.8`` by reweighted least squares, (1, 1, H, W), nothing clipped."""
    y, kernel = y.double(), kernel.double()
    half = (kernel.shape[-2] // 2, kernel.shape[-1] // 2)
    start = torch.nn.functional.pad(y, (half[1], half[1], half[0], half[0]), mode="replicate")
    x = start
    filters = [(f.double()[None, None], share) for f, share in FILTERS]
    for turn in range(ROUNDS):
        weights = []
        for f, share in filters:
            slope = torch.nn.functional.conv2d(x, f)
            reweighted = 0.1 * share * slope.abs().clamp_min(FLOOR).pow(POWER - 2.0)
            weights.append(reweighted if turn else torch.ones_like(slope))

        def normal(z: Tensor, weights: list[Tensor] = weights) -> Tensor:
            total = convolve_valid_adjoint(convolve_valid(z, kernel), kernel)
            for (f, _), w in zip(filters, weights, strict=True):
                total = total + SPARSE * torch.nn.functional.conv_transpose2d(w * torch.nn.functional.conv2d(z, f), f)
            return total

        x = conjugate_gradients(normal, convolve_valid_adjoint(y, kernel), start)
    return x[..., half[0] : half[0] + y.shape[-2], half[1] : half[1] + y.shape[-1]]


def conjugate_gradients(normal: Callable[[Tensor], Tensor], right: Tensor, x: Tensor) -> Tensor:
    """A fixed number of steps towards ``normal(x) = right``."""
    residual = right - normal(x)
    direction, power = residual, residual.square().sum()
    for _ in range(STEPS):
        image = normal(direction)
        length = power / (direction * image).sum()
        x, residual = x + length * direction, residual - length * image
        power, before = residual.square().sum(), power
        direction = residual + (power / before) * direction
    return x


def recipe(y: Tensor, path: Path) -> Tensor:
    """Deblurkit's own deconvolution with a kernel's file."""
    return deblur(y, resolve({"kernel_prior.file": str(path)}, registry=registry(), recipe="deconvolve")).image


def compare(title: str, ours: list[float], theirs: list[float]) -> None:
    """One line: means, largest difference, ratio, correlation."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(
        f"{title:44s} {statistics.mean(ours):8.3f} {statistics.mean(theirs):8.3f}"
        f"   largest difference {max(abs(a - b) for a, b in zip(ours, theirs, strict=True)):.3f}"
        f"   ratio median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}"
        f"   correlation {float(np.corrcoef(ours, theirs)[0, 1]) if len(ours) > 1 else 1.0:.4f}",
        flush=True,
    )


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DEBLURKIT_DATA", "../shared/data")))
    parser.add_argument("--solvers", default="wiener,levin,deconvolve")
    parser.add_argument("--images", default="1,2,3,4")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.data / "levin"
    known = json.loads((folder / "alignment.json").read_text())
    wanted = tuple(f"im{i}_" for i in options.images.split(","))
    pairs: list[tuple[Case, Sample, Sample]] = [
        (png, png.load(), exact.load())
        for png, exact in zip(find_cases(folder, "levin"), find_cases(folder, "levin-exact"), strict=True)
        if png.name.startswith(wanted)
    ]
    measure = protocol_of("levin").measure
    others = [known["wiener_oracle"][case.name.replace("kernel", "k")] for case, *_ in pairs]
    table = [known["levin_ssd_true_kernel"][int(case.name[2]) - 1][int(case.name[-1]) - 1] for case, *_ in pairs]
    print(f"{len(pairs)} pictures {'':30s} {'ours':>12s} {'theirs':>8s}")
    blurry = [measure(png.y, exact, None) for _, png, exact in pairs]
    compare("blurry, PSNR aligned, truth of the case", [one["psnr-aligned"] for one in blurry],
            [one["psnr_blurry_vs_x_ij"] for one in others])  # fmt: skip
    against = [measure(png.y, png, None) for _, png, _ in pairs]
    for name in ("psnr-aligned", "ssim-wang", "ssim-aligned", "psnr"):
        print(f"blurry, {name}, truth gt/im.png{'':10s} {statistics.mean(one[name] for one in against):8.4f}")
    if "wiener" in options.solvers:
        rows = []
        for _, png, exact in pairs:
            assert exact.kernel is not None
            results = [wiener(png.y, exact.kernel, weight) for weight in WEIGHTS]
            scored = [(measure(one, exact, None), one) for one in results]
            best, image = max(scored, key=lambda pair: pair[0]["psnr-aligned"])
            rows.append((best["psnr-aligned"], best["ssd"], measure(image, png, None)["psnr-aligned"]))
        columns = list(zip(*rows, strict=True))
        for title, ours, key in zip(
            ("Wiener, PSNR aligned, truth of the case", "Wiener, SSD", "Wiener, PSNR aligned, truth gt/im.png"),
            columns, ("psnr_vs_x_ij", "ssd_vs_x_ij", "psnr_vs_png_gt"), strict=True,
        ):  # fmt: skip
            compare(title, list(ours), [one[key] for one in others])
    solvers: dict[str, Callable[[Case, Sample, Sample], Tensor]] = {
        "levin": lambda _case, _png, exact: sparse(exact.y, exact.kernel),  # type: ignore[arg-type]
        "deconvolve": lambda case, _png, exact: recipe(exact.y, folder / "kernels_conv" / f"k{case.name[-1]}.npy"),
    }
    for name, solve in solvers.items():
        if name in options.solvers:
            scored = [(solve(*pair), pair) for pair in pairs]
            values = [measure(image, exact, None) for image, (_, _, exact) in scored]
            compare(f"{name}, SSD against Levin's table", [one["ssd"] for one in values], table)
            if name == "levin":
                ratios = {
                    case.name: one["ssd"] / his for one, (case, *_), his in zip(values, pairs, table, strict=True)
                }
                print("off by more than 0.1 %:", {one: round(r, 4) for one, r in ratios.items() if abs(r - 1) > 0.001})
            png = [measure(image, one, None)["psnr-aligned"] for image, (_, one, _) in scored]
            mean = statistics.mean(one["psnr-aligned"] for one in values)
            print(f"{name}, PSNR aligned: {mean:.3f} dB (truth of the case), {statistics.mean(png):.3f} dB (gt/im.png)")


if __name__ == "__main__":
    main()
