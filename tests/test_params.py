import math
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from deblurkit.errors import ConfigError
from deblurkit.params import Params, fields_of, param, parameter, parse, plain, suggest, text_of


@dataclass(frozen=True, kw_only=True)
class Everything(Params):
    """One parameter of every type."""

    flag: bool = param(False, "A switch.")
    depth: int = param(5, "Scales.", min=1, max=8)
    lr: float = param(1, "Rate.", above=0.0, max=1.0)
    text: str = param("", "Words.")
    file: Path = param(Path(), "A file.")
    norm: Literal["l1", "l2"] = param("l2", "Norm.")
    hidden: Literal[0, 1, 2] = param(1, "Layers.")
    steps: tuple[int, ...] = param((5, 8), "Steps.", min=1)
    weights: tuple[float, ...] = param((), "Weights.", min=0.0, below=1.0)
    size: int | Literal["auto"] = param("auto", "Side.", min=3, odd=True)


def declare(annotation: Any, default: Any, name: str = "x", **options: Any) -> type[Params]:
    body = {"__annotations__": {name: annotation}, name: param(default, "Help.", **options), "__module__": __name__}
    return dataclass(frozen=True, kw_only=True)(type("Declared", (Params,), body))


def by_name(name: str):
    return next(field for field in fields_of(Everything) if field.name == name)


@pytest.mark.parametrize(
    "annotation",
    [dict, list[int], int | None, Any, object, tuple[int, int], tuple[str, ...], Literal[1, "a"], int | str, complex],
)
def test_other_types_are_refused_at_definition(annotation):
    with pytest.raises(TypeError, match=r"^Declared.x: .* is no parameter type; use bool, int, float"):
        declare(annotation, 1)


@pytest.mark.parametrize(
    ("annotation", "default", "options"),
    [
        (int, 9, {"max": 8}),
        (int, True, {}),
        (int, None, {}),
        (float, math.nan, {}),
        (Literal["a"], "b", {}),
        (tuple[int, ...], (0,), {"min": 1}),
        (int, 4, {"odd": True}),
    ],
)
def test_a_default_must_obey_its_own_declaration(annotation, default, options):
    with pytest.raises(TypeError, match=r"^Declared.x: the default must be "):
        declare(annotation, default, **options)


@pytest.mark.parametrize("name", ["name", "check_together", "Depth", "_x", "x__y"])
def test_names_must_be_snake_case_and_free(name):
    with pytest.raises(TypeError, match="the name is reserved or not in snake case"):
        declare(int, 1, name=name)


def test_a_plain_default_is_refused():
    with pytest.raises(TypeError, match=r"Careless.x is not declared by param\(default, help\)"):

        class Careless(Params):
            x: int = 3


def test_help_is_one_line():
    with pytest.raises(TypeError, match="the help must be one line of text"):
        type("Silent", (Params,), {"__annotations__": {"x": int}, "x": param(1, " ")})


def test_a_forgotten_decorator_is_reported():
    class Bare(Params):
        x: int = param(3, "Help.")

    with pytest.raises(TypeError, match=r"Bare has parameters but is no dataclass; add @dataclass\(frozen=True"):
        fields_of(Bare)
    with pytest.raises(TypeError, match="is no parameter class"):
        fields_of(dict)  # type: ignore[arg-type]


def test_annotations_may_be_strings_and_fields_inherited():
    class Base(Params):
        x: "int" = param(3, "Help.", min=0)

    base = dataclass(frozen=True, kw_only=True)(Base)

    @dataclass(frozen=True, kw_only=True)
    class Child(base):  # type: ignore[misc, valid-type]
        y: "Literal['a', 'b']" = param("a", "Help.")

    assert [field.name for field in fields_of(Child)] == ["y", "x"]  # what is its own comes first
    assert fields_of(Child)[1].annotation is int
    with pytest.raises(ConfigError, match=r"^Child.x: must be an integer with x>=0, not -1$"):
        Child(x=-1)


