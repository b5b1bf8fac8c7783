import json
import os
from pathlib import Path

import pytest

from deblurkit import config
from deblurkit.config import PLAIN, RunParams, flag_layer, layers, merge, recipes, resolve
from deblurkit.errors import ConfigError, PluginError, UsageError
from deblurkit.params import fields_of
from deblurkit.registry import registry

pytestmark = pytest.mark.usefixtures("fake_recipes")


@pytest.fixture
def parts(read_plugins):
    return read_plugins("builtin")


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write config files into an empty working folder and return their relative paths."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="blind.toml"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def refusal(parts, flags=None, **sources):
    with pytest.raises(ConfigError) as caught:
        resolve(flags or {}, registry=parts, **sources)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_precedence_and_origins(parts, written):
    written('base = "deep"\nimage_prior.depth = 4\nrun.seed = 1\nimage_prior.lr = 0.5', "lower.toml")
    path = written('base = "lower.toml"\nimage_prior.depth = 6\nrun.seed = 2\n')
    made = resolve({"run.seed": 3}, registry=parts, recipe="fast", file=path)
    expected = {
        "image_prior.name": ("net", "recipe deep"),
        "image_prior.depth": (6, "blind.toml"),
        "image_prior.lr": (0.5, "lower.toml"),
        "image_prior.non_local": (True, "default"),
        "run.seed": (3, "flag"),
        "run.scales": (4, "recipe fast"),
        "run.starts": (RunParams().starts, "default"),
        "optimizer.name": ("together", "default"),
        "final.name": ("none", "recipe deep"),
    }
    values = made.values()
    assert {key: (values[key], made.origins[key]) for key in expected} == expected
    assert list(values) == list(dict.fromkeys(values))
    assert set(values) == set(made.origins)
    assert made.image_prior.params.depth == 6
    assert made.run.seed == 3


def test_a_recipe_stands_on_the_field_defaults_and_a_file_without_base_on_the_default_recipe(parts, written):
    assert resolve({}, registry=parts, recipe="deep").run.scales == RunParams().scales
    path = written("run.seed = 2")
    assert resolve({}, registry=parts, file=path).image_prior.name == "sparse"
    assert resolve({}, registry=parts, file=path, recipe="deep").image_prior.name == "net"
    assert resolve({}, registry=parts, file=path, default_recipe="deep").image_prior.name == "net"
    assert resolve({}, registry=parts, recipe="deeper").image_prior.params.depth == 8


def test_naming_another_component_drops_what_was_said_about_the_former(parts, written):
    assert resolve({}, registry=parts).image_prior.params.weight == 0.002
    made = resolve({"image_prior.name": "both"}, registry=parts)
    assert made.image_prior.params.weight == 0.001
    assert made.origins["image_prior.weight"] == "default"
    same = resolve({"image_prior.name": "sparse"}, registry=parts)
    assert same.image_prior.params.weight == 0.002, "naming the same one again drops nothing"
    # what was said before anything was named is about whatever is named later
    path = written("optimizer.iterations = 3")
    made = resolve({"optimizer.name": "turns"}, registry=parts, file=path)
    assert made.optimizer.params.iterations == 3
    # there and back again: the first word about 'sparse' stays dropped
    path = written('image_prior = {name = "both", weight = 7.0}')
    back = resolve({"image_prior.name": "sparse"}, registry=parts, file=path)
    assert back.image_prior.params.weight == 0.001


def test_the_optimizer_is_chosen_where_none_is_named(parts):
    assert resolve({}, registry=parts).optimizer.name == "turns"
    assert resolve({"image_prior.name": "net"}, registry=parts).optimizer.name == "together"
    assert resolve({"optimizer.name": "auto"}, registry=parts, recipe="deeper").optimizer.name == "together"
    assert resolve({"optimizer.iterations": 3}, registry=parts).optimizer.params.iterations == 3


def test_flags_may_be_typed_text_and_files_may_not(parts, written):
    made = resolve({"run.kernel_size": "21", "run.compile": "yes", "run.time_budget": "60"}, registry=parts)
    assert (made.run.kernel_size, made.run.compile, made.run.time_budget) == (21, True, 60.0)
    assert resolve({"optimizer.milestones": "1,2"}, registry=parts).optimizer.params.milestones == (1, 2)
    path = written('run.compile = "yes"')
    assert refusal(parts, file=path) == "run.compile: must be true or false, not 'yes' (blind.toml)"


