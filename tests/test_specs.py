import sys
from dataclasses import dataclass

import pytest

from deblurkit import hookspecs
from deblurkit.errors import ConfigError, PluginError
from deblurkit.params import Params, param
from deblurkit.specs import (
    SPECS,
    CommandSpec,
    DataTermSpec,
    ImagePriorSpec,
    KernelPriorSpec,
    Offer,
    OptimizerSpec,
    check_fit,
    find_fit,
)


def image(name, *offers):
    return ImagePriorSpec(name=name, summary="An image prior.", target="m:C", offers=offers)


def kernel(name, *offers):
    return KernelPriorSpec(name=name, summary="A kernel prior.", target="m:C", offers=offers)


NET, SPARSE, KNOWN_IMAGE = image("net", "parameters"), image("sparse", "restore", "energy"), image("sharp", "energy")
FCN, SIMPLEX = kernel("fcn", "parameters", "kernel"), kernel("simplex", "parameters", "estimate", "kernel")
LEARNED, GIVEN = kernel("learned", "parameters"), kernel("given", "kernel")
TOGETHER = OptimizerSpec(name="together", summary="At once.", target="m:C")
TURNS = OptimizerSpec(
    name="turns",
    summary="In turns.",
    target="m:C",
    needs_image=({"restore"}, {"parameters"}),
    needs_kernel=[{"estimate"}, {"parameters"}],
)
ALL = [NET, SPARSE, FCN, SIMPLEX, LEARNED, GIVEN, TOGETHER, TURNS]


def test_offers_are_kept_as_a_frozen_set_of_members():
    spec = image("x", "energy", "restore", "energy")
    assert spec.offers == frozenset({Offer.ENERGY, Offer.RESTORE}) == {"energy", "restore"}
    assert isinstance(spec.offers, frozenset)
    assert TURNS.needs_kernel == (frozenset({"estimate"}), frozenset({"parameters"}))
    assert hash(spec)


@pytest.mark.parametrize(
    ("change", "error", "cause"),
    [
        ({"name": "Total Variation"}, ValueError, "the name must be in kebab case, such as 'total-variation'"),
        ({"name": "tv_2"}, ValueError, "the name must be in kebab case"),
        ({"name": "auto"}, ValueError, "not reserved"),
        ({"name": 3}, TypeError, "name must be text, not 3"),
        ({"summary": " "}, ValueError, "the summary must be one line of text"),
        ({"summary": "a\nb"}, ValueError, "the summary must be one line of text"),
        ({"target": "m.C"}, ValueError, "the target must look like 'package.module:Name', not 'm.C'"),
        ({"target": "m:C()"}, ValueError, "the target must look like"),
        ({"offers": {"retore"}}, ValueError, "'retore' is no known offer; did you mean 'restore'?"),
        ({"offers": {"estimate"}}, ValueError, "'estimate' means nothing here; this kind has energy, fit, parameters"),
        ({"offers": "energy"}, TypeError, "offers must be a set of strings, not 'energy'"),
        ({"offers": [["energy"]]}, ValueError, "is no known offer"),
        ({"params": dict}, TypeError, "params must be a subclass of deblurkit.params.Params"),
        ({"params": Params()}, TypeError, "params must be a subclass"),
        ({"reference": None}, TypeError, "reference must be text"),
    ],
)
def test_bad_fields(change, error, cause):
    with pytest.raises(error) as caught:
        ImagePriorSpec(**{"name": "tv", "summary": "Summary.", "target": "m:C", **change})
    assert str(caught.value).startswith("ImagePriorSpec ")
    assert cause in str(caught.value)


def test_params_without_their_decorator():
    class Bare(Params):
        x: int = param(1, "Help.")

    with pytest.raises(TypeError, match="add @dataclass"):
        ImagePriorSpec(name="tv", summary="Summary.", target="m:C", params=Bare)
    good = dataclass(frozen=True, kw_only=True)(Bare)
    assert ImagePriorSpec(name="tv", summary="Summary.", target="m:C", params=good).params is good


