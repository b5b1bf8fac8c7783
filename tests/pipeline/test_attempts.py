import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from deblurkit.config import resolve
from deblurkit.core import ImagePrior, Observation
from deblurkit.errors import KernelError
from deblurkit.image_priors.sparse_gradients import TotalVariation
from deblurkit.kernel_priors.convolution import Convolution
from deblurkit.ops.resample import crop_kernel
from deblurkit.pipeline import Parts, attempts, deblur, observe, prepare
from deblurkit.pipeline.attempts import Candidate, best_attempt, better_of, trim
from deblurkit.pipeline.estimate import Estimate
from deblurkit.pipeline.judge import Quality
from deblurkit.pipeline.progress import silent
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

KERNEL = curved_kernel((7, 9))
BASE = {
    "image_prior.name": "total-variation",
    "image_prior.iterations": 5,
    "kernel_prior.name": "convolution",
    "optimizer.name": "joint",
    "optimizer.iterations": 4,
    "data_term.name": "mse",
    "final.name": "none",
    "run.kernel_size": 9,
    "run.channels": "all",
    "run.scales": 1,
    "run.start": "own",
    "run.threads": 1,
}


class Moody(TotalVariation):
    """Collapses at its first attempt, and behaves from the second on."""

    def forward(self):
        x = super().forward()
        return 0.0 * x if self.params.iterations == BASE["image_prior.iterations"] else x

    @classmethod
    def restarted(cls, params, attempt):
        return replace(params, iterations=params.iterations + attempt)


class Hopeless(TotalVariation):
    def forward(self):
        return 0.0 * super().forward()


class Seeded(TotalVariation):
    """Starts from noise: the seed decides how good it is."""

    seen: ClassVar[list[float]] = []

    def __init__(self, params, observation, *, margin, generator):
        super().__init__(params, observation, margin=margin, generator=generator)
        level = float(torch.rand((), generator=generator))
        self.seen.append(level)
        with torch.no_grad():
            self.pixels.add_(0.1 * level * torch.randn(self.pixels.shape, generator=generator))


class PointKernel(Convolution):
    """A kernel that is a single point, so that nothing is deblurred."""

    def kernel(self):
        k = 0.0 * super().kernel()
        k[..., k.shape[-2] // 2, k.shape[-1] // 2] += 1
        return k


def frame() -> Observation:
    y = blur_by_definition(cartoon(1, 1, (54, 64)), KERNEL)
    return observe(y + 0.004 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)))


def attempt(image_class: type[ImagePrior], kernel_class=Convolution, deadline=math.inf, **run):
    flags = BASE | {f"run.{key}": value for key, value in run.items()}
    parts = Parts.load(resolve(flags, registry=registry()), registry())
    parts = replace(parts, image_class=image_class, kernel_class=kernel_class)
    observation = frame()
    plan = prepare(observation, parts, registry())
    return best_attempt(observation, parts, plan, deadline=deadline, listener=silent)


def test_a_good_result_is_not_tried_again():
    best, count = attempt(TotalVariation, restarts=3)
    assert best.quality.flag != "bad"
    assert count == 1
    assert best.estimate.attempt == 0


def test_a_bad_result_is_tried_again_until_one_is_good():
    best, count = attempt(Moody, restarts=3)
    assert count == 2
    assert best.quality.flag != "bad"
    assert best.estimate.attempt == 3, "a start that the usual three do not try"


def test_without_restarts_a_bad_result_stays_bad():
    best, count = attempt(Moody, restarts=0)
    assert count == 1
    assert best.quality.flag == "bad"


def test_it_gives_up_in_the_end_and_says_so():
    best, count = attempt(Hopeless, restarts=2)
    assert count == 3
    assert best.quality.flag == "bad"
    assert "the image collapsed to a nearly flat picture" in best.quality.reasons


def test_doubtful_results_are_kept():
    best, count = attempt(TotalVariation, PointKernel, restarts=3)
    assert count == 1
    assert best.quality.flag == "doubtful"
    assert best.quality.reasons[0].startswith("no blur was found")


