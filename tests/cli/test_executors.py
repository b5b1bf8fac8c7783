import subprocess
import sys

import click
import pytest

from deblurkit.cli.arguments import ComponentCommand, flags_of
from deblurkit.cli.executors import cores, executor_of, executor_options
from deblurkit.errors import ConfigError, PluginError, UsageError
from deblurkit.registry import registry

HELP = {"help_option_names": ["-h", "--help"]}


@executor_options
@click.command(context_settings=HELP)
@click.argument("what", default="")
@click.option("--quick", is_flag=True, help="Hurry.")
@click.pass_context
def plain(ctx, what, quick):
    """Do it somewhere."""
    executor = executor_of(ctx)
    return name_of(executor), executor, what, quick


@executor_options
@click.command(cls=ComponentCommand, context_settings=HELP)
@click.pass_context
def parts(ctx):
    """Do it with parts."""
    executor = executor_of(ctx)
    return name_of(executor), executor, flags_of(ctx)


def name_of(executor):
    """The name under which the registry has its class."""
    (name,) = (
        entry.spec.name
        for entry in registry().entries("executor")
        if entry.spec.target.endswith(f":{type(executor).__name__}")
    )
    return name


def call(command, *args):
    return command.main(list(args), prog_name="it", standalone_mode=False)


def shown(command, *args, capsys):
    capsys.readouterr()
    assert call(command, *args, "--help") == 0
    return capsys.readouterr().out


@pytest.mark.usefixtures("fake")
class TestStandIns:
    """With executors made for the tests: ``here`` has one worker, ``spread`` many, a stranger's ``elsewhere`` too."""

    @pytest.mark.parametrize(
        ("args", "name", "jobs"),
        [
            ([], "here", 1),
            (["--jobs", "1"], "here", 1),
            (["--jobs", "3"], "spread", 3),
            (["--jobs=2"], "spread", 2),
            (["--jobs", "0"], "spread" if cores() > 1 else "here", cores()),
            (["--executor", "elsewhere"], "elsewhere", 1),
            (["--executor=here", "--jobs=2"], "here", 2),
        ],
    )
    @pytest.mark.parametrize("command", [plain, parts])
    def test_which_is_taken(self, command, args, name, jobs):
        found, executor, *_ = call(command, *args)
        assert (found, executor.jobs) == (name, jobs)

    @pytest.mark.parametrize("flag", ["--address", "--executor.address"])
    @pytest.mark.parametrize("command", [plain, parts])
    def test_its_parameters_are_options_by_both_names(self, command, flag):
        executor = call(command, "--jobs", "2", flag, "there", "--executor.retries=7")[1]
        assert (executor.params.address, executor.params.retries, executor.params.quick) == ("there", 7, False)
        assert call(command, "--jobs", "2", f"{flag}=there")[1].params.address == "there"

    def test_an_option_that_the_command_has_already_stays_its_own(self):
        _, executor, what, quick = call(plain, "--jobs", "2", "--quick", "it")
        assert (executor.params.quick, what, quick) == (False, "it", True)
        _, executor, what, quick = call(plain, "--jobs", "2", "--executor.quick", "--", "--jobs")
        assert (executor.params.quick, what, quick) == (True, "--jobs", False)
        assert call(parts, "--jobs", "2", "--quick")[1].params.quick
        assert not call(parts, "--jobs", "2", "--executor.no-quick")[1].params.quick

    def test_the_configuration_knows_nothing_of_it(self):
        *_, flags = call(parts, "--jobs", "2", "--retries", "1", "--image-prior", "both", "--seed", "4")
        assert flags == {"image_prior.name": "both", "run.seed": 4}

    @pytest.mark.parametrize("command", [plain, parts])
    def test_the_help_shows_the_parameters_of_the_chosen_one_alone(self, command, capsys):
        text = shown(command, capsys=capsys)
        assert "Where it is computed:" in text
        assert "[here]" in text
        assert "--address" not in text
        assert text.count("--jobs") == 1
        text = shown(command, "--jobs", "2", capsys=capsys)
        assert "executor 'spread':" in text
        assert "--executor.address, --address TEXT" in text
        assert "--help" in text

    @pytest.mark.parametrize("command", [plain, parts])
    def test_the_help_works_whatever_is_wrong(self, command, capsys):
        text = shown(command, "--executor", "spraed", capsys=capsys)
        assert "no executor 'spraed'; did you mean 'spread'?" in " ".join(text.split())

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--executor", "spraed"], "no executor 'spraed'; did you mean 'spread'? (--executor)"),
            (["--executor", "cloud"], "no executor 'cloud'; there are elsewhere, here, spread (--executor)"),
            (["--jobs=2", "--executor.adress=a"], r"executor.adress: no such parameter; did you mean 'address'?"),
            (["--executor.address=a"], "executor.address: no such parameter; 'here' has none (--executor.address)"),
        ],
    )
    @pytest.mark.parametrize("command", [plain, parts])
    def test_wrong_names(self, command, args, message):
        with pytest.raises(ConfigError) as error:
            call(command, *args)
        assert str(error.value).startswith(message)

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--jobs", "-1"], "-1 is not in the range x>=0"),
            (["--jobs", "many"], "'many' is not a valid integer"),
            (["--jobs=2", "--retries=-1"], "must be an integer with x>=0"),
            (["--jobs=2", "--executor.retries=half"], "must be an integer with x>=0"),
            (["--address=a"], "No such option '--address'"),
        ],
    )
    @pytest.mark.parametrize("command", [plain, parts])
    def test_wrong_values(self, command, args, message):
        with pytest.raises(click.UsageError) as error:
            call(command, *args)
        assert message in error.value.format_message()

    def test_completion(self):
        from click.shell_completion import ShellComplete

        for command in (plain, parts):
            machinery = ShellComplete(command, {}, "it", "_IT_COMPLETE")
            assert {one.value for one in machinery.get_completions(["--executor"], "")} == {
                *("elsewhere", "here", "spread")
            }
            assert "--jobs" in {one.value for one in machinery.get_completions([], "--")}
            assert "--executor.retries" in {one.value for one in machinery.get_completions(["--jobs", "2"], "--exec")}


@pytest.mark.usefixtures("use_plugins")
def test_a_broken_plugin_is_named(use_plugins):
    use_plugins("builtin", "broken")
    with pytest.raises(PluginError, match=r"no executor 'moon'.*deblurkit-broken"):
        call(plain, "--executor", "moon")


class TestBuiltIn:
    def test_one_worker_needs_no_process_and_more_are_local(self):
        assert call(plain)[0] == "in-process"
        assert call(plain, "--jobs", "2")[0] == "local"
        assert call(plain, "--jobs", "2", "--retries", "5")[1].params.retries == 5

    def test_a_process_cannot_be_two(self):
        with pytest.raises(UsageError, match=r"one worker, not 2; take --executor local"):
            call(plain, "--executor", "in-process", "--jobs", "2")

    def test_the_address_must_be_one(self):
        pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
        with pytest.raises(UsageError, match=r"executor.address: must be auto, .* not 'the moon'"):
            call(plain, "--executor", "ray", "--address", "the moon")


def test_the_decorator_stands_above_the_command():
    with pytest.raises(TypeError, match=r"above @click.command"):
        executor_options(lambda: None)


def test_help_is_light():
    program = (
        "import sys, click\n"
        "from deblurkit.cli.executors import executor_options, executor_of\n"
        "command = executor_options(click.Command('it'))\n"
        "command.main(['--jobs', '2', '--help'], standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'numpy', 'rich', 'ray', 'multiprocessing'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--retries" in done.stdout
