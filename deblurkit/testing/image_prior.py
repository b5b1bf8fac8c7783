"""The contract of image priors."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from deblurkit.core import ImagePrior, Observation
from deblurkit.specs import ImagePriorSpec, Offer
from deblurkit.testing.contract import Contract, gradients_of
from deblurkit.testing.pictures import (
    NOISE,
    SIZE,
    blur_by_definition,
    cartoon,
    curved_kernel,
    example,
    generator,
    hills,
)

FORWARD, ENERGY = "core.ImagePrior.forward", "core.ImagePrior.energy"
RESTORE, FIT, PRIOR = "core.ImagePrior.restore", "core.ImagePrior.fit", "core.ImagePrior"
TAKE_OVER = "core.ImagePrior.take_over"


class ImagePriorContract(Contract):
    """What an image prior must do."""

    spec: ClassVar[ImagePriorSpec]
    base = ImagePrior
    wanted = ImagePriorSpec
    methods: ClassVar = {Offer.ENERGY: "energy", Offer.RESTORE: "restore", Offer.FIT: "fit"}

    def build(self, observation: Observation, margin: tuple[int, int] = (3, 4), seed: int = 0) -> ImagePrior[Any]:
        """The prior for an observation."""
        prior: ImagePrior[Any] = self.make(self.params, observation, margin=margin, generator=generator(seed))
        return prior

    @pytest.mark.parametrize(("batch", "channels"), [(1, 1), (1, 3), (2, 3)])
    def test_proposes_images_of_the_latent_size(self, batch: int, channels: int) -> None:
        """The image has the observation's size plus the margin, is finite and lies in [0, 1]."""
        observation, latent, _ = example(batch, channels)
        x = self.build(observation)()
        self.require_shape(x, tuple(latent.shape), "the image of forward() (the observation plus the margin)", FORWARD)
        low, high = float(x.detach().min()), float(x.detach().max())
        within = -0.05 <= low <= high <= 1.05
        self.require(within, f"the image of forward() spans {low:.3g} to {high:.3g}, and must stay in [0, 1]", FORWARD)

    def test_same_seed_same_image(self) -> None:
        """Randomness comes from the generator alone; torch's global one is left as it was."""
        observation, _, _ = example()
        state = torch.random.get_rng_state()
        first, second = self.build(observation, seed=3)(), self.build(observation, seed=3)()
        untouched = torch.equal(state, torch.random.get_rng_state())
        self.require(untouched, "it drew from torch's global randomness; draw from the generator it is given", PRIOR)
        self.require(torch.equal(first, second), "two priors of one seed propose different images", PRIOR)

    def test_gradients_reach_the_parameters(self) -> None:
        """A gradient optimizer can move it."""
        self.need(Offer.PARAMETERS)
        prior = self.build(example()[0])
        prior().square().sum().backward()
        gradients = gradients_of(prior)
        wrong = "it offers 'parameters', and forward() has no gradient in any nn.Parameter of it"
        self.require(any(float(g.abs().max()) > 0 for g in gradients), wrong, FORWARD)
        finite = all(torch.isfinite(g).all() for g in gradients)
        self.require(finite, "a gradient of forward() is NaN or infinite", FORWARD)

    @pytest.mark.parametrize("batch", [1, 2])
    def test_energy_is_a_number_per_picture_with_the_right_slope(self, batch: int) -> None:
        """R(x) is (B,), >= 0, and its gradient is the one of finite differences, in float64."""
        self.need(Offer.ENERGY)
        observation, latent, _ = example(batch)
        # steps so small that an energy with kinks, such as a minimum over places, is smooth along them
        prior = self.build(observation.to(torch.device("cpu"), torch.float64))
        x = latent + 0.05 * torch.randn(latent.shape, generator=generator(1))
        x = x.to(torch.float64).requires_grad_()
        energy = prior.energy(x)
        self.require_shape(energy, (batch,), "energy(x), one number a picture,", ENERGY)
        self.require((energy >= 0).all(), f"energy(x) is negative ({float(energy.detach().min()):.3g})", ENERGY)
        if not energy.requires_grad:
            same = torch.equal(energy, prior.energy(torch.zeros_like(x)))
            self.require(same, "energy(x) varies with x and has no gradient; compute it by torch operations", ENERGY)
            return
        # an energy of the prior's own parameters has no slope in the image
        (slope,) = torch.autograd.grad(energy.sum(), x, allow_unused=True, materialize_grads=True)
        direction = torch.randn(x.shape, generator=generator(2), dtype=x.dtype)
        delta = 1e-6
        with torch.no_grad():
            ahead, behind = (prior.energy(x + sign * delta * direction).sum() for sign in (1, -1))
        along, measured = (slope * direction).sum(), (ahead - behind) / (2 * delta)
        self.require(torch.isfinite(slope).all(), "the gradient of energy(x) is NaN or infinite", ENERGY)
        wrong = f"the gradient of energy(x) says {float(along):.4g} where finite differences say {float(measured):.4g}"
        self.require_near(along, measured, wrong, ENERGY, rtol=1e-3, atol=1e-7)

    @pytest.mark.parametrize(("batch", "channels"), [(1, 1), (2, 3)])
    def test_restore_undoes_a_known_blur(self, batch: int, channels: int) -> None:
        """The restored latent image is clearly nearer to the truth than the blurry picture, and explains it."""
        self.need(Offer.RESTORE)
        observation, latent, kernel = example(batch, channels)
        prior = self.build(observation)
        x = prior.restore(observation, kernel)
        self.require_shape(x, tuple(latent.shape), "what restore() returns (larger by half a kernel a side)", RESTORE)
        self.require(not x.requires_grad, "restore() returns a tensor with a graph; add @torch.no_grad()", RESTORE)
        rows, columns = prior.margin
        inner = (..., slice(rows, -rows), slice(columns, -columns))
        blurry_error = (observation.y - latent[inner]).square().mean()
        left = float((x[inner] - latent[inner]).square().mean() / blurry_error)
        wrong = f"restore() leaves {left:.0%} of the blurry picture's squared error for a known kernel, at most 40 %"
        self.require(
            left < 0.4, f"{wrong}; is the blur a true convolution, and the anchor the kernel's centre?", RESTORE
        )
        residual = (blur_by_definition(x, kernel) - observation.y).square().mean().sqrt()
        share = float(residual / blurry_error.sqrt())
        wrong = (
            f"what restore() returns, blurred again, misses the observation by {share:.0%} of the blur, at most 30 %"
        )
        self.require(share < 0.3, wrong, RESTORE)
        same = torch.equal(x, prior.restore(observation, kernel))
        self.require(same, "a second restore() of the same picture gives another result", RESTORE)

    def test_restore_with_a_delta_kernel_keeps_the_picture(self) -> None:
        """No blur, nothing to undo: only noise may be taken away."""
        self.need(Offer.RESTORE)
        y = cartoon(1, 1, SIZE)
        observation = Observation.of(y, noise=0.001)
        delta = torch.ones(1, 1, 1, 1)
        x = self.build(observation, margin=(0, 0)).restore(observation, delta)
        self.require_shape(x, tuple(y.shape), "what restore() returns for a kernel of 1 x 1", RESTORE)
        change = float((x - y).square().mean().sqrt())
        wrong = f"restore() changes a picture without blur by {change:.3g} (root mean square), at most 0.03"
        self.require(change < 0.03, f"{wrong}; is its weight too large for noise of 0.001?", RESTORE)

    def test_restore_does_not_believe_masked_pixels(self) -> None:
        """What stands under the mask has no influence."""
        self.need(Offer.RESTORE)
        observation, _, kernel = example()
        mask = observation.mask.clone()
        mask[..., 20:24, 30:34] = 0
        prior = self.build(observation)
        results = []
        for value in (0.0, 1.0):
            y = torch.where(mask > 0, observation.y, torch.full_like(observation.y, value))
            results.append(prior.restore(Observation.of(y, NOISE, mask=mask), kernel))
        wrong = "restore() depends on pixels where observation.mask is 0; start at observation.start, weigh by the mask"
        self.require_near(results[0], results[1], wrong, "core.Observation", atol=1e-3, rtol=0)

    def test_restore_while_the_kernel_moves(self) -> None:
        """An estimation restores with one kernel after the other, of several sizes; plain restoration forgets that."""
        self.need(Offer.RESTORE)
        observation, _, kernel = example()
        prior = self.build(observation)
        fresh = prior.restore(observation, kernel)
        part = observation.crop(5, 7, 32, 40)
        for progress, size, seen in ((0.0, (3, 3), observation), (0.25, (3, 5), part), (0.75, (7, 9), part)):
            x = prior.restore(seen, curved_kernel(size), progress=progress)
            wanted = (1, 1, seen.size[0] + size[0] - 1, seen.size[1] + size[1] - 1)
            self.require_shape(x, wanted, f"what restore(..., progress={progress}) returns", RESTORE)
            self.require(not x.requires_grad, f"restore(..., progress={progress}) returns a graph", RESTORE)
        same = torch.equal(fresh, prior.restore(observation, kernel))
        self.require(same, "restore() with progress 1 depends on calls with less progress before it", RESTORE)

    def test_restore_with_saturated_pixels(self) -> None:
        """The light of a lamp is beyond the sensor's limit; what is far from it is restored even so."""
        self.need(Offer.RESTORE)
        _, latent, kernel = example()
        latent[..., 26:30, 36:40] = 6.0  # a lamp
        y = blur_by_definition(latent, kernel)
        saturated = (y >= 1).to(y.dtype)
        clipped = Observation(y.clamp_max(1), 1 - saturated, saturated, y.new_full((1,), NOISE))
        x = self.build(clipped).restore(clipped, kernel)
        far = (..., slice(3, 12), slice(4, -4))
        before = float((y[..., :9, :] - latent[far]).square().mean())
        left = float((x[far] - latent[far]).square().mean()) / before
        wrong = (
            f"beside a saturated lamp restore() leaves {left:.0%} of the squared error ten pixels away, at most 40 %"
        )
        self.require(left < 0.4, wrong, RESTORE)

    def test_fit_starts_from_an_image(self) -> None:
        """After `fit` the proposed image is nearer to the given one."""
        self.need(Offer.FIT)
        observation, latent, _ = example()
        prior = self.build(observation)
        before = float((prior() - latent).detach().square().mean())
        prior.fit(latent)
        left = float((prior() - latent).detach().square().mean()) / before
        wrong = f"after fit(x) the image still has {left:.0%} of its squared distance from x, at most 80 %"
        self.require(left < 0.8, wrong, FIT)

    def test_take_over_goes_on_where_the_coarser_prior_was(self) -> None:
        """It says whether it did; if so, the image is that of the coarser prior where the two grids have a pixel."""
        self.need_to_take_over()
        observation, _, _ = example()
        every = (..., slice(None, None, 2), slice(None, None, 2))
        coarser = self.build(Observation.of(observation.y[every], NOISE), margin=(2, 2), seed=1)
        if Offer.FIT in self.spec.offers:
            coarser.fit(hills(1, 1, (coarser.latent_shape[-2], coarser.latent_shape[-1])))
        wanted = coarser().detach()
        # with twice the margin the latent images, too, begin at the same place
        finer = self.build(observation, margin=(4, 4), seed=2)
        before = float((finer().detach()[every] - wanted).square().mean().sqrt())
        took = finer.take_over(coarser, ratio=(2.0, 2.0), offset=(0.0, 0.0))
        self.require(isinstance(took, bool), f"take_over() returns {took!r:.40}, and must return a bool", TAKE_OVER)
        if took:
            after = float((finer().detach()[every] - wanted).square().mean().sqrt())
            wrong = (
                f"take_over() says that it did, and at the pixels that both grids have the image is {after:.3g} off "
                f"the coarser one (root mean square; {before:.3g} before), at most half of that; are ratio, offset and "
                "margin heeded?"
            )
            self.require(after <= 0.5 * before, wrong, TAKE_OVER)
