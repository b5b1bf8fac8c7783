import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from deblurkit.cli import COMMANDS, cli, main
from deblurkit.cli.arguments import ComponentCommand, config_of


def completions(*args, incomplete=""):
    machinery = ShellComplete(cli, {}, "deblurkit", "_DEBLURKIT_COMPLETE")
    return [item.value for item in machinery.get_completions(list(args), incomplete)]


def probe(deblurkit, *args):
    done = deblurkit("probe", *args)
    assert done.code == 0, done.err
    return json.loads(done.out)


def error(deblurkit, *args, code=2):
    done = deblurkit(*args)
    assert done.code == code
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    return done.err.removeprefix("Error: ").strip()


def sections(text):
    return [line.rstrip(":") for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]


def options(text):
    return {line.split()[0] for line in text.splitlines() if line.startswith("  --")}


@pytest.mark.usefixtures("fake")
def test_the_help_of_the_group_lists_every_command(deblurkit):
    done = deblurkit("--help")
    assert done.code == 0
    assert sections(done.out) == ["Options", "Commands", "Commands of plugins"]
    for name, spec in COMMANDS.items():
        assert f"  {name} " in done.out
        assert spec.summary in done.out
    assert "  probe  " in done.out
    assert deblurkit("-h").out == done.out


def test_without_a_command_the_help_is_shown(deblurkit):
    done = deblurkit()
    assert done.code == 2
    assert "Commands:" in done.err


def test_version(deblurkit):
    assert deblurkit("--version").out == "deblurkit 0.1.0\n"


@pytest.mark.usefixtures("fake")
def test_help_shows_the_parameters_of_the_chosen_components(deblurkit):
    text = deblurkit("probe", "--help").out
    assert sections(text) == [
        *("Options", "Components", "image prior 'sparse'", "optimizer 'turns'", "final 'both'", "run")
    ]
    assert {"--image-prior.weight", "--optimizer.iterations", "--final.weight", "--kernel-size"} <= options(text)
    assert "Strength.  [recipe fast: 0.002; x>=0]" in text
    assert "Image prior.  [recipe fast: sparse]" in text
    assert "Optimizer, or auto.  [default: turns]" in text

    text = deblurkit("probe", "--image-prior", "net", "--kernel-prior=net", "--help").out
    assert sections(text)[2:4] == ["image prior 'net'", "optimizer 'together'"]
    assert "--image-prior.weight" not in options(text)
    assert "--image-prior.start [noise|grid]" in text
    assert "--image-prior.non-local / --image-prior.no-non-local" in " ".join(text.split())
    assert "Image prior.  [flag: net]" in text


@pytest.mark.usefixtures("fake")
def test_help_follows_recipe_and_config(deblurkit, tmp_path, monkeypatch):
    assert "image prior 'net'" in sections(deblurkit("probe", "--recipe", "deep", "--help").out)
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text("image_prior = {name = 'net', depth = 2}")
    text = deblurkit("probe", "--config", "my.toml", "--help").out
    assert "image prior 'net'" in sections(text)
    assert "my.toml: 2; 1<=x<=8]" in " ".join(text.split())


@pytest.mark.usefixtures("fake")
def test_a_command_may_stand_on_another_recipe_and_offer_fewer_sections():
    @click.command(cls=ComponentCommand, sections=("image_prior",), plain=(), default_recipe="deep")
    @click.pass_context
    def restore(ctx):
        click.echo(config_of(ctx, {"image_prior.depth": 2}).to_json()["image_prior"])

    made = CliRunner().invoke(restore, ["--image-prior.lr", "0.5"])
    assert made.exit_code == 0, made.output
    assert "'name': 'net', 'depth': 2, 'lr': 0.5" in made.output
    text = CliRunner().invoke(restore, ["--help"]).output
    assert sections(text) == ["Options", "Components", "image prior 'net'"]
    assert "--kernel-prior" not in options(text)
    assert CliRunner().invoke(restore, ["--kernel-prior", "net"]).exit_code == 2