@pytest.mark.parametrize("kind", [DataTermSpec, OptimizerSpec])
def test_data_terms_and_optimizers_offer_nothing(kind):
    assert kind(name="x", summary="Summary.", target="m:C").offers == frozenset()
    with pytest.raises(ValueError, match="'energy' means nothing here; this kind has no offers"):
        kind(name="x", summary="Summary.", target="m:C", offers={"energy"})


@pytest.mark.parametrize("needs", [(), {"parameters"}, "parameters", ("parameters",), ({"estimate"},)])
def test_bad_needs(needs):
    with pytest.raises((TypeError, ValueError), match="needs_image"):
        OptimizerSpec(name="x", summary="Summary.", target="m:C", needs_image=needs)


@pytest.mark.parametrize(
    ("optimizer", "image_prior", "kernel_prior", "uses"),
    [
        (TOGETHER, NET, FCN, ({"parameters"}, {"parameters"}, 2)),
        (TOGETHER, NET, GIVEN, ({"parameters"}, set(), 1)),
        (TOGETHER, KNOWN_IMAGE, FCN, (set(), {"parameters"}, 1)),
        (TURNS, SPARSE, SIMPLEX, ({"restore"}, {"estimate"}, 2)),
        (TURNS, SPARSE, GIVEN, ({"restore"}, set(), 1)),
        (TURNS, SPARSE, FCN, ({"restore"}, {"parameters"}, 1)),
        (TURNS, NET, FCN, ({"parameters"}, {"parameters"}, 0)),
        (TURNS, image("both", "restore", "parameters"), LEARNED, ({"parameters"}, {"parameters"}, 0)),
        (TOGETHER, SPARSE, FCN, None),
        (TOGETHER, NET, kernel("closed", "estimate", "kernel"), None),
        (TURNS, SPARSE, LEARNED, None),
        (TURNS, KNOWN_IMAGE, GIVEN, None),
    ],
)
def test_what_fits(optimizer, image_prior, kernel_prior, uses):
    fit = find_fit(optimizer, image_prior, kernel_prior)
    assert (fit and (fit.image, fit.kernel, fit.preferred)) == uses
    if uses is None:
        with pytest.raises(ConfigError):
            check_fit(optimizer, image_prior, kernel_prior)
    else:
        assert check_fit(optimizer, image_prior, kernel_prior) == fit


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (
            (TOGETHER, SPARSE, FCN),
            "optimizer 'together' needs parameters of the image prior, and 'sparse' offers energy, restore;"
            " what would fit: image priors net; optimizers turns (blind.toml)",
        ),
        (
            (TURNS, SPARSE, LEARNED),
            "optimizer 'turns' needs restore or parameters of the image prior, and 'sparse' offers energy"
            " (its restore needs a convolution kernel, which kernel prior 'learned' does not show);"
            " what would fit: image priors net; kernel priors fcn, given, simplex (blind.toml)",
        ),
        (
            (TOGETHER, NET, kernel("closed", "estimate", "kernel")),
            "optimizer 'together' needs parameters of the kernel prior, and 'closed' offers estimate, kernel;"
            " what would fit: kernel priors fcn, given, learned, simplex; optimizers turns (blind.toml)",
        ),
        (
            (TURNS, KNOWN_IMAGE, GIVEN),
            "image prior 'sharp' and kernel prior 'given' leave nothing to optimize;"
            " what would fit: image priors net, sparse; kernel priors fcn, learned, simplex (blind.toml)",
        ),
    ],
)
def test_a_misfit_is_one_sentence_that_names_what_would_fit(parts, sentence):
    with pytest.raises(ConfigError) as caught:
        check_fit(*parts, others=ALL, place="blind.toml")
    assert str(caught.value) == sentence


def test_load():
    spec = CommandSpec(name="x", summary="Summary.", target="collections:OrderedDict")
    assert spec.load().__name__ == "OrderedDict"
    with pytest.raises(PluginError, match="'x' cannot be loaded: collections has no 'OrderedDikt'; did you mean 'Orde"):
        CommandSpec(name="x", summary="Summary.", target="collections:OrderedDikt").load()
    with pytest.raises(PluginError, match="ModuleNotFoundError: No module named 'no_such_module'"):
        CommandSpec(name="x", summary="Summary.", target="no_such_module:X").load()


