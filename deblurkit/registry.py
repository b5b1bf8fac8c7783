"""Which components there are: find plugins, isolate broken ones, refuse collisions, look names up.

Discovery is our own loop over the entry points of the group ``deblurkit.plugins``: a plugin that cannot be used costs
only itself and becomes a `Breakage`, which names its distribution, its version and the cure. Built-ins come through
the same entry points and are read first, so that nobody can take their names.
"""

import os
import re
import sys
import traceback
from collections.abc import Collection, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from deblurkit.errors import ConfigError, DeblurkitError, PluginError
from deblurkit.hookspecs import HOOKS, new_manager
from deblurkit.params import Params, at, suggest
from deblurkit.specs import (
    SPECS,
    CommandSpec,
    ComponentSpec,
    Fit,
    ImagePriorSpec,
    KernelPriorSpec,
    Kind,
    Offer,
    OptimizerSpec,
    Spec,
    check_fit,
    find_fit,
)

GROUP = "deblurkit.plugins"
VARIABLE = "DEBLURKIT_PLUGINS"
BUILT_IN = "deblurkit"
COMMAND = "command"
KINDS: tuple[Kind, ...] = tuple(SPECS)


@dataclass(frozen=True)
class Provider:
    """An entry point of an installed distribution.

    Attributes:
        distribution: Its name as pip knows it, empty if unknown.
        version: Its version.
        plugin: Name of the entry point.
        module: What the entry point names.
    """

    distribution: str
    version: str
    plugin: str
    module: str

    @property
    def label(self) -> str:
        """Distribution and version, as ``deblurkit-tv 1.0``."""
        return f"{self.distribution or self.module} {self.version}".strip()

    @property
    def built_in(self) -> bool:
        """Whether it is a part of deblurkit itself."""
        return _normal(self.distribution) == BUILT_IN

    @property
    def cure(self) -> str:
        """The command that gets rid of it."""
        return "reinstall deblurkit" if self.built_in else f"pip uninstall {self.distribution or self.module}"


@dataclass(frozen=True)
class Breakage:
    """Why a plugin, or one thing of it, is not available.

    Attributes:
        provider: Where it came from.
        cause: What went wrong, in one line.
        cure: What to do about it.
        lost: Kinds of which a component may be missing because of it; empty where a name was refused that exists.
        traceback: The full traceback where an exception was caught, else empty.
    """

    provider: Provider
    cause: str
    cure: str
    lost: frozenset[str] = frozenset()
    traceback: str = ""

    def __str__(self) -> str:
        return f"plugin {self.provider.label}: {self.cause} ({self.cure})"


@dataclass(frozen=True)
class Entry:
    """A component or command, and who provides it."""

    spec: Any
    provider: Provider


