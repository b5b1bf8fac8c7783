import subprocess
import sys
from pathlib import Path

import pytest

from deblurkit.errors import ConfigError, ExitCode, PluginError
from deblurkit.registry import KINDS, Registry, registry

PLUGINS = Path(__file__).parent / "data" / "plugins"


def test_finds_what_every_hook_yields(read_plugins):
    found = read_plugins("builtin", "good")
    assert found.broken == []
    assert found.names("image_prior") == ["both", "gentle", "net", "sparse"]
    assert found.names("kernel_prior") == ["closed", "given", "learned", "net", "round", "simplex"]
    assert found.names("data_term") == ["cubic", "square"]
    assert found.names("optimizer") == ["eager", "together", "turns"]
    assert found.names("executor") == ["elsewhere", "here", "spread"]
    assert [entry.spec.name for entry in found.commands()] == ["probe"]
    assert found.find("image_prior", "gentle").provider.label == "deblurkit-good 1.0"
    assert [provider.label for provider in found.providers] == ["deblurkit 9.9", "deblurkit-good 1.0"]
    assert ("command", "probe") in found.provided_by(found.providers[1])


@pytest.mark.parametrize(
    ("folder", "label", "cause", "lost"),
    [
        (
            "broken",
            "deblurkit-broken 0.3",
            "could not be loaded: ModuleNotFoundError: No module named 'a_module",
            "all",
        ),
        ("exits", "deblurkit-exits 0.1", "could not be loaded: SystemExit: this plugin wants Windows", "all"),
        ("badparams", "deblurkit-badparams 1.0", "TypeError: Careless.depth: int | None is no parameter type", "all"),
        (
            "typo",
            "deblurkit-typo 1.2",
            "no hook 'deblurkit_image_prior'; did you mean 'deblurkit_image_priors'?",
            "all",
        ),
        ("badargs", "deblurkit-badargs 1.0", "deblurkit_image_priors takes no argument 'register'", "all"),
        ("nohook", "deblurkit-nohook 1.0", "no_hook has no function marked with @hookimpl", "all"),
        ("badspec", "deblurkit-badspec 1.0", "'retore' is no known offer; did you mean 'restore'?", "image_prior"),
        ("raises", "deblurkit-raises 1.0", "deblurkit_optimizers failed: ZeroDivisionError: one over no", "optimizer"),
    ],
)
def test_a_broken_plugin_costs_only_itself(read_plugins, folder, label, cause, lost):
    found = read_plugins("builtin", folder, "good")
    (breakage,) = found.broken
    assert breakage.provider.label == label
    assert cause in breakage.cause
    assert "\n" not in breakage.cause
    assert breakage.cure == f"pip uninstall {label.split()[0]}"
    assert set(KINDS) <= breakage.lost if lost == "all" else breakage.lost == {lost}
    assert {"net", "gentle"} <= set(found.names("image_prior"))


def test_what_is_sound_in_a_broken_plugin_is_kept(read_plugins):
    assert read_plugins("typo").names("image_prior") == ["kept"]
    assert read_plugins("badspec").names("image_prior") == ["before"]


def test_a_hook_must_yield_descriptors(read_plugins):
    causes = [breakage.cause for breakage in read_plugins("notspec").broken]
    assert any("deblurkit_image_priors failed: TypeError: it must yield ImagePriorSpec, not type" in c for c in causes)
    assert any(
        "deblurkit_data_terms failed: TypeError: it must yield descriptors, not return None" in c for c in causes
    )


def test_a_caught_exception_keeps_its_traceback(read_plugins):
    (breakage,) = read_plugins("raises").broken
    assert "hook_raises.py" in breakage.traceback


