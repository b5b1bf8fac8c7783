"""What the engine does for priors that synthesise: the step of least loss, a last phase, one frame, honest words."""

import importlib
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from deblurkit.config import resolve
from deblurkit.core import Observation, Optimizer, Step
from deblurkit.core.image_prior import extend
from deblurkit.data_terms.pixelwise import MSE
from deblurkit.errors import RunError
from deblurkit.image_priors.identity import Identity
from deblurkit.nets.stylegan.weights import load_generator
from deblurkit.pipeline import Parts, Progress, deblur, observe
from deblurkit.pipeline.estimate import Estimate, estimate, pyramid
from deblurkit.pipeline.judge import judge
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

DIGITS = Path(__file__).parents[1] / "data" / "digits.safetensors"
ENGINE = importlib.import_module("deblurkit.pipeline.estimate")
KERNEL = curved_kernel((7, 9))
FREE = {
    "image_prior.name": "identity",
    "kernel_prior.name": "convolution",
    "data_term.name": "mse",
    "optimizer.name": "joint",
    "run.threads": 1,
    "run.start": "own",
}


class Pixels(Identity):
    """Free pixels that can be found again."""

    made: ClassVar[list["Pixels"]] = []

    def __init__(self, params, observation, *, margin, generator):
        super().__init__(params, observation, margin=margin, generator=generator)
        self.made.append(self)


class Refining(Pixels):
    """Brightens its pixels in a last phase; counts how often it was asked."""

    losses: ClassVar[list[float]] = [0.5, 0.4, 0.3]

    def refine(self, objective):
        self.started_at = self().detach()
        self.objective = objective
        for value in self.losses:
            with torch.no_grad():
                self.pixels.add_(0.01)
            yield torch.tensor(value)


class Valley(Optimizer):
    """Goes down to the fourth step and up again; every step says the loss of the state that it leaves behind."""

    losses: ClassVar[list[float]] = [4.0, 3.0, 2.0, 1.0, 2.0, 3.0, 5.0]
    states: ClassVar[list[tuple[Tensor, Tensor]]] = []

    def steps(self, problem):
        self.states.clear()
        generator = torch.Generator().manual_seed(0)
        for index, value in enumerate(self.losses):
            with torch.no_grad():
                for part in (problem.image, problem.kernel):
                    for parameter in part.parameters():
                        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
                self.states.append((problem.image(), problem.kernel.kernel()))
            yield Step(index, len(self.losses), torch.tensor(value), problem.image().detach())


@pytest.fixture(autouse=True)
def _fresh():
    Pixels.made.clear()


def observation(size=(54, 64)) -> Observation:
    y = blur_by_definition(cartoon(1, 1, size), KERNEL)
    return observe(y + 0.003 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)))


def minimised(
    *,
    optimizer=Valley,
    image=Pixels,
    synthesises=False,
    listener=lambda event: None,
    deadline=math.inf,
    scales=1,
    **flags,
) -> Estimate:
    dotted = FREE | {key.replace("__", "."): value for key, value in flags.items()}
    parts = Parts.load(resolve(dotted, registry=registry()), registry())
    spec = replace(parts.image, synthesises=synthesises)
    parts = replace(
        parts, image=spec, image_class=image or parts.image_class, optimizer_class=optimizer or parts.optimizer_class
    )
    y = observation()
    return estimate(
        *(y, parts, pyramid(9, 2**0.5, scales, y.size)),
        automatic=False,
        seed=0,
        attempt=0,
        deadline=deadline,
        listener=listener,
    )


def kept_at(found: Estimate) -> int:
    """The step whose image and kernel an estimate has; that of the prior's own state has to be the same."""
    images, kernels = zip(*Valley.states, strict=True)
    (step,) = [index for index, image in enumerate(images) if torch.equal(image, found.latent)]
    assert torch.equal(found.kernel, kernels[step])
    assert torch.equal(Pixels.made[-1]().detach(), images[step])
    torch.testing.assert_close(found.blurred, blur_by_definition(images[step], kernels[step]), atol=1e-5, rtol=0)
    return step


@pytest.mark.parametrize(
    ("keep", "synthesises", "step"),
    [
        *(("last", False, 6), ("last", True, 6), ("best", False, 3), ("best", True, 3)),
        *(("auto", False, 6), ("auto", True, 3)),
    ],
)
def test_the_step_that_counts(keep, synthesises, step):
    found = minimised(run__keep=keep, synthesises=synthesises)
    assert kept_at(found) == step
    assert found.steps == len(found.history) == 7, "all steps are done, and noted, all the same"
    assert found.stopped == ""