@pytest.mark.usefixtures("fake")
def test_help_works_whatever_else_is_wrong(deblurkit, tmp_path):
    for args in (["--image-prior", "nte"], ["--recipe", "fats"], ["--config", str(tmp_path / "gone.toml")]):
        done = deblurkit("probe", *args, "--help")
        assert done.code == 0
        assert "--kernel-size" in options(done.out)
        assert "Not everything can be shown: " in done.out
    assert "no image prior 'nte'; did you mean 'net'?" in deblurkit("probe", "--image-prior", "nte", "-h").out


@pytest.mark.usefixtures("fake")
def test_flags_arrive_by_their_dotted_keys(deblurkit):
    made = probe(
        deblurkit,
        *("a", "--image-prior", "net", "--image-prior.depth", "3", "--image-prior.no-non-local"),
        *("--image-prior.start=grid", "--optimizer.milestones", "1,2", "--kernel-size", "21", "--compile", "b"),
    )
    assert made["words"] == ["a", "b"]
    assert made["flags"] == {
        "image_prior.name": "net",
        "image_prior.depth": "3",
        "image_prior.non_local": "False",
        "image_prior.start": "grid",
        "optimizer.milestones": "(1, 2)",
        "run.kernel_size": "21",
        "run.compile": "True",
    }
    assert made["config"]["image_prior"] == {
        "name": "net",
        "depth": 3,
        "lr": 0.01,
        "non_local": False,
        "start": "grid",
        "weights": "",
    }
    assert made["config"]["run"]["kernel_size"] == 21
    assert probe(deblurkit)["flags"] == {}, "a default is no flag, or it would override recipe and file"


@pytest.mark.usefixtures("fake")
def test_what_stands_after_two_dashes_is_no_option(deblurkit):
    made = probe(deblurkit, "--", "--image-prior", "net", "--image-prior.zzz")
    assert made["words"] == ["--image-prior", "net", "--image-prior.zzz"]
    assert made["config"]["image_prior"]["name"] == "sparse"


