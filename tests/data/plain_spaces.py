"""Kernel spaces with nothing learned, whose every answer can be worked out: for the tests of what uses spaces."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblurkit.nets.kernel_space.space import ConvolutionalSpace, KernelSpace
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.spectral_ratio import nearest_kernel, spectral_ratio


class PlainSpace(ConvolutionalSpace):
    """The code is the kernel itself; G is the ratio of spectra; tiles are cut out and blurred one by one."""

    preset: ClassVar[str] = "compact"

    def __init__(self, window: int = 9) -> None:
        super().__init__()
        self.window = window
        self.margin = window // 2
        self.weight = nn.Parameter(torch.zeros(1))

    def config(self):
        return {"window": self.window}

    def code_shape(self, size):
        return self.window**2, 1, 1

    def extract(self, sharp: Tensor, blurry: Tensor):
        kernel = nearest_kernel(spectral_ratio(sharp, blurry, self.window))
        return self.encode_kernel(kernel), None

    def encode_kernel(self, kernel: Tensor) -> Tensor:
        return kernel.flatten(1)[..., None, None]

    def kernel(self, code: Tensor) -> Tensor:
        return nearest_kernel(code.reshape(-1, 1, self.window, self.window))

    def encode_tiles(self, sharp: Tensor, blurry: Tensor, tiles: tuple[int, int]) -> Tensor:
        rows = []
        for x, y in zip(sharp.tensor_split(tiles[0], 2), blurry.tensor_split(tiles[0], 2), strict=True):
            pieces = zip(x.tensor_split(tiles[1], 3), y.tensor_split(tiles[1], 3), strict=True)
            rows.append(torch.cat([self.encode(*piece) for piece in pieces], 3))
        return torch.cat(rows, 2)

    def apply_code(self, x: Tensor, code: Tensor) -> Tensor:
        whole = [
            [convolve_valid(x, self.kernel(code[..., row, column])) for column in range(code.shape[3])]
            for row in range(code.shape[2])
        ]
        rows = []
        for row, pictures in enumerate(whole):
            bands = [one.tensor_split(code.shape[2], 2)[row] for one in pictures]
            rows.append(torch.cat([one.tensor_split(code.shape[3], 3)[i] for i, one in enumerate(bands)], 3))
        return torch.cat(rows, 2)


class GridSpace(KernelSpace):
    """The picture's own size, a code for every 64 x 64 pixels: how much of a fixed mean filter there is."""

    preset: ClassVar[str] = "paper"
    channels = 3

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def config(self):
        return {}

    def code_shape(self, size):
        return 2, -(-size[0] // 64), -(-size[1] // 64)

    def smooth(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(functional.pad(x, (2, 2, 2, 2), mode="replicate"), 5, 1)

    def extract(self, sharp: Tensor, blurry: Tensor):
        change = self.smooth(sharp) - sharp
        grid = self.code_shape(tuple(sharp.shape[-2:]))[1:]
        amount = functional.adaptive_avg_pool2d((change * (blurry - sharp)).sum(1, keepdim=True), grid)
        power = functional.adaptive_avg_pool2d(change.square().sum(1, keepdim=True), grid)
        return torch.cat([amount / power, torch.ones_like(power)], 1), None

    def apply_code(self, x: Tensor, code: Tensor) -> Tensor:
        amount = functional.interpolate(code[:, :1], size=x.shape[-2:], mode="bilinear", align_corners=False)
        return x + amount * (self.smooth(x) - x)
