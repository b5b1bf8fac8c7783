"""The experiments under configs/ say what can be carried out, and what the papers say."""

import re
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblurkit import config
from deblurkit.ablation.rows import Resolved, resolve_variants
from deblurkit.ablation.study import read_study
from deblurkit.cli import main
from deblurkit.cli.train_kernel_space import SOURCES, read_settings
from deblurkit.config import CUSTOM_RECIPE, read_document, resolve
from deblurkit.errors import ConfigError
from deblurkit.kernel_space.settings import Sources
from deblurkit.nets.kernel_space.weights import load_space, save_space
from deblurkit.registry import registry
from deblurkit.scores import protocol_of

ROOT = Path(__file__).parents[1] / "configs"
if not ROOT.is_dir():
    pytest.skip("configs/ lies in the repository only, not beside an installed deblurkit", allow_module_level=True)

FILES = sorted(ROOT.rglob("*.toml"))
SECTIONS = {*config.COMPONENTS, *config.PLAIN}
STUDIES = [path for path in FILES if "variant" in read_document(path)]
RUNS = [path for path in FILES if path not in STUDIES and SECTIONS & read_document(path).keys()]
TRAININGS = [path for path in FILES if path not in (*RUNS, *STUDIES)]
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


@pytest.mark.parametrize("path", [path for path in FILES if path not in STUDIES], ids=name)
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


MADE = "reblur"
"""Layout of the cells that judge a kernel space."""


@pytest.fixture
def studies(tmp_path):
    """A copy of the configs, with the spaces that the studies want trained first."""
    for path in FILES:
        copy = tmp_path / "configs" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    space = load_space(Path())
    for trained in ("table-1", "gopro"):
        save_space(tmp_path / "configs" / "kernel-space" / f"{trained}.safetensors", space, card={})
    digits = tmp_path / "tests" / "data"
    digits.mkdir(parents=True)
    (digits / "digits.safetensors").symlink_to(ROOT.parent / "tests" / "data" / "digits.safetensors")
    return tmp_path / "configs"


def layout_of_study(study):
    return study.layout if study.task == "deblur" else MADE


@pytest.mark.parametrize("reduced", [False, True], ids=["full", "reduced"])
@pytest.mark.parametrize("path", STUDIES, ids=name)
def test_every_variant_of_a_study_resolves(path, reduced, studies):
    study = read_study(studies / path.relative_to(ROOT), reduced=reduced)
    found = resolve_variants(study, registry(), {"threads": 1})
    assert all(isinstance(one, Resolved) for one in found), [one for one in found if isinstance(one, str)]
    values = [one.values() for one in found]
    assert len({repr(one) for one in values}) == len(found), "no two variants are the same"


@pytest.mark.parametrize("path", STUDIES, ids=name)
def test_a_study_says_what_it_reproduces_and_what_it_costs(path):
    study = read_study(path)
    assert study.summary.endswith(".")
    assert re.search(r"\b20\d\d, (table|figure|section) ", study.reproduces)
    assert re.search(r"(hour|minute|second|\d s)\b.* (core|Titan V)", study.cost)
    assert "Reduced:" in study.cost
    assert "measured" in study.cost
    assert study.images
    data = [*study.images, *([study.blur.kernels] if study.blur else [])]
    assert all(one.relative_to(path.parent).parts[0] == "data" for one in data), "pictures lie beside the config"
    if study.reproduces.startswith("Ren"):
        assert study.size == "given", "published methods are handed the kernel size"


@pytest.mark.parametrize("path", STUDIES, ids=name)
def test_the_reduced_size_is_smaller(path):
    full, reduced = read_study(path), read_study(path, reduced=True)
    assert (full.task, full.size) == (reduced.task, reduced.size)
    sizes = [
        (len(one.seeds), len(one.variants), len(one.images) if one.blur else 0, -len(one.cases))
        for one in (full, reduced)
    ]
    layers = [sum(bool(layer.sections) for one in study.variants for layer in one.stack) for study in (full, reduced)]
    assert sizes[0] != sizes[1] or layers[0] != layers[1] or full.images != reduced.images


