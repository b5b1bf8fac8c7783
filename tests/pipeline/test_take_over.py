"""From scale to scale: priors that go on as they are, decimation by a stride, terms that look at both scales."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from deblurkit.config import resolve
from deblurkit.core import DataTerm, ImagePrior, KernelPrior, Observation
from deblurkit.errors import ConfigError
from deblurkit.params import Params
from deblurkit.pipeline import Parts
from deblurkit.pipeline.estimate import at_scale, estimate, pyramid
from deblurkit.registry import registry
from deblurkit.testing import cartoon


class Tilt(ImagePrior[Params]):
    """x = level + slope times the row, with the row counted in pixels of the coarsest scale."""

    def __init__(self, params, observation, *, margin, generator):
        super().__init__(params, observation, margin=margin, generator=generator)
        self.line = torch.nn.Parameter(torch.tensor([0.3, 0.002]))
        self.pitch, self.first, self.fitted = 1.0, 0.0, 0

    def forward(self):
        rows = self.first + self.pitch * (torch.arange(self.latent_shape[-2]) - self.margin[0])
        return (self.line[0] + self.line[1] * rows[:, None]).expand(self.latent_shape)

    def take_over(self, coarser, *, ratio, offset):
        self.line = coarser.line
        self.pitch = coarser.pitch / ratio[0]
        self.first = coarser.first - offset[0] * self.pitch
        return True

    def fit(self, x):
        self.fitted += 1


class Box(KernelPrior[Params]):
    """A kernel that nothing changes, with a parameter that says so."""

    taken = True

    def __init__(self, params, observation, *, size, generator):
        super().__init__(params, observation, size=size, generator=generator)
        self.level = torch.nn.Parameter(torch.zeros(()))
        self.fitted, self.ratios = 0, []

    def kernel(self):
        return torch.softmax(self.level.expand(self.size[0] * self.size[1]), 0).view(1, 1, *self.size)

    def take_over(self, coarser, *, ratio):
        self.ratios.append(ratio)
        return self.taken

    def fit(self, kernel):
        self.fitted += 1


class Stays(Box):
    taken = False


class Both(DataTerm[Params]):
    """Squares, with the coarser scale's beside them."""

    seen: list = []  # noqa: RUF012

    def forward(self, prediction, observation, step):
        return (prediction - observation.y).square().mean((1, 2, 3))

    def terms(self, problem, x, step):
        own = super().terms(problem, x, step)
        self.seen.append(problem)
        if problem.coarser is None:
            return own
        there = problem.coarser
        return own | {"coarser": self(there.kernel.blur(there.image()), there.observation, step)}


def run(kernel=Box, **flags):
    usual = {"image_prior.name": "dip", "kernel_prior.name": "fcn", "optimizer.name": "joint", "data_term.name": "mse"}
    usual |= {"optimizer.iterations": 4, "run.scale_ratio": 2.0, "run.threads": 1, "final.name": "none"}
    dotted = usual | {key.replace("__", "."): value for key, value in flags.items()}
    parts = Parts.load(resolve(dotted, registry=registry()), registry())
    parts = replace(parts, image_class=Tilt, kernel_class=kernel, data_class=Both)
    Both.seen.clear()
    y = Observation.of(cartoon(1, 1, (136, 137)))
    found = estimate(
        *(y, parts, pyramid(9, 2.0, 3, y.size)),
        automatic=False,
        seed=0,
        attempt=0,
        deadline=math.inf,
        listener=lambda event: None,
    )
    problems = list({id(problem.image): problem for problem in Both.seen}.values())
    assert len(problems) == 3
    return found, problems


