"""A kernel space that trains in a second; run as a program it is the command deblurkit with that preset."""

import sys
from typing import ClassVar

import torch
from torch import Tensor, nn

from deblurkit.nets.kernel_space.space import ConvolutionalSpace
from deblurkit.ops.convolve import convolve_valid


class TinySpace(ConvolutionalSpace):
    """Two convolutions, two matrices; its loss draws noise as that of a real one may."""

    preset: ClassVar[str] = "tiny"

    def __init__(self, window: int = 7, dimensions: int = 5, vae: bool = False) -> None:
        super().__init__()
        self.window, self.dimensions, self.vae = window, dimensions, vae
        self.margin = window // 2
        width = dimensions * (2 if vae else 1)
        self.extractor = nn.Sequential(
            nn.Conv2d(2, 6, 5, stride=2), nn.ReLU(), nn.Conv2d(6, width, 5, stride=2), nn.AdaptiveAvgPool2d(1)
        )
        self.measure = nn.Linear(window**2, dimensions)
        self.decoder = nn.Linear(dimensions, window**2)

    def config(self):
        return {"window": self.window, "dimensions": self.dimensions, "vae": self.vae}

    def code_shape(self, size):
        return self.dimensions, 1, 1

    def extract(self, sharp: Tensor, blurry: Tensor):
        code = self.extractor(torch.cat([sharp.mean(1, keepdim=True), blurry.mean(1, keepdim=True)], 1))
        mean, *spread = code.split(self.dimensions, 1)
        return mean, spread[0] if self.vae else None

    def kernel(self, code: Tensor) -> Tensor:
        return self.decoder(code.flatten(1)).softmax(1).view(-1, 1, self.window, self.window)

    def encode_kernel(self, kernel: Tensor) -> Tensor:
        return self.measure(kernel.flatten(1))[..., None, None]

    def kernel_loss(self, kernels: Tensor) -> Tensor:
        code = self.encode_kernel(kernels)
        code = code + 0.01 * torch.randn(code.shape, device=code.device)
        return (self.kernel(code) - kernels).square().sum((1, 2, 3)).mean()

    def apply_code(self, x: Tensor, code: Tensor) -> Tensor:
        return convolve_valid(x, self.kernel(code))


if __name__ == "__main__":
    from deblurkit.cli import main
    from deblurkit.nets.kernel_space import weights

    sys.modules["tiny_space"] = sys.modules["__main__"]
    weights.PRESETS["tiny"] = "tiny_space:TinySpace"
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
