"""``deblurkit plugins``: who provides what, and what is broken."""

import os
from typing import Any

import click

from deblurkit.cli import DEBUG, console, plugin_commands, shadowing
from deblurkit.cli.list import columns
from deblurkit.errors import ExitCode
from deblurkit.registry import COMMAND, Breakage, Provider, registry


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--check", is_flag=True, help="Return exit code 3 if anything is broken.")
def plugins(as_json: bool, check: bool) -> int:
    """List plugins with what they provide, and what is wrong with them.

    The environment variable DEBLURKIT_PLUGINS chooses among them: "" switches all but the built-in ones off, "a,b"
    allows only those of the distributions a and b.
    """
    everything = registry()
    broken = [*everything.broken, *shadowing()]
    if as_json:
        console.document(
            {
                "plugins": [_facts(provider) for provider in everything.providers],
                "broken": [_breakage_facts(breakage) for breakage in broken],
                "switched_off": [_identity(provider) for provider in everything.switched_off],
            }
        )
    else:
        console.result(_text(broken))
    if os.environ.get(DEBUG):
        for breakage in broken:
            click.echo(breakage.traceback, err=True, nl=False)
    return ExitCode.PLUGIN if check and broken else ExitCode.DONE


def _text(broken: list[Breakage]) -> str:
    everything = registry()
    rows = [
        (provider.label, provider.plugin, ", ".join(f"{kind.replace('_', ' ')} {name}" for kind, name in provided))
        for provider in everything.providers
        if (provided := _provided(provider))
    ]
    parts = ["\n".join(["plugins", *columns(rows)])] if rows else ["no plugin is installed"]
    if broken:
        parts.append("\n".join(["broken", *columns([(one.provider.label, one.cause, one.cure) for one in broken])]))
    if everything.switched_off:
        off = [(provider.label, provider.plugin) for provider in everything.switched_off]
        parts.append("\n".join(["switched off by DEBLURKIT_PLUGINS", *columns(off)]))
    return "\n\n".join(parts)


def _provided(provider: Provider) -> list[tuple[str, str]]:
    """Return kind and name of what a provider brings, without commands that were refused."""
    usable = plugin_commands()
    return [(kind, name) for kind, name in registry().provided_by(provider) if kind != COMMAND or name in usable]


def _identity(provider: Provider) -> dict[str, str]:
    return {
        "distribution": provider.distribution,
        "version": provider.version,
        "plugin": provider.plugin,
        "module": provider.module,
    }


def _facts(provider: Provider) -> dict[str, Any]:
    return {**_identity(provider), "provides": [{"kind": kind, "name": name} for kind, name in _provided(provider)]}


def _breakage_facts(breakage: Breakage) -> dict[str, str]:
    return {**_identity(breakage.provider), "cause": breakage.cause, "cure": breakage.cure}
