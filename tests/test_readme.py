"""What the README and the pages beside it say is true: their commands, their tables, their Python."""

import functools
import importlib
import json
import operator
import os
import re
import runpy
import shlex
import shutil
import sys
from dataclasses import fields
from itertools import takewhile
from pathlib import Path

import pytest

from deblurkit import config
from deblurkit.cli import main
from deblurkit.config import resolve
from deblurkit.errors import ExitCode
from deblurkit.hookspecs import HOOKS
from deblurkit.registry import KINDS, registry
from deblurkit.specs import find_fit

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/parts.md", "docs/kernel-spaces.md", "docs/generators.md", "docs/studies.md")
"""The README, and the pages that go on where it stops."""
README, PARTS, SPACES, GENERATORS, STUDIES = ((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
TEXT = "\n".join((README, PARTS, SPACES, GENERATORS, STUDIES))
PLUGINS = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")


def fences(text, language):
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def table(text, heading):
    """The rows of the table whose first heading is the given one, without backquotes."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = takewhile(lambda line: line.startswith("|"), lines[at:])
    cells = [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]
    return [cells[0], *cells[2:]]


def shell_lines(text):
    """The lines of the shell blocks, as words."""
    lines = [line for block in fences(text, "sh") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def commands(text):
    """Every ``deblurkit …`` line of the shell blocks, as arguments; one under a launcher as if it were alone."""
    alone = [words[1:] for words in shell_lines(text) if words[0] == "deblurkit"]
    return alone + [words[words.index("deblurkit") + 1 :] for words in shell_lines(text) if words[0] == "torchrun"]


DRY = ("--dry-run",)
FEW_STYLES = ("--image-prior.style-samples", "1000")
"""So many are in the file, and more need not be measured to see a plan."""
DIGITS = "tests/data/digits.safetensors"
BRIEF = (
    *("--iterations", "1", "--batch", "2", "--crop", "32", "--kernel-batch", "2", "--basis-kernels", "16"),
    *("--window", "9", "--dimensions", "8", "--validation-share", "0.4", "--validation-examples", "1", "--codes", "2"),
    *("--textures", "3", "--texture-side", "64", "--threads", "1", "--device", "cpu"),
)
"""A training of one step on kernels of 9 pixels."""
ONE_PICTURE = ("--only", "im1_kernel1", "--largest-kernel", "7", "--starts", "1", "--restarts", "0", "--polish", "1")
"""A benchmark of one picture with a small kernel."""


def shortened(args):
    """The arguments of a documented command, with more of them that make it short."""
    name = args[0]
    if "--help" in args:
        return args
    if args == ["benchmark", "data/levin"]:
        return [*args, *ONE_PICTURE]
    if name in ("benchmark", "ablate"):
        return [*args, *(one for one in DRY if one not in args)]
    if name in ("run", "deconvolve"):
        return [*args, *DRY, *(FEW_STYLES if "--image-prior.weights" in args else ())]
    if name == "import-weights":
        return [*args, "--samples", "1000"]
    if name == "train-kernel-space":
        structure = ("--window", "auto", "--dimensions", "3", "--features", "2") if "paper" in args else ()
        stages = () if "paper" in args else ("--kernel-iterations", "1", "--stages", "1", "--features", "2")
        return [*args, *BRIEF, *structure, *stages]
    if name == "transfer-blur" and "--steps" in args:
        return [*args, "--steps", "1", "--tiles", "2"]
    if name == "synthesize" and "--manifest" not in args:
        return [*args, "--crop", "40"]
    return args


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """A folder in which every file that the pages name exists, small."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("album")
    (folder / "holiday").mkdir()
    (folder / "runs" / "sharp").mkdir(parents=True)
    with Image.open(ROOT / "tests" / "data" / "sample_blurry.png") as sample:
        small = sample.crop((60, 20, 220, 140))
    for name in ("photo.jpg", "photo.png", "truth.png", "holiday/1.jpg", "holiday/2.jpg"):
        small.save(folder / name)
    for name in ("psf.npy", "photo.kernel.npy"):
        shutil.copy(ROOT / "tests" / "data" / "sample_kernel.npy", folder / name)
    _write_mat(folder / "psf.mat")
    for name, block in zip(("my.toml", "study.toml"), fences(README, "toml"), strict=True):
        (folder / name).write_text(block)
    (folder / "runs" / "sharp" / "config.json").write_text(_json_config())
    _write_sets(folder)
    _write_pairs(folder)
    pairs = ["synthesize", str(folder / "sharp"), "-o", str(folder / "train"), "--pairs", str(folder / "gopro")]
    assert main([*pairs, "--crop", "40"]) == ExitCode.DONE
    _write_spaces(folder)
    _write_generators(folder)
    return folder


def _write_sets(folder):
    """Write a small set in Levin's layout, sharp pictures alone, and the studies of the papers."""
    from PIL import Image

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "cli"))
        importlib.import_module("tiny_levin").write(folder / "data" / "levin", images=3)
    (folder / "data" / "urban100").mkdir()
    for name, tone in (("one", 64), ("two", 128)):
        Image.new("L", (72, 72), tone).save(folder / "data" / "urban100" / f"{name}.png")
    shutil.copytree(ROOT / "configs", folder / "configs", ignore=shutil.ignore_patterns("data"))


