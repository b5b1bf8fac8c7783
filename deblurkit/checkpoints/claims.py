"""What a file of ``torch.save`` would have torch make, found out before anything is made."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deblurkit.checkpoints.machine import Bounded, Machine, Name, RefusedName, run
from deblurkit.checkpoints.numbers import STORAGES, check_view

MOST_ENTRIES = 100_000
"""Of a zip archive; torch.save writes one a tensor."""
ENCRYPTED = 1
"""A flag of zip archives."""
WIDTHS = {name: dtype.itemsize for name, dtype in STORAGES.items()}
WIDTHS |= {"torch.ComplexFloatStorage": 8, "torch.ComplexDoubleStorage": 16}
"""Bytes a number, of every kind of storage that may be named."""
STATEFUL = frozenset({"collections.OrderedDict", "argparse.Namespace"})
"""What may be given a state: tables of weights have their modules' versions, options their values."""
VIEW = "torch._utils._rebuild_tensor_v2"
NAMES = frozenset(
    {
        *(VIEW, "torch._utils._rebuild_parameter", "torch.Size", "torch.device"),
        *(str(kind) for kind in vars(torch).values() if isinstance(kind, torch.dtype)),
        *("collections.Counter", "builtins.set", "__builtin__.set"),
    }
)
"""What else checkpoints name. Torch's own list has more, of which some set aside any memory that they are asked for."""


def check_zip(path: Path) -> None:
    """Look through a zip archive of ``torch.save`` without unpacking anything.

    Raises:
        ValueError: With a few words if it is not as torch writes it: lengths that don't fit the file, entries that
            overlap, storages that are missing or shorter than said, tensors larger than their storage.
        RefusedName: If it names what no checkpoint needs.
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
        ValueError: If its storages, as the file has it, are larger than the file, or tensors than their storage.
        RefusedName: If it names what no checkpoint needs.
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


@dataclass(frozen=True)
class _Storage:
    """So many numbers outside of the pickle."""

    count: int


@dataclass(frozen=True)
class _Result:
    """What comes of calling a name; nothing was called."""

    name: str


class _Claims:
    """Few names are known, and none means anything; what counts is what lies outside of the pickle."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    def named(self, name: str) -> None:
        if name not in NAMES and name not in STATEFUL and name not in WIDTHS:
            raise RefusedName(name)

    def called(self, name: str, args: tuple[Any, ...]) -> Any:
        if name == VIEW:
            storage, *place = args[:4]
            if not isinstance(storage, _Storage) or len(place) < 3:
                raise ValueError("a tensor in it has no storage")
            check_view(storage.count, *place)
        return _Result(name)

    def built(self, instance: Any, state: Any) -> None:
        del state
        if not isinstance(instance, _Result) or instance.name not in STATEFUL:
            raise ValueError("it gives a state to what has none")

    def persistent(self, mark: Any) -> Any:
        if not isinstance(mark, tuple) or len(mark) < 5 or mark[0] != "storage":
            raise ValueError("it refers to something outside of the file")
        kind, key, count = mark[1], mark[2], mark[4]
        whole = type(count) is int and count >= 0
        if not isinstance(kind, Name) or kind.text not in WIDTHS or not isinstance(key, str | int) or not whole:
            raise ValueError("it refers to a storage in an unknown way")
        self.bytes[str(key)] = max(self.bytes.get(str(key), 0), count * WIDTHS[kind.text])
        return _Storage(count)


class _Scan(Machine):
    """Goes through a pickle and keeps nothing but tuples, in which its marks and sizes stand."""

    def _extend(self, items: list[Any]) -> None:
        del items

    def _update(self, items: list[Any]) -> None:
        del items

    def _add(self, items: list[Any]) -> None:
        del items
