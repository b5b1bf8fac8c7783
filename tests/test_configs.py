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


def test_the_runs_of_figure_6_differ_in_the_kernel_prior_only():
    documents = {path.stem: resolve({}, registry=registry(), file=path).to_json() for path in COMPLETE}
    runs = [document for stem, document in documents.items() if stem.startswith("fig-6")]
    assert {run["kernel_prior"]["name"] for run in runs} == {"encoded", "dip", "bicubic"}
    for run in runs:
        run.pop("kernel_prior")
        run["optimizer"].pop("kernel_lr")
        assert run == runs[0]


def test_the_readme_names_every_experiment():
    text = (ROOT / "README.md").read_text()
    assert all(f"`{path.name}`" in text for path in FILES)
    named = set(re.findall(r"`([\w-]+\.toml)`", text))
    assert named == {path.name for path in FILES}
