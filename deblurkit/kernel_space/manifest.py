"""What was synthesised, and from what: one JSON line a pair, enough to make each again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deblurkit.errors import RunError, UsageError
from deblurkit.files import atomic_write

MANIFEST = "manifest.jsonl"
FORMAT = "deblurkit-synthesis 1"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One synthesised pair. Paths are relative to the manifest's folder.

    Attributes:
        name: Of both pictures below ``sharp/`` and ``blur/``, without suffix, with forward slashes.
        source: The picture that was blurred.
        source_sha256: Of that file.
        window: (top, left, height, width) of what was taken of it, in pixels; ``margin`` is lost on every side.
        margin: Rows and columns that the blur removed from the window, and that were cut from the sharp side.
        seed: Of the random draws that belong to this pair alone: the code, where it was drawn, then the noise.
        code: File of the code, (1, D, gy, gx) float32; empty where it was drawn from the space.
        pair: Sharp and blurry file that the code was taken from; empty where it was drawn.
        reblur_psnr: How well that pair is explained by it, in dB; 0 where it was drawn.
        strength: See :func:`deblurkit.kernel_space.synthesize.render`.
        noise: Standard deviation of the white noise that was added, white being 1.
        space_sha256: Of the kernel space's file.
        version: Of deblurkit.
        settings: What was asked for, for the record, and to notice another request into the same folder.
        sharp_sha256: Of the sharp file that was written.
        blur_sha256: Of the blurry one.
    """

    name: str
    source: str
    source_sha256: str
    window: tuple[int, int, int, int]
    margin: int
    seed: int
    code: str
    pair: tuple[str, ...]
    reblur_psnr: float
    strength: float
    noise: float
    space_sha256: str
    version: str
    settings: dict[str, Any]
    sharp_sha256: str = ""
    blur_sha256: str = ""

    def line(self) -> str:
        """As one line of JSON."""
        return json.dumps({"format": FORMAT, **asdict(self)}, allow_nan=False) + "\n"


def read_manifest(path: Path) -> list[Sample]:
    """Read all samples; a last line that was cut off, by a power failure say, is left out.

    Raises:
        UsageError: If the file is missing, or no manifest.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(
            f"{path}: cannot be read ({cause}); name the {MANIFEST} that deblurkit synthesize wrote"
        ) from error
    return [_sample(line, f"{path}: line {number}") for number, line in enumerate(text.split("\n")[:-1], start=1)]


def write_manifest(path: Path, samples: Iterable[Sample], *, overwrite: bool) -> None:
    """Write a manifest of these samples, whole or not at all.

    Raises:
        UsageError: If it exists and may not be replaced.
        RunError: If the system refuses.
    """
    content = "".join(sample.line() for sample in samples).encode()
    atomic_write(path, lambda file: file.write(content), overwrite)


def append(path: Path, sample: Sample) -> None:
    """Add a line in one piece.

    Raises:
        RunError: If the system refuses.
    """
    try:
        with open(path, "ab", buffering=0) as file:
            file.write(sample.line().encode())
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error}); choose another place.") from error


def relative(path: Path, folder: Path) -> str:
    """A path as seen from a folder, with forward slashes; absolute where there is no way, as between two drives."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.absolute().as_posix()


def _sample(line: str, place: str) -> Sample:
    """The sample of a line, checked."""
    try:
        facts = json.loads(line)
        if facts.pop("format") != FORMAT:
            raise ValueError("another format")
        sample = Sample(**{**facts, "window": tuple(facts["window"]), "pair": tuple(facts["pair"])})
        numbers = (*sample.window, sample.margin, sample.seed)
        if len(sample.window) != 4 or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise ValueError("impossible numbers")
        if not all(isinstance(text, str) for text in (sample.name, sample.source, sample.code)):
            raise ValueError("impossible names")
        if sample.noise < 0 or sample.strength < 0:
            raise ValueError("impossible numbers")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{place} is no sample of deblurkit synthesize ({error}); get the file anew") from error
    name = Path(sample.name)
    if name.is_absolute() or ".." in name.parts or not sample.name:
        raise UsageError(f"{place} names a file outside the results, '{sample.name}'; this manifest is not ours")
    return sample
