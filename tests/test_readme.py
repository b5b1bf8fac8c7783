"""What the README says is true: its commands, its tables, its Python."""

import os
import re
import shlex
import shutil
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
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLUGINS = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")


def fences(text, language):
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def table(heading):
    """The rows of the table whose first heading is the given one, without backquotes."""
    lines = README.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = takewhile(lambda line: line.startswith("|"), lines[at:])
    cells = [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]
    return [cells[0], *cells[2:]]


def commands(text):
    """Every ``deblurkit …`` line of the shell blocks, as arguments."""
    lines = [line for block in fences(text, "sh") for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line and line[0] == "deblurkit"]


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """A folder in which every file that the README names exists, small."""
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
    (folder / "my.toml").write_text(fences(README, "toml")[0])
    (folder / "runs" / "sharp" / "config.json").write_text(_json_config())
    return folder


def _write_mat(path):
    import numpy as np
    from scipy.io import savemat

    savemat(path, {"kernel": np.ones((5, 5))})


def _json_config():
    import json

    return json.dumps(resolve({}, registry=registry()).to_json())


@pytest.mark.parametrize("args", commands(README), ids=" ".join)
def test_every_command_can_be_given(args, album, monkeypatch, capfd):
    monkeypatch.chdir(album)
    if args[0] == "metrics":
        shutil.copy("photo.png", "sharp.png")
    dry = ["--dry-run"] if args[0] in ("run", "deconvolve") and "--help" not in args else []
    before = sorted(album.rglob("*"))
    assert main([*args, *dry]) == ExitCode.DONE, capfd.readouterr().err
    out, err = capfd.readouterr()
    assert out
    assert "Error" not in err
    assert sorted(album.rglob("*")) == before or args[0] == "metrics"
    (album / "sharp.png").unlink(missing_ok=True)


def test_the_python_lines_run(album, monkeypatch, capsys):
    monkeypatch.chdir(album)
    lines = fences(README, "python")[0]
    assert len([line for line in lines.splitlines() if line]) <= 10
    exec(compile(lines, "README.md", "exec"), {})
    assert capsys.readouterr().out.split()[0] in ("good", "doubtful", "bad")
    assert Path("sharp.png").is_file()
    Path("sharp.png").unlink()


def test_exit_codes_are_those_of_the_enum():
    assert {int(code): name for code, name, _ in table("code")[1:]} == {code.value: code.name for code in ExitCode}


@pytest.mark.parametrize("kind", ["image_prior", "kernel_prior"])
def test_offers_are_those_of_the_registry(kind):
    written = {name: offers.split(", ") for name, offers in table(kind.replace("_", " "))[1:]}
    built_in = [entry.spec for entry in registry().entries(kind) if entry.provider.built_in]
    assert written == {spec.name: sorted(spec.offers) for spec in built_in}


def test_optimizers_that_fit_are_those_of_the_registry():
    heading, *rows = table("image prior × kernel prior")
    optimizers = [entry.spec for entry in registry().entries("optimizer") if entry.provider.built_in]
    for image, *cells in rows:
        for kernel, cell in zip(heading[1:], cells, strict=True):
            pair = registry().spec("image_prior", image), registry().spec("kernel_prior", kernel)
            fitting = [one.name for one in optimizers if find_fit(one, *pair)]
            first = registry().default_optimizer(image, kernel)
            assert cell.split(", ") == [first, *(name for name in fitting if name != first)], (image, kernel)
    assert [row[0] for row in rows] == [row[0] for row in table("image prior")[1:]]
    assert heading[1:] == [row[0] for row in table("kernel prior")[1:]]


def test_recipes_are_all_there():
    assert {name for name, _ in table("recipe")[1:]} == set(config.recipes())


def test_every_built_in_part_is_named_with_its_source():
    sources = {name for cell, _ in table("part")[1:] for name in cell.split(", ")}
    for kind in KINDS:
        for entry in registry().entries(kind):
            assert not entry.provider.built_in or f"`{entry.spec.name}`" in README, entry.spec.name
            assert not entry.spec.reference or not entry.provider.built_in or entry.spec.name in sources


def test_flags_and_defaults_in_the_text_are_real():
    from deblurkit.config import RunParams
    from deblurkit.pipeline.judge import Flag

    defaults = RunParams()
    assert f"up to {defaults.largest_kernel} pixels" in README
    assert f"`--crop`, {defaults.crop} pixels" in README
    assert [row[0] for row in table("quality")[1:]] == list(Flag.__args__)


def test_links_lead_somewhere():
    for text, folder in ((README, ROOT), (PLUGINS, ROOT / "plugins")):
        links = re.findall(r"\]\(([^)]+)\)", text)
        assert links
        for link in links:
            assert not link.startswith(("http", "/"))
            assert (folder / link).exists(), link


def test_the_guide_for_plugins_names_every_hook_and_offer():
    from deblurkit.specs import Offer

    assert all(f"`{hook}`" in PLUGINS for hook in HOOKS)
    assert all(f"| `{offer}` |" in PLUGINS for offer in Offer)
    assert all(not re.search(word, README + PLUGINS) for word in (r"#\d", r"\b/(home|root|tmp|opt|work)\b"))


def test_two_commands_do_all_the_set_up():
    marked = re.findall(r"<!-- ci: command -->\n```sh\n(.*?)\n```", README)
    assert len(marked) == 2
    assert all("-c constraints.txt" in command for command in marked)
    assert "sample_blurry.png" in marked[0]
    assert marked[1].endswith("pytest")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
