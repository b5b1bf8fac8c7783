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
from deblurkit.pipeline import Parts, deblur, observe, prepare
from deblurkit.pipeline.attempts import best_attempt, trim
from deblurkit.pipeline.estimate import Estimate
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
