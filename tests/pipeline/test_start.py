"""Where gradients start, and the encoded prior through the whole pipeline with every part that it fits."""

import sys
from dataclasses import replace

import pytest
import torch

from deblurkit.config import resolve
from deblurkit.core.image_prior import extend
from deblurkit.image_priors.identity import Identity
from deblurkit.kernel_priors.convolution import Convolution
from deblurkit.kernel_priors.encoded import Encoded
from deblurkit.metrics import kernel_similarity
from deblurkit.ops.resample import crop_kernel, resample_kernel
from deblurkit.pipeline import Parts, deblur, observe, prepare
from deblurkit.pipeline.attempts import Candidate, best_attempt, estimated_part
from deblurkit.pipeline.deblur import needed_window
from deblurkit.pipeline.estimate import Estimate, estimate
from deblurkit.pipeline.judge import Quality
from deblurkit.pipeline.progress import silent
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

KERNEL = curved_kernel((7, 9))
FOUND = crop_kernel(KERNEL, (13, 13))
"""What the stand-in for the scout finds."""
BASE = {
    "image_prior.name": "identity",
    "kernel_prior.name": "encoded",
    "data_term.name": "mse",
    "optimizer.name": "joint",
    "optimizer.iterations": 3,
    "final.name": "auto",
    "run.start": "kernel",
    "run.channels": "all",
    "run.kernel_size": 9,
    "run.restarts": 0,
    "run.threads": 1,
}
module = sys.modules["deblurkit.pipeline.deblur"]  # the function of that name hides it


def picture(channels: int = 1, noise: float = 0.002) -> torch.Tensor:
    y = blur_by_definition(cartoon(1, channels, (54, 64)), KERNEL)
    return y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def make(compact_file):
    def made(**flags):
        dotted = {key.replace("__", "."): value for key, value in flags.items()}
        if dotted.get("kernel_prior.name", "encoded") == "encoded":
            dotted = {"kernel_prior.space": compact_file, **dotted}
        return resolve(BASE | dotted, registry=registry())

    return made


@pytest.fixture
def scouted(monkeypatch):
    """Let the scout find a known kernel at once; return the list of its calls."""
    calls = []
    monkeypatch.setattr(
        module, "scout", lambda frame, parts, components, listener, deadline: calls.append(parts) or FOUND
    )
    return calls


def plan_of(config, **how):
    parts = Parts.load(config, registry())
    return parts, prepare(observe(picture()), parts, registry(), **how)


# who starts where


@pytest.mark.parametrize("prior", ["encoded", "fcn", "dip", "convolution"])
def test_gradients_start_at_the_kernel_that_was_found(make, scouted, prior):
    parts, plan = plan_of(make(kernel_prior__name=prior))
    assert parts.takes_start
    assert plan.start is FOUND
    assert plan.kernel_size == 9, "what was asked for"
    assert len(scouted) == 1


@pytest.mark.parametrize("flags", [{"run__start": "own"}, {"run__start": "blurry"}])
def test_otherwise_nobody_is_sent_out(make, scouted, flags):
    _, plan = plan_of(make(**flags))
    assert plan.start is None
    assert not scouted


def test_closed_forms_and_fixed_blurs_start_by_themselves(make, scouted, paper_file):
    closed = {"image_prior__name": "hyper-laplacian", "optimizer__name": "alternating"}
    fixed = {"kernel_prior__name": "bicubic"}
    published = {"kernel_prior__space": paper_file}
    for flags in (closed, fixed, published, {"kernel_prior__tiles": 2}):
        parts, plan = plan_of(make(**flags))
        assert not parts.takes_start
        assert plan.start is None
    assert not scouted