def test_names_collide_loudly_whatever_the_order(read_plugins):
    for order in (("builtin", "clash", "good"), ("good", "clash", "builtin")):
        found = read_plugins(*order)
        assert [breakage.cause for breakage in found.broken] == [
            "image prior 'gentle' is already provided by deblurkit-good 1.0",
            "image prior 'net' is already provided by deblurkit 9.9",
        ]
        assert found.broken[0].provider.label == "deblurkit-hard 2.0"
        assert found.spec("image_prior", "gentle").summary == "A gentle penalty."
        assert found.find("image_prior", "net").provider.built_in
        assert "hard" in found.names("image_prior")


def test_builtins_are_read_first_whatever_others_are_called(read_plugins):
    found = read_plugins("early", "builtin")
    assert found.find("image_prior", "net").provider.built_in
    assert [str(breakage) for breakage in found.broken] == [
        "plugin aardvark-priors 1.0: image prior 'net' is already provided by deblurkit 9.9"
        " (pip uninstall aardvark-priors)"
    ]


def test_the_variable_switches_plugins_off(read_plugins):
    found = read_plugins("builtin", "good", "broken", allow=())
    assert [provider.label for provider in found.providers] == ["deblurkit 9.9"]
    assert found.broken == []
    assert [p.label for p in found.switched_off] == ["deblurkit-broken 0.3", "deblurkit-good 1.0"]
    assert read_plugins("builtin", "good", "broken", allow=("Deblurkit_Good",)).broken == []


def test_an_allowed_name_that_is_not_there_is_reported(read_plugins):
    found = read_plugins("builtin", allow=("deblurkit-goood",))
    assert [str(breakage) for breakage in found.broken] == [
        "plugin deblurkit-goood: named by DEBLURKIT_PLUGINS, but not installed or without plugins"
        " (correct DEBLURKIT_PLUGINS)"
    ]


@pytest.mark.parametrize(
    ("value", "expected"), [(None, {"deblurkit", "deblurkit-good"}), ("", {"deblurkit"}), ("a, deblurkit-good", None)]
)
def test_the_variable_is_read_from_the_environment(monkeypatch, value, expected):
    monkeypatch.syspath_prepend(str(PLUGINS / "good"))
    monkeypatch.delenv("DEBLURKIT_PLUGINS", raising=False)
    if value is not None:
        monkeypatch.setenv("DEBLURKIT_PLUGINS", value)
    found = Registry.discover()
    installed = {provider.distribution for provider in found.providers}
    assert installed == (expected or {"deblurkit", "deblurkit-good"})
    assert [breakage.provider.distribution for breakage in found.broken] == (["a"] if value and "a" in value else [])


def test_an_unknown_name_is_answered_with_the_nearest(read_plugins):
    found = read_plugins("builtin")
    with pytest.raises(ConfigError, match=r"^no image prior 'sparce'; did you mean 'sparse'\? \(blind.toml\)$"):
        found.find("image_prior", "sparce", place="blind.toml")
    with pytest.raises(ConfigError, match=r"^no image prior 'tv'; there are both, net, sparse$"):
        found.find("image_prior", "tv")


def test_a_name_that_a_broken_plugin_may_have_had_names_the_plugin(read_plugins):
    found = read_plugins("builtin", "broken", "raises")
    with pytest.raises(PluginError) as caught:
        found.find("image_prior", "tv")
    text = str(caught.value)
    assert "no image prior 'tv'; plugin deblurkit-broken 0.3: could not be loaded: ModuleNotFoundError" in text
    assert "pip uninstall deblurkit-broken" in text
    assert "deblurkit-raises" not in text, "it can only have lost an optimizer"
    assert caught.value.exit_code == ExitCode.PLUGIN


def test_a_clash_does_not_make_other_misspellings_plugin_errors(read_plugins):
    with pytest.raises(ConfigError):
        read_plugins("builtin", "good", "clash").find("image_prior", "sparce")


def test_without_the_builtins_the_cure_is_to_install_them():
    with pytest.raises(PluginError, match="not even the built-in ones are installed: pip install deblurkit"):
        Registry([]).find("image_prior", "tv")