def _write_pairs(folder):
    """Write the sharp and the blurry sample: whole, as sets of pairs, and sharp pictures alone."""
    from PIL import Image

    for name in ("sharp", "blurry"):
        with Image.open(ROOT / "tests" / "data" / f"sample_{name}.png") as sample:
            sample.crop((60, 20, 190, 150)).save(folder / f"{name}.png")
            for source in ("gopro", "GOPRO/train/one"):
                into = folder / source / {"sharp": "sharp", "blurry": "blur"}[name]
                into.mkdir(parents=True)
                for index in range(3):
                    sample.crop((60 + 9 * index, 40, 160 + 9 * index, 140)).save(into / f"{index}.png")
            if name == "sharp":
                for into in (folder / "sharp", folder / "KODAK"):
                    into.mkdir()
                    for index in range(2):
                        sample.crop((60, 40, 150, 130 + index)).save(into / f"{index}.png")


def _write_spaces(folder):
    """Write weights as the authors of the encoded kernel space name them, and spaces made of them and by training."""
    import torch

    from deblurkit.nets.kernel_space.header import space_path
    from deblurkit.nets.kernel_space.paper import PaperSpace

    space = PaperSpace(features=2, code=3, residual_front=1, residual_back=1, extractor_blocks=1)
    torch.save({f"module.{name}": tensor for name, tensor in space.state_dict().items()}, folder / "GOPRO_woVAE.pth")
    assert main(["import-weights", str(folder / "GOPRO_woVAE.pth"), "-o", str(folder / "gopro.safetensors")]) == 0
    shutil.copy(folder / "gopro.safetensors", folder / "published.safetensors")
    shutil.copy(space_path(Path()), folder / "own.safetensors")


def _write_generators(folder):
    """Write a generator, files that others would write, a face of its size with landmarks, and blurry digits."""
    import numpy as np
    import torch
    from PIL import Image

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "checkpoints"))
        pickled, stylegan1, writers = map(importlib.import_module, ("pickled", "test_stylegan1", "writers"))
    small = {"channels": (4, 4), "style": 6, "inputs": 6, "depth": 2}
    pickled.write_ada(folder / "ffhq.pkl", *writers.ada(writers.random_generator(**small)))
    (folder / "stylegan1").mkdir()
    for name, half in zip(("synthesis.pt", "mapping.pt"), stylegan1.pair((4, 4)), strict=True):
        torch.save(half, folder / name)
        torch.save(half, folder / "stylegan1" / name)
    (folder / DIGITS).parent.mkdir(parents=True)
    for name in ("faces.safetensors", DIGITS):
        shutil.copy(ROOT / DIGITS, folder / name)
    points = np.array([[60, 50], [90, 50], [75, 65], [63, 80], [87, 80]]) + 1
    lines = "".join(f"{x} {y}\n" for x, y in points)
    (folder / "photo.pts").write_text(f"version: 1\nn_points: {len(points)}\n{{\n{lines}}}\n")
    (folder / "digits").mkdir()
    with Image.open(folder / "sharp.png") as picture:
        for name in ("face.png", "digits/00-blurry.png", "digits/00-sharp.png"):
            picture.crop((30, 30, 94, 94)).save(folder / name)


