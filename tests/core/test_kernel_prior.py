"""What every kernel prior has without doing anything."""

import torch

from deblurkit.core import KernelPrior, Observation
from deblurkit.params import Params


def test_the_energy_of_a_prior_without_parameters_lies_where_the_picture_does():
    y = torch.zeros(2, 3, 8, 8, dtype=torch.float64, device="meta")
    prior = KernelPrior(Params(), Observation.of(y), size=(3, 5), generator=torch.Generator())
    assert prior.energy().shape == (2,)
    assert prior.energy().device == y.device
    assert prior.energy().dtype == y.dtype
    assert not prior.state_dict()
