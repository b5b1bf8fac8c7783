"""The features of VGG19 (Simonyan and Zisserman 2015), from weights in torchvision's layout that the user has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from deblurkit.errors import UsageError

_WIDTHS = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512,))
"""Features of the convolutions between two poolings, up to relu5_1."""
SMALLEST = 2
"""Height and width of features that can still be pooled."""


class VGG19Features(nn.Module):
    """relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of VGG19; the layers keep the numbers that torchvision gives them.

    Inputs are (B, 3, H, W); nothing is normalised here.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        taps: list[int] = []
        width = 3
        for block in _WIDTHS:
            if layers:
                layers.append(nn.MaxPool2d(2))
            taps.append(len(layers) + 1)
            for wider in block:
                layers += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU()]
                width = wider
        self.features = nn.Sequential(*layers)
        self.taps = tuple(taps)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The five feature maps, each half as large as the one before; fewer where a small picture has no more."""
        found = []
        for index, layer in enumerate(self.features):
            if isinstance(layer, nn.MaxPool2d) and min(x.shape[-2:]) < SMALLEST:
                break
            x = layer(x)
            if index in self.taps:
                found.append(x)
        return found


def load_vgg19(path: Path) -> VGG19Features:
    """Read the weights; no code in the file is run. A file that was read before is not read again.

    Args:
        path: A state dict as torchvision's, ``.safetensors`` or what ``torch.save`` writes.

    Returns:
        The features on the CPU, frozen; shared by all who ask for the same file.

    Raises:
        UsageError: If the file is missing, damaged, or not VGG19.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); name a file of VGG19 weights") from error
    return _load(path, changed)


@lru_cache(maxsize=1)
def _load(path: Path, changed: int) -> VGG19Features:
    del changed  # part of the key only
    state = {name.removeprefix("module."): value for name, value in _read(path).items()}
    with torch.device("meta"):  # nothing is drawn, so the global generator stays as it is
        net = VGG19Features()
    wanted = net.state_dict()
    for name, value in wanted.items():
        given = state.get(name)
        if not isinstance(given, Tensor) or given.shape != value.shape:
            found = f"of shape {tuple(given.shape)}" if isinstance(given, Tensor) else "missing"
            raise UsageError(
                f"{path}: is not torchvision's VGG19: '{name}' is {found}, and should be of shape "
                f"{tuple(value.shape)}; VGG16 and the variants with batch normalisation do not fit"
            )
    net.load_state_dict({name: state[name].float() for name in wanted}, assign=True)
    return net.eval().requires_grad_(False)


def _read(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file by name."""
    try:
        if path.suffix.lower() == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler stumbles over
        raise UsageError(
            f"{path}: cannot be read as weights ({type(error).__name__}); save the state dict of torchvision's VGG19 "
            "by torch.save, or as safetensors"
        ) from error
    if not isinstance(state, Mapping):
        raise UsageError(f"{path}: holds no state dict but a {type(state).__name__}; save model.state_dict()")
    return state
