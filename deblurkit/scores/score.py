"""A score, and a protocol: the scores of a data set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deblurkit.datasets import Sample
from deblurkit.metrics import kernel_error, kernel_similarity
from deblurkit.ops.shapes import require_image, require_kernel

KERNEL_SIMILARITY = "kernel-similarity"
KERNEL_ERROR = "kernel-error"

Judge = Callable[[Tensor, Sample], dict[str, float]]
"""Scores of a finite picture, (1, C, H, W) float64 on the CPU, against a sample that has a truth."""


@dataclass(frozen=True)
class Score:
    """A number that says how good a result is.

    Attributes:
        name: What tables and files call it.
        title: What people read above its column.
        text: Its exact definition and its source, in one sentence.
        published: Whether published tables of this data set give it, by this definition.
        better: Whether a larger or a smaller value is better.
        digits: Decimals that are worth printing.
        unit: ``dB``, or nothing.
    """

    name: str
    title: str
    text: str
    published: bool
    better: Literal["higher", "lower"]
    digits: int
    unit: str


@dataclass(frozen=True)
class Protocol:
    """How the results on a data set are judged.

    Attributes:
        layout: The data set's.
        primary: Name of the score that published tables lead with.
        scores: The columns that there are, the primary one first. Those of `error_ratios` need the values of the same
            case with the true kernel, so `measure` does not give them; it gives the raw values that they come from.
        judge: The scores of the picture.
    """

    layout: str
    primary: str
    scores: tuple[Score, ...]
    judge: Judge

    def measure(self, image: Tensor, sample: Sample, kernel: Tensor | None) -> dict[str, float]:
        """Judge a result. Nothing is rounded to 8 bits or clipped.

        Args:
            image: The result, (1, C, H, W), range 1. Grey against a coloured truth, it counts as a colour picture of
                three equal channels; coloured against a grey truth, its luma counts (0.299 R + 0.587 G + 0.114 B).
            sample: What is known of the case.
            kernel: The estimated kernel, (1, 1, h, w), or None.

        Returns:
            Values by name. What cannot be had is absent: scores of a picture that is not finite, is too small, or has
            no truth; of a kernel that is not given, not finite, or whose truth is unknown. Equal pictures have an
            infinite PSNR.

        Raises:
            UsageError: Result and truth differ in size.
            ValueError: A tensor has another layout.
        """
        require_image(image, "image")
        values: dict[str, float] = {}
        if len(sample.truths) and bool(torch.isfinite(image).all()):
            values |= self.judge(image.detach().cpu().double(), sample)
        if kernel is not None:
            require_kernel(kernel, "kernel")
        if kernel is not None and sample.kernel is not None and bool(torch.isfinite(kernel).all()):
            values[KERNEL_ERROR] = kernel_error(kernel, sample.kernel)
            if bool(kernel.any()):
                values[KERNEL_SIMILARITY] = kernel_similarity(kernel, sample.kernel).value
        return values
