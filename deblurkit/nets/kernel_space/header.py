"""The header of a kernel space's file, read without torch: what the command line needs to know before it runs.

The format is safetensors (eight bytes of length, JSON, tensors); everything about the space stands in ``__metadata__``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from deblurkit.errors import UsageError

FORMAT = "deblurkit-kernel-space"
VERSION = "1"
LARGEST_HEADER = 1 << 24
"""Bytes; a longer one is no header."""


@dataclass(frozen=True)
class Header:
    """What a file says of its space.

    Attributes:
        preset: Name of the structure: ``paper`` or ``compact``.
        config: The arguments that construct it.
        card: Where the weights come from: data, command, seed, licence, measured numbers.
    """

    preset: str
    config: dict[str, int | float | bool]
    card: dict[str, str] = field(default_factory=dict)

    def metadata(self) -> dict[str, str]:
        """As text, for the file."""
        own = {"format": FORMAT, "version": VERSION, "preset": self.preset, "config": json.dumps(self.config)}
        return {**self.card, **own}

    @classmethod
    def of(cls, metadata: Mapping[str, str], path: Path) -> "Header":
        """Read what :meth:`metadata` wrote.

        Raises:
            UsageError: If it is not of a kernel space.
        """
        if metadata.get("format") != FORMAT:
            raise UsageError(
                f"{path}: is no kernel space of deblurkit; make one by deblurkit train-kernel-space, or convert the "
                "authors' weights by deblurkit import-weights"
            )
        if metadata.get("version") != VERSION:
            raise UsageError(
                f"{path}: is written in version {metadata.get('version')} of the format, and this deblurkit reads "
                f"version {VERSION}; update deblurkit"
            )
        try:
            config: Any = json.loads(metadata["config"])
            preset = metadata["preset"]
            if not isinstance(config, dict):
                raise ValueError("the config is no table")
        except (KeyError, ValueError, RecursionError) as error:
            raise UsageError(f"{path}: its header is damaged ({error}); get the file anew") from error
        card = {key: text for key, text in metadata.items() if key not in ("format", "version", "preset", "config")}
        return cls(preset, config, card)


def read_header(path: Path) -> Header:
    """Read the header of a kernel space's file.

    Args:
        path: A ``.safetensors`` file; the empty path for the space that comes with deblurkit.

    Raises:
        UsageError: If the file is missing, unreadable, or not a kernel space.
    """
    path = space_path(path)
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            document = json.loads(file.read(length)) if length <= LARGEST_HEADER else {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); name a kernel space's file") from error
    except (ValueError, RecursionError):
        document = {}
    metadata = document.get("__metadata__") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        metadata = {}
    return Header.of(metadata, path)


def space_path(path: Path) -> Path:
    """The path itself, or that of the space that comes with deblurkit where it is empty."""
    return path if path != Path() else Path(str(files("deblurkit") / "spaces" / "compact.safetensors"))
