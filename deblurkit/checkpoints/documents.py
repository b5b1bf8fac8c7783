"""What pickled networks are in the end: tables of tensors and plain settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deblurkit.checkpoints.numbers import Array, Room

DEEPEST = 64
"""Containers or modules in one another."""
MOST_VALUES = 500_000
"""Values in a document, those that stand in it twice counted twice."""
PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class PersistentModule:
    """A network or layer of NVIDIA's PyTorch programs.

    Attributes:
        class_name: Of the class that its source would have made: ``Generator``.
        tensors: Parameters and buffers by dotted name: ``synthesis.b4.conv1.weight``.
        settings: What it was constructed with (``z_dim``, ``synthesis_kwargs``, ...), and the plain values that it and
            the modules in it have as attributes, by dotted name: ``synthesis.b4.conv1.conv_clamp``.
    """

    class_name: str
    tensors: dict[str, Tensor]
    settings: dict[str, Any]


@dataclass(frozen=True)
class TFNetwork:
    """A network of NVIDIA's TensorFlow programs.

    Attributes:
        version: Of the way in which it was pickled; below 4 for StyleGAN1.
        settings: What it was constructed with: ``resolution``, ``label_size``, ...
        tensors: Variables by name, after the component's: ``mapping/Dense0/weight``, ``dlatent_avg``.
    """

    version: int
    settings: dict[str, Any]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class PickledModule:
    """A persistent object as it was pickled."""

    class_name: str
    state: dict[str, Any]


class PickledNetwork:
    """A TensorFlow network, whose state comes after it."""

    state: dict[str, Any] | None = None

    def build(self, state: Any) -> None:
        """Take the state, once."""
        if self.state is not None or not isinstance(state, dict):
            raise ValueError("a network's state is no table")
        self.state = state


@dataclass(frozen=True)
class _Made:
    """A value of the document, how many values it holds, and whether it holds plain ones alone."""

    value: Any
    count: int
    plain: bool

    @classmethod
    def holding(cls, value: Any, parts: list[_Made]) -> _Made:
        return cls(value, 1 + sum(part.count for part in parts), all(part.plain for part in parts))


class Document:
    """Turns what a pickle holds into a document of plain values.

    Args:
        room: For the tensors of the networks in it.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.done: dict[int, _Made] = {}
        self.open: set[int] = set()
        self.visited = 0

    def of(self, value: Any) -> Any:
        """The document."""
        return self._of(value).value

    def _of(self, value: Any) -> _Made:
        if isinstance(value, PLAIN):
            return _Made(value, 1, True)
        if isinstance(value, Tensor):
            return _Made(value, 1, False)
        if id(value) not in self.done:
            if id(value) in self.open or len(self.open) >= DEEPEST:
                raise ValueError("its tables hold one another")
            self.open.add(id(value))
            made = self._made(value)
            if made.count > MOST_VALUES:
                raise ValueError(f"it holds more than {MOST_VALUES} values")
            self.open.remove(id(value))
            self.done[id(value)] = made
        return self.done[id(value)]

    def _made(self, value: Any) -> _Made:
        if isinstance(value, dict):
            table = {key: self._of(held) for key, held in value.items()}
            return _Made.holding({key: made.value for key, made in table.items()}, list(table.values()))
        if isinstance(value, list | tuple | set):
            items = [self._of(held) for held in value]
            made = [item.value for item in items]
            return _Made.holding(tuple(made) if isinstance(value, tuple) else made, items)
        if isinstance(value, Array):
            return _Made(value.held(), 1, False)
        if isinstance(value, PickledModule):
            return _Made(self._module(value), 1, False)
        if isinstance(value, PickledNetwork):
            return _Made(self._network(value), 1, False)
        raise ValueError("it holds more than networks and plain values")

    def _module(self, module: PickledModule) -> PersistentModule:
        tensors: dict[str, Tensor] = {}
        settings = self._settings(module.state.get("_init_kwargs", {}))
        self._walk(module, "", tensors, settings, 0)
        return PersistentModule(module.class_name, tensors, settings)

    def _settings(self, table: Any) -> dict[str, Any]:
        """The entries of a table that are made of plain values alone."""
        if not isinstance(table, dict):
            raise ValueError("the settings in it are no table")
        made = {str(key): self._of(value) for key, value in table.items()}
        return {key: value.value for key, value in made.items() if value.plain}

    def _walk(
        self, module: PickledModule, prefix: str, tensors: dict[str, Tensor], settings: dict[str, Any], depth: int
    ) -> None:
        """Collect the tensors and plain attributes of a module and of those in it."""
        self._visit(len(module.state), depth)
        for name, value in module.state.items():
            if isinstance(value, PLAIN) and not str(name).startswith("_") and name != "training":
                settings.setdefault(f"{prefix}{name}", value)
        for kind in ("_parameters", "_buffers"):
            for name, value in self._entries(module.state, kind, depth):
                tensors[prefix + name] = self._tensor(value)
        for name, value in self._entries(module.state, "_modules", depth):
            if not isinstance(value, PickledModule):
                raise ValueError("a module in it is none")
            self._walk(value, f"{prefix}{name}.", tensors, settings, depth + 1)

    def _network(self, network: PickledNetwork) -> TFNetwork:
        tensors: dict[str, Tensor] = {}
        self._gather(network, "", tensors, 0)
        state = network.state or {}
        if type(state.get("version")) is not int:
            raise ValueError("a network in it does not say its version")
        return TFNetwork(state["version"], self._settings(state.get("static_kwargs")), tensors)

    def _gather(self, network: Any, prefix: str, tensors: dict[str, Tensor], depth: int) -> None:
        """Collect the variables of a network and of its components."""
        if not isinstance(network, PickledNetwork) or network.state is None:
            raise ValueError("a network in it has no state")
        variables = network.state.get("variables")
        if not isinstance(variables, list):
            raise ValueError("a network in it has no variables")
        self._visit(len(variables), depth)
        for pair in variables:
            if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
                raise ValueError("a variable in it has no name")
            tensors[prefix + pair[0]] = self._tensor(pair[1])
        for name, component in self._entries(network.state, "components", depth):
            self._gather(component, f"{prefix}{name}/", tensors, depth + 1)

    def _visit(self, count: int, depth: int) -> None:
        """Account for values that are walked over, as often as that happens."""
        self.visited += 1 + count
        if self.visited > MOST_VALUES or depth > DEEPEST:
            raise ValueError("its networks hold one another")

    def _entries(self, state: dict[str, Any], kind: str, depth: int) -> list[tuple[str, Any]]:
        """The members that a state has of a kind, without those that are empty."""
        table = state.get(kind, {})
        if not isinstance(table, dict):
            raise ValueError("the members of a network in it are no table")
        self._visit(len(table), depth)
        return [(str(name), value) for name, value in table.items() if value is not None]

    def _tensor(self, value: Any) -> Tensor:
        held = value.held() if isinstance(value, Array) else value
        if type(held) is float:  # as TensorFlow's sessions give variables that are single numbers
            held = torch.tensor(held)
        if not isinstance(held, Tensor):
            raise ValueError("a tensor in it is none")
        self.room.take(held.numel() * held.element_size())
        return held