def test_a_target_that_fails_at_import_is_a_plugin_error(tmp_path, monkeypatch):
    (tmp_path / "ends_the_program.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match="SystemExit: 3"):
        CommandSpec(name="x", summary="Summary.", target="ends_the_program:X").load()
    assert "ends_the_program" not in sys.modules


def test_every_kind_has_its_hook():
    assert set(hookspecs.HOOKS.values()) == {*SPECS.values(), CommandSpec}
    assert all(hasattr(hookspecs, name) for name in hookspecs.HOOKS)


@pytest.mark.parametrize("hook", list(hookspecs.HOOKS))
def test_the_example_in_each_hooks_docstring_is_a_complete_plugin(hook):
    text = getattr(hookspecs, hook).__doc__.split("::\n", 1)[1]
    block = [line for line in text.split("``deblurkit_")[0].splitlines() if line.startswith("        ") or not line]
    namespace = {"__name__": "example"}
    sys.modules["example"] = type(sys)("example")
    try:
        exec("\n".join(line[8:] for line in block), namespace)
    finally:
        del sys.modules["example"]
    (spec,) = namespace[hook]()
    assert type(spec) is hookspecs.HOOKS[hook]
    assert spec.target.startswith("deblurkit_")


@dataclass(frozen=True, kw_only=True)
class Choosy(Params):
    """Parameters that decide what a prior offers."""

    closed: bool = param(True, "Offer the closed form.")


def offers_of(params):
    return {"parameters", "kernel", "energy", *(["estimate"] if params.closed else [])}


CHOOSY = KernelPriorSpec(
    name="choosy",
    summary="It depends.",
    target="m:C",
    params=Choosy,
    offers={"parameters", "kernel", "estimate"},
    offers_for=f"{__name__}:offers_of",
)


@pytest.fixture
def importable(monkeypatch):
    """Let this file be found by its name, however pytest came by it."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or type(sys)(__name__))
    monkeypatch.setattr(sys.modules[__name__], "offers_of", offers_of, raising=False)


@pytest.mark.usefixtures("importable")
def test_offers_may_hang_on_the_parameters():
    closed, open_ = CHOOSY.narrowed(Choosy()), CHOOSY.narrowed(Choosy(closed=False))
    assert closed.offers == {"parameters", "kernel", "estimate"}, "what was not declared is not offered"
    assert open_.offers == {"parameters", "kernel"}
    assert isinstance(open_.offers, frozenset)
    assert (open_.name, open_.params, open_.target) == (CHOOSY.name, CHOOSY.params, CHOOSY.target)
    assert CHOOSY.offers == {"parameters", "kernel", "estimate"}, "the descriptor itself stays as it is"
    assert check_fit(TURNS, SPARSE, closed).closed_forms == 2
    assert check_fit(TURNS, SPARSE, open_).kernel == {"parameters"}


def test_without_that_all_offers_hold():
    assert FCN.narrowed(Params()) is FCN


@pytest.mark.parametrize("value", ["module", "module:f()", "a.b", 3, None, ("m:f",)])
def test_a_bad_function_of_offers(value):
    with pytest.raises(ValueError, match="KernelPriorSpec 'x': offers_for must look like 'package"):
        KernelPriorSpec(name="x", summary="Summary.", target="m:C", offers_for=value)


@pytest.mark.parametrize(
    ("target", "cause"),
    [("no_such_module:f", "No module named 'no_such_module'"), ("math:coss", "math has no 'coss'; did you mean 'cos'")],
)
def test_a_function_of_offers_that_is_not_there_is_a_plugin_error(target, cause):
    spec = KernelPriorSpec(name="x", summary="Summary.", target="m:C", offers={"kernel"}, offers_for=target)
    with pytest.raises(PluginError, match=f"'x' cannot be loaded.*{cause}"):
        spec.narrowed(Params())