@pytest.mark.parametrize("recipe", ["fast", "deep", "deeper"])
def test_the_record_replays(parts, written, recipe):
    flags = {"run.kernel_size": 9, "run.threads": 2, "optimizer.milestones": (3, 4)}
    made = resolve(flags, registry=parts, recipe=recipe)
    path = written(json.dumps(made.to_json(), allow_nan=False), "config.json")
    for other in config.recipes():
        again = resolve({}, registry=parts, file=path, recipe=other)
        assert again.to_json() == made.to_json()
    again = resolve({}, registry=parts, file=path)
    assert set(again.origins.values()) <= {"config.json", "default"}
    assert (again.image_prior, again.optimizer, again.final) == (made.image_prior, made.optimizer, made.final)
    assert again.run == made.run


def test_paths_are_relative_to_the_file_that_names_them(parts, written, tmp_path):
    path = written('base = "deep"\nimage_prior.weights = "w.pt"', "sub/blind.toml")
    assert resolve({}, registry=parts, file=path).image_prior.params.weights == tmp_path / "sub" / "w.pt"
    typed = resolve({"image_prior.weights": "w.pt"}, registry=parts, file=path)
    assert typed.image_prior.params.weights == tmp_path / "w.pt"
    assert typed.to_json()["image_prior"]["weights"] == str(tmp_path / "w.pt")
    unset = resolve({}, registry=parts, recipe="deep")
    assert unset.image_prior.params.weights == Path()
    assert unset.to_json()["image_prior"]["weights"] == ""
    home = resolve({"image_prior.weights": "~/w.pt"}, registry=parts, recipe="deep")
    assert home.image_prior.params.weights == Path(os.path.expanduser("~/w.pt"))


def test_a_base_is_found_beside_its_file(parts, written):
    written('base = "deep"\nimage_prior.depth = 7', "a/lower.toml")
    path = written('base = "../a/lower.toml"', "b/upper.toml")
    assert resolve({}, registry=parts, file=path).image_prior.params.depth == 7
    record = resolve({}, registry=parts, recipe="deep").to_json()
    written(json.dumps(record), "a/config.json")
    path = written('base = "../a/config.json"\nrun.seed = 4', "b/upper.toml")
    assert resolve({}, registry=parts, file=path).image_prior.name == "net"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image_prior.wieght = 3", "image_prior.wieght: no such parameter; did you mean 'weight'? (blind.toml)"),
        ("image_prior.zzz = 3", "image_prior.zzz: no such parameter; 'sparse' has weight (blind.toml)"),
        ("data_term.x = 3", "data_term.x: no such parameter; 'square' has none (blind.toml)"),
        ("image_prior.weight = -1", "image_prior.weight: must be a finite number with x>=0, not -1 (blind.toml)"),
        ("image_prior.weight = nan", "image_prior.weight: must be a finite number with x>=0, not nan (blind.toml)"),
        ("run.starts = true", "run.starts: must be 'auto' or an integer with x>=1, not True (blind.toml)"),
        ("run.kernel_size = 20", "run.kernel_size: must be 'auto' or an odd integer with x>=3, not 20 (blind.toml)"),
        ("run.name = 'x'", "run.name: no such parameter; it has "),
        ("image_prior.nmae = 'net'", "image_prior.nmae: no such parameter; did you mean 'name'? (blind.toml)"),
        ("final.nmae = 'none'", "final.nmae: no such parameter; did you mean 'name'? (blind.toml)"),
        ("run.nmae = 'x'", "run.nmae: no such parameter; it has kernel_size, "),
        ("kernel_size = 21", "kernel_size: no such section; did you mean 'run.kernel_size'? (blind.toml)"),
        ("[image-prior]\nname='net'", "image-prior: no such section; did you mean 'image_prior'? (blind.toml)"),
        ("[zzz]", "zzz: no such section; there are image_prior, kernel_prior, data_term, optimizer, final, run"),
        ('image_prior = "net"', 'image_prior: must be a table; write image_prior.name = "net" (blind.toml)'),
        ("run = 3", "run: must be a table; write [run] (blind.toml)"),
        ("image_prior.name = 3", "image_prior.name: must be text, not 3 (blind.toml)"),
        ("image_prior.name = 'nte'", "no image prior 'nte'; did you mean 'net'? (blind.toml)"),
        ("image_prior.name = 'auto'", "no image prior 'auto'; there are both, net, sparse (blind.toml)"),
        (
            "final.name = 'net'",
            "final.name: image prior 'net' does not restore; use both, sparse, none or auto (blind.t",
        ),
        ("base = 'fats'", "no recipe 'fats'; did you mean 'fast'? (blind.toml)"),
        ("base = 3", "base: must be text, not 3 (blind.toml)"),
        ("summary = 3", "summary: must be text, not 3 (blind.toml)"),
        ("base = 'gone.toml'", "config 'gone.toml' cannot be read: No such file or directory (blind.toml)"),
        ("base = 'none'", "image_prior.name: missing; name one of both, net, sparse, or start from a recipe"),
        ("a = ", "config 'blind.toml' is no valid TOML: Invalid value (at "),
        ("a = 1\na = 2", "config 'blind.toml' is no valid TOML: Cannot overwrite a value"),
        ("run.seed = 1979-05-27", "run.seed: must be an integer with 0<=x<=4294967295, not datetime.date(1979"),
        ("run.seed.x = 1", "run.seed: must be an integer with 0<=x<=4294967295, not {'x': 1} (blind.toml)"),
    ],
)
def test_mistakes_in_a_file(parts, written, text, sentence):
    assert refusal(parts, file=written(text)).startswith(sentence)


