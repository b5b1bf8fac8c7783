import pytest
import torch

from deblurkit.kernel_space.trajectories import random_kernels
from deblurkit.ops.simplex import centroid


@pytest.fixture(scope="module")
def kernels():
    return random_kernels(256, 31, generator=torch.Generator().manual_seed(0))


def test_are_kernels(kernels):
    assert kernels.shape == (256, 1, 31, 31)
    assert kernels.dtype == torch.float32
    assert kernels.min() >= 0
    torch.testing.assert_close(kernels.sum((1, 2, 3)), torch.ones(256))


def test_come_in_all_sizes_and_places(kernels):
    places = torch.arange(31.0) - 15
    middle = centroid(kernels)
    spread = []
    for axis in (2, 3):
        profile = kernels.sum((1, 5 - axis)) if axis == 2 else kernels.sum((1, 2))
        mean = (profile * places).sum(1)
        spread.append((profile * (places - mean[:, None]).square()).sum(1))
    size = (spread[0] + spread[1]).sqrt()
    assert size.min() < 0.7  # next to a point
    assert size.max() > 9  # all over the window
    assert (size < 2).float().mean() > 0.1
    assert (size > 5).float().mean() > 0.2
    assert (middle.abs().amax(1) <= 3.1).float().mean() > 0.95  # large ones are pushed back into the window
    assert (middle.abs() > 2).any(1).float().mean() > 0.3
    assert kernels.amax((1, 2, 3)).max() > 0.8  # thin


def test_depend_on_the_generator_alone():
    torch.manual_seed(1)
    one = random_kernels(4, 15, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    other = random_kernels(4, 15, generator=torch.Generator().manual_seed(5))
    assert torch.equal(one, other)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not torch.equal(one, random_kernels(4, 15, generator=torch.Generator().manual_seed(6)))


@pytest.mark.parametrize("window", [3, 5, 63])
def test_fit_any_window(window):
    kernels = random_kernels(16, window, generator=torch.Generator().manual_seed(0), shift=1.0)
    assert kernels.shape == (16, 1, window, window)
    assert kernels.isfinite().all()


def test_without_shift_the_centre_of_mass_is_central():
    kernels = random_kernels(64, 31, generator=torch.Generator().manual_seed(0), shift=0.0)
    assert centroid(kernels).abs().median() < 0.05  # the window's border and speckle move some


@pytest.mark.parametrize(
    ("window", "shift", "name"), [(30, 3, "window"), (1, 0, "window"), (9, 5, "shift"), (9, -1, "shift")]
)
def test_refuses_what_does_not_fit(window, shift, name):
    with pytest.raises(ValueError, match=name):
        random_kernels(1, window, generator=torch.Generator(), shift=shift)