def test_an_automatic_window_is_that_of_the_kernel_that_was_found(make, scouted):
    _, plan = plan_of(make(run__kernel_size="auto", run__largest_kernel=25))
    assert plan.kernel_size == needed_window(FOUND, 25) == 11
    assert not plan.automatic
    assert plan.start is FOUND
    assert len(scouted) == 1, "one errand for both"
    _, plan = plan_of(make(run__kernel_size="auto", run__start="own", run__largest_kernel=11))
    assert plan.kernel_size == 11
    assert plan.start is None


def test_the_needed_window_holds_nearly_all_and_some_more():
    kernel = torch.zeros(1, 1, 21, 21)
    kernel[0, 0, 10, 8:13] = 0.199
    kernel[0, 0, 0, 0] = 0.005
    assert needed_window(kernel, 51) == 5 + 4
    assert needed_window(kernel, 7) == 7


def test_without_scouting_the_plan_names_the_recipe(make, scouted):
    for flags in ({}, {"run__kernel_size": "auto"}, {"run__kernel_size": "auto", "run__start": "own"}):
        _, plan = plan_of(make(**flags), scouting=False)
        assert plan.size_recipe == "fast"
        assert plan.start is None
    assert plan_of(make(run__start="own"), scouting=False)[1].size_recipe == ""
    assert not scouted


def test_the_scout_is_the_recipe_that_was_asked_for(make, monkeypatch):
    asked = []
    found = Candidate(Estimate(observe(picture()), kernel=FOUND), picture(), True, Quality("good", (), {}))

    def best(observation, parts, plan, *, deadline, listener):
        asked.append((parts.config, plan))
        return found, 1

    monkeypatch.setattr(module, "best_attempt", best)
    _, plan = plan_of(make(run__size_recipe="kernel-space-cpu", run__seed=3))
    ((config, scouts),) = asked
    assert config.kernel_prior.name == "encoded"
    assert config.optimizer.name == "alternating"
    assert config.run.seed == 3
    assert config.run.start == "own"
    assert scouts.kernel_size == config.run.kernel_size == 9
    assert plan.start is FOUND
    found.estimate.stopped = "interrupted"
    with pytest.raises(KeyboardInterrupt):
        plan_of(make())


def test_the_scout_finds_the_kernel(make):
    _, plan = plan_of(make())
    assert plan.start is not None
    assert kernel_similarity(plan.start, KERNEL).direct > 0.8


# how the start is handed over


class Heard(Encoded):
    """Notes what it was fitted to, and in which window."""

    heard: list[torch.Tensor]

    def fit(self, kernel):
        type(self).heard.append(kernel.clone())
        super().fit(kernel)


def attempts(config, kernel_class, monkeypatch, **more):
    Heard.heard = []
    parts, plan = plan_of(config)
    parts = replace(parts, kernel_class=kernel_class, **more)
    frame = observe(picture())
    return best_attempt(frame, parts, plan, deadline=float("inf"), listener=silent), plan


def test_the_first_attempt_alone_starts_there(make, scouted, monkeypatch):
    (_, count), _ = attempts(make(run__starts=3), Heard, monkeypatch)
    assert count == 3
    assert len(Heard.heard) == 1
    assert torch.equal(Heard.heard[0], resample_kernel(FOUND, 1.0, (9, 9)))


def test_at_a_coarse_scale_it_starts_at_the_smaller_kernel(make, scouted, monkeypatch):
    _, plan = attempts(make(run__scales=2, run__scale_ratio=1.5), Heard, monkeypatch)
    assert [scale.factor for scale in plan.scales] == pytest.approx([1 / 1.5, 1.0])
    coarse, fine = Heard.heard
    assert torch.equal(coarse, resample_kernel(FOUND, 1 / 1.5, coarse.shape[-2:]))
    assert fine.shape[-2:] == (9, 9)


def test_without_steps_that_count_the_kernel_is_the_one_it_started_from(make, scouted):
    result = deblur(picture(), make(optimizer__kernel_lr=1e-12))
    assert result.kernel is not None
    similarity = kernel_similarity(result.kernel, crop_kernel(FOUND, tuple(result.kernel.shape[-2:])))
    assert similarity.direct > 0.999