@pytest.mark.parametrize("decimation", ["average", "stride"])
def test_a_prior_that_takes_over_says_the_same_at_the_same_place(decimation):
    _, problems = run(run__decimation=decimation)
    for coarse, fine in pairwise(problems):
        assert fine.image.line is coarse.image.line
        # an average of two pixels lies between them, a stride takes the first
        shift = 0.0 if decimation == "stride" else 0.5
        there, here = (problem.image().detach()[0, 0, :, 0] for problem in (coarse, fine))
        rows = (torch.arange(coarse.observation.size[0]) * 2 + shift + fine.image.margin[0]).double()
        low = rows.floor().long()
        expected = torch.lerp(here[low].double(), here[(low + 1).clamp_max(len(here) - 1)].double(), rows - low)
        inner = there[coarse.image.margin[0] :][: len(rows)].double()
        torch.testing.assert_close(inner[:-1], expected[:-1], atol=1e-5, rtol=0)


def test_it_is_not_fitted_as_well_and_the_problem_knows_the_coarser_one():
    found, problems = run(run__decimation="stride")
    assert [problem.image.fitted for problem in problems] == [0, 0, 0]
    assert [problem.kernel.fitted for problem in problems] == [0, 0, 0]
    assert [problem.kernel.ratios for problem in problems] == [[], [2.0], [2.0]]
    assert problems[0].coarser is None
    for coarse, fine in pairwise(problems):
        assert fine.coarser is not None
        assert fine.coarser.image is coarse.image
        assert fine.coarser.coarser is None, "no chain that keeps every scale alive"
        assert fine.stride == 2
        torch.testing.assert_close(fine.observation.y[..., ::2, ::2], fine.coarser.observation.y)
    last = found.history[-1]
    assert last["loss"] == pytest.approx(last["data"] + last["coarser"] + last["image"] + last["kernel"])
    assert "coarser" not in found.history[0]


def test_where_one_part_does_not_the_other_still_goes_on():
    _, problems = run(kernel=Stays)
    assert [problem.kernel.fitted for problem in problems] == [0, 1, 1]
    assert [problem.image.fitted for problem in problems] == [0, 0, 0]
    assert problems[2].image.line is problems[0].image.line
    assert all(problem.coarser is None and problem.stride == 0 for problem in problems)


def test_averaged_scales_have_no_stride():
    assert [problem.stride for problem in run()[1]] == [0, 0, 0]


@pytest.mark.parametrize(("coarse", "steps"), [(0, 12), (1, 6), (7, 18)])
def test_coarse_scales_may_have_steps_of_their_own(coarse, steps):
    assert run(optimizer__coarse_iterations=coarse)[0].steps == steps


def test_no_prior_takes_over_unless_it_says_so():
    parts = Parts.load(resolve({"run.threads": 1}, registry=registry()), registry())
    y = Observation.of(cartoon(1, 1, (40, 40)))
    problem = parts.problem(y, (5, 5), torch.Generator())
    assert not problem.image.take_over(problem.image, ratio=(2.0, 2.0), offset=(0.0, 0.0))
    assert not problem.kernel.take_over(problem.kernel, ratio=2.0)
    x = problem.image().detach()
    terms = problem.data.terms(problem, x, 3)
    assert list(terms) == ["data"]
    assert torch.equal(terms["data"], problem.data(problem.kernel.blur(x), y, 3))


def test_a_stride_keeps_pixels_noise_and_mask_as_they_are():
    y = torch.rand(1, 1, 41, 38)
    mask = (torch.rand(1, 1, 41, 38) > 0.2).float()
    quarter = at_scale(Observation.of(y, 0.02, mask=mask), 0.25, stride=True)
    assert quarter.size == (11, 10)
    assert torch.equal(quarter.y, y[..., ::4, ::4])
    assert torch.equal(quarter.mask, mask[..., ::4, ::4])
    assert float(quarter.noise) == pytest.approx(0.02)


def test_a_stride_needs_a_whole_ratio():
    flags = {"run.decimation": "stride", "run.scale_ratio": 1.5}
    with pytest.raises(ConfigError, match="whole number"):
        resolve(flags, registry=registry())
    assert resolve(flags | {"run.scale_ratio": 2}, registry=registry()).run.decimation == "stride"
