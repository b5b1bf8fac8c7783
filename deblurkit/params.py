"""One declaration of a parameter: default, help text and bounds, written once.

A component lists its knobs as the fields of a frozen dataclass::

    @dataclass(frozen=True, kw_only=True)
    class TVParams(Params):
        weight: float = param(1e-3, "Strength of the penalty.", min=0.0)

From that one line come the TOML key ``image_prior.weight``, the flag ``--image-prior.weight`` with its help and range,
a line of ``deblurkit list``, and a column of an ablation table. The annotations allowed are few on purpose: ``bool``,
``int``, ``float``, ``str``, ``Path``, ``Literal[...]`` of strings or of integers, ``tuple[int, ...]``,
``tuple[float, ...]``, and ``int | Literal["auto"]`` or ``float | Literal["auto"]`` for a number that the program can
choose itself. There is no ``None``: say "absent" by a default such as ``0``, ``""``, ``"auto"`` or ``()``.
"""

import dataclasses
import difflib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from deblurkit.errors import ConfigError

Value: TypeAlias = bool | int | float | str | Path | tuple[int, ...] | tuple[float, ...]
Plain: TypeAlias = bool | int | float | str | list[int] | list[float]
T = TypeVar("T")
P = TypeVar("P", bound="Params")

ALLOWED = "bool, int, float, str, Path, Literal[...], tuple[int, ...], tuple[float, ...] or int | Literal['auto']"
AUTO = "auto"
_KEY = "deblurkit"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def param(
    default: T,
    help: str,
    *,
    min: float = -math.inf,
    max: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    odd: bool = False,
) -> T:
    """Declare one parameter of a `Params` class.

    Args:
        default: Value where nobody says otherwise; it must obey the bounds itself.
        help: One sentence for ``--help``, with the unit where there is one.
        min: Smallest value allowed (numbers, and each number of a tuple).
        max: Largest value allowed.
        above: The value must be greater than this, not equal.
        below: The value must be less than this, not equal.
        odd: The value must be an odd integer.

    Returns:
        A dataclass field (typed as the default, so that a type checker reads the annotation).
    """
    metadata = {_KEY: {"help": help, "min": min, "max": max, "above": above, "below": below, "odd": odd}}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Params:
    """Base of all parameter classes; an instance always holds valid values.

    Subclass it with ``@dataclass(frozen=True, kw_only=True)`` and give every field by `param`.

    Raises:
        TypeError: At class definition, if a field has an annotation outside the allowed ones, is not made by `param`,
            or has a default outside its own bounds.
        ConfigError: At construction, if a value has the wrong type or is out of bounds.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Read every field declared by the subclass, so that a mistake is reported where it was made."""
        super().__init_subclass__(**kwargs)
        hints = get_type_hints(cls)
        for name in inspect.get_annotations(cls):
            _declared(cls.__name__, name, hints[name], cls.__dict__.get(name))

    def __post_init__(self) -> None:
        """Check every value (an int given for a float becomes a float, a list a tuple, a string a path)."""
        for field in fields_of(type(self)):
            try:
                value = field.check(getattr(self, field.name))
            except ValueError as error:
                raise ConfigError(f"{type(self).__name__}.{field.name}: {error}") from None
            object.__setattr__(self, field.name, value)
        try:
            self.check_together()
        except ValueError as error:
            raise ConfigError(f"{type(self).__name__}: {error}") from None

    def check_together(self) -> None:
        """Override it to tie several parameters together; raise ``ValueError`` with one sentence."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter as the command line, the config and the listing see it.

    Attributes:
        name: Field name, snake case.
        annotation: One of the types allowed, see the top of this module.
        default: Default value.
        help: One sentence.
        min: Smallest value allowed, ``-inf`` where there is none; `max`, `above` and `below` likewise.
        max: Largest value allowed.
        above: Exclusive lower bound.
        below: Exclusive upper bound.
        odd: Whether integers must be odd.
    """

    name: str
    annotation: Any
    default: Value
    help: str
    min: float
    max: float
    above: float
    below: float
    odd: bool

    @property
    def flag(self) -> str:
        """The name on the command line, dashes for underscores."""
        return self.name.replace("_", "-")

    @property
    def choices(self) -> tuple[str | int, ...]:
        """The words (or integers) of a ``Literal``, ``("auto",)`` beside a number, else empty."""
        if self.auto:
            return (AUTO,)
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()

    @property
    def auto(self) -> bool:
        """Whether the word ``auto`` may stand in the place of a number."""
        return _number(self.annotation) is not self.annotation

    @property
    def item(self) -> type | None:
        """``int`` or ``float`` for a tuple of them, else ``None``."""
        return get_args(self.annotation)[0] if get_origin(self.annotation) is tuple else None

    @property
    def type_text(self) -> str:
        """The type as ``--help`` and ``list`` show it, such as ``integer``, ``numbers`` or ``l1|l2``."""
        if self.auto:
            return f"{AUTO}|{_NOUNS[_number(self.annotation)]}"
        if self.choices:
            return "|".join(str(choice) for choice in self.choices)
        if self.item is not None:
            return _NOUNS[self.item] + "s"
        return _NOUNS[self.annotation]

    @property
    def bounds_text(self) -> str:
        """The bounds as a formula such as ``0<x<=1`` or ``x>=3``, or an empty string."""
        low, high = max(self.min, self.above), min(self.max, self.below)
        low_sign = "<" if self.above >= self.min else "<="
        high_sign = "<" if self.below <= self.max else "<="
        if math.isinf(low) and math.isinf(high):
            return ""
        if math.isinf(high):
            return f"x{low_sign.replace('<', '>')}{low:.10g}"
        return f"{'' if math.isinf(low) else f'{low:.10g}{low_sign}'}x{high_sign}{high:.10g}"

    @property
    def default_text(self) -> str:
        """The default as one would type it after the flag."""
        return text_of(self.default)

    @property
    def requirement(self) -> str:
        """What a value must be, as the middle of a sentence: ``an integer with 1<=x<=8``."""
        if self.choices and not self.auto:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        bounds = self.bounds_text
        if self.item is not None:
            return f"a list of {_NOUNS[self.item]}s" + (f", each with {bounds}" if bounds else "")
        noun = "an odd integer" if self.odd else _ARTICLES[_number(self.annotation)]
        return (f"{AUTO!r} or " if self.auto else "") + noun + (f" with {bounds}" if bounds else "")

    def check(self, value: object) -> Value:
        """Return `value` in the declared type.

        An int is fine for a float, a string for a path, a list for a tuple; a bool is no number, and NaN and infinity
        are none either.

        Raises:
            ValueError: With the sentence ``must be …, not …``.
        """
        if self.auto and value == AUTO:
            return AUTO
        if self.choices and not self.auto:
            # 1 == True == 1.0 in Python, so the types are compared too
            if any(type(value) is type(choice) and value == choice for choice in self.choices):
                return value  # type: ignore[return-value]
            guess = suggest(value, [c for c in self.choices if isinstance(c, str)]) if isinstance(value, str) else ""
            raise ValueError(f"must be {self.requirement}, not {value!r}{guess}")
        try:
            if self.item is None:
                return self._in_bounds(_CHECKS[_number(self.annotation)](value))
            if not isinstance(value, list | tuple):
                raise TypeError
            return tuple(self._in_bounds(_CHECKS[self.item](item)) for item in value)
        except (TypeError, OverflowError):
            shown = str(value) if isinstance(value, Path) else value
            raise ValueError(f"must be {self.requirement}, not {shown!r}") from None

    def read(self, text: str) -> Value:
        """Return the value that was typed on the command line: ``true``, ``3``, ``1e-3``, ``1,2,3`` or a choice.

        Raises:
            ValueError: With the sentence ``must be …, not …``.
        """
        return self.check(_read(self.annotation, text))

    def _in_bounds(self, value: Value) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        # an absent bound is infinite, and infinity itself never gets here
        if not (self.min <= value <= self.max and self.above < value < self.below) or (self.odd and value % 2 != 1):
            raise TypeError
        return value


