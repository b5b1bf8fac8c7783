"""Cells that judge a kernel space: the blur of one pair, given to the sharp picture of another, or of the same.

``y' = F(x', G(x, y))`` is scored against the blurry picture of ``x'`` (Tran et al., CVPR 2021, eq. 8 and table 1); with
``x' = x`` it says how well the space describes a blur that it has never seen (section 4.2.2 and table 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from deblurkit.cells.cell import Cell, identity
from deblurkit.cells.code import CodeParams
from deblurkit.cells.made import MadeCase
from deblurkit.config import Config
from deblurkit.datasets.case import Case, Sample
from deblurkit.errors import ConfigError, ImageError, UsageError
from deblurkit.kernel_space.transfer import CONTROL_WINDOW, give_blur, has_kernel, take_blur
from deblurkit.nets.kernel_space.refine import refine
from deblurkit.nets.kernel_space.space import ConvolutionalSpace, KernelSpace
from deblurkit.nets.kernel_space.weights import load_space
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.spectral_ratio import nearest_kernel, spectral_ratio
from deblurkit.params import parse
from deblurkit.registry import Registry

SPACE = "space"
"""Parameter of a kernel prior that names the file of its kernel space."""
CODE = "code"


@dataclass(frozen=True)
class TransferCase(Case):
    """Two pairs of one blur; the second's sharp picture is what is worked on, its blurry one is the truth.

    Attributes:
        source: The pair that the blur is taken from.
        target: The pair whose sharp picture it is given to.
    """

    layout: ClassVar[str] = "reblur"

    source: Case
    target: Case

    def files(self) -> tuple[Path, ...]:
        """Those of both pairs."""
        return tuple(dict.fromkeys((*self.source.files(), *self.target.files())))

    def load(self) -> Sample:
        """The target: its sharp picture, and as the truth its blurry one, without noise where it was made."""
        sample = self.target.clean() if isinstance(self.target, MadeCase) else self.target.load()
        if not sample.truths:
            raise UsageError(f"{self.target.name}: has no sharp picture, and so nothing to blur")
        return Sample(sample.truths[0], (sample.y,), sample.kernel)

    def kernel(self) -> Tensor | None:
        """The true kernel of both, where it is known."""
        return self.target.kernel()

    def _recipe(self) -> tuple[str | int | float, ...]:
        return self.source.fingerprint(), self.target.fingerprint()


def reblur_cases(cases: Sequence[Case]) -> list[TransferCase]:
    """Every pair with itself."""
    return [TransferCase(case.name, case.group, case, case) for case in cases]


def transfer_cases(by_kernel: Mapping[str, Sequence[Case]]) -> list[TransferCase]:
    """Every pair with the next one of the same blur, the last with the first.

    Args:
        by_kernel: Pairs by the name of their blur, of the same pictures in the same order.

    Raises:
        UsageError: There is one picture only.
    """
    found = []
    for kernel, cases in by_kernel.items():
        if len(cases) < 2:
            raise UsageError(f"{cases[0].name}: is the only pair of its blur; a transfer needs two pictures or more")
        for source, target in zip(cases, [*cases[1:], cases[0]], strict=True):
            found.append(
                TransferCase(f"{source.name}_to_{target.name.removesuffix(f'_{kernel}')}", kernel, source, target)
            )
    return found


def transfer_cell(
    case: TransferCase, config: Config, code: CodeParams, registry: Registry, *, extras: Sequence[str] = ()
) -> Cell:
    """The cell of a transfer.

    Args:
        case: The two pairs.
        config: Its kernel prior names the space, its section ``run`` device and threads.
        code: How the blur is found.
        registry: The components there are.
        extras: Names of further scores.

    Raises:
        ConfigError: If the kernel prior has no space.
    """
    run = {"seed": 0, "device": config.run.device, "threads": config.run.threads}
    document: dict[str, Any] = {"kernel_prior": {}, CODE: code.used(), "run": run}
    named = identity(config, registry, sections=())
    if code.by == "space":
        space = getattr(config.kernel_prior.params, SPACE, None)
        if space is None:
            raise ConfigError(
                f"kernel_prior.name: {config.kernel_prior.name!r} has no space of blurs to take a code from; name one "
                f'that has a parameter {SPACE!r}, or set code.by = "ratio"'
            )
        document["kernel_prior"] = {SPACE: "" if space == Path() else str(space)}
        named = {
            key: value
            for key, value in identity(config, registry, sections=("kernel_prior",)).items()
            if not key.startswith("kernel_prior.") or key == f"kernel_prior.{SPACE}"
        }
    return Cell(case, "transfer", document, named, tuple(extras))


@dataclass(frozen=True)
class Transferred:
    """What came of a transfer.

    Attributes:
        image: The re-blurred picture (1, C, H, W) in [0, 1].
        kernel: The kernel that was found, (1, 1, h, w), or ``None`` where a code is more than one kernel.
    """

    image: Tensor
    kernel: Tensor | None


def transferred(cell: Cell, target: Sample, device: torch.device) -> Transferred:
    """Take the blur of a cell's source and give it to its target.

    Args:
        cell: The cell.
        target: What its case holds.
        device: Where to compute.

    Raises:
        UsageError: If the space cannot be read.
        ImageError: If the pictures are too small for it.
    """
    case = cell.case
    assert isinstance(case, TransferCase)
    pair = case.source.load()
    sharp, blurry, other = (one.to(device) for one in (pair.truths[0], pair.y, target.y))
    if sharp.shape[1] != blurry.shape[1]:
        sharp, blurry = (one.mean(1, keepdim=True) for one in (sharp, blurry))
    code = parse(CodeParams, cell.config[CODE], subject=CODE)
    if code.by == "ratio":
        return _by_ratio(sharp, blurry, other, code)
    space: KernelSpace = load_space(Path(cell.config["kernel_prior"][SPACE])).to(device)
    found = take_blur(space, sharp, blurry, tiles=code.tiles)
    if code.steps:
        found = refine(space, sharp, blurry, found, steps=code.steps, lr=code.lr)
    image = give_blur(space, other, found).cpu()
    kernel = None
    if isinstance(space, ConvolutionalSpace) and has_kernel(
        space, (sharp.shape[-2], sharp.shape[-1]), tiles=code.tiles
    ):
        with torch.no_grad():
            kernel = space.kernel(found).cpu()
    return Transferred(image, kernel)


def _by_ratio(sharp: Tensor, blurry: Tensor, other: Tensor, code: CodeParams) -> Transferred:
    """The control, a kernel without learning, in the light that the camera saw; the picture's border stays sharp."""
    side = CONTROL_WINDOW
    if min(*sharp.shape[-2:], *other.shape[-2:]) < 2 * side:
        raise ImageError(f"a pair of {sharp.shape[-1]} x {sharp.shape[-2]} pixels is too small for a {side} px kernel")
    ratio = spectral_ratio(
        sharp**code.gamma,
        blurry.clamp(0, 1) ** code.gamma,
        side,
        regularisation=code.regularisation,
        corrections=code.corrections,
    )
    kernel = nearest_kernel(ratio)
    image = other.clone()
    border = side // 2
    blurred = convolve_valid(other.clamp(0, 1) ** code.gamma, kernel).clamp(0, 1) ** (1 / code.gamma)
    image[..., border:-border, border:-border] = blurred
    return Transferred(image.cpu(), kernel.cpu())