def _write_mat(path):
    import numpy as np
    from scipy.io import savemat

    savemat(path, {"kernel": np.ones((5, 5))})


def _json_config():
    return json.dumps(resolve({}, registry=registry()).to_json())


GIVEN = [(page, args) for page in PAGES for args in commands((ROOT / page).read_text(encoding="utf-8"))]


def test_the_pages_give_commands():
    assert {page for page, _ in GIVEN} == set(PAGES) - {"docs/parts.md"}
    assert {"benchmark", "ablate", "new-plugin", "run", "deconvolve"} <= {args[0] for _, args in GIVEN}


@pytest.mark.parametrize(("page", "args"), GIVEN, ids=lambda one: one if isinstance(one, str) else " ".join(one))
def test_every_command_can_be_given(page, args, album, tmp_path, monkeypatch, capfd):
    here = shutil.copytree(album, tmp_path / "album")
    monkeypatch.chdir(here)
    if page == "docs/studies.md":
        (here / "study.toml").write_text(fences(STUDIES, "toml")[0])
    # a dry run tries a step of every row
    monkeypatch.setattr("deblurkit.cli.matrix.expected_seconds", lambda cell: None)
    monkeypatch.setenv("DEBLURKIT_CACHE", str(tmp_path / "cache"))
    if args[0] == "metrics":
        shutil.copy(args[2], args[1])
    out = here / args[args.index("-o") + 1] if "-o" in args else None
    if out is not None and "--resume" in args and args[0] == "train-kernel-space":
        out.unlink()
        first = [word for word in args if word != "--resume"]
        assert main(shortened(first)) == ExitCode.DONE, capfd.readouterr().err
    elif out is not None and out.is_dir():
        shutil.rmtree(out)
    elif out is not None:
        out.unlink(missing_ok=True)
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    short = shortened(args)
    assert main(short) == ExitCode.DONE, capfd.readouterr().err
    printed, err = capfd.readouterr()
    assert printed
    assert "Error" not in err
    after = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert before.items() <= after.items() or "--resume" in args, "what was there stays as it was"
    if set(DRY) <= set(short) or args[0] in ("list", "metrics", "plugins"):
        assert after == before
    elif args[0] not in ("run", "deconvolve"):
        assert out is None or out.exists()
        assert "--resume" in args or after.keys() > before.keys()


def test_the_launcher_takes_its_options():
    from torch.distributed.run import parse_args

    launched = [words[1:] for words in shell_lines(SPACES) if words[0] == "torchrun"]
    assert launched
    for words in launched:
        options = parse_args(words)
        assert options.module
        assert options.training_script == "deblurkit"
        assert options.training_script_args[0] == "train-kernel-space"


def test_the_python_lines_run(album, monkeypatch, capsys):
    monkeypatch.chdir(album)
    shutil.move("sharp.png", "kept.png")
    lines = fences(README, "python")[0]
    assert len([line for line in lines.splitlines() if line]) <= 10
    exec(compile(lines, "README.md", "exec"), {})
    assert capsys.readouterr().out.split()[0] in ("good", "doubtful", "bad")
    assert Path("sharp.png").is_file()
    shutil.move("kept.png", "sharp.png")