def test_load_imports_the_target_and_blames_its_owner(read_plugins):
    found = read_plugins("builtin", "good")
    assert found.load("image_prior", "gentle").__name__ == "Gentle"
    with pytest.raises(
        PluginError, match=r"No module named 'deblurkit_good.absent' \(plugin deblurkit-good 1.0; pip un"
    ):
        found.load("data_term", "cubic")
    with pytest.raises(PluginError, match=r"deblurkit_good.parts has no 'Eagerr'; did you mean 'Eager'\?"):
        found.load("optimizer", "eager")


@pytest.mark.parametrize(
    ("image", "kernel", "expected"),
    [
        ("sparse", "closed", "turns"),  # closed forms only
        ("both", "simplex", "turns"),  # closed forms where both ways exist
        ("net", "net", "together"),
        ("net", "simplex", "together"),
        ("sparse", "net", "turns"),  # nothing else fits
        ("sparse", "given", "turns"),
        ("net", "given", "together"),
        ("both", "learned", "together"),  # without a convolution kernel there is no restore
    ],
)
def test_default_optimizer(read_plugins, image, kernel, expected):
    assert read_plugins("builtin").default_optimizer(image, kernel) == expected
    assert read_plugins("builtin", "good").default_optimizer(image, kernel) == expected, "a plugin changed the default"


def test_a_strangers_optimizer_is_the_default_where_nothing_else_fits(read_plugins):
    with pytest.raises(
        ConfigError, match=r"'sparse' offers nothing \(its restore needs a convolution kernel, which kern"
    ):
        read_plugins("builtin").default_optimizer("sparse", "learned")
    assert read_plugins("builtin", "good").default_optimizer("sparse", "learned") == "eager"


def test_check_fit_names_what_would_fit(read_plugins):
    found = read_plugins("builtin")
    assert found.check_fit("turns", "sparse", "simplex").closed_forms == 2
    with pytest.raises(ConfigError) as caught:
        found.check_fit("together", "sparse", "simplex")
    assert str(caught.value) == (
        "optimizer 'together' needs parameters of the image prior, and 'sparse' offers restore;"
        " what would fit: image priors both, net; optimizers turns"
    )


def test_discovery_imports_nothing_heavy():
    code = "import sys; from deblurkit.registry import registry; r = registry(); print(len(r.providers) > 0);"
    code += "print({'torch', 'scipy', 'PIL', 'rich', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "set()"]


@pytest.mark.parametrize(
    ("params", "kernel"), [({}, {"estimate", "kernel", "fit"}), ({"code": "network"}, {"parameters"})]
)
def test_check_fit_asks_what_holds_for_the_parameters(compact_file, params, kernel):
    found = registry()
    made = found.spec("kernel_prior", "encoded").params(space=compact_file, **params)
    fit = found.check_fit("alternating", "l0-gradient", "encoded", kernel_params=made)
    assert fit.kernel == kernel
    assert fit.image == {"restore", "fit"}
    assert found.check_fit("alternating", "l0-gradient", "encoded").kernel == {"estimate", "kernel", "fit"}


@pytest.mark.parametrize("params", [{"tiles": 2}, {"response": True}, {"space": "paper_file"}])
def test_without_a_kernel_there_is_no_closed_image_and_what_was_refused_is_no_cure(request, compact_file, params):
    found = registry()
    space = request.getfixturevalue(params["space"]) if "space" in params else compact_file
    made = found.spec("kernel_prior", "encoded").params(**{**params, "space": space})
    both = found.check_fit("alternating", "hyper-laplacian", "encoded", kernel_params=made)
    assert (both.image, both.kernel) == ({"parameters"}, {"parameters"})
    with pytest.raises(ConfigError) as caught:
        found.check_fit("alternating", "l0-gradient", "encoded", kernel_params=made)
    refusal, _, cure = str(caught.value).partition("; what would fit: ")
    assert "its restore needs a convolution kernel, which kernel prior 'encoded' does not show" in refusal
    assert "convolution" in cure
    assert "encoded" not in cure
