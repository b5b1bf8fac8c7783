"""Schedules, and the two optimizers on problems whose answer is known."""

import pytest
import torch

from deblurkit.config import resolve
from deblurkit.core import DataTerm, KernelPrior, Observation, PixelImagePrior, Problem
from deblurkit.core.image_prior import ROUGH
from deblurkit.ops.simplex import short_line
from deblurkit.optimizers.alternating import Alternating
from deblurkit.optimizers.joint import Joint
from deblurkit.optimizers.plugin import AlternatingParams, JointParams
from deblurkit.optimizers.schedule import decayed
from deblurkit.params import Params
from deblurkit.registry import registry
from deblurkit.specs import Fit


@pytest.mark.parametrize(
    ("step", "image", "kernel"),
    [(0, 1e-2, 1e-4), (1999, 1e-2, 1e-4), (2000, 5e-3, 5e-5), (3000, 2.5e-3, 2.5e-5), (4000, 1.25e-3, 1.25e-5)],
)
def test_the_schedule_of_selfdeblur_is_the_published_one(step, image, kernel):
    p = resolve({}, registry=registry(), recipe="selfdeblur").optimizer.params
    assert isinstance(p, JointParams)
    assert decayed(p.image_lr, step, p.milestones, p.decay) == pytest.approx(image)
    assert decayed(p.kernel_lr, step, p.milestones, p.decay) == pytest.approx(kernel)


class Gain(KernelPrior[Params]):
    """y = g x: a blur with one parameter, and a closed form for it."""

    def __init__(self, params, observation, *, size, generator):
        super().__init__(params, observation, size=size, generator=generator)
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.progress = []

    def blur(self, x):
        return self.gain * x

    def kernel(self):
        return torch.ones(1, 1, 1, 1)

    def estimate(self, x, observation, *, progress=1.0):
        self.progress.append(progress)
        self.gain.copy_((x * observation.y).sum() / (x * x).sum())


class Flat(PixelImagePrior[Params]):
    """Free pixels whose closed form is a constant."""

    def restore(self, observation, kernel, *, progress=1.0):
        return torch.full_like(observation.y, 0.25)


class Squares(DataTerm[Params]):
    def forward(self, prediction, observation, step):
        self.seen = step
        return (prediction - observation.y).square().mean((1, 2, 3))


def problem(ways):
    observation = Observation.of(torch.full((1, 1, 4, 4), 0.5))
    g = torch.Generator().manual_seed(0)
    kernel = Gain(Params(), observation, size=(1, 1), generator=g)
    image = Flat(Params(), observation, margin=(0, 0), generator=g)
    with torch.no_grad():
        image.pixels.fill_(0.4)
    return Problem(observation, image, kernel, Squares(Params()), ways)


PARAMETERS = frozenset({"parameters"})


def test_joint_minimises_and_moves_each_part_at_its_own_rate():
    p = problem(Fit(PARAMETERS, PARAMETERS, 2))
    (first,) = Joint(JointParams(iterations=1, image_lr=1e-2, kernel_lr=1e-4)).steps(p)
    assert float(first.loss) == pytest.approx(0.01)
    # Adam's first step is the learning rate itself
    assert float(p.image.pixels.detach().mean()) - 0.4 == pytest.approx(1e-2, rel=1e-3)
    assert float(p.kernel.gain.detach()) - 1 == pytest.approx(1e-4, rel=2e-2)
    losses = [float(step.loss) for step in Joint(JointParams(iterations=200)).steps(p)]
    assert losses[-1] < 1e-4


def test_joint_leaves_a_kernel_without_parameters_alone():
    p = problem(Fit(PARAMETERS, frozenset(), 1))
    p.kernel.gain = None
    p.kernel.blur = lambda x: 2 * x
    *_, last = Joint(JointParams(iterations=300)).steps(p)
    assert float(last.image.mean()) == pytest.approx(0.25, abs=1e-2)


