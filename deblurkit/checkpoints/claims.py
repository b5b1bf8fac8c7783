"""How many numbers a file of ``torch.save`` says that it has, found out before memory is set aside for them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from deblurkit.checkpoints.machine import Bounded, Machine, Name, run
from deblurkit.checkpoints.numbers import STORAGES

MOST_ENTRIES = 100_000
"""Of a zip archive; torch.save writes one a tensor."""
ENCRYPTED = 1
"""A flag of zip archives."""


def check_zip(path: Path) -> None:
    """Look through a zip archive of ``torch.save`` without unpacking anything.

    Raises:
        ValueError: With a few words if it is not as torch writes it: lengths that don't fit the file, entries that
            overlap, storages that are missing or shorter than said.
        zipfile.BadZipFile: If it is no archive.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        sizes = {entry.filename: entry.file_size for entry in entries}
        if len(entries) > MOST_ENTRIES or len(sizes) < len(entries):
            raise ValueError("it has too many entries, or two of one name")
        if any(entry.file_size != entry.compress_size or entry.flag_bits & ENCRYPTED for entry in entries):
            raise ValueError("its entries are not stored as they are")
        if sum(sizes.values()) > size or any(entry.header_offset + entry.file_size > size for entry in entries):
            raise ValueError("its entries are longer than the file")
        for name in sizes:
            folder, _, base = name.rpartition("/")
            if base == "data.pkl":
                with archive.open(name) as file:
                    claimed = _claims(Bounded(file, sizes[name]))
                _compare(claimed, {key: sizes.get(f"{folder}/data/{key}", -1) for key in claimed})


def _compare(claimed: dict[str, int], held: dict[str, int]) -> None:
    for key, count in claimed.items():
        if held[key] < 0:
            raise ValueError(f"storage {key[:20]} is missing")
        if count > held[key]:
            raise ValueError(f"storage {key[:20]} has fewer numbers than the file says")


def check_legacy(path: Path) -> None:
    """Likewise for the format before PyTorch 1.6.

    Raises:
        ValueError: If its storages, as the file has it, are larger than the file.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        stream = Bounded(file, size)
        for _ in range(3):  # magic number, version of the format, and what machine it was
            _claims(stream)
        if sum(_claims(stream).values()) > size:
            raise ValueError("its tensors have more numbers than the file")


def _claims(stream: Bounded) -> dict[str, int]:
    """Bytes of every storage that a pickle of ``torch.save`` refers to, by key."""
    world = _Claims()
    run(stream, world, _Scan)
    return world.bytes


class _Claims:
    """Names mean nothing; what counts is what lies outside of the pickle."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    def named(self, name: str) -> None:
        del name

    def called(self, name: str, args: tuple[Any, ...]) -> Any:
        del name, args
        return None

    def built(self, instance: Any, state: Any) -> None:
        del instance, state

    def persistent(self, mark: Any) -> Any:
        if not isinstance(mark, tuple) or len(mark) < 5 or mark[0] != "storage":
            return None
        kind, key, count = mark[1], mark[2], mark[4]
        if not isinstance(kind, Name) or not isinstance(key, str | int) or type(count) is not int or count < 0:
            raise ValueError("it refers to a storage in an unknown way")
        width = STORAGES[kind.text].itemsize if kind.text in STORAGES else 1
        self.bytes[str(key)] = max(self.bytes.get(str(key), 0), count * width)
        return None


class _Scan(Machine):
    """Goes through a pickle and keeps nothing but tuples, in which its marks stand."""

    def _extend(self, items: list[Any]) -> None:
        del items

    def _update(self, items: list[Any]) -> None:
        del items

    def _add(self, items: list[Any]) -> None:
        del items

    def _call(self, _: Any) -> None:
        self.pop()
        self.pop()
        self.stack.append(None)