def test_fields_carry_what_help_and_listing_need():
    depth = by_name("depth")
    assert (depth.default, depth.help, depth.type_text, depth.bounds_text) == (5, "Scales.", "integer", "1<=x<=8")
    assert [field.type_text for field in fields_of(Everything)] == [
        *("true|false", "integer", "number", "text", "path", "l1|l2", "0|1|2", "integers", "numbers", "auto|integer")
    ]
    assert [field.bounds_text for field in fields_of(Everything)][2:] == [
        *("0<x<=1", "", "", "", "", "x>=1", "0<=x<1", "x>=3")
    ]
    assert [field.default_text for field in fields_of(Everything)] == [
        *("false", "5", "1", "", "", "l2", "1", "5,8", "", "auto")
    ]


@pytest.mark.parametrize(("options", "text"), [({"above": 2}, "x>2"), ({"below": 2}, "x<2"), ({"max": 2}, "x<=2")])
def test_one_sided_bounds(options, text):
    assert fields_of(declare(int, 2 + (0 if "max" in options else 1 if "above" in options else -1), **options))[
        0
    ].bounds_text == (text)


def test_values_take_the_declared_type():
    made = Everything(lr=1, file="a/b", steps=[1, 2], weights=[0, 0.5], size=21)  # type: ignore[arg-type]
    assert made.lr == 1.0
    assert isinstance(made.lr, float)
    assert made.file == Path("a/b")
    assert made.steps == (1, 2)
    assert made.weights == (0.0, 0.5)
    assert all(isinstance(weight, float) for weight in made.weights)
    assert isinstance(Everything().lr, float), "the default is converted too"
    with pytest.raises(FrozenInstanceError):
        made.lr = 2.0  # type: ignore[misc]
    assert hash(made) == hash(Everything(lr=1.0, file=Path("a/b"), steps=(1, 2), weights=(0.0, 0.5), size=21))


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"flag": 1}, "flag: must be true or false, not 1"),
        ({"depth": True}, "depth: must be an integer with 1<=x<=8, not True"),
        ({"depth": 3.0}, "depth: must be an integer with 1<=x<=8, not 3.0"),
        ({"depth": 0}, "depth: must be an integer with 1<=x<=8, not 0"),
        ({"depth": "3"}, "depth: must be an integer with 1<=x<=8, not '3'"),
        ({"depth": None}, "depth: must be an integer with 1<=x<=8, not None"),
        ({"lr": False}, "lr: must be a finite number with 0<x<=1, not False"),
        ({"lr": math.nan}, "lr: must be a finite number with 0<x<=1, not nan"),
        ({"lr": math.inf}, "lr: must be a finite number with 0<x<=1, not inf"),
        ({"lr": 10**400}, "lr: must be a finite number with 0<x<=1"),
        ({"lr": 0}, "lr: must be a finite number with 0<x<=1, not 0"),
        ({"text": 3}, "text: must be text, not 3"),
        ({"file": 3}, "file: must be a path, not 3"),
        ({"norm": "l22"}, "norm: must be one of 'l1', 'l2', not 'l22'; did you mean 'l2'?"),
        ({"hidden": True}, "hidden: must be one of 0, 1, 2, not True"),
        ({"hidden": 3}, "hidden: must be one of 0, 1, 2, not 3"),
        ({"steps": 3}, "steps: must be a list of integers, each with x>=1, not 3"),
        ({"steps": [1, 0]}, "steps: must be a list of integers, each with x>=1, not [1, 0]"),
        ({"steps": "12"}, "steps: must be a list of integers, each with x>=1, not '12'"),
        ({"weights": [1.0]}, "weights: must be a list of numbers, each with 0<=x<1, not [1.0]"),
        ({"size": 4}, "size: must be 'auto' or an odd integer with x>=3, not 4"),
        ({"size": "big"}, "size: must be 'auto' or an odd integer with x>=3, not 'big'"),
    ],
)
def test_impossible_values(values, cause):
    with pytest.raises(ConfigError) as caught:
        Everything(**values)
    assert str(caught.value).startswith(f"Everything.{cause}")
    with pytest.raises(ConfigError) as caught:
        parse(Everything, values, subject="image_prior", place="blind.toml")
    assert str(caught.value).startswith(f"image_prior.{cause}")
    assert str(caught.value).endswith("(blind.toml)")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_a_number_without_bounds_is_finite_all_the_same(value):
    with pytest.raises(ConfigError, match=r"^Declared.x: must be a finite number, not "):
        declare(float, 1.0)(x=value)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *(("flag", word, True) for word in ("true", "True", "yes", "on", "1")),
        *(("flag", word, False) for word in ("false", "no", "off", "0")),
        ("depth", "3", 3),
        ("lr", "1e-3", 1e-3),
        ("lr", "1", 1.0),
        ("text", "3", "3"),
        ("file", "a b.png", Path("a b.png")),
        ("norm", "l1", "l1"),
        ("hidden", "2", 2),
        ("steps", "1, 2,3", (1, 2, 3)),
        ("steps", "[4]", (4,)),
        ("steps", "", ()),
        ("weights", "0.5,0", (0.5, 0.0)),
        ("size", "auto", "auto"),
        ("size", "21", 21),
    ],
)
def test_typed_text_is_read(name, text, value):
    read = by_name(name).read(text)
    assert read == value
    assert type(read) is type(value) or isinstance(value, Path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("flag", "maybe"), ("depth", "3.5"), ("depth", ""), ("lr", "nan"), ("lr", "inf"), ("norm", "L1")),
        *(("hidden", "true"), ("steps", "1,x"), ("steps", "0"), ("size", "20"), ("size", "Auto")),
    ],
)
def test_typed_text_that_means_nothing(name, text):
    with pytest.raises(ValueError, match=r"^must be .*, not "):
        by_name(name).read(text)


