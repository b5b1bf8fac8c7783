"""Make the sample pictures of this folder from a photograph that scikit-image carries.

    python make_sample.py path/to/skimage/data/coffee.png

Blurry: y = B(x; k) + n, the valid part of a true convolution with a curved hand-shake trajectory of about 21 pixels,
plus Gaussian noise of 1 %, in 8 bits. Same seed, same files.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import fftconvolve

HERE = Path(__file__).parent
SIDE = 25
WIDTH, HEIGHT = 400, 300
LEFT, TOP = 110, 40
NOISE = 0.01
SEED = 7


def trajectory_kernel() -> NDArray[np.float64]:
    """A camera that swings in an arc, slows down, and turns back: (25, 25), sum 1, centre of mass in the middle."""
    control = np.array([[-9.0, 5.0], [-9.5, 1.0], [-8.0, -9.0], [4.0, -9.5], [9.0, -2.0], [9.0, 6.0], [4.5, 6.5]])
    time = np.linspace(0, 1, 4000)
    points, order = np.zeros((len(time), 2)), len(control) - 1
    for index, point in enumerate(control):  # a Bézier curve
        binomial = np.prod(np.arange(order - index + 1, order + 1) / np.arange(1, index + 1)) if index else 1.0
        points += (binomial * time**index * (1 - time) ** (order - index))[:, None] * point
    points *= 19 / np.ptp(points, axis=0).max()
    points -= points.mean(axis=0)
    kernel = np.zeros((SIDE, SIDE))
    cell = np.floor(points).astype(int)
    part = points - cell
    assert cell.min() >= -(SIDE // 2), "the trajectory leaves the kernel"
    for down in (0, 1):
        for right in (0, 1):
            share = np.abs(1 - down - part[:, 1]) * np.abs(1 - right - part[:, 0])
            np.add.at(kernel, (cell[:, 1] + down + SIDE // 2, cell[:, 0] + right + SIDE // 2), share)
    return kernel / kernel.sum()


def main(source: Path) -> None:
    """Write sample_sharp.png, sample_blurry.png and sample_kernel.npy."""
    border = SIDE // 2
    box = (LEFT - border, TOP - border, LEFT + WIDTH + border, TOP + HEIGHT + border)
    with Image.open(source) as image:
        scene = np.asarray(image.convert("RGB").crop(box), np.float64) / 255
    kernel = trajectory_kernel()
    blurry = np.stack([fftconvolve(scene[..., c], kernel, "valid") for c in range(3)], axis=-1)
    blurry += NOISE * np.random.default_rng(SEED).standard_normal(blurry.shape)
    for name, picture in (("sharp", scene[border:-border, border:-border]), ("blurry", blurry)):
        pixels = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(HERE / f"sample_{name}.png", optimize=True)
    np.save(HERE / "sample_kernel.npy", kernel.astype(np.float32))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