class Registry:
    """The components of a set of entry points.

    Args:
        found: Entry points of the group; those of deblurkit itself are read first, the others in alphabetical order.
        allow: Names of distributions that may take part besides deblurkit; ``"*"`` allows all of them.

    Attributes:
        providers: The plugins that were read.
        broken: What is wrong with them.
        switched_off: The plugins that `allow` left out.
    """

    def __init__(self, found: Iterable[EntryPoint], allow: Iterable[str] = ("*",)) -> None:
        self.providers: list[Provider] = []
        self.broken: list[Breakage] = []
        self.switched_off: list[Provider] = []
        self._entries: dict[tuple[str, str], Entry] = {}
        allowed = {name if name == "*" else _normal(name) for name in allow}
        pairs = sorted(((_provider(point), point) for point in found), key=lambda pair: _order(pair[0]))
        for provider, point in pairs:
            if provider.built_in or "*" in allowed or _normal(provider.distribution) in allowed:
                self.providers.append(provider)
                self._read(provider, point)
            else:
                self.switched_off.append(provider)
        for name in sorted(allowed - {"*", BUILT_IN} - {_normal(provider.distribution) for provider, _ in pairs}):
            missing = Provider(name, "", "", "")
            cause, cure = f"named by {VARIABLE}, but not installed or without plugins", f"correct {VARIABLE}"
            self.broken.append(Breakage(missing, cause, cure, frozenset({*KINDS, COMMAND})))

    @classmethod
    def discover(cls) -> "Registry":
        """Read the installed plugins that the environment variable ``DEBLURKIT_PLUGINS`` allows.

        Unset allows all, the empty string only the built-ins, ``a,b`` those of the distributions a and b.
        """
        value = os.environ.get(VARIABLE, "*")
        return cls(entry_points(group=GROUP), [name.strip() for name in value.split(",") if name.strip()])

    def entries(self, kind: Kind) -> list[Entry]:
        """Return all components of a kind, in alphabetical order."""
        return [entry for (of, _), entry in sorted(self._entries.items()) if of == kind]

    def names(self, kind: Kind) -> list[str]:
        """Return the names of all components of a kind, in alphabetical order."""
        return [entry.spec.name for entry in self.entries(kind)]

    def commands(self) -> list[Entry]:
        """Return the subcommands that plugins add, in alphabetical order."""
        return [entry for (of, _), entry in sorted(self._entries.items()) if of == COMMAND]

    def provided_by(self, provider: Provider) -> list[tuple[str, str]]:
        """Return kind and name of everything that a provider brings."""
        return [key for key, entry in sorted(self._entries.items()) if entry.provider == provider]

    def find(self, kind: Kind, name: str, *, place: str = "") -> Entry:
        """Look a component up.

        Args:
            kind: ``"image_prior"``, ``"kernel_prior"``, ``"data_term"``, ``"optimizer"`` or ``"executor"``.
            name: Its name.
            place: Where it was asked for, for the message.

        Raises:
            ConfigError: If there is none of that name.
            PluginError: If there is none, and a broken plugin may have provided it.
        """
        if (kind, name) in self._entries:
            return self._entries[kind, name]
        raise self.missing(kind.replace("_", " "), name, self.names(kind), [kind], place=place)

    def missing(
        self, words: str, name: str, known: Sequence[str], kinds: Collection[str], *, place: str = ""
    ) -> DeblurkitError:
        """Return the error for a name that is not there.

        Args:
            words: What was looked for, e.g. ``image prior``.
            name: The name.
            known: The names that there are.
            kinds: The kinds among which it was looked for; plugins that may have lost one are named.
            place: Where it was asked for.
        """
        cause = f"no {words} {name!r}{suggest(name, known)}"
        culprits = [breakage for breakage in self.broken if breakage.lost.intersection(kinds)]
        if culprits:
            return PluginError("; ".join([cause + at(place), *map(str, culprits)]))
        if not self._entries:
            return PluginError(f"{cause}; not even the built-in ones are installed: pip install deblurkit{at(place)}")
        if not suggest(name, known):
            cause += f"; there are {', '.join(known)}" if known else "; there is none"
        return ConfigError(cause + at(place))

    def spec(self, kind: Kind, name: str, *, place: str = "") -> Any:
        """Return the descriptor of a component; raises as `find` does."""
        return self.find(kind, name, place=place).spec

    def load(self, kind: Kind, name: str) -> Any:
        """Import and return the class of a component.

        Raises:
            ConfigError: If there is none of that name.
            PluginError: If it cannot be imported, naming its distribution and the cure.
        """
        return load(self.find(kind, name))

    def check_fit(
        self, optimizer: str, image: str, kernel: str, *, kernel_params: Params | None = None, place: str = ""
    ) -> Fit:
        """Check by name that an optimizer can move an image prior and a kernel prior; see `specs.check_fit`.

        The parameters of the kernel prior say which of its offers hold; without them all do.
        """
        declared: KernelPriorSpec = self.spec("kernel_prior", kernel, place=place)
        prior = declared if kernel_params is None else declared.narrowed(kernel_params)
        everything = [entry.spec for kind in KINDS for entry in self.entries(kind)]
        return check_fit(
            self.spec("optimizer", optimizer, place=place),
            self.spec("image_prior", image, place=place),
            prior,
            others=[prior if spec is declared else spec for spec in everything],
            place=place,
        )

    def default_optimizer(
        self, image: str, kernel: str, *, kernel_params: Params | None = None, place: str = ""
    ) -> str:
        """Return the optimizer to use where the user names none.

        It is the one that moves most of the two parts in the way it prefers; among equals the one that uses more closed
        forms, then the first by name. Other people's optimizers are asked only if no built-in one fits, so that
        installing a plugin changes no result.

        Raises:
            ConfigError: If no optimizer fits.
        """
        image_prior: ImagePriorSpec = self.spec("image_prior", image, place=place)
        kernel_prior: KernelPriorSpec = self.spec("kernel_prior", kernel, place=place)
        if kernel_params is not None:
            kernel_prior = kernel_prior.narrowed(kernel_params)
        ranked: list[tuple[bool, int, int, str]] = []
        for entry in self.entries("optimizer"):
            optimizer: OptimizerSpec = entry.spec
            fit = find_fit(optimizer, image_prior, kernel_prior)
            if fit is not None:
                ranked.append((not entry.provider.built_in, -fit.preferred, -fit.closed_forms, optimizer.name))
        if ranked:
            return min(ranked)[-1]
        for name in self.names("optimizer"):
            self.check_fit(name, image, kernel, kernel_params=kernel_params, place=place)
        raise self.missing("optimizer", "auto", [], ["optimizer"], place=place)

    def default_restorer(self) -> str:
        """Return the image prior to restore with where the user names none and the chosen one cannot.

        Other people's are asked only if no built-in one restores, so that installing a plugin changes no result.

        Raises:
            ConfigError: If none restores.
        """
        able = [entry for entry in self.entries("image_prior") if Offer.RESTORE in entry.spec.offers]
        if not able:
            raise ConfigError("no image prior restores; name one that does, or final.name = 'none'")
        return min(able, key=lambda entry: (not entry.provider.built_in, -entry.spec.last, entry.spec.name)).spec.name

    def default_executor(self, jobs: int) -> str:
        """Return the executor to use where the user names none.

        One worker needs none that could have more. Other people's are asked only if no built-in one suits.

        Args:
            jobs: Number of workers, at least 1.

        Raises:
            ConfigError: If none can have so many workers.
        """
        able = [entry for entry in self.entries("executor") if jobs == 1 or entry.spec.parallel]
        if not able:
            raise self.missing("executor", "auto", [], ["executor"])

        def order(entry: Entry) -> tuple[bool, bool, int, str]:
            spec = entry.spec
            return not entry.provider.built_in, spec.parallel == (jobs == 1), -spec.preference, spec.name

        return min(able, key=order).spec.name

    def _read(self, provider: Provider, point: EntryPoint) -> None:
        """Import one plugin and ask it for its descriptors; whatever goes wrong stays here."""
        try:
            # stdout belongs to results; a plugin that prints at its import would spoil them
            with redirect_stdout(sys.stderr):
                module = point.load()
        except (Exception, SystemExit) as error:
            return self._break(provider, f"could not be loaded: {_one_line(error)}", error=error)
        # a manager of its own: what one plugin breaks cannot touch another
        manager = new_manager()
        try:
            manager.register(module, name=provider.plugin)
        except (pluggy.PluginValidationError, ValueError, TypeError) as error:
            return self._break(provider, _validation(error), error=error)
        callers = manager.get_hookcallers(module) or []
        if not callers:
            self._break(provider, f"{provider.module} has no function marked with @hookimpl")
        for caller in callers:
            if not caller.has_spec():
                self._break(provider, f"there is no hook {caller.name!r}{suggest(caller.name, HOOKS)}")
                continue
            for implementation in caller.get_hookimpls():
                self._ask(provider, caller.name, implementation.function)

    def _ask(self, provider: Provider, hook: str, function: Any) -> None:
        """Take the descriptors that one hook implementation yields."""
        wanted = HOOKS[hook]
        lost = frozenset({_kind(wanted)})
        try:
            with redirect_stdout(sys.stderr):
                yielded = function()
                if isinstance(yielded, Spec) or not isinstance(yielded, Iterable):
                    raise TypeError(f"it must yield descriptors, not return {type(yielded).__name__}")
                for spec in yielded:
                    if not isinstance(spec, wanted):
                        raise TypeError(f"it must yield {wanted.__name__}, not {type(spec).__name__}")
                    self._add(spec, provider)
        except (Exception, SystemExit) as error:
            self._break(provider, f"{hook} failed: {_one_line(error)}", lost=lost, error=error)

    def _add(self, spec: Spec, provider: Provider) -> None:
        key = (_kind(type(spec)), spec.name)
        if key in self._entries:
            owner = self._entries[key].provider.label
            cause = f"{key[0].replace('_', ' ')} {spec.name!r} is already provided by {owner}"
            self._break(provider, cause, lost=frozenset())
        else:
            self._entries[key] = Entry(spec, provider)

    def _break(
        self,
        provider: Provider,
        cause: str,
        *,
        lost: frozenset[str] = frozenset({*KINDS, COMMAND}),
        error: BaseException | None = None,
    ) -> None:
        trace = "".join(traceback.format_exception(error)) if error else ""
        self.broken.append(Breakage(provider, cause, provider.cure, lost, trace))


