"""A kernel that somebody measured or estimated before: non-blind deconvolution is this prior plus a restore."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from deblurkit.core import KernelPrior, Observation
from deblurkit.errors import KernelError
from deblurkit.kernel_priors.plugin import KnownParams
from deblurkit.kernels import read_kernel


class Known(KernelPrior[KnownParams]):
    """The kernel of ``params.file``, the same for every picture of the batch; nothing is estimated.

    The window is the file's own; the size asked for does not matter.

    Raises:
        KernelError: If no file is named, or it is missing or holds no kernel.
    """

    def __init__(
        self, params: KnownParams, observation: Observation, *, size: tuple[int, int], generator: torch.Generator
    ) -> None:
        if params.file == Path():
            raise KernelError(
                "kernel prior 'known': no kernel was given; name its file by --kernel-prior.file, "
                "or by kernel_prior.file in a config"
            )
        kernel = read_kernel(params.file, flip=params.flip).kernel
        del size
        super().__init__(params, observation, size=(kernel.shape[-2], kernel.shape[-1]), generator=generator)
        self.register_buffer("weights", kernel.to(observation.y).expand(self.batch, -1, -1, -1))
        self.weights: Tensor

    def kernel(self) -> Tensor:
        """The given kernel, (B, 1, h, w)."""
        return self.weights
