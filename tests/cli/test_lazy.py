"""What answers at once must import nothing heavy; a process of its own shows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deblurkit.cli import COMMANDS

HEAVY = {"torch", "scipy", "PIL", "rich", "numpy", "safetensors"}
PLUGINS = Path(__file__).parents[1] / "data" / "plugins"
PROGRAM = f"""
import sys
from deblurkit.cli import main
code = main(sys.argv[1:])
print(code, sorted({HEAVY} & {{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
"""


def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *args],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        *([name, "--help"] for name in COMMANDS),
        ["list"],
        ["list", "--json"],
        ["list", "recipes"],
        ["plugins"],
        ["run", "--recipe", "fast", "--help"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(args):
    done = run(*args)
    assert done.stderr.split(maxsplit=1) == ["0", "[]\n"]
    assert done.stdout


def test_a_misfit_is_found_before_anything_heavy_is_imported():
    done = run("run", "--image-prior", "no-such-prior", "picture.png")
    error, seen = done.stderr.splitlines()
    assert error.startswith("Error: no image prior 'no-such-prior'")
    assert seen == "2 []"


def test_completion_is_light():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "deblurkit"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "_DEBLURKIT_COMPLETE": "bash_complete",
            "COMP_WORDS": "deblurkit run --image-",
            "COMP_CWORD": "2",
        },
    )
    assert "plain,--image-prior" in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "deblurkit" in imported
    assert not HEAVY & imported


def test_plugins_of_other_distributions_are_seen_and_switched_off_by_the_environment():
    path = os.pathsep.join(str(PLUGINS / name) for name in ("good", "broken"))
    on = run("plugins", PYTHONPATH=path)
    assert "deblurkit-good 1.0" in on.stdout
    assert "pip uninstall deblurkit-broken" in on.stdout
    off = run("plugins", PYTHONPATH=path, DEBLURKIT_PLUGINS="")
    assert "deblurkit-good" not in off.stdout.split("switched off")[0]
    assert "pip uninstall" not in off.stdout
    some = run("list", PYTHONPATH=path, DEBLURKIT_PLUGINS="deblurkit-good")
    assert "gentle" in some.stdout
