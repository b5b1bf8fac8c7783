"""The command ``deblurkit``: a group whose subcommands are imported when they are asked for.

Nothing here or in the modules of `list` and `plugins` imports torch, scipy, PIL or rich, so that help is instant.
"""

import os
import sys
import traceback
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from deblurkit import __version__
from deblurkit.errors import DeblurkitError, ExitCode
from deblurkit.registry import COMMAND, Breakage, Entry, load, registry
from deblurkit.specs import CommandSpec

DEBUG = "DEBLURKIT_DEBUG"

COMMANDS = {
    spec.name: spec
    for spec in (
        CommandSpec(name="run", summary="Deblur pictures.", target="deblurkit.cli.run:run"),
        CommandSpec(
            name="deconvolve",
            summary="Deblur pictures whose blur kernel is known.",
            target="deblurkit.cli.deconvolve:deconvolve",
        ),
        CommandSpec(
            name="transfer-blur",
            summary="Give the blur of one pair of pictures to others.",
            target="deblurkit.cli.transfer_blur:transfer_blur",
        ),
        CommandSpec(
            name="synthesize",
            summary="Make training pairs of sharp pictures.",
            target="deblurkit.cli.synthesize:synthesize",
        ),
        CommandSpec(
            name="train-kernel-space",
            summary="Learn a kernel space from sharp and blurry pictures.",
            target="deblurkit.cli.train_kernel_space:train_kernel_space",
        ),
        CommandSpec(
            name="import-weights",
            summary="Convert weights of a kernel space or a generator.",
            target="deblurkit.cli.import_weights:import_weights",
        ),
        CommandSpec(
            name="benchmark",
            summary="Score a configuration on a data set.",
            target="deblurkit.cli.benchmark:benchmark",
        ),
        CommandSpec(name="ablate", summary="Compare variants in one table.", target="deblurkit.cli.ablate:ablate"),
        CommandSpec(name="metrics", summary="Compare two pictures.", target="deblurkit.cli.metrics:metrics"),
        CommandSpec(
            name="list",
            summary="List components and recipes, or the parameters of one.",
            target="deblurkit.cli.list:list_",
        ),
        CommandSpec(
            name="new-plugin",
            summary="Write the skeleton of a plugin.",
            target="deblurkit.cli.new_plugin:new_plugin",
        ),
        CommandSpec(
            name="plugins", summary="List plugins, and what is wrong with them.", target="deblurkit.cli.plugins:plugins"
        ),
    )
}


def plugin_commands() -> dict[str, Entry]:
    """Return the subcommands that plugins add, by name; one that has a built-in name is left out."""
    return {entry.spec.name: entry for entry in registry().commands() if entry.spec.name not in COMMANDS}


def shadowing() -> list[Breakage]:
    """Return the plugin commands that were refused because they have a built-in name."""
    return [
        Breakage(
            entry.provider, f"command {entry.spec.name!r} is already provided by deblurkit itself", entry.provider.cure
        )
        for entry in registry().commands()
        if entry.spec.name in COMMANDS
    ]


class LazyGroup(click.Group):
    """A group that knows its subcommands' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the built-in commands, then those of plugins."""
        return [*COMMANDS, *plugin_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a subcommand.

        Raises:
            PluginError: If it cannot be imported.
        """
        if cmd_name in COMMANDS:
            command = COMMANDS[cmd_name].load()
        elif cmd_name in plugin_commands():
            command = load(plugin_commands()[cmd_name])
        else:
            return None
        assert isinstance(command, click.Command), f"{cmd_name} is no click command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; an unknown one is answered with the nearest, or the plugin that may have had it."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and name not in self.list_commands(ctx):
            raise registry().missing("command", name, self.list_commands(ctx), [COMMAND])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write names and summaries, those of plugins in a section of their own."""
        added = {name: entry.spec for name, entry in plugin_commands().items()}
        for title, specs in (("Commands", COMMANDS), ("Commands of plugins", added)):
            if specs:
                with formatter.section(title):
                    formatter.write_dl([(name, spec.summary) for name, spec in specs.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names of subcommands without importing them."""
        specs = {**COMMANDS, **{name: entry.spec for name, entry in plugin_commands().items()}}
        items = [CompletionItem(name, help=spec.summary) for name, spec in specs.items() if name.startswith(incomplete)]
        return items + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="deblurkit %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Blind deblurring from interchangeable parts.

    A blurry picture is explained as a sharp one, blurred, plus noise; image prior, kernel prior, data term and
    optimizer can each be swapped.

    Exit codes: 0 done, 1 a run failed, 2 usage or configuration, 3 plugin, 130 interrupted. Set DEBLURKIT_DEBUG=1 for
    tracebacks, DEBLURKIT_PLUGINS="" to switch plugins off.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(ExitCode.USAGE)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; errors are one line on stderr.

    Args:
        args: Arguments without the program's name; those of the process by default.
    """
    try:
        returned = cli.main(args=args, prog_name="deblurkit", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read our output has gone; python would complain once more when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.RUN_FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        return _fail(_sentence(error), ExitCode.USAGE)
    except DeblurkitError as error:
        return _fail(str(error), error.exit_code)
    except MemoryError:
        return _fail("out of memory; take smaller pictures, or fewer at once", ExitCode.RUN_FAILED)
    except OSError as error:
        return _fail(f"{error.filename or 'system'}: {error.strerror or error}", ExitCode.RUN_FAILED)
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
        return _fail(f"{text} (set {DEBUG}=1 for the traceback)", ExitCode.RUN_FAILED)
    return int(returned) if isinstance(returned, int) else ExitCode.DONE


def _fail(text: str, code: ExitCode) -> int:
    if os.environ.get(DEBUG):
        traceback.print_exc()
    click.echo(f"Error: {text}", err=True)
    return code


def _sentence(error: click.ClickException) -> str:
    """Return click's message as one line that says where help is."""
    text = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{text} (see {error.ctx.command_path} --help)"
    return text
