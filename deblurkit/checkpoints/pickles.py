"""NVIDIA's pickled networks, read without NVIDIA's code, and without running the code that they carry.

Two kinds are known: those of PyTorch (StyleGAN2-ADA, StyleGAN3), whose every module goes with the source that would be
run to make it, and those of TensorFlow (StyleGAN, StyleGAN2), whose networks do. Both are tables of tensors underneath.
The names that their pickles use are the keys of :data:`CALLS`; each means a function of this file, and nothing else can
be named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from deblurkit.checkpoints.documents import Document, PersistentModule, PickledModule, PickledNetwork, TFNetwork
from deblurkit.checkpoints.machine import Bounded, Name, RefusedName, run
from deblurkit.checkpoints.numbers import Array, DType, Room, read_storage, tensor_view
from deblurkit.checkpoints.refusals import damaged, more_than_weights

__all__ = ["PersistentModule", "TFNetwork", "read_pickle"]

COPIES = 6
"""How often a file's bytes may be in memory, in all forms that they take on the way to a tensor."""
NETWORKS = 3
"""How often a file's bytes may be among its networks' tensors: some might be in more than one."""


def read_pickle(path: Path) -> Any:
    """Read a pickle of NVIDIA's; nothing in it is run.

    Args:
        path: The ``.pkl`` file.

    Returns:
        What it holds: dictionaries, lists and tuples of plain values, tensors, :class:`PersistentModule` and
        :class:`TFNetwork`. Arrays have become tensors, and sets lists.

    Raises:
        UsageError: If it is damaged, or wants anything else than such networks need.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            document = run(Bounded(file, size), _Nvidia(size))
        return Document(Room(NETWORKS * size)).of(document)
    except RefusedName as error:
        raise more_than_weights(path, str(error), pickled=True) from error
    except Exception as error:  # what a damaged file makes of the numbers in it is anybody's guess
        raise damaged(path, error) from error


class _Nvidia:
    """The names in a pickle of NVIDIA's."""

    def __init__(self, size: int) -> None:
        self.room = Room(COPIES * size)

    def named(self, name: str) -> None:
        if name not in CALLS and name not in ARGUMENTS:
            raise RefusedName(name)

    def called(self, name: str, args: tuple[Any, ...]) -> Any:
        if name not in CALLS:
            raise RefusedName(name)
        return CALLS[name](self.room, *args)

    def built(self, instance: Any, state: Any) -> None:
        if isinstance(instance, Array):
            instance.build(self.room, state)
        elif isinstance(instance, DType | PickledNetwork):
            instance.build(state)
        else:
            raise ValueError("it gives a state to what has none")

    def persistent(self, mark: Any) -> Any:
        del mark
        raise ValueError("it refers to something outside of the file")


def _table(_: Room) -> dict[Any, Any]:
    return {}


def _set(room: Room, members: Any = ()) -> set[Any]:
    if not isinstance(members, list | tuple) or not all(isinstance(member, str) for member in members):
        raise ValueError("a set in it holds more than text")
    room.take(64 * len(members))
    return set(members)


def _bytes(room: Room, text: Any, coding: Any) -> bytes:
    if not isinstance(text, str) or coding not in ("latin1", "latin-1"):
        raise ValueError("bytes in it are written in an unknown way")
    room.take(len(text))
    return text.encode("latin-1")


def _module(_: Room, meta: Any) -> PickledModule:
    if not isinstance(meta, dict) or meta.get("type") != "class":
        raise ValueError("a module in it is of an unknown kind")
    name, state = meta.get("class_name"), meta.get("state")
    if not isinstance(name, str) or not isinstance(state, dict):
        raise ValueError("a module in it has no table of attributes")
    return PickledModule(name, state)


def _parameter(_: Room, data: Any, *__: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise ValueError("a parameter in it is no tensor")
    return data


def _reconstructed(_: Room, kind: Any, *__: Any) -> Array:
    if kind != Name("numpy.ndarray"):
        raise ValueError("an array in it is of an unknown kind")
    return Array()


CALLS: dict[str, Callable[..., Any]] = {
    "torch_utils.persistence._reconstruct_persistent_obj": _module,
    "dnnlib.tflib.network.Network": lambda _: PickledNetwork(),
    "dnnlib.util.EasyDict": _table,
    "collections.OrderedDict": _table,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "_codecs.encode": _bytes,
    "builtins.bytes": lambda _: b"",
    "__builtin__.bytes": lambda _: b"",
    "torch._utils._rebuild_tensor_v2": tensor_view,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.storage._load_from_bytes": read_storage,
    "numpy.dtype": lambda _, code, *__: DType(code),
}
"""Everything that a pickle of NVIDIA's can call, and what is called instead; the first argument is the room left."""
for _core in ("numpy.core", "numpy._core"):
    CALLS |= {
        f"{_core}.multiarray._reconstruct": _reconstructed,
        f"{_core}.multiarray.scalar": DType.scalar,
        f"{_core}.numeric._frombuffer": Array.whole,
    }
ARGUMENTS = frozenset({"numpy.ndarray"})
"""What it can name beyond that."""
