"""The skeletons of plugins: they are installed as they are, and their own tests pass."""

import importlib.util
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from deblurkit.cli import main, new_plugin
from deblurkit.cli.new_plugin import LONGEST, SKELETONS, checked_name, render, write
from deblurkit.errors import ExitCode, RunError, UsageError
from deblurkit.hookspecs import HOOKS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "pyproject.toml"


def name_of(kind):
    """As long as a name may be, since that is where lines get too long."""
    return f"{kind}-{'x' * (LONGEST - len(kind) - 1)}"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a skeleton of every kind, each with a long name, and image priors with short ones."""
    folder = tmp_path_factory.mktemp("skeletons")
    for kind in SKELETONS:
        for name in (name_of(kind), f"{kind[0]}1"):
            assert main(["new-plugin", name, "--kind", kind, "-o", str(folder), "--author", 'A "B" C']) == ExitCode.DONE
    return folder


@pytest.fixture(scope="module")
def environment(written):
    """An environment in which the long ones look installed, as `pip install -e` would make them."""
    folder, site = written, written / "site"
    paths = [str(site)]
    for kind in SKELETONS:
        name = name_of(kind)
        with open(folder / f"deblurkit-{name}" / "pyproject.toml", "rb") as file:
            project = tomllib.load(file)["project"]
        (point,) = project["entry-points"]["deblurkit.plugins"].items()
        info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[deblurkit.plugins]\n{point[0]} = {point[1]}\n")
        paths.append(str(folder / project["name"]))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    environment.pop("DEBLURKIT_PLUGINS", None)
    return environment


def python(*args, **kwargs):
    return subprocess.run([sys.executable, "-m", *args], capture_output=True, text=True, check=False, **kwargs)


def test_there_is_a_skeleton_for_every_hook():
    hooks = {"deblurkit_" + kind.replace("-", "_") + "s" for kind in SKELETONS}
    assert hooks == set(HOOKS)


def test_the_tests_of_every_skeleton_pass_at_once(written, environment):
    folders = [f"deblurkit-{name_of(kind)}" for kind in SKELETONS]
    done = python("pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *folders, "--import-mode=importlib",
                  cwd=written, env=environment)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.splitlines()[-1].split()[0]) > 60, done.stdout
    assert python("deblurkit", "plugins", "--check", cwd=written, env=environment).returncode == ExitCode.DONE


QUICK = "--kernel-size 9 --starts 1 --start own --restarts 0 --polish 0 --threads 1 --optimizer.iterations 2"
BRIEF = {"executor": "--executor.patience 0", "command": ""}
"""What is added to the command that uses a skeleton, so that it is quick; `QUICK` for all others."""
STUDY = """base = "fast"
images = "pictures"
run.kernel_size = 9