def fields_of(cls: type[Params]) -> tuple[Parameter, ...]:
    """Return the parameters of a `Params` class in the order of their declaration, inherited ones last.

    Raises:
        TypeError: If the class is not a frozen dataclass deriving from `Params`.
    """
    if not (isinstance(cls, type) and issubclass(cls, Params)):
        raise TypeError(f"{cls!r} is no parameter class; derive it from deblurkit.params.Params")
    if "__dataclass_params__" not in vars(cls) and inspect.get_annotations(cls):
        raise TypeError(f"{cls.__name__} has parameters but is no dataclass; add @dataclass(frozen=True, kw_only=True)")
    return _fields_of(cls)  # type: ignore[arg-type]  # mypy takes the class for unhashable


def parameter(
    cls: type[Params],
    name: str,
    *,
    subject: str,
    owner: str = "it",
    place: str = "",
    beside: Mapping[str, str] = MappingProxyType({}),
) -> Parameter:
    """Look one parameter up.

    Args:
        cls: The parameter class.
        name: The name as written by the user.
        subject: Where the parameter belongs, e.g. ``image_prior``.
        owner: Whose parameters these are, for the message.
        place: The file or source that names it, for the message.
        beside: Other keys that may have been meant, such as the ``name`` of a component, each with how it is written.

    Raises:
        ConfigError: If there is none of that name; the message suggests the nearest.
    """
    for field in fields_of(cls):
        if field.name == name:
            return field
    known = [field.name for field in fields_of(cls)]
    cure = suggest(name, [*known, *beside], beside) or f"; {owner} has {', '.join(known) or 'none'}"
    raise ConfigError(f"{subject}.{name}: no such parameter{cure}{at(place)}")


