"""The kernel as the output of a small fully connected network (SelfDeblur, Ren et al., CVPR 2020)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from deblurkit.core import KernelPrior, Observation
from deblurkit.kernel_priors.plugin import FCNParams
from deblurkit.nets.fcn import KernelFCN
from deblurkit.nets.untrained import UntrainedNetworks


class FCN(KernelPrior[FCNParams]):
    """k = softmax(MLP(z)) with a fixed z ~ U(0, input_scale), never perturbed; one network for every picture."""

    def __init__(
        self, params: FCNParams, observation: Observation, *, size: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__(params, observation, size=size, generator=generator)
        build = partial(KernelFCN, size, inputs=params.inputs, hidden=params.hidden_units, layers=params.hidden_layers)
        self.networks = UntrainedNetworks(
            build,
            batch=self.batch,
            shape=(params.inputs,),
            scale=params.input_scale,
            generator=generator,
        ).to(observation.y)

    def kernel(self) -> Tensor:
        """(B, 1, h, w), >= 0, sum 1 by the softmax."""
        kernel: Tensor = self.networks()
        return kernel

    def fit(self, kernel: Tensor) -> None:
        """Train the networks towards ``kernel`` for ``fit_steps`` Adam steps of cross-entropy."""
        adam = torch.optim.Adam(self.parameters(), lr=self.params.fit_lr)
        target = kernel.detach().flatten(1)
        for _ in range(self.params.fit_steps):
            adam.zero_grad(set_to_none=True)
            log = torch.log(self.kernel().flatten(1).clamp_min(1e-12))
            (-(target * log).sum(1)).mean().backward()
            adam.step()
