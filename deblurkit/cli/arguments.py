"""Options that depend on the components chosen: ``--image-prior.lr`` exists while that image prior has an ``lr``.

`ComponentCommand` peeks at the arguments for the recipe, the config and the names of components, and adds one option a
parameter, each component's in a section of its own in ``--help``. Click then does the rest: parsing, ranges, help,
completion. What was typed arrives in `flags_of`, by the dotted keys that `deblurkit.config.resolve` takes.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from deblurkit import config
from deblurkit.config import AUTO, COMPONENTS, DEFAULT_RECIPE, NONE, PLAIN, Config
from deblurkit.errors import ConfigError, DeblurkitError
from deblurkit.params import Parameter, Params, fields_of, parameter, text_of
from deblurkit.registry import registry

_META = "deblurkit.arguments"
_DOTTED = re.compile(r"--([a-z-]+)\.([\w-]+)(=.*)?", re.DOTALL)


@dataclass
class Peeked:
    """What the arguments, read textually, say about the components.

    Attributes:
        names: Chosen component by section; empty where it cannot be known.
        options: The options that follow from them, by title of their section in the help.
        origins: Source of every value by dotted key, where known.
        note: Why component options are missing, for the help; else empty.
        recipe: Recipe asked for.
        file: Config file asked for.
        flags: What was typed, by dotted key; filled while Click parses.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    options: dict[str, list[click.Option]] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    recipe: str = ""
    file: str = ""
    flags: dict[str, object] = field(default_factory=dict)

    def chosen_text(self, flag: str) -> str:
        """Return what is chosen by an option such as ``--image-prior NAME``, as it stands in the help."""
        section = flag.split()[0].removeprefix("--").replace("-", "_")
        if section not in self.names:
            return ""
        return f"  [{self.origins.get(f'{section}.name', config.DEFAULT)}: {self.names[section]}]"


class ParameterType(click.ParamType):
    """Reads one parameter of a component; the parameter itself checks type and bounds."""

    def __init__(self, declared: Parameter) -> None:
        self.declared = declared
        self.name = declared.type_text

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the typed value, or fail with the parameter's own words."""
        try:
            return self.declared.read(value) if isinstance(value, str) else self.declared.check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Complete the words that there are, or file names for a path."""
        if self.declared.annotation is Path:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(str(one)) for one in self.declared.choices if str(one).startswith(incomplete)]


class NameType(click.ParamType):
    """Reads the name of a component; it is looked up before Click parses, so here it is only completed."""

    name = "name"

    def __init__(self, section: str) -> None:
        self.section = section

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Complete component names, with their summaries."""
        entries = registry().entries(COMPONENTS[self.section])
        if self.section == "final":
            entries = [entry for entry in entries if "restore" in entry.spec.offers]
        items = [CompletionItem(entry.spec.name, help=entry.spec.summary) for entry in entries]
        items += [CompletionItem(word) for word in _OPEN_WORDS.get(self.section, ())]
        return [item for item in items if item.value.startswith(incomplete)]


class RecipeType(click.ParamType):
    """Reads the name of a recipe."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Complete recipe names, with their summaries."""
        known = config.recipes()
        return [CompletionItem(name, help=text) for name, text in known.items() if name.startswith(incomplete)]