def test_alternating_uses_closed_forms_where_offered():
    p = problem(Fit(frozenset({"restore"}), frozenset({"estimate"}), 2))
    steps = list(Alternating(AlternatingParams(iterations=3)).steps(p))
    assert float(p.kernel.gain.detach()) == pytest.approx(2.0)
    assert torch.equal(p.image(), torch.full((1, 1, 4, 4), 0.25))
    assert p.kernel.progress == pytest.approx([0, ROUGH / 3, ROUGH * 2 / 3])
    assert float(steps[-1].loss) == pytest.approx(0.0, abs=1e-12)


def test_alternating_takes_inner_steps_where_there_is_no_closed_form():
    p = problem(Fit(PARAMETERS, PARAMETERS, 0))
    params = AlternatingParams(iterations=2, image_steps=3, kernel_steps=5, image_lr=1e-3, kernel_lr=1e-3)
    for _ in Alternating(params).steps(p):
        pass
    # while the gradient keeps its sign, Adam moves by the learning rate at every step
    assert float(p.image.pixels.detach().mean()) - 0.4 == pytest.approx(2 * 3 * 1e-3, rel=0.05)
    assert float(p.kernel.gain.detach()) - 1 == pytest.approx(2 * 5 * 1e-3, rel=0.05)
    assert p.data.seen == 15, "the data term counts the steps of both"


def test_the_phases_of_turns_rise_and_are_those_that_the_losses_are_of():
    p = problem(Fit(PARAMETERS, PARAMETERS, 0))
    p.data.phase = lambda step: int(step >= 4)
    params = AlternatingParams(iterations=2, image_steps=3, kernel_steps=2, image_lr=1e-3, kernel_lr=1e-3)
    seen = [(step.phase, int(p.data.seen >= 4)) for step in Alternating(params).steps(p)]
    assert [phase for phase, _ in seen] == [0] * 4 + [1] * 6
    assert all(said == true for said, true in seen)


def test_alternating_freezes_one_part_while_the_other_moves():
    p = problem(Fit(frozenset(), PARAMETERS, 0))
    before = p.image().detach().clone()
    for _ in Alternating(AlternatingParams(iterations=2, kernel_steps=2)).steps(p):
        assert torch.equal(p.image(), before)
    assert float(p.kernel.gain.detach()) != 1.0


class Opinionated(Flat):
    """Wants its pixels to be 0."""

    def energy(self, x):
        return x.square().mean((1, 2, 3))


class Heavy(Gain):
    """Wants its gain to be 0; counts how often it was started anew, and with which gain it went on."""

    def __init__(self, params, observation, *, size, generator):
        super().__init__(params, observation, size=size, generator=generator)
        self.renewed = []
        self.fitted = []

    def energy(self):
        return self.gain.square().expand(self.batch)

    def renew(self):
        self.renewed.append(float(self.gain.detach()))
        self.gain = torch.nn.Parameter(torch.full((), 3.0))

    def fit(self, kernel):
        self.fitted.append(kernel)


def weighed(size=(3, 3), scale=0, scales=1, ways=None):
    observation = Observation.of(torch.full((2, 1, 4, 4), 0.5))
    g = torch.Generator().manual_seed(0)
    image = Opinionated(Params(), observation, margin=(0, 0), generator=g)
    kernel = Heavy(Params(), observation, size=size, generator=g)
    ways = ways or Fit(PARAMETERS, PARAMETERS, 2)
    return Problem(observation, image, kernel, Squares(Params()), ways, scale, scales)


