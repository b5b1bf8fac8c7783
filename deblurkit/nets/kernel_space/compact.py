"""A small kernel space with a structure that blurs, rather than one that learns to blur."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from deblurkit.nets.kernel_space.extractor import extract_codes
from deblurkit.nets.kernel_space.kernel_basis import visible_error
from deblurkit.nets.kernel_space.kernel_decoder import KernelDecoder
from deblurkit.nets.kernel_space.response import NUMBERS, Response
from deblurkit.nets.kernel_space.space import ConvolutionalSpace
from deblurkit.ops.filter_flow import filter_flow, tile_bounds

LEAST_ERROR = 1e-8
"""Mean squared error of a re-blurred picture (80 dB) below which training sees no gain."""


class CompactSpace(ConvolutionalSpace):
    """F: code to kernel to convolution, in the light that the camera saw. G: regression of the code on the pictures.

    The code's first numbers are linear measurements of the kernel, in a basis that is learned, and a small net finds
    the kernel that has them; the last :data:`NUMBERS` describe the camera's response (all zero: linear), where the
    space has one. G finds the code that re-blurs the picture best, so it is right wherever F is.
    """

    preset: ClassVar[str] = "compact"

    def __init__(
        self,
        *,
        window: int = 31,
        dimensions: int = 256,
        hidden: int = 16,
        stages: int = 4,
        response: bool = True,
        vae: bool = False,
    ) -> None:
        """Start from a cosine basis; see :meth:`fit_basis`.

        Args:
            window: Side of the kernels in pixels, odd.
            dimensions: Numbers in a code.
            hidden: Channels of the nets that find the kernel.
            stages: How many of them.
            response: Whether the camera's response is part of the space.
            vae: Whether G gives a spread beside the mean.

        Raises:
            ValueError: If an argument is out of range.
        """
        super().__init__()
        measured = dimensions - NUMBERS * response
        if window % 2 == 0 or window < 3:
            raise ValueError(f"window: must be odd and at least 3, got {window}")
        if not 1 <= measured < window**2:
            raise ValueError(
                f"dimensions: must lie between {1 + NUMBERS * response} and {window**2 - 1 + NUMBERS * response} for a "
                f"window of {window}, got {dimensions}"
            )
        if hidden < 1 or stages < 0:
            raise ValueError(f"hidden and stages: must be at least 1 and 0, got {hidden} and {stages}")
        self.window, self.dimensions, self.hidden, self.stages = window, dimensions, hidden, stages
        self.margin = window // 2
        self.measured = measured
        self.decoder = KernelDecoder(window, measured, hidden, stages)
        self.response = Response(12) if response else None
        self.spread = nn.Linear(dimensions, dimensions) if vae else None

    def config(self) -> dict[str, int | float | bool]:
        """See the base class."""
        return {
            "window": self.window,
            "dimensions": self.dimensions,
            "hidden": self.hidden,
            "stages": self.stages,
            "response": self.response is not None,
            "vae": self.spread is not None,
        }

    def code_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """One code for the picture; :meth:`encode_tiles` gives a grid."""
        del size
        return self.dimensions, 1, 1

    def fit_basis(self, kernels: Tensor) -> None:
        """Start from the principal components of kernels (N, 1, window, window): some thousands, or more.

        Training from there takes minutes, from a fresh basis hours.
        """
        self.decoder.fit_basis(kernels)

    def extract(self, sharp: Tensor, blurry: Tensor) -> tuple[Tensor, Tensor | None]:
        """G: the code (B, D, 1, 1) that re-blurs ``sharp`` to ``blurry`` best; without gradients to the pictures."""
        code = extract_codes(self.decoder, self.response, sharp, blurry)
        spread = None if self.spread is None else self.spread(code)[..., None, None]
        return code[..., None, None], spread

    def encode_tiles(
        self, sharp: Tensor, blurry: Tensor, tiles: tuple[int, int] = (5, 5), *, overlap: float = 0.25
    ) -> Tensor:
        """G for blur that varies: a code for every tile of a grid.

        Args:
            sharp: (B, C, H, W).
            blurry: Likewise.
            tiles: Rows and columns of the grid.
            overlap: How far a tile reaches into its neighbours, in tiles, on top of half the window.

        Returns:
            (B, D, gy, gx).
        """
        places = self._tiles(sharp, tiles, overlap)
        codes = torch.stack([self.encode(sharp[place], blurry[place]) for place in places], 2)
        if self.response is not None:
            # the camera is one: what most tiles say of it holds for all, and the others' kernels are found anew
            numbers = codes[:, self.measured :, :, 0, 0].median(2).values
            for index, place in enumerate(places):
                if not torch.equal(codes[:, self.measured :, index, 0, 0], numbers):
                    code = extract_codes(self.decoder, self.response, sharp[place], blurry[place], numbers)
                    codes[:, :, index, 0, 0] = code
        return codes.view(len(sharp), self.dimensions, *tiles)

    def _tiles(self, picture: Tensor, tiles: tuple[int, int], overlap: float) -> list[tuple[slice, ...]]:
        """Where the tiles lie, row by row."""
        height, width = picture.shape[-2:]
        rows = tile_bounds(height, tiles[0], overlap=overlap + self.margin * tiles[0] / height)
        columns = tile_bounds(width, tiles[1], overlap=overlap + self.margin * tiles[1] / width)
        return [
            (slice(None), slice(None), slice(*vertical), slice(*horizontal))
            for vertical in rows
            for horizontal in columns
        ]

    def apply_code(self, x: Tensor, code: Tensor) -> Tensor:
        """F as a valid operation.

        Args:
            x: (B, C, H + window - 1, W + window - 1).
            code: (B, D, gy, gx): one blur, or a grid of them that goes over smoothly.

        Returns:
            (B, C, H, W).
        """
        kernels = self._kernels(code)
        if self.training and self.response is not None:
            # kernels teach the decoder what pictures, at their rate, would only spoil; pictures teach the response
            kernels = kernels.detach()
        numbers = code[:, self.measured :].mean((2, 3))
        if self.response is None:
            return filter_flow(x, kernels)
        half = kernels.shape[-1] // 2
        excess = self.response.excess(x, numbers) if self.training or numbers[:, 1].any() else None
        light = filter_flow(self.response.light(x, numbers, excess), kernels)
        return self.response.picture(light, x[..., half : x.shape[-2] - half, half : x.shape[-1] - half], numbers)

    def kernel(self, code: Tensor) -> Tensor:
        """See the base class."""
        return self.decoder(code[:, : self.measured].flatten(1))

    def encode_kernel(self, kernel: Tensor) -> Tensor:
        """See the base class; the camera is linear."""
        code = self.decoder.measure(kernel)
        return nn.functional.pad(code, (0, self.dimensions - self.measured))[..., None, None]

    def kernel_loss(self, kernels: Tensor) -> Tensor:
        """Mean logarithm of the squared error that a typical photograph would show, half of the codes with noise."""
        code = self.decoder.measure(kernels)
        if self.training:
            level = 10 ** (-13 + 6 * torch.rand(len(code), 1, device=code.device, dtype=code.dtype))
            code = self.decoder.spoil(code, level * (torch.rand_like(level) < 0.5))
        return (visible_error(self.decoder(code) - kernels) + LEAST_ERROR).log().mean()

    def _kernels(self, code: Tensor) -> Tensor:
        """Kernels (B, gy, gx, w, w) of codes (B, D, gy, gx)."""
        batch, _, rows, columns = code.shape
        each = code[:, : self.measured].permute(0, 2, 3, 1).reshape(batch * rows * columns, -1)
        kernels = self.decoder(each)
        return kernels.view(batch, rows, columns, *kernels.shape[-2:])