@pytest.mark.usefixtures("fake")
def test_the_last_of_two_names_holds(deblurkit):
    made = probe(deblurkit, "--image-prior=both", "--image-prior", "net", "--image-prior.depth=2")
    assert made["config"]["image_prior"]["depth"] == 2


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("--image-prior nte --image-prior.depth 3", "no image prior 'nte'; did you mean 'net'? (--image-prior)"),
        (
            "--image-prior net --image-prior.depht 3",
            "image_prior.depht: no such parameter; did you mean 'depth'? (--im",
        ),
        ("--image-prior.depth 3", "image_prior.depth: no such parameter; 'sparse' has weight (--image-prior.depth)"),
        (
            "--image-prior net --image-prior.depth=9",
            "Invalid value for '--image-prior.depth': must be an integer with 1",
        ),
        (
            "--image-prior net --image-prior.start x",
            "Invalid value for '--image-prior.start': must be one of 'noise', ",
        ),
        (
            "--image-prior net --image-prior.lr nan",
            "Invalid value for '--image-prior.lr': must be a finite number with",
        ),
        ("--kernel-size 20", "Invalid value for '--kernel-size': must be 'auto' or an odd integer with x>=3, not 20"),
        ("--sede 3", "No such option"),
        ("--optimizer together", "optimizer 'together' needs parameters of the image prior"),
        (
            "--final net",
            "final.name: image prior 'net' does not restore; use both, gentle, sparse, none or auto (--fin",
        ),
        ("--image-prior", "Option '--image-prior' requires an argument."),
        ("--recipe fats", "no recipe 'fats'; did you mean 'fast'?"),
        ("--config gone.toml", "config 'gone.toml' cannot be read: No such file or directory"),
        ("--config .", "config '.' cannot be read: Is a directory"),
        ("--config=", "--recipe and --config: an empty name says nothing; leave the flag out"),
        ("--fail x", "Invalid value for '--fail': 'x' is not one of"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(deblurkit, args, sentence):
    assert error(deblurkit, "probe", *args.split()).startswith(sentence)


@pytest.mark.usefixtures("fake")
def test_an_unknown_command(deblurkit):
    assert error(deblurkit, "rnu") == "no command 'rnu'; did you mean 'run'?"
    assert error(deblurkit, "--verison").startswith("No such option")


def test_a_command_that_a_broken_plugin_may_have_had(deblurkit, use_plugins):
    use_plugins("builtin", "broken")
    assert "plugin deblurkit-broken 0.3: could not be loaded" in error(deblurkit, "tv-path", code=3)
    assert deblurkit("list").code == 0, "it costs only itself"


@pytest.mark.usefixtures("fake")
def test_a_component_that_a_broken_plugin_may_have_had(deblurkit, use_plugins):
    use_plugins("builtin", "good", "broken")
    text = error(deblurkit, "probe", "--image-prior", "tv", code=3)
    assert "no image prior 'tv' (--image-prior); plugin deblurkit-broken 0.3: could not be loaded" in text
    assert "pip uninstall deblurkit-broken" in text


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("run", 1, "Error: probe: it failed on purpose\n"),
        ("bug", 1, "Error: unexpected ZeroDivisionError: a bug (set DEBLURKIT_DEBUG=1 for the traceback)\n"),
        ("disk", 1, "Error: out.png: No space left on device\n"),
        ("code", 1, ""),
    ],
)
def test_failures_have_their_exit_code_and_no_traceback(deblurkit, monkeypatch, how, code, text):
    monkeypatch.delenv("DEBLURKIT_DEBUG", raising=False)
    assert deblurkit("probe", "--fail", how) == (code, "", text)


@pytest.mark.usefixtures("fake")
def test_interruption(deblurkit):
    done = deblurkit("probe", "--fail", "interrupt")
    assert done.code == 130
    assert done.out == ""
    assert done.err.strip() == "Interrupted."


@pytest.mark.usefixtures("fake")
def test_the_traceback_is_there_on_demand(deblurkit, monkeypatch):
    monkeypatch.setenv("DEBLURKIT_DEBUG", "1")
    done = deblurkit("probe", "--fail", "run")
    assert "Traceback (most recent call last)" in done.err
    assert done.err.endswith("Error: probe: it failed on purpose\n")


def test_a_reader_who_leaves_causes_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "deblurkit", "list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.usefixtures("fake")
def test_completion_of_commands_and_options():
    assert completions(incomplete="p") == ["plugins", "probe"]
    assert completions("probe", incomplete="--image-prior") == ["--image-prior", "--image-prior.weight"]
    assert "--image-prior.depth" in completions("probe", "--image-prior", "net", incomplete="--image-prior.")
    assert completions("probe", "--image-prior", "nte", incomplete="--kernel-s") == ["--kernel-size"]


@pytest.mark.usefixtures("fake")
def test_completion_of_values():
    assert completions("probe", "--image-prior") == ["both", "gentle", "net", "sparse"]
    assert completions("probe", "--image-prior", incomplete="n") == ["net"]
    assert completions("probe", "--final") == ["both", "gentle", "sparse", "auto", "none"]
    assert completions("probe", "--optimizer", incomplete="a") == ["auto"]
    assert completions("probe", "--recipe") == ["deep", "deeper", "fast"]
    assert completions("probe", "--image-prior", "net", "--image-prior.start", incomplete="g") == ["grid"]
    assert completions("probe", "--kernel-size") == ["auto"]
    assert completions("probe", "--precision") == ["float32", "bfloat16"]
    assert completions("list", incomplete="s") == ["sparse", "simplex", "square", "spread"]


def test_main_returns_instead_of_exiting():
    assert main(["--version"]) == 0