def test_the_digits_can_be_tried(tmp_path, monkeypatch, capsys):
    """The lines about the generator of digits do what they say, in a checkout, with few steps."""
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    (tmp_path / DIGITS).parent.mkdir(parents=True)
    shutil.copy(ROOT / DIGITS, tmp_path / DIGITS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEBLURKIT_CACHE", str(tmp_path / "cache"))
    (block,) = (block for block in fences(GENERATORS, "sh") if "--export digits" in block)
    draw, run, measure = (shlex.split(line) for line in block.splitlines())
    assert draw[0] == "python"
    monkeypatch.setattr(sys, "argv", draw[1:])
    runpy.run_path(draw[1], run_name="__main__")
    assert len(list(Path("digits").glob("*-blurry.png"))) == 3
    capsys.readouterr()
    assert main([*run[1:], "--optimizer.iterations", "2", "--json"]) == ExitCode.DONE
    printed, err = capsys.readouterr()
    (document,) = json.loads(printed)["images"]
    for key, _ in table(GENERATORS, "key")[1:]:
        assert functools.reduce(operator.getitem, key.split("."), document)
    assert document["notice"] in " ".join(err.split())
    assert "never identify anybody" in document["notice"]
    assert main(measure[1:]) == ExitCode.DONE
    assert "aligned" in capsys.readouterr().out


def test_the_files_that_are_imported_are_those_that_the_program_names():
    from deblurkit.cli.import_weights import import_weights
    from deblurkit.nets.stylegan import styles

    text = " ".join((import_weights.help or "").split())
    for word in ("rosinality", "pSp, e4e, ReStyle", "BasicSR", "NVIDIA", "synthesis.pt", "mapping.pt"):
        assert word in text
        assert word in GENERATORS
    assert "100,000" in GENERATORS
    assert next(one for one in import_weights.params if one.name == "samples").default == 100_000
    assert f"`{styles.FOLDER}`" in GENERATORS


def test_exit_codes_are_those_of_the_enum():
    assert {int(code): name for code, name, _ in table(README, "code")[1:]} == {
        code.value: code.name for code in ExitCode
    }


@pytest.mark.parametrize("kind", ["image_prior", "kernel_prior"])
def test_offers_are_those_of_the_registry(kind):
    rows = table(PARTS, kind.replace("_", " "))[1:]
    written = {name: [] if offers == "–" else offers.split(", ") for name, offers in rows}
    built_in = [entry.spec for entry in registry().entries(kind) if entry.provider.built_in]
    assert written == {spec.name: sorted(spec.offers) for spec in built_in}


def test_optimizers_that_fit_are_those_of_the_registry():
    heading, *rows = table(PARTS, "image prior × kernel prior")
    optimizers = [entry.spec for entry in registry().entries("optimizer") if entry.provider.built_in]
    for image, *cells in rows:
        for kernel, cell in zip(heading[1:], cells, strict=True):
            pair = registry().spec("image_prior", image), registry().spec("kernel_prior", kernel)
            fitting = [one.name for one in optimizers if find_fit(one, *pair)]
            if not fitting:
                assert cell == "none", (image, kernel)
                continue
            first = registry().default_optimizer(image, kernel)
            assert cell.split(", ") == [first, *(name for name in fitting if name != first)], (image, kernel)
    assert [row[0] for row in rows] == [row[0] for row in table(PARTS, "image prior")[1:]]
    assert heading[1:] == [row[0] for row in table(PARTS, "kernel prior")[1:]]


def test_recipes_are_real_and_all_have_a_page():
    named = {name for cell, _ in table(README, "recipe")[1:] for name in cell.split(", ")}
    assert {config.DEFAULT_RECIPE, config.CUSTOM_RECIPE} <= named <= set(config.recipes())
    index = (ROOT / "docs" / "reference" / "README.md").read_text(encoding="utf-8")
    assert all(f"](recipes/{name}.md)" in index for name in config.recipes())


def test_every_built_in_part_is_named():
    rows = table(README, "part")[1:]
    assert len(rows) == len(KINDS)
    for kind, (said, names) in zip(KINDS, rows, strict=True):
        assert kind.replace("_", " ") in said
        built_in = [entry.spec.name for entry in registry().entries(kind) if entry.provider.built_in]
        assert names.split(", ") == sorted(built_in)


def test_every_built_in_part_has_its_source():
    sources = {name for cell, _ in table(PARTS, "part")[1:] for name in cell.split(", ")}
    for kind in KINDS:
        for entry in registry().entries(kind):
            assert not entry.spec.reference or not entry.provider.built_in or entry.spec.name in sources


def test_every_plugin_of_the_repository_is_named():
    folders = {path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml")}
    assert {re.fullmatch(r"\[(.+)\]\(plugins/\1\)", cell)[1] for cell, *_ in table(README, "plugin")[1:]} == folders
    assert len(HOOKS) == 6
    assert "[six hooks]" in " ".join(README.split())


def test_every_key_of_a_study_is_explained(tmp_path):
    from deblurkit.ablation import study
    from deblurkit.cells.code import BlurParams, CodeParams

    def keys(heading):
        return {name for cell, _ in table(STUDIES, heading)[1:] for name in re.findall(r"\w+", cell)}

    assert keys("key") == set(study._TOP)
    assert keys("key of `[blur]`") == {one.name for one in fields(BlurParams)}
    assert keys("key of `[code]`") == {one.name for one in fields(CodeParams)}
    for text in (README, STUDIES):
        file = tmp_path / "study.toml"
        file.write_text(fences(text, "toml")[-1])
        assert len(study.read_study(file).variants) > 1


def test_a_failure_is_what_the_text_calls_one():
    from deblurkit.cells.row import BAD_RATIO

    assert f"more than {BAD_RATIO:g} times the squared error of the oracle" in " ".join(README.split())


def test_the_readme_is_a_page_that_one_reads():
    assert len(README.split()) < 2700, "what only some need belongs on a page under docs/"


def test_flags_and_defaults_in_the_text_are_real():
    from deblurkit.config import RunParams
    from deblurkit.pipeline.judge import Flag

    defaults = RunParams()
    assert f"up to {defaults.largest_kernel} pixels" in README
    assert f"`--crop`, {defaults.crop} pixels" in README
    assert [row[0] for row in table(README, "quality")[1:]] == list(Flag.__args__)


def test_flags_of_parts_in_the_text_are_real():
    written = set(re.findall(r"--(image-prior|kernel-prior|data-term|optimizer|executor)\.([\w-]+)", TEXT))
    assert written
    for kind, flag in written:
        specs = [entry.spec for entry in registry().entries(kind.replace("-", "_"))]
        assert any(flag.replace("-", "_") in {one.name for one in fields(spec.params)} for spec in specs), flag


def test_links_stay_in_the_checkout():
    """That they lead somewhere is tested with the reference."""
    links = re.findall(r"\]\(([^)]+)\)", TEXT + PLUGINS)
    assert links
    assert not [link for link in links if link.startswith(("http", "/"))]


def test_every_page_is_reached_from_the_readme():
    assert all(f"]({page}" in README for page in PAGES[1:])
    assert "](docs/tutorial.md" in README


def test_the_guide_for_plugins_names_every_hook_and_offer():
    from deblurkit.specs import Offer

    assert all(f"`{hook}`" in PLUGINS for hook in HOOKS)
    assert all(f"| `{offer}` |" in PLUGINS for offer in Offer)
    assert all(not re.search(word, TEXT + PLUGINS) for word in (r"(?<!\.md)#\d", r"\b/(home|root|tmp|opt|work)\b"))


def test_two_commands_do_all_the_set_up():
    marked = re.findall(r"<!-- ci: command -->\n```sh\n(.*?)\n```", README)
    assert len(marked) == 2
    assert all("-c constraints.txt" in command for command in marked)
    assert "sample_blurry.png" in marked[0]
    assert marked[1].endswith("pytest")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize(
    "name",
    [
        *PAGES,
        *("CHANGELOG.md", "CONTRIBUTING.md", "configs/README.md", "plugins/README.md", "docs/tutorial.md"),
        *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "plugins").glob("*/README.md")),
    ],
)
def test_no_place_is_left_to_be_filled_in(name):
    text = (ROOT / name).read_text()
    assert not [mark for mark in ("@@", "TODO", "TBD") if mark in text]
