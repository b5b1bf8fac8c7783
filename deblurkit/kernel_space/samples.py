"""One synthesised pair: how it is rendered, and written so that nobody finds half of it."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.files import atomic_write, check_writable
from deblurkit.images import Metadata, Picture, write_image
from deblurkit.kernel_space.manifest import MANIFEST, Sample, append
from deblurkit.kernel_space.transfer import with_strength
from deblurkit.nets.kernel_space.space import ConvolutionalSpace, KernelSpace
from deblurkit.ops.inpaint import fill

SHARP, BLUR, CODES = "sharp", "blur", "codes"


@dataclass(frozen=True)
class Workshop:
    """Where samples are made.

    Attributes:
        space: The kernel space, on its device.
        space_sha256: Of its file.
        out: The folder of the results.
        overwrite: Whether existing files may be replaced.
    """

    space: KernelSpace
    space_sha256: str
    out: Path
    overwrite: bool = False

    def files(self, sample: Sample) -> tuple[Path, Path]:
        """Where the sharp and the blurry picture of a sample are written."""
        return self.out / SHARP / f"{sample.name}.png", self.out / BLUR / f"{sample.name}.png"

    def complete(self, sample: Sample) -> bool:
        """Whether both pictures are there."""
        return all(path.is_file() for path in self.files(sample))

    def make(self, sample: Sample, picture: Picture) -> Sample:
        """Render a sample, write both pictures or none, and note it in the manifest."""
        code = None if not sample.code else load_code(self.out / sample.code)
        sharp, blurry = render(self.space, picture, sample, code)
        sharp_path, blurry_path = self.files(sample)
        like = replace(picture, alpha=None, metadata=Metadata(icc=picture.metadata.icc))
        for path in (sharp_path, blurry_path):
            check_writable(path, self.overwrite)
        try:
            write_image(sharp_path, sharp, like, self.overwrite)
            write_image(blurry_path, blurry, like, self.overwrite)
            done = replace(sample, sharp_sha256=sha256(sharp_path), blur_sha256=sha256(blurry_path))
            append(self.out / MANIFEST, done)
        except BaseException:  # a sharp picture without its partner would spoil the whole folder for training
            for path in (sharp_path, blurry_path):
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        return done


def render(space: KernelSpace, picture: Picture, sample: Sample, code: Tensor | None) -> tuple[Tensor, Tensor]:
    """The sharp and the blurry picture of a sample, (1, C, h, w) each, exactly one above the other.

    The blur is a valid operation, so no border is invented: the sharp side is cut by the space's margin. A strength
    other than 1 changes a code as :func:`deblurkit.kernel_space.transfer.with_strength` says; where a space without
    kernels draws its codes, it scales their deviation from the mean code.

    Args:
        space: The kernel space.
        picture: What is blurred.
        sample: Window, strength, noise and seed.
        code: (1, D, gy, gx), or ``None`` to draw one.
    """
    device = next(space.parameters()).device
    pixels = picture.pixels
    if picture.alpha is not None:  # what nobody sees is replaced by what is seen around it
        pixels = fill(pixels, (picture.alpha > 0).to(pixels.dtype))
    top, left, height, width = sample.window
    latent = pixels[..., top : top + height, left : left + width].to(device)
    generator = torch.Generator().manual_seed(sample.seed)
    margin = space.margin
    sharp = latent[..., margin : height - margin, margin : width - margin]
    with torch.no_grad():
        if code is not None:
            code = with_strength(space, code.to(device), sample.strength, latent)
        elif isinstance(space, ConvolutionalSpace):
            code = space.draw((height, width), generator=generator)
            code = with_strength(space, code, sample.strength, latent)
        else:
            code = space.draw((height, width), generator=generator, strength=sample.strength)
        blurry = space.blur(latent, code).clamp(0.0, 1.0).cpu()
    if sample.noise:
        blurry = blurry + sample.noise * torch.randn(blurry.shape, generator=generator)
    return sharp, blurry


def store_code(out: Path, code: Tensor) -> str:
    """Write a code into the folder of the results; its file, named by its content, relative to that."""
    content = io.BytesIO()
    np.save(content, code.detach().to("cpu", torch.float32).numpy(), allow_pickle=False)
    name = f"{CODES}/{hashlib.sha256(content.getvalue()).hexdigest()[:24]}.npy"
    atomic_write(out / name, lambda file: file.write(content.getvalue()), overwrite=True)
    return name


def load_code(path: Path) -> Tensor:
    """Read the file of a code, (1, D, gy, gx).

    Raises:
        UsageError: If it is missing or damaged.
    """
    try:
        code = np.load(io.BytesIO(_read(path)), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path}: is no code of a blur; get the folder of the manifest anew") from error
    if code.ndim != 4 or code.dtype != np.float32:
        raise UsageError(f"{path}: is no code of a blur; get the folder of the manifest anew")
    return torch.from_numpy(code)


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal digits."""
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); check the file.") from error
