"""Make kernel-space.png, the picture of the encoded kernel space, from the sample with deblurkit itself.

    python docs/make_kernel_space_figure.py [--iterations 300] [--set SECTION.KEY=VALUE] [--space FILE] [-o OUT.png]

Above: the blurry sample, and what `--image-prior dip` makes of it with `--kernel-prior fcn` and with
`--kernel-prior encoded`, each with the kernel found in the corner; the former gets as many iterations as fit into the
latter's time. Below: the blur of the sample pair, taken by G, and given by F to a synthetic texture. The scores are
printed.
"""

import argparse
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from deblurkit import Result, deblur, read_image, resolve
from deblurkit.kernel_space.textures import texture
from deblurkit.kernel_space.transfer import agreement, give_blur, shown_kernel, take_blur
from deblurkit.metrics import align
from deblurkit.nets.kernel_space.weights import load_space
from deblurkit.registry import registry

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "tests" / "data"
GAP = 8
INSET = 84
EDGE = 2
TRIAL = 20
"""Steps of the run that is timed."""


def run(blurry: Tensor, prior: str, iterations: int, options: argparse.Namespace) -> Result:
    """Deblur with one kernel prior."""
    flags: dict[str, object] = {
        "image_prior.name": "dip",
        "kernel_prior.name": prior,
        "optimizer.iterations": iterations,
        "optimizer.milestones": (max(1, iterations // 2), max(1, 3 * iterations // 4)),
        **dict(one.split("=", 1) for one in options.set),
    }
    if options.space and prior == "encoded":
        flags["kernel_prior.space"] = str(options.space)
    return deblur(blurry, resolve(flags, registry=registry()))


def seconds(blurry: Tensor, prior: str, iterations: int, options: argparse.Namespace) -> float:
    """Wall time of a run of so many iterations."""
    started = time.perf_counter()
    run(blurry, prior, iterations, options)
    return time.perf_counter() - started


def image_of(pixels: Tensor) -> Image.Image:
    """A picture (1, 3, H, W) in 8 bits."""
    return Image.fromarray((pixels[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


def with_kernel(picture: Image.Image, kernel: Tensor | None) -> Image.Image:
    """The picture with a kernel in its lower right corner."""
    if kernel is not None:
        grey = (kernel[0, 0] / kernel.max() * 255).round().byte().numpy()
        side = min(INSET, picture.height // 3)
        corner = (picture.width - side - EDGE, picture.height - side - EDGE)
        picture.paste("white", (corner[0] - EDGE, corner[1] - EDGE, picture.width, picture.height))
        picture.paste(Image.fromarray(grey).resize((side, side), Image.Resampling.NEAREST), corner)
    return picture


def row(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one height side by side."""
    width = sum(picture.width + GAP for picture in pictures) - GAP
    sheet = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + GAP
    return sheet


def deblurred(sharp: Tensor, blurry: Tensor, options: argparse.Namespace) -> Image.Image:
    """The upper row; prints times and scores."""
    print(f"blurry: {align(blurry, sharp).psnr:.2f} dB")
    iterations = {"encoded": options.iterations, "fcn": options.iterations}
    started = time.perf_counter()
    found = {"encoded": run(blurry, "encoded", options.iterations, options)}
    took = {"encoded": time.perf_counter() - started}
    # the search for a start costs both the same: only the rest goes with the number of steps
    short, longer = (seconds(blurry, "fcn", steps, options) for steps in (1, 1 + TRIAL))
    step = max((longer - short) / TRIAL, 1e-3)
    iterations["fcn"] = max(1, round((took["encoded"] - short) / step))
    started = time.perf_counter()
    found["fcn"] = run(blurry, "fcn", iterations["fcn"], options)
    took["fcn"] = time.perf_counter() - started
    pictures = [image_of(blurry)]
    for prior in ("fcn", "encoded"):
        result = found[prior]
        score = align(result.image, sharp).psnr
        last = "last step" if result.restored else "network's own image"
        print(
            f"{prior}: {iterations[prior]} iterations, {took[prior]:.0f} s, {score:.2f} dB ({last}), "
            f"{result.quality.flag} {' '.join(result.quality.reasons)}"
        )
        pictures.append(with_kernel(image_of(result.image), result.kernel))
    return row(pictures)


def transferred(sharp: Tensor, blurry: Tensor, width: int, options: argparse.Namespace) -> Image.Image:
    """The lower row: the pair's sharp and blurry half, a texture, and the texture blurred."""
    space = load_space(options.space or Path())
    code = take_blur(space, sharp, blurry)
    scores = agreement(space, sharp, blurry, code)
    print(
        f"transfer: the pair is explained at {scores.psnr:.1f} dB by its code, {scores.control:.1f} dB by one kernel "
        f"without learning, {scores.unblurred:.1f} dB by no blur"
    )
    side = (width - 3 * GAP) // 4
    height = min(side * 3 // 4, sharp.shape[-2])
    other = texture(side, generator=torch.Generator().manual_seed(options.seed))[None] / 255
    pictures = [sharp, blurry, other, give_blur(space, other, code)]
    cut = [
        picture[..., top : top + height, left : left + side]
        for picture in pictures
        for top, left in [((picture.shape[-2] - height) // 2, (picture.shape[-1] - side) // 2)]
    ]
    shown = [image_of(one) for one in cut]
    shown[-1] = with_kernel(shown[-1], shown_kernel(space, code))
    return row(shown)


def main() -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=300, help="with the encoded prior")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a value, by dotted key")
    parser.add_argument("--space", type=Path, help="file of the kernel space [default: deblurkit's]")
    parser.add_argument("--seed", type=int, default=4, help="of the texture")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "kernel-space.png")
    options = parser.parse_args()
    sharp, blurry = (read_image(SAMPLES / f"sample_{name}.png").pixels for name in ("sharp", "blurry"))
    above = deblurred(sharp, blurry, options)
    below = transferred(sharp, blurry, above.width, options)
    sheet = Image.new("RGB", (above.width, above.height + GAP + below.height), "white")
    sheet.paste(above, (0, 0))
    sheet.paste(below, (0, above.height + GAP))
    sheet.save(options.out, optimize=True)
    print(options.out)


if __name__ == "__main__":
    main()