@pytest.mark.parametrize(("switch", "total"), [(0, 5), (1, 5), (3, 5), (4, 5), (5, 5), (9, 5)])
def test_the_second_phase_begins_at_its_step_and_weighs_the_energies_alone(switch, total):
    p = weighed()
    p.image.fit(torch.full((2, 1, 4, 4), 0.3))
    seen = []
    energies = p.image.energy, p.kernel.energy
    p.image.energy = lambda x: seen.append(energies[0](x).detach().sum()) or energies[0](x)
    p.kernel.energy = lambda: seen.append(energies[1]().detach().sum()) or energies[1]()
    params = JointParams(iterations=total, second_phase=switch, image_weight=2.5, kernel_weight=10.0)
    for step in Joint(params).steps(p):
        image, kernel = seen[-2:]
        late = switch > 0 and step.index >= switch
        assert float(step.terms["image"]) == pytest.approx(float(image) * (2.5 if late else 1.0))
        assert float(step.terms["kernel"]) == pytest.approx(float(kernel) * (10.0 if late else 1.0))
        data = Squares(Params())(p.kernel.blur(step.image).detach(), p.observation, step.index)
        assert float(step.terms["data"]) == pytest.approx(float(data.sum()), rel=0.02), "weighed as ever"
        assert float(step.loss) == pytest.approx(sum(float(term) for term in step.terms.values()))


def test_weights_of_the_second_phase_may_be_nothing():
    *_, last = Joint(JointParams(iterations=4, second_phase=2, image_weight=0.0, kernel_weight=0.0)).steps(weighed())
    assert float(last.terms["image"]) == float(last.terms["kernel"]) == 0
    assert float(last.loss) == pytest.approx(float(last.terms["data"]))


def test_the_second_phase_changes_where_it_goes():
    gains = []
    for switch in (0, 50):
        p = weighed()
        for _ in Joint(JointParams(iterations=100, kernel_lr=1e-2, second_phase=switch, kernel_weight=100.0)).steps(p):
            pass
        gains.append(float(p.kernel.gain.detach()))
    assert gains[1] < gains[0] - 0.1


def test_renewing_comes_before_every_update_by_adam_with_moments_of_its_own():
    p = weighed(ways=Fit(frozenset(), PARAMETERS, 1))
    params = AlternatingParams(iterations=3, kernel_steps=2, kernel_lr=1e-3, renew_kernel=True)
    for step in Alternating(params).steps(p):
        # a fresh Adam moves by the learning rate at each of its first steps
        assert float(p.kernel.gain.detach()) == pytest.approx(3.0 - (step.index % 2) * 1e-3, abs=2e-5)
    assert p.kernel.renewed == pytest.approx([1.0, 2.998, 2.998], abs=2e-5)


def test_without_asking_nothing_is_renewed_and_closed_forms_never_are():
    for ways, renew in (
        (Fit(frozenset(), PARAMETERS, 1), False),
        (Fit(frozenset({"restore", "fit"}), frozenset({"estimate", "kernel", "fit"}), 2), True),
    ):
        p = weighed(ways=ways)
        for _ in Alternating(AlternatingParams(iterations=2, kernel_steps=2, renew_kernel=renew)).steps(p):
            pass
        assert not p.kernel.renewed


CLOSED = Fit(frozenset({"restore", "fit"}), frozenset({"estimate", "kernel", "fit"}), 2)


@pytest.mark.parametrize(
    ("scale", "ways", "started"),
    [(0, CLOSED, True), (1, CLOSED, False), (0, Fit(PARAMETERS, PARAMETERS, 0), False)],
)
def test_closed_forms_start_from_a_short_line_at_the_coarsest_scale(scale, ways, started):
    p = weighed(size=(5, 7), scale=scale, scales=2, ways=ways)
    next(iter(Alternating(AlternatingParams(iterations=1, image_steps=1, kernel_steps=1)).steps(p)))
    assert len(p.kernel.fitted) == started
    if started:
        assert torch.equal(p.kernel.fitted[0], short_line((5, 7), p.observation.y).expand(2, -1, -1, -1))


def test_a_window_without_room_for_a_line_is_left_alone():
    p = weighed(size=(1, 1), ways=CLOSED)
    list(Alternating(AlternatingParams(iterations=1)).steps(p))
    assert not p.kernel.fitted