def test_of_equal_losses_the_first_is_kept(monkeypatch):
    monkeypatch.setattr(Valley, "losses", [2.0, 1.0, 1.0, 1.0])
    assert kept_at(minimised(run__keep="best")) == 1


@pytest.mark.parametrize("last", [4, 5])
def test_ctrl_c_takes_the_best_so_far(last):
    def press(event):
        if event.stage == "estimate" and event.done == last + 2:
            raise KeyboardInterrupt

    found = minimised(run__keep="best", listener=press)
    assert found.stopped == "interrupted"
    assert kept_at(found) == 3


def test_ctrl_c_before_the_first_loss_takes_the_start():
    def press(event):
        raise KeyboardInterrupt

    found = minimised(run__keep="best", listener=press)
    assert found.stopped == "interrupted"
    assert bool(found.latent.isfinite().all())


@pytest.mark.parametrize(("keep", "step"), [("best", 3), ("last", 5)])
def test_the_time_budget_takes_the_best_so_far(monkeypatch, keep, step):
    clock = [0.0]
    monkeypatch.setattr(ENGINE, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def tick(event):
        clock[0] = float(event.done)

    found = minimised(run__keep=keep, listener=tick, deadline=5.5)
    assert found.stopped == "time budget"
    assert found.steps == 6
    assert kept_at(found) == step


@pytest.mark.parametrize("worst", [math.nan, math.inf])
@pytest.mark.parametrize(("keep", "step"), [("best", 1), ("last", 3)])
def test_divergence_takes_the_best_before_it(monkeypatch, worst, keep, step):
    monkeypatch.setattr(Valley, "losses", [4.0, 1.0, 2.0, 3.0, worst, 0.0])
    found = minimised(run__keep=keep)
    assert found.stopped == "diverged"
    assert found.steps == 5
    if keep == "best":
        assert kept_at(found) == step
    else:
        assert torch.equal(found.latent, Valley.states[step][0])


class Flat(Pixels):
    """Pixels that begin with no picture at all, so that there is something to be found."""

    def __init__(self, params, observation, *, margin, generator):
        super().__init__(params, observation, margin=margin, generator=generator)
        self.fit(torch.full(self.latent_shape, 0.4))


GRADIENTS = {
    "joint": {"optimizer__iterations": 9, "optimizer__image_lr": 0.1, "optimizer__kernel_lr": 0.05},
    "alternating": {
        "optimizer__name": "alternating",
        "optimizer__iterations": 3,
        "optimizer__image_steps": 3,
        "optimizer__kernel_steps": 3,
        "optimizer__image_lr": 0.2,
        "optimizer__kernel_lr": 0.02,
        "kernel_prior__name": "fcn",
        "kernel_prior__hidden_units": 20,
    },
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_what_is_kept_has_the_least_loss(name):
    found = minimised(optimizer=None, image=Flat, run__keep="best", **GRADIENTS[name])
    losses = [row["loss"] for row in found.history]
    assert losses.index(min(losses)) > 0, "else there is nothing to choose"
    assert torch.equal(Pixels.made[-1]().detach(), found.latent), "so that a last phase goes on from there"
    y = found.observation.y
    assert float((found.blurred - y).square().mean()) == pytest.approx(min(losses), rel=1e-4)
    again = blur_by_definition(found.latent, found.kernel)
    assert float((again - y).square().mean()) == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize(
    "flags",
    [
        {"data_term__name": "mse-then-ssim", "data_term__switch": 4},
        {"optimizer__second_phase": 4, "optimizer__image_weight": 100.0, "image_prior__name": "total-variation"},
    ],
    ids=["data term", "second phase"],
)
def test_the_least_loss_is_that_of_the_objective_that_counts_in_the_end(flags):
    image = None if "image_prior__name" in flags else Flat
    found = minimised(optimizer=None, image=image, run__keep="best", optimizer__iterations=12, **flags)
    losses = [row["loss"] for row in found.history]
    assert losses.index(min(losses)) == 3, "else nothing is compared wrongly"
    start = minimised(optimizer=None, image=image, run__keep="last", optimizer__iterations=4, **flags)
    assert not torch.equal(found.latent, start.latent), "that is the end of the phase before"


def refined(monkeypatch, losses=(0.5, 0.4, 0.3), **how) -> tuple[Estimate, Refining]:
    monkeypatch.setattr(Refining, "losses", list(losses))
    found = minimised(image=Refining, **how)
    return found, Pixels.made[-1]


@pytest.mark.parametrize(("keep", "step"), [("best", 3), ("last", 6)])
def test_the_last_phase_goes_on_from_the_state_that_counts(monkeypatch, keep, step):
    told: list[Progress] = []
    found, prior = refined(monkeypatch, run__keep=keep, listener=told.append)
    image, kernel = Valley.states[step]
    assert torch.equal(prior.started_at, image)
    torch.testing.assert_close(found.latent, image + 0.03)
    torch.testing.assert_close(found.kernel, kernel)
    torch.testing.assert_close(found.blurred, blur_by_definition(image + 0.03, kernel), atol=1e-5, rtol=0)
    assert [row["loss"] for row in found.history[7:]] == pytest.approx([0.5, 0.4, 0.3])
    assert [row["step"] for row in found.history] == list(range(10))
    assert found.steps == 10
    assert [(event.stage, event.done) for event in told[7:]] == [("refine", 1), ("refine", 2), ("refine", 3)]


def test_the_objective_of_the_last_phase_is_the_loss_and_can_be_differentiated(monkeypatch):
    found, prior = refined(monkeypatch)
    x = found.latent.clone().requires_grad_()
    loss = prior.objective(x)
    expected = (blur_by_definition(found.latent, found.kernel) - found.observation.y).square().mean()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-4)
    (slope,) = torch.autograd.grad(loss, x)
    assert float(slope.abs().max()) > 0


def test_a_prior_without_a_last_phase_keeps_the_very_image():
    found = minimised(run__keep="best")
    assert torch.equal(found.latent, Valley.states[3][0])
    assert found.steps == 7


def test_the_time_budget_ends_the_last_phase(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(ENGINE, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def tick(event):
        clock[0] = float(event.done) if event.stage == "refine" else 0.0

    found, _ = refined(monkeypatch, listener=tick, deadline=1.5)
    assert found.stopped == "time budget"
    assert found.steps == 9
    torch.testing.assert_close(found.latent, Valley.states[6][0] + 0.02)


def test_there_is_no_last_phase_after_the_time_budget(monkeypatch):
    found, prior = refined(monkeypatch, deadline=-math.inf)
    assert found.stopped == "time budget"
    assert found.steps == 1
    assert not hasattr(prior, "started_at")


@pytest.mark.parametrize(("keep", "step"), [("best", 3), ("last", 6)])
def test_ctrl_c_in_the_last_phase_keeps_what_it_reached_as_the_time_budget_does(monkeypatch, keep, step):
    def press(event):
        if event.stage == "refine" and event.done == 2:
            raise KeyboardInterrupt

    found, _ = refined(monkeypatch, run__keep=keep, listener=press)
    assert found.stopped == "interrupted"
    torch.testing.assert_close(found.latent, Valley.states[step][0] + 0.02)
    torch.testing.assert_close(found.kernel, Valley.states[step][1])
    assert found.steps == len(found.history) == 9


def test_ctrl_c_before_the_first_update_of_the_last_phase_keeps_what_was_found(monkeypatch):
    def pressed(self, objective):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Refining, "refine", pressed)
    found = minimised(image=Refining, run__keep="best")
    assert found.stopped == "interrupted"
    assert kept_at(found) == 3


def test_the_objective_of_the_last_phase_counts_the_steps_of_its_own_scale(monkeypatch):
    seen = []

    def refine(self, objective):
        seen.append(objective(self()).detach())
        yield seen[-1]

    monkeypatch.setattr(Refining, "refine", refine)
    monkeypatch.setattr(MSE, "forward", lambda self, x, y, step: (x - y.y).square().mean((1, 2, 3)) * 0 + step)
    found = minimised(image=Refining, scales=2)
    assert [float(loss) for loss in seen] == [7, 7], "and not 7 and 15"
    assert [row["step"] for row in found.history] == [*range(8), *range(8)]


def test_a_last_phase_that_diverges_is_as_if_it_had_not_been(monkeypatch):
    found, _ = refined(monkeypatch, (0.5, math.nan, 0.3), run__keep="best")
    assert found.stopped == "diverged"
    assert torch.equal(found.latent, Valley.states[3][0])
    assert all(math.isfinite(row["loss"]) for row in found.history)


def digit(size=64, channels=3, seed=0) -> Tensor:
    """A blurry picture of the generator's."""
    network = load_generator(DIGITS)
    z = torch.randn(1, network.inputs, generator=torch.Generator().manual_seed(seed))
    x = (network(network.map(z)[:, None].expand(-1, network.latents, -1), network.own_noises()) + 1) / 2
    x = torch.nn.functional.interpolate(x.clamp(0.05, 0.95), (size, size), mode="area")
    y = blur_by_definition(extend(x, (3, 4)), KERNEL)
    y = (y + 0.003 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)
    return y[:, :1] if channels == 1 else y


def manifold(y, listener=lambda event: None, valid=None, **flags):
    dotted = {
        "image_prior.weights": str(DIGITS),
        "image_prior.candidates": 4,
        "image_prior.fit_steps": 5,
        "kernel_prior.name": "convolution",
        "optimizer.name": "joint",
        "optimizer.iterations": 5,
        "run.kernel_size": 9,
        "run.restarts": 0,
        "run.threads": 1,
    }
    dotted |= {key.replace("__", "."): value for key, value in flags.items()}
    return deblur(y, resolve(dotted, registry=registry(), recipe="manifold"), listener=listener, valid=valid)


KERNELS = {
    "convolution": {},
    "encoded": {},
    "fcn": {"kernel_prior__hidden_units": 20},
    "dip": {"kernel_prior__channels": 4, "kernel_prior__scales": 2},
    "bicubic": {"kernel_prior__factor": 2},
    "known": {},
}


@pytest.mark.parametrize("optimizer", ["joint", "alternating"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_prior_and_optimizer_works_with_it(tmp_path, kernel, optimizer):
    flags = {"kernel_prior__name": kernel, "optimizer__name": optimizer, "optimizer__iterations": 2} | KERNELS[kernel]
    if optimizer == "alternating":
        flags |= {"optimizer__image_steps": 2, "optimizer__kernel_steps": 2}
    if kernel == "known":
        np.save(tmp_path / "k.npy", KERNEL[0, 0].numpy())
        flags["kernel_prior__file"] = str(tmp_path / "k.npy")
    y = digit()
    result = manifold(y, **flags)
    assert result.image.shape == y.shape
    assert bool(result.image.isfinite().all())
    assert 0 <= float(result.image.min()) <= float(result.image.max()) <= 1
    assert result.synthesised
    assert not result.restored
    assert math.isfinite(result.quality.measures["plain_psnr"])
    assert math.isfinite(result.quality.measures["residual"])
    assert (result.kernel is None) == (kernel == "bicubic")
    assert result.history
    if kernel == "known":
        assert torch.equal(result.kernel, KERNEL)


def plain(y, kernel, tmp_path) -> Tensor:
    """What the recipe for known kernels makes of a picture."""
    np.save(tmp_path / "plain.npy", kernel[0, 0].numpy())
    flags = {"kernel_prior.file": str(tmp_path / "plain.npy"), "run.threads": 1}
    return deblur(y, resolve(flags, registry=registry(), recipe="deconvolve")).image


def aligned_psnr(estimate: Tensor, truth: Tensor, crop: int = 15, reach: int = 10) -> float:
    """The PSNR of the best shift, on a grid of quarter pixels, bilinear: tried one after the other."""
    target = truth[..., crop:-crop, crop:-crop]
    rows, columns = target.shape[-2:]
    padded = torch.nn.functional.pad(estimate, (1, 1, 1, 1), mode="replicate").double()
    least = math.inf
    for down in range(4):
        for right in range(4):
            a, b = down / 4, right / 4
            moved = (1 - a) * padded[..., :-1, :] + a * padded[..., 1:, :]
            moved = (1 - b) * moved[..., :-1] + b * moved[..., 1:]
            for top in range(-reach, reach + (down == 0)):
                for left in range(-reach, reach + (right == 0)):
                    window = moved[..., crop + top + 1 :, crop + left + 1 :][..., :rows, :columns]
                    least = min(least, float((window - target).square().mean()))
    return -10 * math.log10(least)


def test_how_far_it_is_from_a_plain_restoration(tmp_path):
    y = digit()
    result = manifold(y)
    expected = aligned_psnr(result.image, plain(y, result.kernel, tmp_path))
    assert result.quality.measures["plain_psnr"] == pytest.approx(expected, abs=0.05)


def test_the_distance_to_a_plain_restoration_is_not_told_where_it_means_nothing(tmp_path):
    small = manifold(digit(32))
    assert small.synthesised
    assert "plain_psnr" not in small.quality.measures
    assert small.image.shape == (1, 3, 32, 32)


def test_a_plain_restoration_that_cannot_be_made_costs_no_result():
    result = manifold(digit(), kernel_prior__name="bicubic", kernel_prior__factor=2, run__kernel_size=65)
    assert result.synthesised
    assert bool(result.image.isfinite().all())


def test_a_last_step_that_is_named_restores_and_nothing_is_synthesised(tmp_path):
    y = digit()
    result = manifold(y, final__name="hyper-laplacian")
    assert result.restored
    assert not result.synthesised
    assert "plain_psnr" not in result.quality.measures
    # the file's kernel sums to 1 in other last digits
    assert float((result.image - plain(y, result.kernel, tmp_path)).abs().mean()) < 1e-3


@pytest.mark.parametrize("final", ["auto", "none"])
def test_without_one_it_keeps_its_own_image(final):
    result = manifold(digit(), final__name=final)
    assert result.synthesised
    assert not result.restored


@pytest.mark.parametrize("final", ["none", "hyper-laplacian"])
def test_the_whole_picture_is_looked_at_however_large(final):
    result = manifold(digit(), run__crop=32, final__name=final)
    assert result.plan.crop == (0, 0, 64, 64)
    assert not result.plan.cropped
    assert result.synthesised == (final == "none")
    # other priors take the crop
    flags = FREE | {"run.crop": 32, "final.name": "hyper-laplacian", "run.kernel_size": 9, "optimizer.iterations": 1}
    other = deblur(digit(), resolve(flags, registry=registry()))
    assert other.plan.crop[2:] == (32, 32)


@pytest.mark.parametrize("channels", ["all", "luma"])
def test_grey_pictures_stay_grey_and_all_channels_come_back(channels):
    assert manifold(digit(channels=1), run__channels=channels).image.shape == (1, 1, 64, 64)
    assert manifold(digit(channels=3), run__channels=channels).image.shape == (1, 3, 64, 64)
    restored = manifold(digit(channels=3), run__channels=channels, final__name="total-variation")
    assert restored.image.shape == (1, 3, 64, 64)


@pytest.mark.parametrize("way", ["resize", "crop", "pad"])
def test_a_picture_of_another_shape_gets_the_generator_s(way):
    y = torch.nn.functional.pad(digit(), (0, 30, 0, 0), mode="reflect")
    valid = torch.ones(1, 1, 64, 94)
    valid[..., :8, :] = 0
    result = manifold(y, valid=valid, image_prior__picture=way)
    assert result.image.shape == (1, 3, 64, 64)
    assert result.plan.size == (64, 64)
    assert result.plan.crop == (0, 0, 64, 64)
    with pytest.raises(RunError, match=r"the picture is 94x64, but the generator needs it square"):
        manifold(y)


def test_a_kernel_that_reaches_beyond_the_frame_from_everywhere_is_told(tmp_path):
    np.save(tmp_path / "k.npy", np.ones((65, 65)))
    with pytest.raises(RunError, match=r"a kernel of 65x65 pixels leaves nothing of a picture of 64x64"):
        manifold(digit(), kernel_prior__name="known", kernel_prior__file=str(tmp_path / "k.npy"))


def estimated(y: Observation, **flags) -> Estimate:
    dotted = {"image_prior.weights": str(DIGITS), "image_prior.candidates": 2, "kernel_prior.name": "convolution"}
    dotted |= {"optimizer.iterations": 2} | flags
    parts = Parts.load(resolve(dotted, registry=registry(), recipe="manifold"), registry())
    return estimate(
        *(y, parts, pyramid(9, 2.0, 1, y.size)),
        automatic=False,
        seed=0,
        attempt=0,
        deadline=math.inf,
        listener=lambda event: None,
    )


def test_the_judge_believes_what_the_prior_believes():
    y = digit()
    y[..., :4, :] = 0.7  # where the blur reaches beyond the frame
    y[..., 20:22, 20:22] = 1.0  # saturated
    frame = observe(y)
    found = estimated(frame)
    inside = torch.zeros_like(frame.mask)
    inside[..., 4:60, 4:60] = 1
    assert torch.equal(found.observation.mask, frame.mask * inside)
    quality = judge(found.observation, found.latent, found.kernel, found.blurred)
    weight = (frame.mask * inside).expand_as(y)
    expected = ((found.blurred - y).square() * weight).sum() / weight.sum()
    assert quality.measures["residual"] == pytest.approx(float(expected.sqrt()), rel=1e-4)


def test_what_a_prior_does_not_believe_is_neither_saturated_nor_missing():
    y = digit().clamp(0, 0.9)
    result = manifold(y)
    assert result.quality.measures["saturated"] == 0
    assert not any("saturated" in reason for reason in result.quality.reasons)
    y[..., 20:30, 20:30] = 1.0
    assert manifold(y).quality.measures["saturated"] == pytest.approx(100 / 64**2, rel=0.5)


@pytest.mark.parametrize("final", ["auto", "hyper-laplacian"])
def test_what_was_added_to_fill_the_frame_is_neither_saturated_nor_missing(final):
    wide = torch.nn.functional.pad(digit().clamp(0, 0.9), (0, 32, 0, 0), mode="reflect")
    result = manifold(wide, image_prior__picture="pad", final__name=final)
    assert result.reframed
    assert result.quality.measures["saturated"] == 0
    valid = torch.ones(1, 1, 64, 96)
    valid[..., :16] = 0
    result = manifold(wide, image_prior__picture="pad", final__name=final, valid=valid)
    assert result.quality.measures["saturated"] == pytest.approx(1 / 6, rel=1e-3)


@pytest.mark.parametrize("final", ["auto", "hyper-laplacian"])
def test_only_what_is_synthesised_is_said_to_be_undrawable(final):
    y = digit()
    y[..., 20:44, 20:44] = y[..., 20:44, 20:44].flip(-1).roll(5, -2) * 0.5
    reasons = str(manifold(y, final__name=final).quality.reasons)
    assert ("generator" in reasons) == (final == "auto")


BICUBIC = {"kernel_prior__name": "bicubic", "kernel_prior__factor": 2}


def test_without_a_kernel_the_comparison_says_that_it_goes_on():
    told: list[Progress] = []
    result = manifold(digit(), listener=told.append, **BICUBIC)
    assert math.isfinite(result.quality.measures["plain_psnr"])
    stages = [event.stage for event in told]
    assert stages.count("compare") > 3
    assert "compare" not in stages[: stages.index("judge")]
    assert "size" not in stages


@pytest.mark.parametrize("moment", [1, 4])
def test_ctrl_c_during_the_comparison_keeps_the_result(moment):
    seen = []

    def press(event):
        if event.stage == "compare":
            seen.append(event)
            if len(seen) >= moment:
                raise KeyboardInterrupt

    result = manifold(digit(), listener=press, **BICUBIC)
    assert len(seen) >= moment
    assert result.stopped == "", "the estimation had come to its end"
    assert "plain_psnr" not in result.quality.measures
    assert torch.equal(result.image, manifold(digit(), **BICUBIC).image)


def test_after_an_early_end_nothing_more_is_begun():
    told = []

    def press(event):
        told.append(event.stage)
        if event.stage == "estimate" and event.done == 2:
            raise KeyboardInterrupt

    result = manifold(digit(), listener=press, **BICUBIC)
    assert result.stopped == "interrupted"
    assert "plain_psnr" not in result.quality.measures
    assert told[-1] == "judge"


def test_the_same_seed_gives_the_same_picture():
    first, second, third = (manifold(digit(), run__seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.image, second.image)
    assert not torch.equal(first.image, third.image)


@pytest.mark.parametrize("stage", ["estimate", "refine"])
def test_ctrl_c_gives_the_best_so_far(stage):
    def press(event):
        if event.stage == stage and event.done == 2:
            raise KeyboardInterrupt

    result = manifold(digit(), listener=press, image_prior__tune_steps=3)
    assert result.stopped == "interrupted"
    assert result.synthesised
    assert bool(result.image.isfinite().all())


def test_the_time_budget_ends_it_with_a_picture():
    result = manifold(digit(), run__time_budget=1e-6)
    assert result.stopped == "time budget"
    assert result.synthesised
    assert "plain_psnr" not in result.quality.measures
    assert bool(result.image.isfinite().all())


def test_pivotal_tuning_is_noted_in_the_history():
    result = manifold(digit(), image_prior__tune_steps=3)
    assert [row["step"] for row in result.history] == [*range(5), *range(5, 8)]
