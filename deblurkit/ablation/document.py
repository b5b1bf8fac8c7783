"""Plain values out of a study's document, or a sentence that says what is wrong and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deblurkit.errors import ConfigError
from deblurkit.params import at, suggest


def require_known(table: Mapping[str, Any], keys: Sequence[str], prefix: str, place: str) -> None:
    """Refuse keys that nobody reads.

    Args:
        table: The table.
        keys: Those that are read.
        prefix: What stands before a key in the message, such as ``reduced.``.
        place: The file, for the message.

    Raises:
        ConfigError: At the first other key.
    """
    for key in table:
        if key not in keys:
            cure = suggest(key, keys) or f"; there are {', '.join(keys)}"
            raise ConfigError(f"{prefix}{key}: no such key{cure}{at(place)}")


def table_at(document: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    """A table, empty where it is missing."""
    value = document.get(key, {})
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}: must be a table, not {value!r}{at(place)}")
    return value


def text_at(document: Mapping[str, Any], key: str, place: str) -> str:
    """A text, empty where it is missing."""
    value = document.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{key}: must be text, not {value!r}{at(place)}")
    return value


def word(value: str, key: str, words: Sequence[str], place: str) -> str:
    """One of some words, the first where it is empty."""
    if value and value not in words:
        raise ConfigError(f"{key}: must be {' or '.join(words)}, not {value!r}{suggest(value, words)}{at(place)}")
    return value or words[0]


def strings(value: object, key: str, place: str) -> list[str]:
    """A text or a list of texts, as a list."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) and one for one in values):
        raise ConfigError(f"{key}: must be a text or a list of texts, not {value!r}{at(place)}")
    return values


def seeds(value: object, place: str) -> tuple[int, ...]:
    """Seeds, each once; 0 where there are none."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**32 for one in values):
        raise ConfigError(f"seeds: must be a list of integers from 0 on, not {value!r}{at(place)}")
    return tuple(dict.fromkeys(values)) or (0,)


def numbers(table: Mapping[str, Any], key: str, place: str) -> dict[str, float]:
    """A table of numbers."""
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{key}.{name}: must be a number, not {value!r}{at(place)}")
    return {name: float(value) for name, value in table.items()}


def sections(table: Mapping[str, Any], keys: Sequence[str], place: str) -> dict[str, Mapping[str, object]]:
    """The sections among the keys of a table."""
    found = {key: table[key] for key in keys if key in table}
    for section, values in found.items():
        if not isinstance(values, Mapping):
            raise ConfigError(f"{section}: must be a table; write {section}.name = {values!r}{at(place)}")
    return found
