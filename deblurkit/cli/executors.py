"""Options that say where something is computed: ``--executor NAME``, ``--jobs N``, and the chosen executor's own.

`executor_options` gives them to any command, standing above ``@click.command``::

    @executor_options
    @click.command(cls=ComponentCommand)
    @click.pass_context
    def compare(ctx: click.Context) -> None:
        executor = executor_of(ctx)

Where something is computed does not change what is computed, so none of this is a part of the configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from deblurkit.cli.arguments import before_dashes, pairs, parameter_option
from deblurkit.errors import DeblurkitError
from deblurkit.params import Params, build, fields_of, parameter
from deblurkit.registry import registry

if TYPE_CHECKING:
    from deblurkit.core.executor import Executor

C = TypeVar("C", bound=click.Command)
_META = "deblurkit.executors"
_DOTTED = re.compile(r"--executor\.([\w-]+)(=.*)?", re.DOTALL)


def executor_options(command: C) -> C:
    """Give a command the options; they do not reach its function but `executor_of`.

    Raises:
        TypeError: If it is no command: the decorator belongs above ``@click.command``.
    """
    if not isinstance(command, click.Command):
        raise TypeError("@executor_options belongs above @click.command, not below it")
    kind = type(command)
    command.__class__ = type(kind.__name__, (ExecutorCommand, kind), {})
    return command


def executor_of(ctx: click.Context) -> Executor[Any]:
    """Import and build the executor that was chosen.

    Raises:
        ConfigError: If its parameters do not go together.
        PluginError: If it cannot be imported.
        UsageError: If it cannot have so many workers, or something that it needs is not installed.
    """
    asked = ctx.meta[_META]
    params = build(_params_of(asked.name), asked.values, subject="executor")
    executor: Executor[Any] = registry().load("executor", asked.name)(params, jobs=asked.jobs)
    return executor


@dataclass
class Asked:
    """What the arguments say about the executor.

    Attributes:
        name: Its name; empty where it cannot be known.
        jobs: Number of workers.
        options: The options of its parameters.
        note: Why they are missing, for the help; else empty.
        values: What was typed for its parameters; filled while Click parses.
        hidden: Whether the options are kept from whoever asks, for the help writes them elsewhere.
    """

    name: str = ""
    jobs: int = 1
    options: list[click.Option] = field(default_factory=list)
    note: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    hidden: bool = False


class ExecutorType(click.ParamType):
    """Reads the name of an executor; it is looked up before Click parses, so here it is only completed."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Complete names, with their summaries."""
        specs = [entry.spec for entry in registry().entries("executor")]
        return [CompletionItem(spec.name, help=spec.summary) for spec in specs if spec.name.startswith(incomplete)]


class ExecutorCommand(click.Command):
    """Puts the options before those that a command has already; stands before its class."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look at name and jobs before Click sees the options that depend on them.

        Raises:
            ConfigError: If there is no such executor, or it has no such parameter.
            PluginError: If a broken plugin may have provided it.
        """
        # help and completion must work whatever else is wrong
        lenient = ctx.resilient_parsing or bool(set(args) & set(ctx.help_option_names))
        ctx.meta[_META] = self.asked(ctx, args, lenient=lenient)
        return super().parse_args(ctx, args)

    def asked(self, ctx: click.Context, args: Sequence[str], *, lenient: bool) -> Asked:
        """Read from the arguments which executor is chosen, and build the options of its parameters.

        Args:
            ctx: The context.
            args: The arguments.
            lenient: Note what is wrong instead of raising it.
        """
        words = dict(pairs(args, {"--executor", "--jobs"}))
        asked = Asked(jobs=_jobs(words.get("--jobs", "")))
        try:
            asked.name = words.get("--executor") or registry().default_executor(asked.jobs)
            cls = _params_of(asked.name)
            for found in filter(None, map(_DOTTED.fullmatch, before_dashes(args))):
                key = found[1].replace("-", "_")
                switch = key.removeprefix("no_")
                if switch == key or switch not in {one.name for one in fields_of(cls) if one.annotation is bool}:
                    parameter(cls, key, subject="executor", owner=repr(asked.name), place=found[0].partition("=")[0])
        except DeblurkitError as error:
            if not lenient:
                raise
            asked.note = str(error)
        if not asked.note:
            # the command's own options come first; the dotted name is always there
            taken = {name for one in super().get_params(ctx) for name in (*one.opts, *one.secondary_opts)}
            asked.options = _options(cls, taken)
        return asked

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and those of the executor."""
        own = super().get_params(ctx)
        asked = ctx.meta.get(_META)
        if asked is None or asked.hidden:
            return own
        more = [*_CHOOSERS, *asked.options]
        # click puts --help last
        return [*own[:-1], *more, own[-1]] if self.get_help_option(ctx) in own[-1:] else [*own, *more]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then those of the executor in a section of their own."""
        if _META not in ctx.meta:
            ctx.meta[_META] = self.asked(ctx, [], lenient=True)
        asked: Asked = ctx.meta[_META]
        asked.hidden = True
        super().format_options(ctx, formatter)
        asked.hidden = False
        for title, options in {"Where it is computed": _CHOOSERS, f"executor {asked.name!r}": asked.options}.items():
            records = [record for option in options if (record := option.get_help_record(ctx)) is not None]
            if options is _CHOOSERS and asked.name:
                records[0] = (records[0][0], f"{records[0][1]}  [{asked.name}]")
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if asked.note:
            formatter.write_paragraph()
            formatter.write_text(f"Not everything can be shown: {asked.note}")


def _params_of(name: str) -> type[Params]:
    cls: type[Params] = registry().spec("executor", name, place="--executor").params
    return cls


def _jobs(text: str) -> int:
    """Return the number of workers that was typed, 1 for what Click will refuse."""
    number = int(text) if re.fullmatch(r"\d{1,6}", text) else 1
    return number or cores()


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _options(cls: type[Params], taken: set[str]) -> list[click.Option]:
    """Return the options of an executor's parameters, each under its plain name, unless taken, and its dotted one."""
    made = []
    for declared in fields_of(cls):

        def keep(ctx: click.Context, param: click.Parameter, value: Any, key: str = declared.name) -> Any:
            if ctx.get_parameter_source(param.name or "") is click.core.ParameterSource.COMMANDLINE:
                ctx.meta[_META].values[key] = value
            return value

        option = parameter_option(
            declared, f"executor__{declared.name}", keep, prefix="--executor.", value=declared.default
        )
        for names, prefix in ((option.opts, "--"), (option.secondary_opts, "--no-")):
            if names and (plain := f"{prefix}{declared.flag}") not in taken:
                names.append(plain)
        made.append(option)
    return made


_CHOOSERS: list[click.Option] = [
    click.Option(
        ["--executor"],
        type=ExecutorType(),
        expose_value=False,
        help="Part that distributes the work; see 'deblurkit list executors'.",
    ),
    click.Option(
        ["--jobs"],
        type=click.IntRange(min=0),
        metavar="INTEGER",
        default=1,
        show_default=True,
        expose_value=False,
        help="Workers at once; 0 takes one a core.",
    ),
]
