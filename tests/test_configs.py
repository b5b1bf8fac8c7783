"""The experiments under configs/ say what can be carried out, and what the papers say."""

import re
from itertools import accumulate
from pathlib import Path

import pytest

from deblurkit import config
from deblurkit.cli.train_kernel_space import SOURCES, read_settings
from deblurkit.config import CUSTOM_RECIPE, read_document, resolve
from deblurkit.errors import ConfigError
from deblurkit.kernel_space.settings import Sources
from deblurkit.registry import registry

ROOT = Path(__file__).parents[1] / "configs"
if not ROOT.is_dir():
    pytest.skip("configs/ lies in the repository only, not beside an installed deblurkit", allow_module_level=True)

FILES = sorted(ROOT.rglob("*.toml"))
SECTIONS = {*config.COMPONENTS, *config.PLAIN}
RUNS = [path for path in FILES if SECTIONS & read_document(path).keys()]
TRAININGS = [path for path in FILES if path not in RUNS]
COMPLETE = [path for path in RUNS if "common" not in path.stem]


def name(path):
    return path.relative_to(ROOT).as_posix()


def settings(path):
    return read_settings(path, Sources(), {})


@pytest.mark.parametrize("path", COMPLETE, ids=name)
def test_a_run_resolves_by_itself(path):
    made = resolve({}, registry=registry(), file=path)
    assert f"recipe {CUSTOM_RECIPE}" not in made.origins.values(), "an experiment leaves nothing to a recipe"
    assert read_document(path)["summary"].endswith(".")


@pytest.mark.parametrize("path", TRAININGS, ids=name)
def test_a_training_resolves_and_names_its_data(path):
    sources, _ = settings(path)
    assert bool(sources.pairs) != bool(sources.sharp)
    assert f"--config configs/{name(path)}" in path.read_text(), "it says how it is carried out"


@pytest.mark.parametrize("path", TRAININGS, ids=name)
def test_data_lies_beside_the_config(path):
    document = read_document(path)
    paths = [one for key in SOURCES for one in document.get(key, [])] + [document.get("init", "data")]
    assert all(re.fullmatch(r"(data|material)(/\w+)*|trajectories|textures|[\w-]+\.safetensors", one) for one in paths)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_an_unknown_key_is_refused(path, tmp_path):
    changed = tmp_path / path.name
    text = path.read_text().replace(
        'base = "', f'base = "{path.parent.as_posix()}/' if path in COMPLETE else 'base = "'
    )
    changed.write_text("iteratoins = 3\n" + text if path in TRAININGS else text + "\niteratoins = 3\n")
    flags = {} if path in COMPLETE else {"kernel_prior.name": "fcn"}
    with pytest.raises(ConfigError, match=r"iteratoins: no such (setting|parameter)"):
        settings(changed) if path in TRAININGS else resolve(flags, registry=registry(), file=changed)


@pytest.mark.parametrize("path", [path for path in TRAININGS if path.stem.startswith("paper-")], ids=name)
def test_the_published_schedule(path):
    _, params = settings(path)
    assert (params.preset, params.crop, params.lr, params.betas) == ("paper", 256, 1e-4, (0.9, 0.99))
    assert list(accumulate(params.periods)) == [50_000, 150_000, 300_000, 450_000, params.iterations]
    assert (params.iterations, params.kernel_iterations, params.reduction) == (600_000, 0, "sum")
    assert params.flips
    batch = {"paper-gopro": 16, "paper-reds": 13, "paper-gopro-vae": 8, "paper-table-1": 16}
    assert params.batch == batch[path.stem]
    assert params.eta_min == (1e-6 if path.stem == "paper-reds" else 1e-8)
    assert (params.vae, params.kl_weight) == (path.stem == "paper-gopro-vae", 10.0)


FIGURE_6 = {"kernel-space": "dip", "stylegan": "stylegan"}
"""Image priors under which figure 6 is carried out, by folder."""


@pytest.mark.parametrize("folder", FIGURE_6)
def test_the_runs_of_figure_6_differ_in_the_kernel_prior_only(folder):
    paths = [path for path in COMPLETE if path.parent.name == folder and path.stem.startswith("fig-6")]
    runs = [resolve({}, registry=registry(), file=path).to_json() for path in paths]
    assert {path.stem: run["kernel_prior"]["name"] for path, run in zip(paths, runs, strict=True)} == {
        "fig-6-encoded": "encoded",
        "fig-6-convolution-dip": "dip",
        "fig-6-bicubic": "bicubic",
    }
    assert {run["image_prior"]["name"] for run in runs} == {FIGURE_6[folder]}
    for run in runs:
        run.pop("kernel_prior")
        run["optimizer"].pop("kernel_lr")
        assert run == runs[0]


def test_figure_6_with_a_generator_keeps_its_picture_and_leaves_its_file_to_the_caller():
    for path in COMPLETE:
        if path.parent.name == "stylegan":
            run = resolve({}, registry=registry(), file=path).to_json()
            assert (run["final"]["name"], run["run"]["start"], run["run"]["keep"]) == ("none", "own", "best")
            assert run["image_prior"]["weights"] == ""
            named = resolve({"image_prior.weights": "a.safetensors"}, registry=registry(), file=path)
            assert named.to_json()["image_prior"]["weights"].endswith("a.safetensors")


def sections():
    """What the README says of each folder, by its name."""
    parts = re.split(r"^## ([\w-]+):", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_readme_has_a_section_for_every_folder():
    assert set(sections()) == {path.parent.name for path in FILES}


@pytest.mark.parametrize("folder", sections())
def test_the_readme_names_every_experiment(folder):
    text = sections()[folder]
    assert set(re.findall(r"^\| `([\w-]+\.\w+)`", text, flags=re.MULTILINE)) == {
        path.name for path in (ROOT / folder).iterdir() if path.suffix in (".toml", ".py")
    }
    assert set(re.findall(r"`([\w-]+\.toml)`", text)) == {path.name for path in (ROOT / folder).glob("*.toml")}
