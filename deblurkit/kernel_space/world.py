"""The processes that train together; one process is a world of its own.

PyTorch's launcher starts them (``torchrun --nproc-per-node N -m deblurkit train-kernel-space ...``). Gradients are
averaged by one explicit all-reduce after the backward pass instead of by ``DistributedDataParallel``: the two stages
call different methods of the space and leave different parameters without gradient, which the wrapper would have to
search for at every step; and a sum of equal batches, divided by their number, is exactly the gradient of the batch that
they make up together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others: the first one also validates and writes files."""


class World:
    """This process among all that train together.

    Args:
        device: Where this process computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank, self.size = 0, launched()
        if self.size > 1:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
            self.rank = distributed.get_rank()

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, module: nn.Module) -> None:
        """Give all processes the first one's weights."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, src=0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over all processes."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all processes."""
        if self.size == 1:
            return value
        value = value.clone()
        distributed.all_reduce(value)
        return value / self.size

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.size == 1:
            return flag
        count = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(count)
        return bool(count)

    def first_complaint(self, complaint: str) -> tuple[int, str]:
        """What goes wrong in the lowest process in which something does, and its rank; (-1, "") where all is well."""
        if self.size == 1:
            return (0, complaint) if complaint else (-1, "")
        all_of_them: list[str] = [""] * self.size
        distributed.all_gather_object(all_of_them, complaint)
        return next(((rank, text) for rank, text in enumerate(all_of_them) if text), (-1, ""))

    def close(self) -> None:
        """Leave the group."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()


def launched() -> int:
    """How many processes PyTorch's launcher started; 1 without it."""
    if "RANK" in os.environ and "MASTER_ADDR" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1"))
    return 1
