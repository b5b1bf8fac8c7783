"""The one place that turns names into objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from deblurkit.config import AUTO, NONE, Config
from deblurkit.core import ImagePrior, KernelPrior, Observation, Optimizer, Problem
from deblurkit.registry import Registry
from deblurkit.specs import Fit, ImagePriorSpec, Offer


@dataclass(frozen=True)
class Parts:
    """The components of a configuration: their classes, their parameters, and what they offer.

    Attributes:
        config: What was asked for.
        ways: By which offers the optimizer moves image and kernel.
        image: Descriptor of the image prior.
        kernel_offers: What the kernel prior offers.
        image_class: Class of the image prior; likewise the others.
        kernel_class: Class of the kernel prior.
        data_class: Class of the data term.
        optimizer_class: Class of the optimizer.
        final_class: Class of the image prior of the last step, or ``None`` for none.
        final_params: Its parameters, or ``None``.
    """

    config: Config
    ways: Fit
    image: ImagePriorSpec
    kernel_offers: frozenset[str]
    image_class: Any
    kernel_class: Any
    data_class: Any
    optimizer_class: Any
    final_class: Any
    final_params: Any

    @classmethod
    def load(cls, config: Config, registry: Registry) -> Parts:
        """Import everything that a configuration names.

        Raises:
            PluginError: If a component cannot be imported.
        """
        image, kernel = config.image_prior.name, config.kernel_prior.name
        image_spec = registry.spec("image_prior", image)
        assert isinstance(image_spec, ImagePriorSpec)
        kernel_params = config.kernel_prior.params
        kernel_offers = frozenset(registry.spec("kernel_prior", kernel).narrowed(kernel_params).offers)
        ways = registry.check_fit(config.optimizer.name, image, kernel, kernel_params=kernel_params)
        final_class, final_params = _final(config, registry, image_spec, Offer.KERNEL in kernel_offers, ways)
        return cls(
            config=config,
            ways=ways,
            image=image_spec,
            kernel_offers=kernel_offers,
            image_class=registry.load("image_prior", image),
            kernel_class=registry.load("kernel_prior", kernel),
            data_class=registry.load("data_term", config.data_term.name),
            optimizer_class=registry.load("optimizer", config.optimizer.name),
            final_class=final_class,
            final_params=final_params,
        )

    def check(self) -> None:
        """Let the image priors look once, before any picture, at the files that their parameters name.

        Raises:
            UsageError: If one is missing or wrong.
        """
        self.image_class.check(self.config.image_prior.params)
        if self.final_class is not None:
            self.final_class.check(self.final_params)

    @property
    def keeps_best(self) -> bool:
        """Whether the state of least loss counts, and not the last; a search on a manifold does not go straight."""
        keep = self.config.run.keep
        return self.image.synthesises if keep == AUTO else keep == "best"

    @property
    def fits_image(self) -> bool:
        """Whether the image prior can be started from a given image."""
        return Offer.FIT in self.image.offers

    @property
    def closed_kernel(self) -> bool:
        """Whether the kernel is estimated in closed form, so that many windows can be tried quickly."""
        return Offer.ESTIMATE in self.ways.kernel

    @property
    def fixed_kernel(self) -> bool:
        """Whether the blur is given and nothing about it is estimated."""
        return not self.ways.kernel

    @property
    def many_scales(self) -> bool:
        """Whether an estimate can be handed from a coarse scale to a finer one."""
        return {Offer.KERNEL, Offer.FIT} <= self.kernel_offers

    @property
    def shows_kernel(self) -> bool:
        """Whether there is a convolution kernel to restore with, to show and to judge."""
        return Offer.KERNEL in self.kernel_offers

    @property
    def takes_start(self) -> bool:
        """Whether gradients start from a kernel that another recipe finds."""
        wanted = self.config.run.start == "kernel"
        return wanted and self.many_scales and not self.fixed_kernel and not self.closed_kernel

    def with_kernel(self, params: Any) -> Parts:
        """The same parts with other parameters of the kernel prior."""
        prior = replace(self.config.kernel_prior, params=params)
        return replace(self, config=replace(self.config, kernel_prior=prior))

    def optimizer(self, attempt: int = 0) -> Optimizer[Any]:
        """A new optimizer for the given attempt."""
        params = self.config.optimizer.params
        optimizer: Optimizer[Any] = self.optimizer_class(
            self.optimizer_class.restarted(params, attempt) if attempt else params
        )
        return optimizer

    def problem(
        self,
        observation: Observation,
        size: tuple[int, int],
        generator: torch.Generator,
        *,
        scale: int = 0,
        scales: int = 1,
        attempt: int = 0,
    ) -> Problem:
        """New priors for an observation, with a kernel window of the given odd size."""
        kernel_params, image_params = self.config.kernel_prior.params, self.config.image_prior.params
        if attempt:
            kernel_params = self.kernel_class.restarted(kernel_params, attempt)
            image_params = self.image_class.restarted(image_params, attempt)
        kernel: KernelPrior[Any] = self.kernel_class(kernel_params, observation, size=size, generator=generator)
        image: ImagePrior[Any] = self.image_class(image_params, observation, margin=kernel.margin, generator=generator)
        if self.config.run.compile:
            image.compile()
        data = self.data_class(self.config.data_term.params)
        return Problem(image.believed(observation), image, kernel, data, self.ways, scale, scales)

    def restorer(self, observation: Observation, margin: tuple[int, int]) -> ImagePrior[Any]:
        """The image prior of the last step, sized for an observation."""
        prior: ImagePrior[Any] = self.final_class(
            self.final_params, observation, margin=margin, generator=torch.Generator()
        )
        return prior


def _final(config: Config, registry: Registry, image: ImagePriorSpec, shows_kernel: bool, ways: Fit) -> tuple[Any, Any]:
    """Class and parameters of the last step; ``auto`` is the image prior itself where it restores, else the default.

    An image that was synthesised is what was asked for, so there ``auto`` keeps it. A prior whose images serve the
    estimation alone (``last`` below 0) has the last step only where the kernel is given.

    Where the kernel is given and the image prior restores, that is all there is to do, and ``none`` keeps it.
    """
    name = config.final.name
    if name == NONE and not ways.kernel and Offer.RESTORE in ways.image:
        name = AUTO
    if name == NONE or (name == AUTO and (image.synthesises or not shows_kernel)):
        return None, None
    if name != AUTO:
        return registry.load("image_prior", name), config.final.params
    if Offer.RESTORE in image.offers and (image.last >= 0 or not ways.kernel):
        return registry.load("image_prior", config.image_prior.name), config.image_prior.params
    default = registry.default_restorer()
    return registry.load("image_prior", default), registry.spec("image_prior", default).params()
