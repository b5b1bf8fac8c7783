"""A cell: what is to be done to one picture of a data set, and the key under which its outcome is kept."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import deblurkit
from deblurkit.config import AUTO, COMPONENTS, NONE, Config, Layer, Part, merge, resolve
from deblurkit.datasets.case import Case
from deblurkit.errors import DeblurkitError
from deblurkit.files import version_of
from deblurkit.params import fields_of
from deblurkit.registry import Registry
from deblurkit.specs import ImagePriorSpec, Offer

Role = Literal["run", "oracle", "blurry", "transfer"]
FORMAT = 1
"""Version of what is kept of a cell; another one makes all keys new."""
GIVEN_KERNEL = "deconvolve"
"""Recipe whose kernel prior takes a kernel that is given."""


@dataclass(frozen=True)
class Cell:
    """One entry of a table.

    Attributes:
        case: The blurry picture and what is known about it.
        role: ``run``: carry the configuration out; ``oracle``: do so with the case's true kernel; ``blurry``: take the
            picture as it is, for comparison; ``transfer``: give the blur of one pair to another, see `transfer`.
        config: Resolved configuration as `Config.to_json` gives it, or the part of it that counts; empty for
            ``blurry``.
        identity: What else the outcome hangs on: versions of plugins, contents of files that the configuration names.
        extras: Names of further scores that were asked for.
        problem: Why it cannot even be described, or nothing.
    """

    case: Case
    role: Role
    config: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    problem: str = ""

    @cached_property
    def key(self) -> str:
        """Twenty hexadecimal digits: equal for two cells whose outcomes are equal, wherever their files lie."""
        document = {
            "format": FORMAT,
            "case": [self.case.layout, self.case.name, self.case.fingerprint()],
            "role": self.role,
            "config": {section: _without(keys, self.identity, section) for section, keys in self.config.items()},
            "identity": dict(self.identity),
            "extras": sorted(self.extras),
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def seed(self) -> int:
        """Seed of its random numbers; 0 where nothing is drawn."""
        return int(self.config["run"]["seed"]) if self.config else 0


def run_cell(case: Case, config: Config, registry: Registry, *, given_size: bool, extras: Iterable[str] = ()) -> Cell:
    """The cell of one case under a configuration.

    Args:
        case: The case.
        config: The configuration.
        registry: The components there are.
        given_size: Whether the kernel size is that of the case's true kernel, as published methods have it.
        extras: Names of further scores.

    Returns:
        The cell; one with a problem if the case's kernel is needed and there is none, or it cannot be read.
    """
    if given_size:
        try:
            size = case.kernel_size()
        except DeblurkitError as error:
            return Cell(case, "run", config.to_json(), problem=str(error))
        if size is None:
            return Cell(case, "run", config.to_json(), problem=f"{case.name}: has no true kernel to give its size")
        config = replace(config, run=replace(config.run, kernel_size=size))
    return Cell(case, "run", config.to_json(), identity(config, registry), tuple(extras))


def oracle_cell(case: Case, config: Config, registry: Registry, *, extras: Iterable[str] = ()) -> Cell:
    """The cell of one case with its true kernel and the last step of a configuration, the same for all seeds."""
    oracle = oracle_of(config, registry)
    return Cell(case, "oracle", oracle.to_json(), identity(oracle, registry), tuple(extras))


def blurry_cell(case: Case, *, extras: Iterable[str] = ()) -> Cell:
    """The cell of one case as it is."""
    return Cell(case, "blurry", extras=tuple(extras))


def oracle_of(config: Config, registry: Registry) -> Config:
    """The configuration that restores with a kernel that is given, by the same last step.

    Where a configuration keeps the estimation's own image, which needs no kernel, the best restoring prior stands in.
    Of the section ``run`` it has what says where and how precisely to compute.
    """
    image: ImagePriorSpec = registry.spec("image_prior", config.image_prior.name)
    if config.final.name not in (AUTO, NONE):
        last = Part(config.final.name, config.final.params)
    elif Offer.RESTORE in image.offers and config.final.name == AUTO and image.last >= 0:
        last = config.image_prior
    else:
        name = registry.default_restorer()
        last = Part(name, registry.spec("image_prior", name).params())
    given = resolve({}, registry=registry, recipe=GIVEN_KERNEL)
    run = config.run
    kept = replace(given.run, device=run.device, threads=run.threads, precision=run.precision, compile=run.compile)
    document = replace(given, image_prior=last, run=kept).to_json()
    return resolved({**document, "optimizer": {"name": AUTO}, "final": {"name": AUTO}}, registry)


def resolved(document: Mapping[str, Any], registry: Registry) -> Config:
    """A configuration from what `Config.to_json` made of one.

    Raises:
        ConfigError: If it does not fit the components there are.
    """
    sections = {name: keys for name, keys in document.items() if isinstance(keys, Mapping)}
    return merge([Layer("cell", sections)], registry)


def identity(config: Config, registry: Registry, sections: Iterable[str] = tuple(COMPONENTS)) -> dict[str, str]:
    """What an outcome hangs on beside the configuration.

    Versions of deblurkit and of the plugins that sections use, the source of those plugins (whoever writes one changes
    it without a new version), and contents of the files that the sections name.
    """
    found = {"deblurkit": deblurkit.__version__}
    for section in sections:
        kind = COMPONENTS[section]
        part: Part = getattr(config, section)
        if part.name in (AUTO, NONE):
            continue
        entry = registry.find(kind, part.name)
        provider = entry.provider
        found[provider.distribution or provider.module] = provider.version
        if not provider.built_in:
            package = entry.spec.target.partition(":")[0].partition(".")[0]
            found[f"source of {package}"] = source_digest(package)
        for one in fields_of(type(part.params)):
            value = getattr(part.params, one.name)
            if isinstance(value, Path) and value != Path():
                found[f"{section}.{one.name}"] = _digest(value, version_of(value))
    return found


def source_digest(package: str) -> str:
    """SHA-256 of the Python files of a top-level package or module, without importing it; empty where none is found."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return ""
    folders = [Path(one) for one in spec.submodule_search_locations or ()]
    files = [(path.relative_to(folder), path) for folder in folders for path in sorted(folder.rglob("*.py"))]
    if not folders and spec.origin:
        files = [(Path(spec.origin).relative_to(Path(spec.origin).parent), Path(spec.origin))]
    digests = [f"{name.as_posix()} {_digest(path, version_of(path))}" for name, path in files]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _digest(path: Path, version: tuple[int, int, int]) -> str:  # noqa: ARG001 - a file written anew is read anew
    """SHA-256 of a file's content; of a missing one its name, for the run to say what is wrong."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return str(path)


def _without(keys: Any, identity: Mapping[str, str], section: str) -> Any:
    """A section without the places of files whose contents are known."""
    if not isinstance(keys, Mapping):
        return keys
    return {key: value for key, value in keys.items() if f"{section}.{key}" not in identity}
