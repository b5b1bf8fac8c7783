"""The numbers in a pickle: arrays of NumPy's and storages of torch's, made of plain bytes by this code alone."""

from __future__ import annotations

import io
import math
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deblurkit.checkpoints.machine import Bounded, Name, RefusedName, run

NUMERIC = re.compile("f[248]|[iu][1248]|b1")
"""The kinds of numbers that arrays may have; above all no objects."""
STORAGES = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
"""What a blob of torch.save begins with, in the format before 1.6, which storages in pickles still have."""
STORAGE_STEPS = 200
"""Of each pickle in such a blob."""
MOST_AXES = 16


class Room:
    """How many bytes may yet be made.

    Args:
        left: That many.
    """

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Account for some.

        Raises:
            ValueError: If there is no room for them.
        """
        self.left -= count
        if self.left < 0:
            raise ValueError("its tensors have more numbers than the file")


class DType:
    """A kind of numbers, as a pickle describes it.

    Args:
        code: ``f4`` and the like.
    """

    def __init__(self, code: Any) -> None:
        if not isinstance(code, str) or not NUMERIC.fullmatch(code):
            raise ValueError("an array in it holds no plain numbers")
        self.kind = np.dtype(code)

    def build(self, state: Any) -> None:
        """Learn the order of the bytes."""
        if not isinstance(state, tuple) or len(state) != 8 or state[0] != 3 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("an array in it holds no plain numbers")
        if any(part is not None for part in state[2:5]):  # arrays and records of several fields
            raise ValueError("an array in it holds no plain numbers")
        self.kind = self.kind.newbyteorder(state[1])

    @staticmethod
    def scalar(_: Room, kind: Any, content: Any) -> int | float | bool:
        """A single number."""
        if not isinstance(kind, DType) or not isinstance(content, bytes) or len(content) != kind.kind.itemsize:
            raise ValueError("a number in it is of an unknown kind")
        number: int | float | bool = np.frombuffer(content, kind.kind)[0].item()
        return number


class Array:
    """An array, whose numbers come after it."""

    tensor: Tensor | None = None

    def build(self, room: Room, state: Any) -> None:
        """Take the numbers: the state of a NumPy array."""
        if self.tensor is not None or not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array in it has an unknown form")
        _, shape, kind, by_columns, content = state
        self.tensor = _array(room, content, kind, shape, "F" if by_columns is True else "C")

    @staticmethod
    def whole(room: Room, content: Any, kind: Any, shape: Any, order: Any) -> Array:
        """An array that is pickled in one piece (protocol 5)."""
        array = Array()
        array.tensor = _array(room, content, kind, shape, order)
        return array

    def held(self) -> Tensor:
        """Its numbers."""
        if self.tensor is None:
            raise ValueError("an array in it is empty")
        return self.tensor


def _array(room: Room, content: Any, kind: Any, shape: Any, order: Any) -> Tensor:
    if not isinstance(kind, DType) or not isinstance(content, bytes) or order not in ("C", "F"):
        raise ValueError("an array in it has an unknown form")
    _check_sizes(shape)
    if math.prod(shape) * kind.kind.itemsize != len(content):
        raise ValueError("an array in it has more or fewer numbers than its shape")
    room.take(len(content))
    values = np.frombuffer(content, kind.kind).reshape(shape, order=order)
    return torch.from_numpy(np.array(values, kind.kind.newbyteorder("="), order="C"))


def _check_sizes(sizes: Any) -> None:
    whole = isinstance(sizes, tuple) and len(sizes) <= MOST_AXES
    if not whole or not all(type(size) is int and 0 <= size < 1 << 40 for size in sizes):
        raise ValueError("a shape in it makes no sense")


def check_view(held: int, offset: Any, size: Any, stride: Any) -> int:
    """Find out whether a tensor lies within a storage of so many numbers.

    Returns:
        How many numbers the tensor has, those that it repeats counted as often as they stand in it.

    Raises:
        ValueError: If it does not, or has no sizes at all.
    """
    for numbers in ((offset,), size, stride):
        _check_sizes(numbers)
    if len(size) != len(stride):
        raise ValueError("a tensor in it has more sides than strides")
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count and last >= held:
        raise ValueError("a tensor in it is larger than its storage")
    return count


def tensor_view(room: Room, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """What ``torch._utils._rebuild_tensor_v2`` makes of a storage: a view."""
    if not isinstance(storage, Tensor) or storage.ndim != 1:
        raise ValueError("a tensor in it has no storage")
    count = check_view(len(storage), offset, size, stride)
    if count > len(storage):
        raise ValueError("a tensor in it repeats its numbers")
    room.take(count * storage.element_size())
    return storage.as_strided(size, stride, offset) if count else storage.new_empty(size)


class _Storages:
    """The names in a blob that holds one storage."""

    def named(self, name: str) -> None:
        if name not in STORAGES:
            raise RefusedName(name)

    def called(self, name: str, args: tuple[Any, ...]) -> Any:
        del args
        raise RefusedName(name)

    def built(self, instance: Any, state: Any) -> None:
        del instance, state
        raise ValueError("it gives a state to what has none")

    def persistent(self, mark: Any) -> Any:
        if not isinstance(mark, tuple) or len(mark) != 6 or mark[0] != "storage" or mark[5] is not None:
            raise ValueError("a blob in it holds no storage")
        _, kind, key, _, count, _ = mark
        if not isinstance(kind, Name):
            raise ValueError("a blob in it holds no storage")
        return kind, key, count


def read_storage(room: Room, blob: Any) -> Tensor:
    """What ``torch.storage._load_from_bytes`` makes of a blob: a storage, here a tensor (n,) on the CPU.

    The blob is a file of ``torch.save`` in itself. It is read here, as far as a single storage goes, instead of by
    torch.load, which would believe the size that it claims.
    """
    if not isinstance(blob, bytes):
        raise ValueError("a blob in it is none")
    room.take(len(blob))
    stream, world = Bounded(io.BytesIO(blob), len(blob)), _Storages()
    magic, protocol, machine, found, keys = (run(stream, world, most=STORAGE_STEPS) for _ in range(5))
    if (
        magic != MAGIC
        or protocol != PROTOCOL
        or not isinstance(machine, dict)
        or machine.get("little_endian") is not True
    ):
        raise ValueError("a blob in it holds no storage")
    if not isinstance(found, tuple) or len(found) != 3 or keys != [found[1]]:
        raise ValueError("a blob in it holds no storage")
    dtype, count = STORAGES[found[0].text], found[2]
    content = blob[stream.tell() + 8 :]
    claimed = int.from_bytes(blob[stream.tell() : stream.tell() + 8], "little")
    if type(count) is not int or claimed != count or len(content) != count * dtype.itemsize:
        raise ValueError("a storage in it has more or fewer numbers than it says")
    if not count:
        return torch.empty(0, dtype=dtype)
    if dtype == torch.bool:  # other bytes than 0 and 1 are no truth values
        return torch.frombuffer(bytearray(content), dtype=torch.uint8) != 0
    return torch.frombuffer(bytearray(content), dtype=dtype)