def test_of_several_starts_the_best_is_kept():
    Seeded.seen = []
    best, count = attempt(Seeded, starts=4, restarts=0)
    assert count == len(Seeded.seen) == 4
    assert len(set(Seeded.seen)) == 4, "every attempt has a seed of its own"
    residuals = []
    for start in range(4):
        Seeded.seen = []
        residuals.append(attempt(Seeded, seed=start, restarts=0)[0].quality.measures["residual"])
    assert best.quality.measures["residual"] == pytest.approx(min(residuals))


def test_after_the_deadline_no_attempt_is_started():
    best, count = attempt(Hopeless, deadline=-math.inf, starts=5, restarts=5)
    assert count == 1
    assert best.estimate.stopped == "time budget"
    assert best.estimate.steps == 1


def test_the_kernel_that_is_given_must_fit(tmp_path):
    np.save(tmp_path / "k.npy", np.ones((21, 99)))
    flags = {"kernel_prior.file": str(tmp_path / "k.npy")}
    config = resolve(flags, registry=registry(), recipe="deconvolve")
    with pytest.raises(KernelError, match=r"The kernel \(99 × 21\) is larger than the picture"):
        deblur(frame().y, config)


def test_an_automatic_kernel_is_cut_to_what_it_holds_and_the_image_with_it():
    kernel = torch.zeros(1, 1, 15, 15)
    kernel[0, 0, 5:9, 7] = 0.25
    found = Estimate(frame(), latent=torch.rand(1, 1, 62, 70), kernel=kernel)
    trim(found)
    assert found.kernel is not None
    assert found.latent is not None
    assert found.kernel.shape == (1, 1, 7, 7)
    assert float(found.kernel.sum()) == 1
    assert found.latent.shape == (1, 1, 54, 62)


def candidate(flag="good", *, noise=0.001, stopped="", **measures) -> Candidate:
    y = torch.zeros(1, 1, 4, 4)
    found = Estimate(Observation.of(y, noise), kernel=torch.ones(1, 1, 1, 1), stopped=stopped)
    return Candidate(found, y, True, Quality(flag, (), {"noise": noise, **measures}))


@pytest.mark.parametrize(
    ("first", "other", "wins"),
    [
        ({"sparsity": 0.50}, {"sparsity": 0.40}, True),
        ({"sparsity": 0.50}, {"sparsity": 0.60}, False),
        ({"sparsity": 0.50}, {"sparsity": 0.499}, False),  # not clearly
        ({"sparsity": 0.50}, {"sparsity": 0.497}, True),
        ({"sparsity": 0.50, "residual": 0.01}, {"sparsity": 0.40, "residual": 0.09}, True),  # it tells nothing
        ({"sparsity": 0.50, "flag": "doubtful"}, {"sparsity": 0.60, "flag": "good"}, True),
        ({"sparsity": 0.50, "flag": "good"}, {"sparsity": 0.10, "flag": "doubtful"}, False),
        ({"sparsity": 0.50, "flag": "bad"}, {"sparsity": 0.40, "flag": "bad"}, True),
        ({}, {"sparsity": 0.40}, True),
        ({"sparsity": 0.50}, {}, False),
        ({}, {}, False),
        # under noise the residual decides, and of equals the first
        ({"noise": 0.01, "sparsity": 0.5, "residual": 0.02}, {"noise": 0.01, "sparsity": 0.4, "residual": 0.03}, False),
        ({"noise": 0.01, "sparsity": 0.4, "residual": 0.03}, {"noise": 0.01, "sparsity": 0.5, "residual": 0.02}, True),
        ({"noise": 0.01, "residual": 0.02}, {"noise": 0.01, "residual": 0.02}, False),
    ],
)
def test_the_better_of_two(first, other, wins):
    one, two = candidate(**first), candidate(**other)
    assert better_of(one, two) is (two if wins else one)


