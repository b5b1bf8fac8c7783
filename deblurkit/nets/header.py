"""The header of a file of weights, read without torch: what the command line needs to know before it runs.

The format is safetensors (eight bytes of length, JSON, tensors); how to build the network stands in ``__metadata__``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deblurkit.errors import UsageError

VERSION = "1"
LARGEST_HEADER = 1 << 24
"""Bytes; a longer one is no header."""
RESERVED = ("format", "version", "preset", "config")


@dataclass(frozen=True)
class Kind:
    """What a file of weights can be.

    Attributes:
        format: Its mark in the header.
        noun: What one calls it: ``kernel space``.
        cure: How to come by one, to end a sentence with.
    """

    format: str
    noun: str
    cure: str


@dataclass(frozen=True)
class Header:
    """What a file says of its network.

    Attributes:
        preset: Name of the structure.
        config: The arguments that construct it, of JSON's types.
        card: Where the weights come from: data, command, seed, licence, measured numbers.
    """

    preset: str
    config: dict[str, Any]
    card: dict[str, str] = field(default_factory=dict)

    def metadata(self, kind: Kind) -> dict[str, str]:
        """As text, for the file."""
        own = {"format": kind.format, "version": VERSION, "preset": self.preset, "config": json.dumps(self.config)}
        return {**self.card, **own}

    @classmethod
    def of(cls, metadata: Mapping[str, str], path: Path, kind: Kind) -> "Header":
        """Read what :meth:`metadata` wrote.

        Raises:
            UsageError: If it is of another kind, from another version, or damaged.
        """
        if metadata.get("format") != kind.format:
            raise UsageError(f"{path}: is no {kind.noun} of deblurkit; {kind.cure}")
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
        return cls(preset, config, {key: text for key, text in metadata.items() if key not in RESERVED})


def read_header(path: Path, kind: Kind) -> Header:
    """Read the header of a file of weights.

    Raises:
        UsageError: If the file is missing, unreadable, or not of that kind.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            document = json.loads(file.read(length)) if length <= LARGEST_HEADER else {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); name a {kind.noun}'s file") from error
    except (ValueError, RecursionError):
        document = {}
    metadata = document.get("__metadata__") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        metadata = {}
    return Header.of(metadata, path, kind)