def test_files_that_are_no_configs(parts, written, tmp_path):
    assert refusal(parts, file="gone.toml") == "config 'gone.toml' cannot be read: No such file or directory"
    assert refusal(parts, file="fast") == (
        "config 'fast' cannot be read: No such file or directory; 'fast' is a recipe: --recipe fast"
    )
    assert refusal(parts, file=tmp_path) == f"config {str(tmp_path)!r} cannot be read: Is a directory"
    assert "is no valid JSON: Expecting" in refusal(parts, file=written("{", "x.json"))
    assert "must be a table of sections, not list" in refusal(parts, file=written("[]", "x.json"))
    assert "is no valid JSON" in refusal(parts, file=written("[" * 100_000, "x.json"))
    Path("x.toml").write_bytes(b"\xff\xfe")
    assert refusal(parts, file="x.toml") == "config 'x.toml' is no UTF-8 text"


def test_a_base_that_leads_back_to_itself(parts, written):
    path = written("base = 'b.toml'", "a.toml")
    written("base = './a.toml'", "b.toml")
    assert refusal(parts, file=path) == "base: leads back to itself: a.toml -> b.toml -> a.toml (b.toml)"
    assert "leads back to itself" in refusal(parts, file=written("base = 'c.toml'", "c.toml"))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            {"image_prior.wieght": 1},
            "image_prior.wieght: no such parameter; did you mean 'weight'? (--image-prior.wieght)",
        ),
        ({"image_prior.name": "nte"}, "no image prior 'nte'; did you mean 'net'? (--image-prior)"),
        (
            {"run.kernel_size": "20"},
            "run.kernel_size: must be 'auto' or an odd integer with x>=3, not 20 (--kernel-size)",
        ),
        ({"kernel_size": 3}, "kernel_size: no such key; write SECTION.KEY (flag)"),
        ({"imge_prior.x": 3}, "imge_prior: no such section; did you mean 'image_prior'? (flag)"),
        (
            {"final.name": "none", "final.weight": 3},
            "final.weight: no such parameter; 'none' has none (--final.weight)",
        ),
    ],
)
def test_mistakes_in_flags(parts, flags, sentence):
    assert refusal(parts, flags) == sentence


def test_parts_that_do_not_fit_are_refused(parts):
    text = refusal(parts, {"optimizer.name": "together"})
    assert text.startswith("optimizer 'together' needs parameters of the image prior, and 'sparse' offers restore;")
    flags = {"image_prior.name": "net", "kernel_prior.name": "learned"}
    assert refusal(parts, flags) == (
        "final.name: 'both' needs a convolution kernel, and kernel prior 'learned' shows none;"
        " use none or auto (recipe fast)"
    )
    assert resolve({**flags, "final.name": "auto"}, registry=parts).final.name == "auto"


def test_a_component_of_a_broken_plugin_is_a_plugin_error(read_plugins):
    broken = read_plugins("builtin", "broken")
    with pytest.raises(
        PluginError, match=r"no image prior 'tv' \(--image-prior\); plugin deblurkit-broken 0.3: could not"
    ):
        resolve({"image_prior.name": "tv"}, registry=broken)
    assert resolve({}, registry=broken).image_prior.name == "sparse", "what is not needed may be broken"


def test_a_dropped_component_need_not_exist(parts, written):
    path = written('image_prior = {name = "elsewhere", depth = 3}')
    assert resolve({"image_prior.name": "net"}, registry=parts, file=path).image_prior.name == "net"


def test_layers_of_other_origins_can_be_stacked(parts):
    made = merge([*layers("deep"), flag_layer({"image_prior.depth": 2}, origin="variant shallow")], parts)
    assert made.image_prior.params.depth == 2
    assert made.origins["image_prior.depth"] == "variant shallow"


