"""What the contracts of all kinds share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from deblurkit.params import Params, fields_of
from deblurkit.specs import ComponentSpec


class Contract:
    """A part under test. A class whose name begins with ``Test`` must name the descriptor.

    Attributes:
        spec: The descriptor under test.
        overrides: Parameters that differ from their defaults in the tests.
        base: What the class behind the descriptor derives from.
        methods: The method of `base` that each offer promises.
    """

    spec: ClassVar[ComponentSpec]
    overrides: ClassVar[Mapping[str, Any]] = {}
    base: ClassVar[type]
    wanted: ClassVar[type[ComponentSpec]] = ComponentSpec
    methods: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Say at once what is missing, before there are a dozen failures of the same cause."""
        super().__init_subclass__(**kwargs)
        spec = getattr(cls, "spec", None)
        if cls.__name__.startswith("Test") and not isinstance(spec, cls.wanted):
            found = f"not {type(spec).__name__} {spec!r:.60}" if spec is not None else "and it has none"
            raise TypeError(
                f"{cls.__name__}: give it `spec = ...`, the {cls.wanted.__name__} that your plugin.py yields, {found} "
                "(see deblurkit.testing)"
            )

    @property
    def params(self) -> Any:
        """The component's parameters, small."""
        known = [field.name for field in fields_of(self.spec.params)]
        for name in self.overrides:
            there = ", ".join(known) or "none"
            self.require(name in known, f"overrides names {name!r}, and its parameters are {there}", "testing.Contract")
        return self.spec.params(**self.overrides)

    def require(self, holds: object, wrong: str, where: str) -> None:
        """Fail with one sentence unless something holds.

        Args:
            holds: What must be true; a tensor of one truth value will do.
            wrong: What is wrong, and what would be right.
            where: What documents it, within ``deblurkit``, such as ``core.ImagePrior.energy``.

        Raises:
            AssertionError: If it does not hold.
        """
        __tracebackhide__ = True
        if not bool(holds):
            kind = self.spec.kind.replace("_", " ")
            raise AssertionError(f"{kind} '{self.spec.name}': {wrong} (see deblurkit.{where})")

    def require_shape(self, tensor: object, shape: tuple[int, ...], what: str, where: str) -> None:
        """Fail unless something is a finite tensor of that shape."""
        __tracebackhide__ = True
        self.require(isinstance(tensor, Tensor), f"{what} is {type(tensor).__name__}, and must be a tensor", where)
        assert isinstance(tensor, Tensor)
        found = tuple(tensor.shape)
        self.require(found == shape, f"{what} has the shape {found}, and must have {shape}", where)
        self.require(torch.isfinite(tensor).all(), f"{what} holds NaN or infinity", where)

    def require_near(self, found: Tensor, right: Tensor, wrong: str, where: str, *, rtol: float, atol: float) -> None:
        """Fail unless two tensors agree within the tolerances, and say how far they are apart."""
        __tracebackhide__ = True
        apart = float((found - right).detach().abs().max())
        near = torch.allclose(found, right, rtol=rtol, atol=atol)
        self.require(near, f"{wrong}; the largest difference is {apart:.3g}", where)

    def need(self, *offers: str) -> None:
        """Skip the test where the component does not offer all of these."""
        missing = set(offers) - set(self.spec.offers)
        if missing:
            pytest.skip(f"{self.spec.name} does not offer {', '.join(sorted(missing))}")

    def need_to_take_over(self) -> None:
        """Skip the test where the class leaves ``take_over`` to its base."""
        if self.spec.load().take_over is self.base.take_over:  # type: ignore[attr-defined]
            pytest.skip(f"{self.spec.name} does not take over")

    def make(self, *args: object, **kwargs: object) -> Any:
        """Import the class that the descriptor names, check it, and build it as a run does."""
        __tracebackhide__ = True
        made, where = self.spec.load(), f"core.{self.base.__name__}"
        right = isinstance(made, type) and issubclass(made, self.base)
        self.require(right, f"its target {self.spec.target} must be a class derived from {self.base.__name__}", where)
        try:
            part = made(*args, **kwargs)
        except TypeError as error:
            names = ", ".join(["params", *["observation"] * (len(args) - 1), *(f"{name}=..." for name in kwargs)])
            self.require(
                "argument" not in str(error), f"it is built as {made.__name__}({names}), which raised: {error}", where
            )
            raise
        if isinstance(part, nn.Module):
            missing = "super().__init__(...) was not called with all arguments"
            self.require(isinstance(getattr(part, "params", None), Params), missing, where)
        return part

    def test_does_what_it_offers(self) -> None:
        """Every offer is a method of the class, and every method that could be offered is."""
        made, where = self.spec.load(), f"core.{self.base.__name__}"
        for offer, method in self.methods.items():
            own = getattr(made, method, None) is not getattr(self.base, method)
            offered = offer in self.spec.offers
            self.require(
                own or not offered, f"it offers {str(offer)!r}, and its class has no {method}()", f"{where}.{method}"
            )
            if not getattr(self.spec, "offers_for", ""):  # what is offered may depend on the parameters
                wrong = f"its class has {method}(), and its spec does not offer {str(offer)!r}: add it to offers"
                self.require(offered or not own, wrong, "specs.Offer")

    def test_restarted_parameters_are_of_the_same_class(self) -> None:
        """A further attempt is described by the same kind of parameters."""
        restarted = self.spec.load().restarted(self.params, 1) if hasattr(self.base, "restarted") else self.params
        wrong = f"restarted() returned {type(restarted).__name__}, and must return {self.spec.params.__name__}"
        self.require(type(restarted) is self.spec.params, wrong, f"core.{self.base.__name__}.restarted")


def gradients_of(part: nn.Module) -> list[Tensor]:
    """The gradients that a backward pass left in a part's parameters."""
    return [p.grad for p in part.parameters() if p.grad is not None]