def parse(cls: type[P], values: Mapping[str, object], *, subject: str, place: str = "") -> P:
    """Build a `Params` object from the keys and values of one place.

    Args:
        cls: The parameter class.
        values: Values by parameter name, as TOML or JSON gave them; missing ones take their default.
        subject: Where the parameters belong, e.g. ``image_prior``.
        place: The file or source that holds them, for the message.

    Raises:
        ConfigError: Naming the key, the cause and the place, at an unknown name or an impossible value.
    """
    checked: dict[str, Any] = {}
    for name, value in values.items():
        field = parameter(cls, name, subject=subject, place=place)
        try:
            checked[name] = field.check(value)
        except ValueError as error:
            raise ConfigError(f"{subject}.{name}: {error}{at(place)}") from None
    return build(cls, checked, subject=subject, place=place)


def build(cls: type[P], checked: Mapping[str, Any], *, subject: str, place: str = "") -> P:
    """Build a `Params` object from values that are checked one by one, and check them together.

    Raises:
        ConfigError: If `Params.check_together` refuses them.
    """
    try:
        return cls(**checked)
    except ConfigError as error:
        cause = str(error).removeprefix(f"{cls.__name__}: ")
        raise ConfigError(f"{subject}: {cause}{at(place)}") from None


def plain(params: Params) -> dict[str, Plain]:
    """Return the values as TOML and JSON know them: tuples as lists, paths as strings (the empty path as ``""``)."""
    return {field.name: plain_value(getattr(params, field.name)) for field in fields_of(type(params))}


def plain_value(value: Value) -> Plain:
    """Return one value as TOML and JSON know it."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Path):
        return "" if value == Path() else str(value)
    return value


def text_of(value: Value) -> str:
    """Return a value as one would type it after a flag: ``true``, ``0.001``, ``1,2,3``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(text_of(item) for item in value)
    return f"{value:.10g}" if isinstance(value, float) else str(plain_value(value))