def test_a_kernel_that_was_given_stands_unless_gradients_do_better(make, scouted):
    """Gradients that go astray cost nothing."""
    astray = make(optimizer__kernel_lr=0.5, optimizer__iterations=12, final__name="hyper-laplacian")
    result = deblur(picture(), astray)
    assert result.restored
    assert torch.equal(result.kernel, FOUND)
    assert result.kept_start, "and nobody takes it for the work of these parts"
    assert result.history, "what was tried is still told"
    alone = deblur(picture(), make(optimizer__kernel_lr=0.5, optimizer__iterations=12, run__start="own"))
    assert alone.kernel is not None
    assert alone.kernel.shape == (1, 1, 9, 9)
    assert not alone.kept_start


def test_a_kernel_that_gradients_made_better_is_theirs(make, scouted, monkeypatch):
    monkeypatch.setattr(sys.modules["deblurkit.pipeline.attempts"], "better_of", lambda first, other: other)
    assert not deblur(picture(), make(final__name="hyper-laplacian")).kept_start


class Watched(Identity):
    """Notes the image that it was started from."""

    heard: list[torch.Tensor]

    def fit(self, x):
        type(self).heard.append(x.clone())
        super().fit(x)


@pytest.mark.parametrize("start", ["own", "blurry", "kernel"])
@pytest.mark.parametrize("kernel", ["encoded", "fcn"])
def test_blurry_starts_the_image_at_the_filled_picture(make, scouted, start, kernel):
    Watched.heard = []
    parts = Parts.load(make(run__start=start, kernel_prior__name=kernel), registry())
    parts = replace(parts, image_class=Watched)
    valid = torch.ones(1, 1, 48, 56)
    valid[..., 10:14, 20:24] = 0
    y = picture() * valid
    frame = observe(y, valid)
    plan = prepare(frame, parts, registry())
    how = {"automatic": False, "seed": 0, "attempt": 0, "deadline": float("inf"), "listener": silent}
    estimate(estimated_part(frame, plan), parts, list(plan.scales), start=plan.start, **how)
    if start != "blurry":
        assert not Watched.heard
        return
    (x,) = Watched.heard
    assert torch.equal(x, extend(frame.start, (4, 4)))
    assert float(x.min()) > 0.05, "missing pixels are filled in"


def test_blurry_is_no_matter_where_the_image_cannot_be_started(make):
    config = make(run__start="blurry")
    parts = Parts.load(config, registry())
    parts = replace(parts, image=replace(parts.image, offers={"parameters"}), image_class=Watched)
    Watched.heard = []
    frame = observe(picture())
    plan = prepare(frame, parts, registry())
    best_attempt(frame, parts, plan, deadline=float("inf"), listener=silent)
    assert not Watched.heard


# the encoded prior with every part that it fits

SMALL = {
    "dip": {"channels": 4, "skip_channels": 2, "scales": 2, "fit_steps": 3, "non_local": False},
    "hyper-laplacian": {"iterations": 10},
    "total-variation": {"iterations": 10},
}
PAIRS = [
    ("dip", "joint"),
    ("dip", "alternating"),
    ("identity", "joint"),
    ("identity", "alternating"),
    ("hyper-laplacian", "joint"),
    ("hyper-laplacian", "alternating"),
    ("total-variation", "joint"),
    ("total-variation", "alternating"),
    ("l0-gradient", "alternating"),
]


def parts_of(image: str, optimizer: str) -> dict[str, object]:
    flags: dict[str, object] = {"image_prior__name": image, "optimizer__name": optimizer, "run__start": "own"}
    flags |= {f"image_prior__{key}": value for key, value in SMALL.get(image, {}).items()}
    if optimizer == "alternating":
        flags |= {"optimizer__iterations": 2, "optimizer__image_steps": 2, "optimizer__kernel_steps": 2}
    return flags


