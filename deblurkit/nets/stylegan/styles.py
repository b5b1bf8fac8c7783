"""The distribution of a generator's styles, measured once and kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from deblurkit.errors import DeblurkitError
from deblurkit.files import atomic_write
from deblurkit.nets.stylegan.generator import Gaussian, Generator

FOLDER = "DEBLURKIT_CACHE"
"""Environment variable that names another place for the cache."""
VERSION = "1"
"""Of how styles are measured; a new one leaves old files aside."""
MOST_MEASURED = 8
MEASURED: dict[str, Gaussian] = {}
"""The last distributions that were asked for, by name; the cache may be out of order."""


def styles_of(generator: Generator, samples: int) -> Gaussian:
    """The distribution of styles, from the first of: the generator, the user's cache, a measurement (seed 0).

    A measurement goes into the cache, and is kept in memory; a cache that cannot be read or written is no error.

    Args:
        generator: Its :attr:`~Generator.gaussian` is taken if it was measured on as many samples or more.
        samples: Random styles to measure on, at least 2.

    Returns:
        The distribution, on the generator's device and in its precision.
    """
    if samples < 2:
        raise ValueError(f"styles_of: needs at least 2 samples, got {samples}")
    own = generator.gaussian
    if own is None or own.samples < samples:
        own = _cached(generator, samples)
    return Gaussian(own.mean.to(generator.mean_style), own.std.to(generator.mean_style), own.samples)


def _cached(generator: Generator, samples: int) -> Gaussian:
    name, folder = fingerprint(generator, samples), cache_folder()
    file = folder / "styles" / f"{name}.safetensors" if folder else None
    kept = _read(file, generator.style, samples) if file else None
    found = kept or MEASURED.get(name) or generator.measure(samples, torch.Generator().manual_seed(0))
    MEASURED[name] = found
    while len(MEASURED) > MOST_MEASURED:
        MEASURED.pop(next(iter(MEASURED)), None)
    if file and not kept:
        _write(file, found)
    return found


def cache_folder() -> Path | None:
    """Where deblurkit may keep what it can compute again; not created here. ``None`` where there is no such place."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "deblurkit"
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "deblurkit"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deblurkit"
    except RuntimeError:  # nobody is at home
        return None


def fingerprint(generator: Generator, samples: int) -> str:
    """Name of the measurement: of everything that it depends on."""
    digest = hashlib.sha256(f"{VERSION} {generator.preset} {samples} {generator.inputs}".encode())
    for name, tensor in sorted(generator.state_dict().items()):
        if name.startswith("mapping."):
            digest.update(f"{name} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(file: Path, style: int, samples: int) -> Gaussian | None:
    """The distribution in a file of the cache; ``None`` if there is none, or none that makes sense."""
    try:
        tensors = safetensors.torch.load(file.read_bytes())
        mean, std = tensors["mean"].float(), tensors["std"].float()
    except (OSError, KeyError, safetensors.SafetensorError):
        return None
    sound = mean.shape == std.shape == (style,) and bool(mean.isfinite().all() and std.isfinite().all())
    return Gaussian(mean, std, samples) if sound and bool((std > 0).all()) else None


def _write(file: Path, measured: Gaussian) -> None:
    tensors = {name: getattr(measured, name).detach().to("cpu", torch.float32) for name in ("mean", "std")}
    content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    with contextlib.suppress(DeblurkitError, OSError):
        atomic_write(file, lambda out: out.write(content), True)
