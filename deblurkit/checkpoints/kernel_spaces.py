"""The kernel spaces that Tran et al. (CVPR 2021) published, turned into ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from deblurkit.nets.kernel_space.paper import PaperSpace
from deblurkit.nets.kernel_space.space import KernelSpace, Statistics
from deblurkit.nets.kernel_space.unet import HALVINGS
from deblurkit.nets.weights import differences


def convert_kernel_space(weights: Mapping[str, Tensor]) -> tuple[KernelSpace, list[str]]:
    """Build the published kernel space, of any width, from weights that bear its authors' names.

    Args:
        weights: Real numbers by name.

    Returns:
        The space on the CPU, in float32, frozen; and remarks, of which there are none.

    Raises:
        ValueError: With a few words, if a tensor is missing, unknown, or of another shape.
    """
    with torch.device("meta"):  # nothing is drawn that would be overwritten
        space = PaperSpace(**_config(weights))
    misfit = differences(space.state_dict(), weights)
    if misfit:
        raise ValueError(misfit)
    space.load_state_dict({name: tensor.detach().float() for name, tensor in weights.items()}, assign=True)
    if space.vae:  # its training drew the codes towards a standard normal, from which its authors draw blurs
        space.statistics = Statistics(torch.zeros(space.code), torch.eye(space.code))
    return space.eval().requires_grad_(False), []


def _config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    features, channels = _widths(weights, "feature_extractor.0.weight")
    joined, _ = _widths(weights, f"adapter.model{'.submodule' * (HALVINGS - 1)}.up.1.weight")
    extracted, _ = _widths(weights, f"kernel_extractor.model.{1 + 3 * HALVINGS}.weight")
    code = joined - 8 * features
    return {
        "channels": channels,
        "features": features,
        "code": code,
        "residual_front": _count(weights, r"feature_extractor\.\d+\.conv1\.weight"),
        "residual_back": _count(weights, r"recon_trunk\.\d+\.conv1\.weight"),
        "extractor_blocks": _count(weights, r"kernel_extractor\.model\.\d+\.conv_block\.1\.weight"),
        "vae": extracted == 2 * code,
    }


def _widths(weights: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """The first two sides of the weights of a convolution."""
    if name not in weights:
        raise ValueError(f"missing: {name}")
    if weights[name].ndim != 4:
        raise ValueError(f"{name} is no convolution")
    return weights[name].shape[0], weights[name].shape[1]


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in weights)
