"""The steps of a pickle, carried out on inert values: a name stays a name, and nothing in Python is looked up by it.

Python's own unpickler fetches what a pickle names, calls it, sets attributes of what came out, and believes every
length that it reads. This one knows the steps that checkpoints consist of; what becomes of a named call is up to a
:class:`World`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, ClassVar, Protocol

MOST_STEPS = 500_000
"""Of one pickle; the largest networks take a tenth of it."""
LONGEST_LINE = 1 << 12
LARGEST_INTEGER = 1 << 96
LARGEST_KEY = 1 << 63
NUMBERS = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"})
TEXTS = frozenset({"BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"})
BYTES = frozenset({"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"})
LITERALS = NUMBERS | TEXTS | BYTES
"""Steps that put down what stands beside them."""
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


class RefusedName(Exception):
    """A pickle names what it may not; the text is the name, ``module.name``."""


@dataclass(frozen=True)
class Name:
    """What a pickle calls something in a module; it is never looked up.

    Attributes:
        text: ``module.name``.
    """

    text: str


class World(Protocol):
    """What the names in a pickle mean."""

    def named(self, name: str) -> None:
        """Raise :class:`RefusedName` if a pickle may not even name this."""

    def called(self, name: str, args: tuple[Any, ...]) -> Any:
        """What a named function or class makes of arguments."""

    def built(self, instance: Any, state: Any) -> None:
        """Give something that :meth:`called` made its state."""

    def persistent(self, mark: Any) -> Any:
        """What stands outside of the pickle under this mark."""


class Bounded:
    """A stream that never sets memory aside for more bytes than are left in it.

    Args:
        file: At the place where to begin.
        size: Bytes in all, counted from the file's start.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file
        self.size = size

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes."""
        return self.file.read(max(0, min(count, self.size - self.file.tell())))

    def readline(self) -> bytes:
        """A line, of a length that a name has."""
        return self.file.readline(LONGEST_LINE)

    def tell(self) -> int:
        """The place in the file."""
        return self.file.tell()


def run(
    stream: Bounded, world: World, machine: Callable[[World], Machine] | None = None, most: int = MOST_STEPS
) -> Any:
    """Read one pickle, and leave the stream behind it.

    Args:
        stream: At its first byte.
        world: What its names mean.
        machine: Which one carries the steps out.
        most: How many there may be.

    Returns:
        What it holds: Python's plain values, :class:`Name`, and whatever the world made.

    Raises:
        RefusedName: If it names what the world does not know.
        ValueError: If it is damaged, too long, or takes steps that no checkpoint takes.
    """
    running = (machine or Machine)(world)
    steps: Any = pickletools.genops(stream)  # type: ignore[arg-type]  # read, readline and tell are all it asks for
    for count, (opcode, argument, _) in enumerate(steps):
        if count > most:
            raise ValueError(f"it takes more than {most} steps")
        if opcode.name == "STOP":
            return running.pop()
        running.step(opcode.name, argument)
    raise ValueError("its end is missing")


class Machine:
    """The stack and the memo of a pickle.

    Args:
        world: What its names mean.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one step.

        Raises:
            RefusedName: See :func:`run`.
            ValueError: Likewise.
        """
        if name in ("PROTO", "FRAME"):  # what they tell is of no use here
            return
        if name in LITERALS:
            if isinstance(argument, int) and abs(argument) > LARGEST_INTEGER:
                raise ValueError("it holds an absurdly large integer")
            self.stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in self.STEPS:
            try:
                self.STEPS[name](self, argument)
            except (IndexError, KeyError) as error:
                raise ValueError("it takes what is not there") from error
        else:
            raise ValueError(f"it takes the step {name}, which no checkpoint takes")

    def pop(self) -> Any:
        """Take from the stack."""
        if not self.stack:
            raise ValueError("it takes from an empty stack")
        return self.stack.pop()

    def _above_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def _mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _put(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def _get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def _drop(self, _: Any) -> None:
        self.stack.pop()

    def _drop_marked(self, _: Any) -> None:
        self._above_mark()

    def _marked_tuple(self, _: Any) -> None:
        items = tuple(self._above_mark())
        self.stack.append(items)

    def _tuple(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise IndexError
        self.stack[-count:] = [items]

    def _global(self, line: str) -> None:
        self._push_name(*line.split(" ", 1))

    def _stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name in it is no text")
        self._push_name(module, name)

    def _push_name(self, module: str, name: str) -> None:
        text = f"{module}.{name}"
        self.world.named(text)
        self.stack.append(Name(text))

    def _call(self, _: Any) -> None:
        args, name = self.pop(), self.pop()
        if not isinstance(name, Name) or not isinstance(args, tuple):
            raise ValueError("it calls what is no name")
        self.stack.append(self.world.called(name.text, args))

    def _build(self, _: Any) -> None:
        state = self.pop()
        self.world.built(self.stack[-1], state)

    def _persistent(self, _: Any) -> None:
        self.stack.append(self.world.persistent(self.pop()))

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("it appends to what is no list")
        self.stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise ValueError("it puts entries into what is no table")
        self.stack[-1].update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def _add(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not set:
            raise ValueError("it adds to what is no set")
        self.stack[-1].update(map(_key, items))

    STEPS: ClassVar[dict[str, Callable[[Machine, Any], None]]] = {
        "MARK": _mark,
        "POP": _drop,
        "POP_MARK": _drop_marked,
        "PUT": _put,
        "BINPUT": _put,
        "LONG_BINPUT": _put,
        "MEMOIZE": _put,
        "BINGET": _get,
        "LONG_BINGET": _get,
        "EMPTY_DICT": lambda self, _: self.stack.append({}),
        "EMPTY_LIST": lambda self, _: self.stack.append([]),
        "EMPTY_SET": lambda self, _: self.stack.append(set()),
        "TUPLE": _marked_tuple,
        "TUPLE1": lambda self, _: self._tuple(1),
        "TUPLE2": lambda self, _: self._tuple(2),
        "TUPLE3": lambda self, _: self._tuple(3),
        "APPEND": lambda self, _: self._extend([self.pop()]),
        "APPENDS": lambda self, _: self._extend(self._above_mark()),
        "SETITEM": lambda self, _: self._update([self.pop(), self.pop()][::-1]),
        "SETITEMS": lambda self, _: self._update(self._above_mark()),
        "ADDITEMS": lambda self, _: self._add(self._above_mark()),
        "GLOBAL": _global,
        "STACK_GLOBAL": _stack_global,
        "REDUCE": lambda self, _: self._call(_),
        "NEWOBJ": lambda self, _: self._call(_),
        "BUILD": _build,
        "BINPERSID": _persistent,
    }


def _key(key: Any) -> str | int:
    """Keys whose hashes nobody can make collide."""
    if isinstance(key, str) or (isinstance(key, int) and abs(key) <= LARGEST_KEY):
        return key
    raise ValueError("a key in it is neither text nor a number")
