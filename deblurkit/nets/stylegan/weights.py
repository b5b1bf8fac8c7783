"""Generators in files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.nets import weights
from deblurkit.nets.header import Header, Kind
from deblurkit.nets.stylegan.generator import Gaussian, Generator

GENERATOR = Kind("deblurkit-generator", "generator", "convert a StyleGAN checkpoint by deblurkit import-weights")
PRESETS = {
    "stylegan1": "deblurkit.nets.stylegan.stylegan1:StyleGAN1",
    "stylegan2": "deblurkit.nets.stylegan.stylegan2:StyleGAN2",
}
GAUSSIAN = "gaussian."
SAMPLES = "style_samples"
LONGEST_NUMBER = 18
"""Digits."""


def save_generator(
    path: Path, generator: Generator, *, card: Mapping[str, str], half: bool = False, overwrite: bool = False
) -> None:
    """Write a generator, whole or not at all.

    Args:
        path: The ``.safetensors`` file.
        generator: The generator, with the distribution of its styles if it has been measured.
        card: Where the weights come from; free text by key.
        half: Store 16 bits a number instead of 32.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: If the file exists and may not be replaced.
        RunError: If the system refuses to write it.
    """
    tensors, facts = dict(generator.state_dict()), dict(card)
    if generator.gaussian is not None:
        measured = generator.gaussian
        tensors |= {f"{GAUSSIAN}mean": measured.mean, f"{GAUSSIAN}std": measured.std}
        facts[SAMPLES] = str(measured.samples)
    header = Header(generator.preset, generator.config(), facts)
    weights.save_weights(path, GENERATOR, header, tensors, half=half, overwrite=overwrite)


def load_generator(path: Path) -> Generator:
    """Read a generator on the CPU, in float32, in evaluation mode, its weights frozen.

    Raises:
        UsageError: If the file is missing, damaged, or not a generator.
    """
    header, tensors = weights.read_weights(path, GENERATOR)
    measured = {name: tensors.pop(name) for name in (f"{GAUSSIAN}mean", f"{GAUSSIAN}std") if name in tensors}
    generator = weights.assemble(path, GENERATOR, PRESETS, header, tensors)
    assert isinstance(generator, Generator)
    if measured:
        generator.gaussian = _gaussian(path, generator.mean_style, measured, header.card.get(SAMPLES, "0"))
    return generator


def _gaussian(path: Path, like: Tensor, measured: Mapping[str, Tensor], samples: str) -> Gaussian:
    """The distribution of styles in a file, which must be one."""
    misfit = weights.differences({f"{GAUSSIAN}mean": like, f"{GAUSSIAN}std": like}, measured)
    if not misfit and not (samples.isdecimal() and len(samples) <= LONGEST_NUMBER):
        misfit = f"{SAMPLES} is {samples[:LONGEST_NUMBER]!r} and no number"
    if misfit:
        raise UsageError(f"{path}: its distribution of styles is damaged ({misfit}); get the file anew")
    weights.check_finite(path, measured)
    mean, std = measured[f"{GAUSSIAN}mean"].clone(), measured[f"{GAUSSIAN}std"].clone()
    if not (std > 0).all():
        raise UsageError(f"{path}: its distribution of styles is damaged ({GAUSSIAN}std is not positive); get it anew")
    return Gaussian(mean, std, int(samples))