@pytest.fixture
def opinion(monkeypatch):
    """Ask for a second opinion whose estimate and candidate are given; return also how it was asked."""

    def ask(first, again, *, prior="encoded", start=None, deadline=math.inf, **flags):
        asked = []
        dotted = {"kernel_prior.name": prior, "image_prior.name": "hyper-laplacian", "final.name": "auto"}
        dotted |= {"optimizer.name": "alternating", "run.start": "own"}
        dotted |= {key.replace("__", "."): value for key, value in flags.items()}
        parts = Parts.load(resolve(BASE_OF_PARTS | dotted, registry=registry()), registry())
        plan = replace(prepare(frame(), parts, registry(), scouting=False), start=start)

        def find(observation, parts, *others):
            asked.append(parts.config.kernel_prior.params)
            return again.estimate

        def conclude(observation, parts, plan, found):
            if start is not None:
                asked.append(found)
            return again

        monkeypatch.setattr(attempts, "find", find)
        monkeypatch.setattr(attempts, "conclude", conclude)
        best = attempts.second_opinion(first, frame(), parts, plan, deadline=deadline, listener=silent)
        return best, asked

    return ask


BASE_OF_PARTS = {"data_term.name": "mse", "run.kernel_size": 9, "run.threads": 1, "run.channels": "all"}
SPARSE, DENSE = candidate(sparsity=0.4), candidate(sparsity=0.5)


def test_a_closed_form_asks_its_alternative(opinion):
    best, asked = opinion(DENSE, SPARSE)
    assert best is SPARSE
    assert [params.project for params in asked] == [True]
    assert opinion(SPARSE, DENSE)[0] is SPARSE


@pytest.mark.parametrize(
    ("first", "how"),
    [
        (DENSE, {"prior": "convolution"}),  # has none
        (DENSE, {"kernel_prior__project": True}),  # is it
        (DENSE, {"optimizer__name": "joint"}),  # gradients
        (DENSE, {"final__name": "none"}),  # nothing restores
        (DENSE, {"deadline": -math.inf}),
        (candidate(sparsity=0.5, noise=0.01), {}),  # under noise sparsity tells nothing
        (candidate(sparsity=0.5, stopped="interrupted"), {}),
        (candidate(sparsity=0.5, stopped="diverged"), {}),
    ],
)
def test_where_there_is_no_alternative_the_first_stands(opinion, first, how):
    best, asked = opinion(first, SPARSE, **how)
    assert best is first
    assert not asked


@pytest.mark.parametrize("cause", ["interrupted", "time budget"])
def test_an_alternative_that_was_stopped_is_none_and_the_run_ends(opinion, cause):
    first = candidate(sparsity=0.5)
    best, _ = opinion(first, candidate(sparsity=0.1, stopped=cause))
    assert best is first
    assert best.estimate.stopped == cause


def test_gradients_are_compared_with_the_kernel_that_they_started_from(opinion):
    given = crop_kernel(KERNEL, (13, 13))
    flags = {"image_prior__name": "identity", "optimizer__name": "joint", "start": given}
    first, again = candidate(sparsity=0.5), candidate(sparsity=0.499)
    best, asked = opinion(first, again, **flags)
    assert best is again, "the given kernel stands unless they are clearly better"
    (found,) = asked
    assert found.kernel is given
    assert found.latent is None
    assert found.blurred is None
    assert opinion(SPARSE, DENSE, **flags)[0] is SPARSE
    assert opinion(SPARSE, DENSE, **flags, final__name="none") == (SPARSE, [])


def test_ctrl_c_in_the_second_opinion_ends_the_run(compact_file):
    flags = {"kernel_prior.name": "encoded", "kernel_prior.space": compact_file, "optimizer.name": "alternating"}
    flags |= {"optimizer.iterations": 2, "final.name": "auto", "image_prior.name": "hyper-laplacian", "run.polish": 0}
    told = []

    def listen(event):
        told.append(event)
        estimates = [one for one in told if one.stage == "estimate"]
        if event.stage == "estimate" and len(estimates) > estimates[0].total:
            raise KeyboardInterrupt

    y = frame().y[..., :48, :48]
    result = deblur(y, resolve(BASE_OF_PARTS | {"run.scales": 1} | flags, registry=registry()), listener=listen)
    assert result.stopped == "interrupted"
    assert result.kernel is not None
    assert bool(result.image.isfinite().all())