def test_recipes_are_listed_with_their_summaries(fake_recipes):
    assert recipes() == {"deep": "Networks.", "deeper": "More of it.", "fast": "Closed forms."}
    with pytest.raises(ConfigError, match=r"^no recipe 'deap'; did you mean 'deep'\?$"):
        layers("deap")
    (fake_recipes / "bad.toml").write_text("=")
    with pytest.raises(ConfigError, match=r"^config 'recipe bad' is no valid TOML"):
        recipes()


def test_plain_sections_share_no_name_with_a_component_flag():
    flags = [one.flag for cls in PLAIN.values() for one in fields_of(cls)]
    assert len(flags) == len(set(flags))
    assert not set(flags) & {section.replace("_", "-") for section in config.COMPONENTS}


ENCODED = {
    "image_prior.name": "hyper-laplacian",
    "kernel_prior.name": "encoded",
    "data_term.name": "mse",
    "run.scales": "auto",
}


def encoded(space, **flags):
    dotted = {key.replace("__", "."): value for key, value in flags.items()}
    return resolve({**ENCODED, "final.name": "auto", "kernel_prior.space": str(space), **dotted}, registry=registry())


def test_a_space_is_looked_into_before_parts_are_put_together(compact_file, paper_file):
    assert encoded(compact_file).optimizer.name == "alternating"
    assert encoded(compact_file, final__name="hyper-laplacian").final.name == "hyper-laplacian"
    for flags in ({"space": paper_file}, {"space": compact_file, "kernel_prior__tiles": 2}):
        assert encoded(**flags).final.name == "auto"
        with pytest.raises(
            ConfigError, match=r"final\.name: .* needs a convolution kernel, and .* 'encoded' shows none"
        ):
            encoded(**flags, final__name="hyper-laplacian")
        with pytest.raises(
            ConfigError, match="needs fit and restore or parameters of the image prior, and 'l0-gradient'"
        ):
            encoded(**flags, image_prior__name="l0-gradient")


@pytest.mark.parametrize("text", [None, "<!DOCTYPE html>"])
def test_a_file_that_is_no_space_is_refused_when_the_configuration_is_made(tmp_path, text):
    file = tmp_path / "space.safetensors"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=r"space\.safetensors: (cannot be read|is no kernel space)"):
        encoded(file)


def test_the_path_of_a_space_is_relative_to_its_file_and_recorded(written, compact_file, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "my.safetensors").write_bytes(compact_file.read_bytes())
    sections = {"run": {}, "base": "none", "kernel_prior": {"name": "encoded", "space": "my.safetensors", "pace": 2.0}}
    sections |= {"image_prior": {"name": "identity"}, "data_term": {"name": "mse"}}
    path = written(json.dumps(sections), "sub/blind.json")
    made = resolve({}, registry=registry(), file=path)
    assert made.kernel_prior.params.space == tmp_path / "sub" / "my.safetensors"
    again = resolve({}, registry=registry(), file=written(json.dumps(made.to_json()), "elsewhere/record.json"))
    assert again.kernel_prior == made.kernel_prior


def test_the_space_that_comes_along_is_recorded_as_no_path():
    made = resolve({**ENCODED, "final.name": "auto"}, registry=registry())
    assert made.kernel_prior.params.space == Path()
    assert made.to_json()["kernel_prior"]["space"] == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run.start", "sharp"),
        ("run.scales", 0),
        ("run.scales", 21),
        ("run.scales", "all"),
        ("kernel_prior.tiles", 0),
        ("kernel_prior.tiles", 17),
        ("kernel_prior.code", "dip"),
        ("kernel_prior.penalty", -1.0),
        ("kernel_prior.tolerance", -0.1),
        ("kernel_prior.pace", 0.0),
        ("image_prior.edges", 0.0),
        ("image_prior.relax", 0.5),
    ],
)
def test_values_out_of_range(key, value):
    with pytest.raises(ConfigError, match=rf"^{key}: must be"):
        resolve({**ENCODED, "final.name": "auto", key: value}, registry=registry())


@pytest.mark.parametrize("start", ["own", "blurry", "kernel"])
@pytest.mark.parametrize("scales", ["auto", 1, 3])
def test_starts_and_scales_are_typed_words_and_numbers(start, scales):
    run = resolve(
        {**ENCODED, "final.name": "auto", "run.start": start, "run.scales": str(scales)}, registry=registry()
    ).run
    assert (run.start, run.scales) == (start, scales)
