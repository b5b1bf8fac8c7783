"""Descriptors: what a component is called, what it offers, and where its class lives.

A plugin yields descriptors, never classes, so that listing, help and the check of what fits what need no heavy import.
The class behind ``target`` is imported when a run needs it.
"""

import importlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Literal

from deblurkit.errors import ConfigError, PluginError
from deblurkit.params import Params, fields_of, suggest

Kind = Literal["image_prior", "kernel_prior", "data_term", "optimizer", "executor"]


class Offer(StrEnum):
    """What a part can do; each member equals its plain string."""

    PARAMETERS = "parameters"
    """image, kernel: has parameters that a gradient optimizer can move."""
    ENERGY = "energy"
    """image, kernel: R(x) or S(k) is differentiable."""
    RESTORE = "restore"
    """image: an update ``restore(y, kernel)`` gives x for a fixed convolution kernel."""
    ESTIMATE = "estimate"
    """kernel: an update ``estimate(x, y)`` gives k for a fixed image."""
    KERNEL = "kernel"
    """kernel: can show a convolution kernel (B, 1, h, w), non-negative, sum 1."""
    FIT = "fit"
    """image, kernel: can be started from a given image or kernel."""


MOVES = frozenset({Offer.PARAMETERS, Offer.RESTORE, Offer.ESTIMATE})
CLOSED_FORMS = frozenset({Offer.RESTORE, Offer.ESTIMATE})
RESERVED = frozenset({"auto", "none"})
_KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What every descriptor has.

    Attributes:
        name: Unique within its kind, in kebab case.
        summary: One line for ``deblurkit list``.
        target: ``"package.module:Name"``, imported by `load` when it is needed.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If a name, a target or an offer is malformed.
    """

    name: str
    summary: str
    target: str

    def __post_init__(self) -> None:
        subject = f"{type(self).__name__} {self.name!r}"
        for text in ("name", "summary", "target"):
            if not isinstance(getattr(self, text), str):
                raise TypeError(f"{subject}: {text} must be text, not {getattr(self, text)!r}")
        if not _KEBAB.fullmatch(self.name) or self.name in RESERVED:
            raise ValueError(f"{subject}: the name must be in kebab case, such as 'total-variation', and not reserved")
        if not self.summary.strip() or "\n" in self.summary:
            raise ValueError(f"{subject}: the summary must be one line of text")
        if not _TARGET.fullmatch(self.target):
            raise ValueError(f"{subject}: the target must look like 'package.module:Name', not {self.target!r}")

    def load(self) -> Any:
        """Import and return what `target` names.

        Raises:
            PluginError: If the module cannot be imported or has no such name.
        """
        return _load(self.name, self.target)


@dataclass(frozen=True, kw_only=True)
class CommandSpec(Spec):
    """A subcommand of ``deblurkit``; its target is a `click.Command`, its summary the short help."""


@dataclass(frozen=True, kw_only=True)
class ComponentSpec(Spec):
    """What the kinds of components have in common.

    Attributes:
        params: The parameter class, an empty one where there is nothing to choose.
        offers: What the part can do, out of `Offer`; any set of strings is taken and kept as a frozenset.
        reference: The paper, as ``Rudin, Osher, Fatemi 1992``.
    """

    kind: ClassVar[Kind]
    allowed: ClassVar[frozenset[Offer]] = frozenset()

    params: type[Params] = Params
    offers: Collection[str] = field(default=frozenset())
    reference: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        subject = f"{type(self).__name__} {self.name!r}"
        if not (isinstance(self.params, type) and issubclass(self.params, Params)):
            raise TypeError(f"{subject}: params must be a subclass of deblurkit.params.Params, not {self.params!r}")
        fields_of(self.params)
        if not isinstance(self.reference, str):
            raise TypeError(f"{subject}: reference must be text, not {self.reference!r}")
        object.__setattr__(self, "offers", _offers(f"{subject}: offers", self.offers, self.allowed))


@dataclass(frozen=True, kw_only=True)
class ImagePriorSpec(ComponentSpec):
    """An image prior: x = G(θ) and R(x).

    Attributes:
        last: Preference as the last step of a run whose own image prior does not restore and where nobody names
            another: the highest is taken. Leave it at 0 unless the prior restores well whatever the picture. Below 0,
            its images serve an estimation, as cartoons do: the last step is then another's even where it restores,
            unless the kernel is given or the user names it.
        synthesises: Whether its images can show what was never in front of the camera, as those of a generator do.
            Results then say so, and keep the prior's own image unless another last step is named.
        whole: Whether its image is always of the whole picture, so that there is nothing to learn from a crop.
    """

    last: int = 0
    synthesises: bool = False
    whole: bool = False

    kind: ClassVar[Kind] = "image_prior"
    allowed: ClassVar[frozenset[Offer]] = frozenset({Offer.PARAMETERS, Offer.ENERGY, Offer.RESTORE, Offer.FIT})


@dataclass(frozen=True, kw_only=True)
class KernelPriorSpec(ComponentSpec):
    """A kernel prior: k = K(φ), B(x; k) and S(k).

    Attributes:
        offers_for: ``"package.module:function"`` of a function that takes the parameters and returns those of the
            offers that hold for them; it imports nothing heavy. Empty where all of them always hold.
    """

    offers_for: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.offers_for, str) or (self.offers_for and not _TARGET.fullmatch(self.offers_for)):
            subject = f"{type(self).__name__} {self.name!r}"
            raise ValueError(f"{subject}: offers_for must look like 'package.module:name', not {self.offers_for!r}")

    def narrowed(self, params: Params) -> "KernelPriorSpec":
        """The same prior with the offers that hold for these parameters.

        Raises:
            PluginError: If `offers_for` cannot be imported.
            UsageError: If a file that the parameters name is not what the prior needs.
        """
        if not self.offers_for:
            return self
        return replace(self, offers=frozenset(self.offers) & frozenset(_load(self.name, self.offers_for)(params)))

    kind: ClassVar[Kind] = "kernel_prior"
    allowed: ClassVar[frozenset[Offer]] = frozenset(
        {Offer.PARAMETERS, Offer.ENERGY, Offer.ESTIMATE, Offer.KERNEL, Offer.FIT}
    )


@dataclass(frozen=True, kw_only=True)
class DataTermSpec(ComponentSpec):
    """A data term D: the distance between the re-blurred and the observed picture."""

    kind: ClassVar[Kind] = "data_term"


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec(ComponentSpec):
    """An optimizer: in which order x and k move.

    Attributes:
        needs_image: What it needs of the image prior: sets of offers of which one must be there completely, the
            preferred one first. ``({"restore"}, {"parameters"})`` reads "restore, or else parameters".
        needs_kernel: The same for the kernel prior. A part that offers nothing to move (a kernel that the user gives)
            is fixed, and satisfies any need.
    """

    kind: ClassVar[Kind] = "optimizer"

    needs_image: Sequence[Collection[str]] = ({"parameters"},)
    needs_kernel: Sequence[Collection[str]] = ({"parameters"},)

    def __post_init__(self) -> None:
        super().__post_init__()
        for side, part in (("needs_image", ImagePriorSpec), ("needs_kernel", KernelPriorSpec)):
            subject = f"{type(self).__name__} {self.name!r}: {side}"
            sets = getattr(self, side)
            if not isinstance(sets, list | tuple) or not sets:
                raise TypeError(f"{subject} must be a tuple of sets of offers, not {sets!r}")
            object.__setattr__(self, side, tuple(_offers(subject, one, part.allowed) for one in sets))


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec(ComponentSpec):
    """An executor: where many independent tasks are computed. It changes no result, so no config names it.

    Attributes:
        parallel: Whether it can have more than one worker.
        preference: Where nobody names one, the highest is taken among those that suit the number of workers.
    """

    kind: ClassVar[Kind] = "executor"

    parallel: bool = True
    preference: int = 0


@dataclass(frozen=True)
class Fit:
    """How an optimizer would move two parts.

    Attributes:
        image: The offers it uses of the image prior; empty for a fixed image.
        kernel: The offers it uses of the kernel prior; empty for a fixed kernel.
        preferred: How many of the two sides (0 to 2) are moved in the way that the optimizer prefers.
    """

    image: frozenset[str]
    kernel: frozenset[str]
    preferred: int

    @property
    def closed_forms(self) -> int:
        """How many of the two sides are moved by a closed form."""
        return len((self.image | self.kernel) & CLOSED_FORMS)


def _load(name: str, target: str) -> Any:
    """Import what a target names, or say for whom it could not be."""
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}".strip().rstrip(":")
        raise PluginError(f"'{name}' cannot be loaded from {target}: {cause}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        cure = suggest(attribute, vars(module))
        raise PluginError(f"'{name}' cannot be loaded: {module_name} has no {attribute!r}{cure}") from None


def find_fit(optimizer: OptimizerSpec, image: ImagePriorSpec, kernel: KernelPriorSpec) -> Fit | None:
    """Return how `optimizer` would move the two parts, or ``None`` if it cannot."""
    image_way, kernel_way = _ways(optimizer, image, kernel)
    if image_way is None or kernel_way is None or not MOVES & {*image.offers, *kernel.offers}:
        return None
    return Fit(image_way[0], kernel_way[0], image_way[1] + kernel_way[1])


def check_fit(
    optimizer: OptimizerSpec,
    image: ImagePriorSpec,
    kernel: KernelPriorSpec,
    *,
    others: Iterable[ComponentSpec] = (),
    place: str = "",
) -> Fit:
    """Check that an optimizer can move an image prior and a kernel prior, without importing any of them.

    Args:
        optimizer: The optimizer.
        image: The image prior.
        kernel: The kernel prior.
        others: All registered components; those that would fit are named in the message.
        place: Where the combination was asked for, for the message.

    Returns:
        The offers that it would use.

    Raises:
        ConfigError: If the three do not fit, naming what would.
    """
    fit = find_fit(optimizer, image, kernel)
    if fit is not None:
        return fit
    others = list(others)
    usable = _usable(image, kernel)
    image_way, _ = _ways(optimizer, image, kernel)
    if not MOVES & {*image.offers, *kernel.offers}:
        cause = f"image prior '{image.name}' and kernel prior '{kernel.name}' leave nothing to optimize"
    elif image_way is None:
        cause = _refusal(optimizer, "image prior", image.name, usable, optimizer.needs_image)
        if Offer.RESTORE in image.offers and Offer.RESTORE not in usable:
            cause += f" (its restore needs a convolution kernel, which kernel prior '{kernel.name}' does not show)"
    else:
        cause = _refusal(optimizer, "kernel prior", kernel.name, kernel.offers, optimizer.needs_kernel)
    cures = [
        _names("image priors", [o for o in others if isinstance(o, ImagePriorSpec) and find_fit(optimizer, o, kernel)]),
        _names(
            "kernel priors", [o for o in others if isinstance(o, KernelPriorSpec) and find_fit(optimizer, image, o)]
        ),
        _names("optimizers", [o for o in others if isinstance(o, OptimizerSpec) and find_fit(o, image, kernel)]),
    ]
    cure = "; ".join(c for c in cures if c)
    raise ConfigError(f"{cause}; what would fit: {cure or 'nothing installed'}" + (f" ({place})" if place else ""))


def _usable(image: ImagePriorSpec, kernel: KernelPriorSpec) -> frozenset[str]:
    """The offers of an image prior that hold beside this kernel prior: ``restore`` needs a convolution kernel."""
    offers = frozenset(image.offers)
    return offers if Offer.KERNEL in kernel.offers else offers - {Offer.RESTORE}


def _ways(
    optimizer: OptimizerSpec, image: ImagePriorSpec, kernel: KernelPriorSpec
) -> tuple[tuple[frozenset[str], int] | None, tuple[frozenset[str], int] | None]:
    """Return how the image and the kernel would be moved; a part that offers nothing to move is fixed."""
    fixed: tuple[frozenset[str], int] = (frozenset(), 0)
    image_way = _way(optimizer.needs_image, _usable(image, kernel)) if MOVES & set(image.offers) else fixed
    kernel_way = _way(optimizer.needs_kernel, kernel.offers) if MOVES & set(kernel.offers) else fixed
    return image_way, kernel_way


def _way(needs: Sequence[Collection[str]], offers: Collection[str]) -> tuple[frozenset[str], int] | None:
    """Return the first set of needs that is met and whether it is the preferred one."""
    for index, need in enumerate(needs):
        if set(need) <= set(offers):
            return frozenset(need), int(index == 0)
    return None


def _refusal(
    optimizer: OptimizerSpec, kind: str, name: str, offers: Collection[str], needs: Sequence[Collection[str]]
) -> str:
    wanted = " or ".join(" and ".join(sorted(need)) for need in needs)
    offered = ", ".join(sorted(offers)) or "nothing"
    return f"optimizer '{optimizer.name}' needs {wanted} of the {kind}, and '{name}' offers {offered}"


def _names(kind: str, specs: Sequence[ComponentSpec]) -> str:
    return f"{kind} {', '.join(sorted(spec.name for spec in specs))}" if specs else ""


def _offers(subject: str, offers: Collection[str], allowed: frozenset[Offer]) -> frozenset[Offer]:
    """Return offers as a frozenset of members, or say which one is unknown or out of place."""
    if isinstance(offers, str) or not isinstance(offers, Collection):
        raise TypeError(f"{subject} must be a set of strings, not {offers!r}")
    for offer in offers:
        if offer not in list(Offer):
            raise ValueError(f"{subject}: {offer!r} is no known offer{suggest(str(offer), list(Offer))}")
        if offer not in allowed:
            there = ", ".join(sorted(allowed)) or "no offers"
            raise ValueError(f"{subject}: {offer!r} means nothing here; this kind has {there}")
    return frozenset(Offer(offer) for offer in offers)


SPECS: dict[Kind, type[ComponentSpec]] = {
    spec.kind: spec for spec in (ImagePriorSpec, KernelPriorSpec, DataTermSpec, OptimizerSpec, ExecutorSpec)
}