[[variant]]
name = "fast"
"""


def test_what_is_printed_for_its_use_works_and_uses_it(written, environment, tmp_path):
    """In one process, since most of a command's time is torch's import."""
    for place in ("photo.png", "pictures/blur/a.png", "pictures/sharp/a.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        sample = "sample_sharp.png" if "sharp" in place else "sample_blurry.png"
        with Image.open(ROOT / "tests" / "data" / sample) as picture:
            picture.crop((60, 20, 124, 68)).save(tmp_path / place)
    (tmp_path / "study.toml").write_text(STUDY)
    commands = []
    for kind, skeleton in SKELETONS.items():
        program, *words = shlex.split(skeleton.use.replace("NAME", name_of(kind)))
        assert program == "deblurkit"
        assert skeleton.use.replace("NAME", name_of(kind)) in (
            written / f"deblurkit-{name_of(kind)}" / "README.md"
        ).read_text(encoding="utf-8")
        commands.append([*words, *shlex.split(BRIEF.get(kind, QUICK + " --overwrite"))])
    script = (
        "import sys; from deblurkit.cli import main\n"
        f"for words in {commands!r}:\n"
        "    code = main(words)\n"
        "    assert code == 0, (code, words)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "has no influence" not in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed")
def test_every_skeleton_obeys_the_rules(written):
    for command in (["check"], ["format", "--check"]):
        done = python("ruff", *command, "--no-cache", str(written))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not RULES.exists(), reason="needs the project's own pyproject.toml")
def test_the_rules_of_a_skeleton_are_those_of_deblurkit():
    own = tomllib.loads(RULES.read_text())["tool"]["ruff"]
    skeletons = tomllib.loads(render("wavy", "image-prior")["pyproject.toml"])["tool"]["ruff"]
    assert skeletons["line-length"] == own["line-length"]
    assert skeletons["lint"]["select"] == own["lint"]["select"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_every_skeleton_is_typed(written):
    for kind in SKELETONS:
        done = python("mypy", cwd=written / f"deblurkit-{name_of(kind)}")
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", SKELETONS)
def test_the_distribution_says_what_it_is(kind):
    texts = render("wavy-line", kind, author='Ada "L" B\\C', email="ada@example.org")
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert project["name"] == "deblurkit-wavy-line"
    assert project["authors"] == [{"name": 'Ada "L" B\\C', "email": "ada@example.org"}]
    assert project["license"] == "MIT"
    assert 'Ada "L" B\\C' in texts["LICENSE"]
    assert project["dependencies"] == ["deblurkit>=0.1,<0.2"]
    assert project["entry-points"] == {"deblurkit.plugins": {"wavy-line": "deblurkit_wavy_line.plugin"}}
    assert {"README.md", "deblurkit_wavy_line/__init__.py", "deblurkit_wavy_line/py.typed"} <= set(texts)
    assert any(path.startswith("tests/test_") for path in texts)
    assert not [path for path, text in texts.items() if "${" in text or "package" in path]


def test_prints_the_path_and_what_comes_next(deblurkit, tmp_path):
    place = tmp_path / "with space"
    done = deblurkit("new-plugin", "deblurkit-wavy", "-o", str(place))
    assert done.code == ExitCode.DONE
    assert done.out == f"{place / 'deblurkit-wavy'}\n"
    lines = [line.strip() for line in done.err.splitlines()[1:]]
    assert lines == [f"pip install -e '{place}/deblurkit-wavy[test]'", f"python -m pytest '{place}/deblurkit-wavy'",
                     "deblurkit run photo.png --image-prior wavy"]  # fmt: skip
    assert [path.name for path in place.iterdir()] == ["deblurkit-wavy"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("TotalVariation", "did you mean 'total-variation'?"),
        ("deblurkit_wavy", "did you mean 'wavy'?"),
        ("wavy_line", "did you mean 'wavy-line'?"),
        ("3d", "did you mean 'd'?"),
        ("wavy--line", "did you mean 'wavy-line'?"),
        ("wavy-", "did you mean 'wavy'?"),
        ("ä", "such as"),
        ("", "such as"),
        ("plugins/wavy", "is a path"),
        ("../wavy", "is a path"),
        (".wavy", "is a path"),
        ("~wavy", "is a path"),
        ("c:\\wavy", "is a path"),
        ("lambda", "is a word of Python"),
        ("none", "is a word of Python or of deblurkit"),
        ("deblurkit-deblurkit-wavy", "is a word of Python or of deblurkit"),
        ("w" * (LONGEST + 1), "a name may have 30"),
        ("dip", "there is already an image prior 'dip', by deblurkit "),
        ("deblurkit-fcn", "there is already a kernel prior 'fcn'"),
        ("mse", "there is already a data term 'mse'"),
        ("joint", "there is already an optimizer 'joint'"),
        ("run", "there is already a command 'run', by deblurkit itself"),
    ],
)
def test_bad_names_are_refused_and_nothing_is_written(deblurkit, tmp_path, name, words):
    done = deblurkit("new-plugin", name, "-o", str(tmp_path))
    assert done.code == ExitCode.USAGE
    assert done.out == ""
    assert words in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_names_of_other_plugins_are_refused_with_their_owner(use_plugins):
    use_plugins("builtin", "good")
    with pytest.raises(UsageError, match=r"a command 'probe', by deblurkit-good 1\.0"):
        checked_name("probe")


def test_an_installed_distribution_is_refused(monkeypatch):
    monkeypatch.setattr(new_plugin, "version", lambda name: {"deblurkit-wavy": "2.0"}[name])
    with pytest.raises(UsageError, match=r"deblurkit-wavy 2\.0 is installed already"):
        checked_name("wavy")


@pytest.mark.parametrize("name", ["kernel-prior", "tensor"])
def test_a_class_may_not_be_named_as_what_it_needs(name):
    with pytest.raises(UsageError, match="would name its class"):
        render(name, "kernel-prior")


def test_an_existing_folder_is_left_alone(deblurkit, tmp_path):
    (tmp_path / "deblurkit-wavy").mkdir()
    done = deblurkit("new-plugin", "wavy", "-o", str(tmp_path))
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "exists already" in done.err
    assert not list((tmp_path / "deblurkit-wavy").iterdir())


def test_a_dangling_link_is_an_existing_name(deblurkit, tmp_path):
    (tmp_path / "deblurkit-wavy").symlink_to(tmp_path / "nowhere")
    assert "exists already" in deblurkit("new-plugin", "wavy", "-o", str(tmp_path)).err


def test_a_file_in_the_place_of_the_folder_is_one_sentence(deblurkit, tmp_path):
    (tmp_path / "file").touch()
    done = deblurkit("new-plugin", "wavy", "-o", str(tmp_path / "file"))
    assert done.code == ExitCode.USAGE
    assert "cannot be written" in done.err


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_one_sentence(deblurkit, tmp_path):
    tmp_path.chmod(0o500)
    done = deblurkit("new-plugin", "wavy", "-o", str(tmp_path))
    tmp_path.chmod(0o700)
    assert done.code == ExitCode.USAGE
    assert "cannot be written" in done.err


def test_nothing_half_written_stays(tmp_path):
    with pytest.raises(RunError, match="cannot be written"):
        write(tmp_path / "deblurkit-wavy", {"one.py": "", "one.py/two.py": ""})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--author", "two\nlines"], "--author: must be one line"),
        (["--email", "nobody"], "--email: 'nobody' is no address"),
        (["--email", 'a"@b.org'], "is no address"),
        (["--kind", "prior"], "image-prior"),
    ],
)
def test_bad_flags_are_refused(deblurkit, tmp_path, flags, words):
    done = deblurkit("new-plugin", "wavy", "-o", str(tmp_path), *flags)
    assert done.code == ExitCode.USAGE
    assert words in done.err
    assert not list(tmp_path.iterdir())


def test_before_1_0_a_minor_release_may_break_a_plugin():
    assert new_plugin._compatible("0.1.0") == ">=0.1,<0.2"
    assert new_plugin._compatible("2.3.1") == ">=2.3,<3"