@pytest.mark.parametrize(("image", "optimizer"), PAIRS)
@pytest.mark.parametrize("code", ["free", "network"])
def test_it_works_with_every_image_prior_and_optimizer(make, image, optimizer, code):
    state = torch.random.get_rng_state()
    config = make(**parts_of(image, optimizer), kernel_prior__code=code, kernel_prior__fit_steps=2)
    result = deblur(picture(3), config)
    assert torch.equal(state, torch.random.get_rng_state())
    assert result.image.shape == (1, 3, 48, 56)
    assert bool(result.image.isfinite().all())
    assert result.stopped == ""
    assert result.kernel is not None
    assert float(result.kernel.sum()) == pytest.approx(1, abs=1e-5)
    assert float(result.kernel.min()) >= 0
    assert result.history


@pytest.mark.parametrize(("image", "optimizer"), [pair for pair in PAIRS if pair[0] != "l0-gradient"])
@pytest.mark.parametrize("how", ["paper", "tiles", "response"])
def test_without_a_kernel_it_works_by_gradients(make, paper_file, image, optimizer, how):
    flags = parts_of(image, optimizer)
    flags |= {"paper": {"kernel_prior__space": paper_file}, "tiles": {"kernel_prior__tiles": 2}}.get(
        how, {"kernel_prior__response": True}
    )
    result = deblur(picture(3), make(**flags))
    assert result.image.shape == (1, 3, 48, 56)
    assert bool(result.image.isfinite().all())
    assert result.kernel is None
    assert not result.restored
    assert result.stopped == ""


def test_gradients_lower_the_loss_with_a_free_code_and_with_a_network(make):
    for flags in ({"optimizer__kernel_lr": 1e-3}, {"kernel_prior__code": "network", "kernel_prior__fit_steps": 3}):
        result = deblur(picture(), make(run__start="own", optimizer__iterations=25, final__name="none", **flags))
        losses = [row["loss"] for row in result.history]
        assert losses[-1] < 0.7 * losses[0]


def test_the_same_seed_gives_the_same_picture(make):
    flags = parts_of("dip", "joint") | {"kernel_prior__code": "network", "kernel_prior__fit_steps": 2}
    images = [deblur(picture(), make(**flags, run__seed=seed, final__name="none")).image for seed in (1, 1, 2)]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_a_blind_estimation_in_the_space_finds_the_kernel(make):
    """In closed form, coarse to fine, with the projection as second opinion."""
    flags = {"image_prior__name": "hyper-laplacian", "optimizer__name": "alternating", "optimizer__iterations": 5}
    result = deblur(picture(), make(**flags, run__start="own"))
    assert result.kernel is not None
    assert kernel_similarity(result.kernel, KERNEL).direct > 0.85


def test_its_first_opinion_is_that_of_convolution(make, monkeypatch):
    flags = {"image_prior__name": "hyper-laplacian", "optimizer__name": "alternating", "optimizer__iterations": 2}
    monkeypatch.setattr(Encoded, "alternative", classmethod(lambda cls, params: None))
    results = [deblur(picture(), make(**flags, kernel_prior__name=name)) for name in ("encoded", "convolution")]
    torch.testing.assert_close(results[0].kernel, results[1].kernel, atol=1e-3, rtol=0)
    torch.testing.assert_close(results[0].image, results[1].image, atol=5e-2, rtol=0)
    assert Convolution.alternative(results) is None


def test_the_scout_keeps_to_the_time_budget(make, monkeypatch):
    asked = []

    def best_attempt(observation, parts, plan, *, deadline, listener):
        asked.append(deadline)
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["deblurkit.pipeline.deblur"], "best_attempt", best_attempt)
    with pytest.raises(KeyboardInterrupt):
        plan_of(make(), deadline=12.5)
    assert asked == [12.5]