@pytest.mark.parametrize("path", STUDIES, ids=name)
def test_published_scores_are_scores_of_the_data_set(path):
    study = read_study(path)
    scores = {score.name: score for score in protocol_of(layout_of_study(study)).scores}
    published = [*(one.published for one in study.variants), *(one.scores for one in study.published)]
    for values in published:
        assert set(values) <= set(scores)
        assert all(scores[key].published for key in values)


def test_published_numbers_of_the_papers():
    def of(file):
        study = read_study(ROOT / file)
        return [tuple(one.published.values()) for one in study.variants if one.published]

    assert of("selfdeblur/table-1.toml") == [(33.07, 0.9313), (30.53, 0.8748)]
    assert of("selfdeblur/table-2.toml") == [(33.07, 0.9313), (28.37, 0.8396), (30.92, 0.8889), (21.51, 0.5256)]
    assert of("selfdeblur/table-3.toml") == [(33.07, 0.9313, 1.1968), (33.32, 0.9438, 1.2509)]
    assert of("selfdeblur/table-4.toml") == [(20.97, 0.7524), (21.13, 0.7319)]
    singles = (49.48, 51.93, 52.06, 53.74, 49.91, 49.49, 51.43, 50.38)
    assert of("kernel-space/study-table-1.toml") == [(pytest.approx(sum(singles) / 8, abs=5e-3),)]
    assert of("kernel-space/study-table-3.toml") == [(30.67,), (35.13,)]


def test_table_2_differs_in_the_network_of_the_kernel_alone():
    for reduced in (False, True):
        study = read_study(ROOT / "selfdeblur" / "table-2.toml", reduced=reduced)
        found = [one.to_json() for one in resolve_variants(study, registry(), {})[:4]]
        kernels = [(one["kernel_prior"]["name"], one["kernel_prior"].get("hidden_layers")) for one in found]
        assert kernels == [("fcn", 1), ("fcn", 0), ("fcn", 2), ("dip", None)]
        for one in found:
            one.pop("kernel_prior")
            assert one == found[0]
        steps = found[0]["optimizer"]["iterations"]
        assert found[0]["data_term"]["switch"] * 5 == steps
        assert [5 * at / steps for at in found[0]["optimizer"]["milestones"]] == [2, 3, 4]
        assert steps >= 1000
        assert found[0]["run"]["restarts"] == 0


def pictures(folder, layout, side=72):
    """A data set of that layout of two pictures or pairs."""
    generator = np.random.default_rng(0)

    def save(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (side, side), dtype=np.uint8)).save(path)

    names = {
        "levin": ["im1_kernel1_img", "im3_kernel2_img", "gt/im1", "gt/im3"],
        "lai": ["text_01_kernel_01", "text_02_kernel_01", "ground_truth/text_01", "ground_truth/text_02"],
        "pairs": ["a_blur", "a_sharp", "b_blur", "b_sharp"],
        MADE: ["a", "b"],
    }
    for one in names[layout]:
        save(folder / f"{one}.png")
    if layout != "pairs":
        place = {"levin": folder / "kernels_conv" / "k{}.npy", "lai": folder / "kernels" / "kernel_0{}.npy"}
        path = str(place.get(layout, folder.parent / "kernels" / "k{}.npy"))
        for number in (1, 2):
            target = Path(path.format(number))
            target.parent.mkdir(parents=True, exist_ok=True)
            np.save(target, np.eye(5) / 5)
    return folder


@pytest.mark.parametrize("path", STUDIES, ids=name)
def test_a_dry_run_lists_every_row(path, studies, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("deblurkit.cli.matrix.expected_seconds", lambda cell: None)  # tries a step of every row
    study = read_study(path, reduced=True)
    made = study.blur is not None
    folder = pictures(tmp_path / "pictures", MADE if made else study.layout)
    arguments = ["ablate", str(studies / path.relative_to(ROOT)), "--reduced", "--dry-run", "--images", str(folder)]
    arguments += ["--kernels", str(tmp_path / "kernels")] if made else []
    assert main([*arguments, "-o", str(tmp_path / "run"), "--format", "csv"]) == 0
    printed = capsys.readouterr().out
    for one in (*study.variants, *study.published):
        assert one.name in printed
    assert not (tmp_path / "run").exists()


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