@pytest.mark.parametrize("field", fields_of(Everything), ids=lambda field: field.name)
def test_the_default_can_be_typed_as_it_is_shown(field):
    assert field.read(field.default_text) == field.default


def test_an_unknown_parameter():
    with pytest.raises(ConfigError) as caught:
        parse(Everything, {"depht": 3}, subject="image_prior", place="configs/blind.toml")
    assert str(caught.value) == "image_prior.depht: no such parameter; did you mean 'depth'? (configs/blind.toml)"
    with pytest.raises(ConfigError, match=r"^data_term.x: no such parameter; 'mse' has none$"):
        parameter(Params, "x", subject="data_term", owner="'mse'")
    with pytest.raises(ConfigError, match="no such parameter; it has flag, depth, lr, text, file"):
        parameter(Everything, "zzz", subject="image_prior")


def test_plain_values_build_the_same_parameters():
    made = Everything(file=Path("a"), steps=(), size=5)
    values = plain(made)
    assert values["file"] == "a"
    assert values["steps"] == []
    assert plain(Everything())["file"] == ""
    assert parse(Everything, values, subject="x") == made


def test_parameters_may_be_tied_together():
    @dataclass(frozen=True, kw_only=True)
    class Tied(Params):
        low: int = param(1, "Low.")
        high: int = param(2, "High.")

        def check_together(self) -> None:
            if self.low > self.high:
                raise ValueError("low must not exceed high")

    with pytest.raises(ConfigError, match=r"^Tied: low must not exceed high$"):
        Tied(low=3)
    with pytest.raises(ConfigError, match=r"^image_prior: low must not exceed high \(blind.toml\)$"):
        parse(Tied, {"low": 3}, subject="image_prior", place="blind.toml")
    assert parse(Tied, {"low": 2}, subject="image_prior").high == 2


def test_suggest():
    assert suggest("depht", ["depth", "lr"]) == "; did you mean 'depth'?"
    assert suggest("depht", ["depth", "lr"], {"depth": "--depth"}) == "; did you mean '--depth'?"
    assert suggest("zzz", ["depth", "lr"]) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(0.1 + 0.2, "0.3"), (1e-4, "0.0001"), (2000000.0, "2000000"), (True, "true")]
)
def test_text_of(value, text):
    assert text_of(value) == text
