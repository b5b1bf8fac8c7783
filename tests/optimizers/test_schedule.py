"""Learning rates by step, and what the optimizers do with them: whom they move, how fast, and what follows a move."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from deblurkit.core import DataTerm, ImagePrior, KernelPrior, Observation, Problem
from deblurkit.optimizers.alternating import Alternating
from deblurkit.optimizers.joint import Joint
from deblurkit.optimizers.plugin import AlternatingParams, JointParams
from deblurkit.optimizers.schedule import cycled, decayed, scheduled
from deblurkit.params import Params, fields_of
from deblurkit.specs import Fit

PARAMETERS = frozenset({"parameters"})
START = 100.0


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        *((0, 0.02), (1000, 0.07333), (3375, 0.2), (6000, 0.06), (6750, 0.02)),
        *((7000, 0.0134), (7499, 0.00023)),  # rounded as they stand there
    ],
)
def test_one_cycle_and_a_drop_is_the_published_one(step, rate):
    assert scheduled(0.2, step, 7500, "one-cycle-drop", (150,), 0.5) == pytest.approx(rate, abs=6e-6)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.1), (25, 0.55), (50, 1.0), (75, 0.55), (99, 0.118)])
def test_one_cycle_rises_to_the_middle_and_falls_back(step, rate):
    assert scheduled(1.0, step, 100, "one-cycle", (), 0.5) == pytest.approx(rate)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 100])
@pytest.mark.parametrize("drop", [False, True])
def test_a_cycle_is_a_share_of_the_rate_however_few_steps_there_are(steps, drop):
    rates = [cycled(0.5, step, steps, drop=drop) for step in range(steps)]
    assert rates[0] == pytest.approx(0.05)
    assert all(0.5e-3 <= rate <= 0.5 for rate in rates)
    turn = rates.index(max(rates))
    assert rates[: turn + 1] == sorted(rates[: turn + 1])
    assert rates[turn:] == sorted(rates[turn:], reverse=True)


def test_the_cycle_and_its_drop_meet():
    before, after = (cycled(1.0, step, 10**6, drop=True) for step in (899_999, 900_001))
    assert before == pytest.approx(after, abs=1e-5)


@pytest.mark.parametrize(("step", "rate"), [(0, 1.0), (9, 1.0), (10, 0.1), (19, 0.1), (20, 0.01), (500, 0.01)])
def test_milestones_decay_and_do_not_mind_how_many_steps_there_are(step, rate):
    assert decayed(1.0, step, (10, 20), 0.1) == pytest.approx(rate)
    for steps in (5, 1000):
        assert scheduled(1.0, step, steps, "milestones", (10, 20), 0.1) == pytest.approx(rate)


class Image(ImagePrior[Params]):
    """One number; notes when it is asked for its image and when it is projected, with the number at that time."""

    def __init__(self, params, observation, *, margin, generator):
        super().__init__(params, observation, margin=margin, generator=generator)
        self.number = nn.Parameter(torch.full((), START))
        self.projected = []

    def forward(self):
        return self.number.expand(self.latent_shape).clone()

    def project(self):
        self.projected.append(float(self.number.detach()))


class Kernel(KernelPrior[Params]):
    """One number that is added; notes when it is renewed."""

    def __init__(self, params, observation, *, size, generator):
        super().__init__(params, observation, size=size, generator=generator)
        self.number = nn.Parameter(torch.full((), START))
        self.renewed = 0

    def blur(self, x):
        return x + self.number

    def renew(self):
        self.renewed += 1


class Sum(DataTerm[Params]):
    """Falls with both numbers, always as steeply, so that Adam moves each by its learning rate."""

    def forward(self, prediction, observation, step):
        return prediction.mean((1, 2, 3))


def problem(ways=None) -> Problem:
    observation = Observation.of(torch.zeros(1, 1, 4, 4))
    generator = torch.Generator()
    kernel = Kernel(Params(), observation, size=(1, 1), generator=generator)
    image = Image(Params(), observation, margin=(0, 0), generator=generator)
    return Problem(observation, image, kernel, Sum(Params()), ways or Fit(PARAMETERS, PARAMETERS, 2))


@pytest.fixture
def moved(monkeypatch):
    """Let an optimizer run; return by how much each number fell, update by update."""

    def run(optimizer, p: Problem) -> tuple[list[float], list[float]]:
        places = [(START, START)]
        real = torch.optim.Adam.step

        def step(adam, *args):
            real(adam, *args)
            places.append((float(p.image.number.detach()), float(p.kernel.number.detach())))

        with monkeypatch.context() as patch:
            patch.setattr(torch.optim.Adam, "step", step)
            assert len(list(optimizer.steps(p))) == len(places) - 1
        fell = [(a[0] - b[0], a[1] - b[1]) for a, b in pairwise(places)]
        return [one for one, _ in fell], [other for _, other in fell]

    return run


@pytest.mark.parametrize("schedule", ["milestones", "one-cycle", "one-cycle-drop"])
def test_joint_follows_the_schedule_for_the_image_and_milestones_for_the_kernel(moved, schedule):
    params = JointParams(
        iterations=20, image_lr=0.5, kernel_lr=0.25, image_schedule=schedule, milestones=(4, 8), decay=0.1
    )
    p = problem()
    image, kernel = moved(Joint(params), p)
    assert image == pytest.approx([scheduled(0.5, s, 20, schedule, (4, 8), 0.1) for s in range(20)], abs=1e-4)
    assert kernel == pytest.approx([decayed(0.25, s, (4, 8), 0.1) for s in range(20)], abs=1e-4)
    assert p.image.projected == pytest.approx([START - sum(image[: s + 1]) for s in range(20)]), "after every update"


@pytest.mark.parametrize("schedule", ["milestones", "one-cycle", "one-cycle-drop"])
def test_alternating_counts_each_part_s_own_inner_steps(moved, schedule):
    params = AlternatingParams(
        iterations=4,
        image_steps=5,
        kernel_steps=3,
        image_lr=0.5,
        kernel_lr=0.25,
        image_schedule=schedule,
        milestones=(6,),
        decay=0.1,
    )
    p = problem()
    image, kernel = moved(Alternating(params), p)
    turns = [s % 8 < 5 for s in range(32)]
    assert [one for one, turn in zip(image, turns, strict=True) if turn] == pytest.approx(
        [scheduled(0.5, s, 20, schedule, (6,), 0.1) for s in range(20)], abs=1e-4
    )
    assert [one for one, turn in zip(kernel, turns, strict=True) if not turn] == pytest.approx(
        [decayed(0.25, s, (6,), 0.1) for s in range(12)], abs=1e-4
    )
    assert not any(one for one, turn in zip(image, turns, strict=True) if not turn), "the image stays meanwhile"
    assert not any(one for one, turn in zip(kernel, turns, strict=True) if turn)
    assert len(p.image.projected) == 20, "after the image's updates, and never after the kernel's"


def test_alternating_yields_every_inner_step():
    p = problem()
    params = AlternatingParams(iterations=3, image_steps=4, kernel_steps=2, image_lr=0.5, kernel_lr=0.25)
    steps = []
    for step in Alternating(params).steps(p):
        steps.append(step)
        assert float(step.loss) == pytest.approx(sum(float(term) for term in step.terms.values()))
    assert [step.index for step in steps] == list(range(18))
    assert {step.total for step in steps} == {18}
    losses = [float(step.loss) for step in steps]
    assert losses == sorted(losses, reverse=True)
    # the image of a step is the one that its loss was computed from; in the kernel's turn it stays
    assert float(steps[0].image.mean()) == START
    for turn in (steps[4:6], steps[10:12], steps[16:18]):
        assert torch.equal(turn[0].image, turn[1].image)
    assert float(steps[4].image.mean()) < float(steps[3].image.mean())


@pytest.mark.parametrize(
    ("ways", "steps"), [(Fit(PARAMETERS, frozenset(), 1), 12), (Fit(frozenset(), PARAMETERS, 1), 6)]
)
def test_a_part_that_is_fixed_has_no_turn(moved, ways, steps):
    p = problem(ways)
    params = AlternatingParams(iterations=3, image_steps=4, kernel_steps=2)
    image, kernel = moved(Alternating(params), p)
    assert len(image) == len(kernel) == steps
    assert any(image) == bool(ways.image)
    assert any(kernel) == bool(ways.kernel)
    assert len(p.image.projected) == (12 if ways.image else 0)


def test_renewing_is_asked_for_once_a_round_and_only_if_wanted(moved):
    for renew, times in ((True, 3), (False, 0)):
        p = problem()
        params = AlternatingParams(iterations=3, image_steps=2, kernel_steps=2, kernel_lr=0.25, renew_kernel=renew)
        _, kernel = moved(Alternating(params), p)
        assert p.kernel.renewed == times
        assert sum(kernel) == pytest.approx(6 * 0.25, abs=1e-3)


def test_a_kernel_that_is_renewed_keeps_its_schedule(moved):
    p = problem()
    params = AlternatingParams(
        iterations=3,
        image_steps=1,
        kernel_steps=2,
        kernel_lr=1.0,
        renew_kernel=True,
        milestones=(2, 4),
        decay=0.1,
    )
    _, kernel = moved(Alternating(params), p)
    assert [one for one in kernel if one] == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01, 0.01], abs=1e-4)


def test_the_help_says_that_the_milestones_of_joint_count_anew_at_every_scale():
    (milestones,) = [one for one in fields_of(JointParams) if one.name == "milestones"]
    assert milestones.help.endswith("counted anew at every scale.")
