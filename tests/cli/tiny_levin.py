"""A data set in the layout of Levin et al. with small pictures that are made here."""

import numpy as np
import torch
from PIL import Image

from deblurkit.ops.convolve import convolve_valid

SIDE = 64


def write(folder, images=2, kernels=(1, 2)):
    """Write ``images`` x ``kernels`` pictures of 64 x 64 with their truths and their kernels of 5 x 5."""
    generator = torch.Generator().manual_seed(0)
    (folder / "gt").mkdir(parents=True)
    (folder / "kernels_conv").mkdir()
    psf = {1: torch.eye(5), 2: torch.ones(5, 5), 3: torch.eye(5).flip(0)}
    for j in kernels:
        np.save(folder / "kernels_conv" / f"k{j}.npy", (psf[j] / psf[j].sum()).numpy())
    for i in range(1, images + 1):
        coarse = torch.rand(1, 1, 12, 12, generator=generator)
        latent = torch.nn.functional.interpolate(coarse, size=(SIDE + 4, SIDE + 4), mode="nearest")
        save(folder / "gt" / f"im{i}.png", latent[..., 2:-2, 2:-2])
        for j in kernels:
            y = convolve_valid(latent, (psf[j] / psf[j].sum())[None, None])
            save(folder / f"im{i}_kernel{j}_img.png", y)
    return folder


def save(path, x):
    Image.fromarray(np.rint(x[0, 0].numpy() * 255).astype(np.uint8)).save(path)


QUICK = ("--largest-kernel", "7", "--starts", "1", "--restarts", "0", "--polish", "1")
"""Flags that make the recipe ``fast`` still faster."""
COSTS = ("seconds", "memory")
"""Columns that differ from run to run."""


def without_costs(document):
    """Tables and cells without what they took."""
    rows = [row for table in document["tables"] for row in table["rows"]] + document["cells"]
    return [{key: value for key, value in row.items() if key not in COSTS} for row in rows]