def suggest(word: str, known: Iterable[str], written: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return ``; did you mean 'x'?`` for the known word nearest to `word`, or an empty string.

    Args:
        word: What was typed.
        known: The words that there are.
        written: How some of them are to be typed.
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {written.get(near[0], str(near[0]))!r}?" if near else ""


def at(place: str) -> str:
    """Return the place of a mistake as the end of its sentence: `` (configs/blind.toml)``."""
    return f" ({place})" if place else ""


@cache
def _fields_of(cls: type[Params]) -> tuple[Parameter, ...]:
    hints = get_type_hints(cls)
    depth = {name: i for i, one in reversed([*enumerate(cls.__mro__)]) for name in inspect.get_annotations(one)}
    fields = sorted(dataclasses.fields(cls), key=lambda field: depth[field.name])
    return tuple(_declared(cls.__name__, field.name, hints[field.name], field) for field in fields)


def _declared(owner: str, name: str, annotation: Any, field: object) -> Parameter:
    """Return the declaration of one field, or say what is wrong with it."""
    subject = f"{owner}.{name}"
    if not isinstance(field, dataclasses.Field) or _KEY not in field.metadata:
        raise TypeError(f"{subject} is not declared by param(default, help)")
    if not _NAME.fullmatch(name) or name == "name" or hasattr(Params, name):
        raise TypeError(f"{subject}: the name is reserved or not in snake case")
    if not _is_allowed(annotation):
        shown = annotation.__name__ if type(annotation) is type else annotation
        raise TypeError(f"{subject}: {shown} is no parameter type; use {ALLOWED}")
    given: Any = field.default
    declared = Parameter(name=name, annotation=annotation, default=given, **field.metadata[_KEY])
    if not declared.help.strip() or "\n" in declared.help:
        raise TypeError(f"{subject}: the help must be one line of text")
    try:
        default = declared.check(given)
    except ValueError as error:
        raise TypeError(f"{subject}: the default {error}") from None
    return dataclasses.replace(declared, default=default)


def _number(annotation: Any) -> Any:
    """Return ``int`` or ``float`` for ``int | Literal["auto"]`` and the like, else the annotation itself."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    if len(members) == 2 and members[0] in (int, float) and get_args(members[1]) == (AUTO,):
        return members[0]
    return annotation


def _is_allowed(annotation: Any) -> bool:
    """Say whether an annotation is one of the few types of parameters."""
    annotation = _number(annotation)
    args = get_args(annotation)
    if get_origin(annotation) is Literal:
        return {type(choice) for choice in args} in ({str}, {int})
    if get_origin(annotation) is tuple:
        return args in ((int, ...), (float, ...))
    return annotation in (bool, int, float, str, Path)


def _read(annotation: Any, text: str) -> object:
    """Turn typed text into a value of the annotated type where it can be one, else return the text itself."""
    if get_origin(annotation) is Literal:
        return next((choice for choice in get_args(annotation) if str(choice) == text), text)
    if get_origin(annotation) is tuple:
        items = [item for item in text.strip().strip("()[]").split(",") if item.strip()]
        return [_read(get_args(annotation)[0], item.strip()) for item in items]
    annotation = _number(annotation)
    if annotation is bool:
        return _WORDS.get(text.strip().lower(), text)
    if annotation in (int, float):
        try:
            return annotation(text)
        except ValueError:
            return text
    return text


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return int(value)


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _path(value: object) -> Path:
    if not isinstance(value, str | Path):
        raise TypeError
    return Path(value)


_CHECKS: dict[Any, Callable[[object], Value]] = {bool: _bool, int: _int, float: _float, str: _str, Path: _path}
_NOUNS: dict[Any, str] = {bool: "true|false", int: "integer", float: "number", str: "text", Path: "path"}
_ARTICLES: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a finite number",
    str: "text",
    Path: "a path",
}