class ComponentCommand(click.Command):
    """A command that takes a recipe, a config, names of components, their parameters, and those of plain sections.

    Args:
        sections: Sections whose component may be chosen on the command line.
        plain: Plain sections whose parameters become options, ``--seed`` for ``run.seed``.
        default_recipe: Recipe to stand on where the user names none.
    """

    def __init__(
        self,
        *args: Any,
        sections: Sequence[str] = tuple(COMPONENTS),
        plain: Sequence[str] = tuple(PLAIN),
        default_recipe: str = DEFAULT_RECIPE,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections
        self.plain = plain
        self.default_recipe = default_recipe
        self.choosers = [*_source_options(default_recipe), *(_name_option(section) for section in sections)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look at the names before Click sees the options that depend on them.

        Raises:
            ConfigError: If a recipe, config or component does not exist, or a component has no such parameter.
            PluginError: If a broken plugin may have provided it.
        """
        # help and completion must work whatever else is wrong
        lenient = ctx.resilient_parsing or bool(set(args) & set(ctx.help_option_names))
        ctx.meta[_META] = self.peek(args, lenient=lenient)
        return super().parse_args(ctx, args)

    def peek(self, args: Sequence[str], *, lenient: bool) -> Peeked:
        """Read from the arguments which components are chosen, and build the options of their parameters.

        Args:
            args: The arguments.
            lenient: Note what is wrong instead of raising it.
        """
        words = dict(pairs(args, {option.opts[0] for option in self.choosers}))
        if not lenient and "" in (words.get("--recipe"), words.get("--config")):
            raise ConfigError("--recipe and --config: an empty name says nothing; leave the flag out")
        peeked = Peeked(recipe=words.pop("--recipe", ""), file=words.pop("--config", ""))
        named = {f"{flag[2:].replace('-', '_')}.name": name for flag, name in words.items()}
        values: dict[str, Any] = {}
        try:
            layers = config.layers(peeked.recipe, peeked.file, self.default_recipe, named)
            stack = [*layers, config.flag_layer(named)]
            peeked.names = config.chosen(stack, registry())
            if not lenient:
                self._check_dotted(args, peeked.names)
            else:
                resolved = config.merge(stack, registry())
                values, peeked.origins = resolved.values(), resolved.origins
        except DeblurkitError as error:
            if not lenient:
                raise
            peeked.note = str(error)
        for section in self.sections:
            if section in peeked.names:
                title = f"{section.replace('_', ' ')} {peeked.names[section]!r}"
                peeked.options[title] = [
                    _option(section, one, f"--{_dashed(section)}.", values, peeked.origins)
                    for one in fields_of(params_of(section, peeked.names[section]))
                ]
        for section in self.plain:
            declared = fields_of(PLAIN[section])
            peeked.options[section] = [_option(section, one, "--", values, peeked.origins) for one in declared]
        return peeked

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and those that follow from the components."""
        own = super().get_params(ctx)
        more = [*self.choosers, *(option for options in self._peeked(ctx).options.values() for option in options)]
        # click puts --help last
        return [*own[: len(self.params)], *more, *own[len(self.params) :]]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then one section a component."""
        peeked = self._peeked(ctx)
        own = [param for param in super().get_params(ctx) if isinstance(param, click.Option)]
        for title, options in {"Options": own, "Components": self.choosers, **peeked.options}.items():
            records = [record for option in options if (record := option.get_help_record(ctx)) is not None]
            records = [(flag, text + peeked.chosen_text(flag)) for flag, text in records]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if peeked.note:
            formatter.write_paragraph()
            formatter.write_text(f"Not everything can be shown: {peeked.note}")

    def _peeked(self, ctx: click.Context) -> Peeked:
        return ctx.meta.setdefault(_META, self.peek([], lenient=True)) if _META not in ctx.meta else ctx.meta[_META]

    def _check_dotted(self, args: Sequence[str], names: Mapping[str, str]) -> None:
        """Answer ``--image-prior.depht`` with the name that was meant, before Click calls it no option."""
        for word in before_dashes(args):
            found = _DOTTED.fullmatch(word)
            section = found[1].replace("-", "_") if found else ""
            if found and section in self.sections:
                cls, key = params_of(section, names[section]), found[2].replace("-", "_")
                negated = key.removeprefix("no_")
                if negated != key and negated in {one.name for one in fields_of(cls) if one.annotation is bool}:
                    continue
                owner, place = repr(names[section]), word.partition("=")[0]
                parameter(cls, key, subject=section, owner=owner, place=place, beside={"name": f"--{found[1]}"})


def flags_of(ctx: click.Context) -> dict[str, object]:
    """Return what was typed, by dotted key: ``{"image_prior.name": "dip", "run.seed": 3}``."""
    return dict(ctx.meta[_META].flags)


def recipe_of(ctx: click.Context) -> str:
    """Return the recipe that was asked for, or an empty text."""
    recipe: str = ctx.meta[_META].recipe
    return recipe


def config_of(ctx: click.Context, extra: Mapping[str, object] = {}) -> Config:
    """Return the configuration that a `ComponentCommand` was called with.

    Args:
        ctx: Its context.
        extra: Further values by dotted key, as if they had been typed.

    Raises:
        ConfigError: At the first thing that is wrong.
        PluginError: If a broken plugin is needed.
    """
    peeked: Peeked = ctx.meta[_META]
    assert isinstance(ctx.command, ComponentCommand)
    return config.resolve(
        {**peeked.flags, **extra},
        registry=registry(),
        recipe=peeked.recipe,
        file=peeked.file,
        default_recipe=ctx.command.default_recipe,
    )


def params_of(section: str, name: str) -> type[Params]:
    """Return the parameter class of a section's component, an empty one for ``auto`` and ``none``."""
    if name in _OPEN_WORDS.get(section, ()):
        return Params
    return registry().spec(COMPONENTS[section], name).params


_OPEN_WORDS = {"optimizer": (AUTO,), "final": (AUTO, NONE)}


def _source_options(default_recipe: str) -> list[click.Option]:
    return [
        click.Option(
            ["--recipe"], type=RecipeType(), expose_value=False, help=f"Named pipeline.  [default: {default_recipe}]"
        ),
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            expose_value=False,
            help="TOML file, or config.json of an earlier run.",
        ),
    ]


def _name_option(section: str) -> click.Option:
    words = ", or ".join(_OPEN_WORDS.get(section, ()))
    text = "Image prior that restores at the end" if section == "final" else section.replace("_", " ").capitalize()
    return click.Option(
        [f"--{_dashed(section)}", f"{section}__name"],
        type=NameType(section),
        expose_value=False,
        callback=_keeper(f"{section}.name"),
        help=f"{text}{', or ' + words if words else ''}.",
    )


def _option(
    section: str, declared: Parameter, prefix: str, values: Mapping[str, Any], origins: Mapping[str, str]
) -> click.Option:
    """Return the option of one parameter; its help shows the value that holds where nothing is typed."""
    dotted = f"{section}.{declared.name}"
    return parameter_option(
        declared,
        f"{section}__{declared.name}",
        _keeper(dotted),
        prefix=prefix,
        value=values.get(dotted, declared.default),
        origin=origins.get(dotted, config.DEFAULT),
    )


def parameter_option(
    declared: Parameter,
    name: str,
    callback: Callable[[click.Context, click.Parameter, Any], Any],
    *,
    prefix: str = "--",
    value: Any,
    origin: str = config.DEFAULT,
) -> click.Option:
    """Return the option of one declared parameter, which does not reach the command's function but the callback.

    Args:
        declared: The parameter.
        name: What Click calls it.
        callback: Given context, option and value, also where nothing was typed.
        prefix: What stands before its name: ``--`` or ``--image-prior.``.
        value: What holds where nothing is typed, for the help.
        origin: Where that value comes from, for the help.
    """
    shown = text_of(tuple(value) if isinstance(value, list) else value)
    facts = [f"{origin}: {shown}"] if shown else []
    if declared.bounds_text:
        facts.append(declared.bounds_text)
    text = declared.help + (f"  [{'; '.join(facts)}]" if facts else "")
    flag = f"{prefix}{declared.flag}"
    names = f"{flag}/{prefix}no-{declared.flag}" if declared.annotation is bool else flag
    return click.Option(
        [names, name],
        type=bool if declared.annotation is bool else ParameterType(declared),
        metavar=_metavar(declared),
        default=None,
        expose_value=False,
        callback=callback,
        help=text,
    )


def _metavar(declared: Parameter) -> str | None:
    """Return what stands after the flag in the help: words as they are, types in capitals."""
    if declared.annotation is bool:
        return None
    if declared.auto:
        return f"[{declared.type_text}]"
    return f"[{declared.type_text}]" if declared.choices else declared.type_text.upper()


def _keeper(dotted: str) -> Any:
    """Return a callback that keeps what was typed under a dotted key."""

    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if ctx.get_parameter_source(param.name or "") is click.core.ParameterSource.COMMANDLINE:
            ctx.meta[_META].flags[dotted] = value
        return value

    return keep


def pairs(args: Sequence[str], flags: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the flags among `flags` with their values, in ``--flag value`` and ``--flag=value`` form."""
    words = before_dashes(args)
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in flags:
            if equals:
                yield flag, value
            elif index + 1 < len(words):
                yield flag, words[index + 1]


def before_dashes(args: Sequence[str]) -> list[str]:
    """Return the arguments before ``--``, after which nothing is an option."""
    return list(args[: args.index("--")] if "--" in args else args)


def _dashed(section: str) -> str:
    return section.replace("_", "-")
