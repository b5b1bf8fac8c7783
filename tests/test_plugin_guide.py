"""The guide for plugins does what it says: every command and block of it is carried out, with few iterations."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
import torch

from deblurkit.testing import example, generator

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "guide"
PAGE = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
MOST = 40
"""Lines that an author may have to write."""
TESTS = "python -m pytest deblurkit-ridge"


@pytest.fixture(scope="module")
def guide():
    loader = SourceFileLoader("guide", str(SCRIPT))
    spec = importlib.util.spec_from_loader("guide", loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["guide"] = module  # where dataclasses look their annotations up
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    yield module
    del sys.modules["guide"]


def opening():
    """The guide itself: what stands before the description of the parts."""
    return PAGE[: PAGE.index("\n## What a plugin is made of")]


def test_the_author_writes_few_lines_and_the_guide_says_how_many(guide):
    lines = sum(map(guide.written, guide.blocks(PAGE)))
    assert 0 < lines <= MOST
    assert f"a prior in {lines} lines" in PAGE


def test_every_block_of_the_guide_is_carried_out(guide):
    assert len(re.findall(r"^```\w", opening(), re.MULTILINE)) == len(guide.blocks(opening()))


def test_the_guide_comes_to_run_and_ablate(guide):
    lines = [line for block in guide.blocks(PAGE) if block.action == "run" for line in block.text.splitlines()]
    used = {tuple(shlex.split(line)[:2]) for line in lines}
    assert {("deblurkit", one) for one in ("new-plugin", "list", "run", "ablate", "deconvolve")} <= used


def test_its_blocks_fit_the_skeleton_and_make_a_prior(guide, tmp_path, monkeypatch):
    """The same without the runs: the files that come of it, and what the energy and the closed form say."""
    carried = guide.command
    brief = ("pip install", "deblurkit new-plugin", "deblurkit list")
    monkeypatch.setattr(
        guide, "command", lambda line, *args, **kwargs: carried(line, *args, **kwargs) if line.startswith(brief) else []
    )
    guide.carry_out(tmp_path, PAGE, offline=True, more={})
    monkeypatch.syspath_prepend(str(tmp_path / "deblurkit-ridge"))
    from deblurkit_ridge.plugin import SPEC
    from deblurkit_ridge.prior import Ridge

    assert SPEC.load() is Ridge
    observation, latent, kernel = example()
    x = torch.zeros(1, 1, 3, 4)
    x[0, 0, 1, 2] = 1.0  # two of 8 vertical and two of 9 horizontal differences are 1
    prior = Ridge(SPEC.params(weight=0.5), observation, margin=(3, 4), generator=generator())
    torch.testing.assert_close(prior.energy(x), torch.tensor([0.5 * (2 / 8 + 2 / 9)]))
    error = (prior.restore(observation, kernel) - latent)[..., 3:-3, 4:-4].square().mean()
    assert error < 0.4 * (observation.y - latent[..., 3:-3, 4:-4]).square().mean()


def test_what_is_carried_out_is_what_the_guide_prints(guide, tmp_path):
    """But for the interpreter, and the flags that make it brief; the tests come after what brings pytest."""
    lines = [line for block in guide.blocks(PAGE) if block.action == "run" for line in block.text.splitlines()]
    for line in lines:
        python, *words = guide.command(line, tmp_path, offline=False, more={})
        printed = [word for word in shlex.split(line) if word not in ("python", "-m")]
        assert [word for word in words if word != "-m"] == printed
        assert python == sys.executable
    assert any(line.startswith("pip install") and "[test]" in line for line in lines[: lines.index(TESTS)])


def test_every_file_that_a_command_reads_comes_from_the_guide(guide, tmp_path):
    """Pictures are the reader's, as the text says; a kernel is what an earlier run wrote."""
    guide.prepare(tmp_path)
    assert not list(tmp_path.rglob("*.npy"))
    lines = [line for block in guide.blocks(PAGE) if block.action == "run" for line in block.text.splitlines()]
    for index, line in enumerate(lines):
        for kernel in re.findall(r"--kernel (\S+)\.kernel\.npy", line):
            assert any(f"-o {kernel}.png" in before for before in lines[:index]), line


@pytest.mark.slow
def test_the_guide_is_true():
    """Half a minute of computing. `.ci/guide` does the same with pip, and carries the ablation out in full."""
    brief = ["--run=--optimizer.iterations 2 --kernel-size 9 --start own --starts 1 --restarts 0", "--ablate=--dry-run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("DEBLURKIT_PLUGINS", None)
    done = subprocess.run(
        [sys.executable, "-B", str(SCRIPT), "--offline", *brief],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"the guide holds; \d+ lines", done.stdout)
    assert "deblurkit-ridge 0.1.0" in done.stdout


def test_a_diff_is_applied_where_its_lines_stand_once(guide):
    assert guide.edited("a\nb\nc\n", " a\n-b\n+d\n") == "a\nd\nc\n"
    for text in ("a\nc\n", "a\nb\na\nb\n"):
        with pytest.raises(SystemExit, match="must once"):
            guide.edited(text, " a\n-b\n+d\n")


def test_a_mark_without_a_block_is_an_error(guide):
    with pytest.raises(SystemExit, match="marks"):
        guide.blocks("<!-- guide: run -->\n\ntext\n")