@cache
def registry() -> Registry:
    """Return the registry of this process; plugins are read at the first call."""
    return Registry.discover()


def load(entry: Entry) -> Any:
    """Import and return what an entry's target names.

    Raises:
        PluginError: If it cannot be imported, naming its distribution and the cure.
    """
    try:
        return entry.spec.load()
    except PluginError as error:
        raise PluginError(f"{error} (plugin {entry.provider.label}; {entry.provider.cure})") from error


def _provider(point: EntryPoint) -> Provider:
    distribution = point.dist
    name, version = (distribution.name, distribution.version) if distribution is not None else ("", "")
    return Provider(name, version, point.name, point.value)


def _order(provider: Provider) -> tuple[bool, str, str, str]:
    return not provider.built_in, _normal(provider.distribution), provider.plugin, provider.module


def _normal(distribution: str) -> str:
    """Spell a distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _kind(spec: type[Spec]) -> str:
    if issubclass(spec, ComponentSpec):
        return spec.kind
    assert issubclass(spec, CommandSpec)
    return COMMAND


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _validation(error: Exception) -> str:
    """Shorten pluggy's report of hook arguments that do not exist, which runs over several lines."""
    text = " ".join(str(error).split())
    found = re.search(r"for hook '(\w+)'.*\{(.*)\} are declared in the hookimpl", text)
    return f"{found[1]} takes no argument {found[2]}" if found else _one_line(error)
