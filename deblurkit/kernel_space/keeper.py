"""What a training keeps: the best space, the checkpoint, a figure of every validation, and the log."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from deblurkit.errors import RunError
from deblurkit.kernel_space.datasets import Data
from deblurkit.kernel_space.draws import normal
from deblurkit.kernel_space.prepare import Material
from deblurkit.kernel_space.reports import Hooks, Outputs
from deblurkit.kernel_space.settings import TrainParams
from deblurkit.kernel_space.training_state import Checkpoint, write_checkpoint
from deblurkit.kernel_space.validation import Samples, draw_samples, fit_statistics, fixed_examples, score
from deblurkit.nets.kernel_space.header import read_header
from deblurkit.nets.kernel_space.space import KernelSpace
from deblurkit.nets.kernel_space.weights import load_space, save_space


@dataclass(frozen=True)
class Moment:
    """How far a training is; as text ``step 3/30``.

    Attributes:
        step: Steps done, both stages together.
        total: How many there will be.
        seconds: Time spent.
    """

    step: int
    total: int
    seconds: float

    def __str__(self) -> str:
        return f"step {self.step}/{self.total}"


class Keeper:
    """Writes and says what becomes of a training; of several processes only the first one does.

    A file that cannot be written ends no training: it is tried again at the next occasion.

    Args:
        space: The space that is trained.
        material: What it is trained on.
        params: The settings.
        outputs: Where to write.
        card: What the space's file shall say of its origin, beside numbers.
        hooks: Whom to talk to.
        first: Whether this is the process that writes and speaks.
        device: Where the training computes.

    Attributes:
        best: The best validation PSNR in dB so far, ``-inf`` before the first.
    """

    def __init__(
        self,
        space: KernelSpace,
        material: Material,
        params: TrainParams,
        *,
        outputs: Outputs,
        card: Mapping[str, str],
        hooks: Hooks,
        first: bool,
        device: torch.device,
    ) -> None:
        self.space = space
        self.material = material
        self.params = params
        self.outputs = outputs
        self.card = dict(card)
        self.hooks = hooks
        self.first = first
        self.device = device
        self.best = -math.inf
        self._unsaved: dict[Path, str] = {}
        self._held: Samples | None = None

    def log(self, line: str) -> None:
        """Say one line."""
        if self.first:
            self.hooks.log(line)

    def judge(self, moment: Moment) -> None:
        """Score the space, which is in evaluation mode, draw the figure, and write the space if it is the best so far.

        Where no examples are held out every space is written.
        """
        held = self._held_out()
        if held is None:
            self.keep_space(moment)
            return
        found = score(self.space, held, batch=self.params.batch)
        better = found.psnr > self.best
        self.log(
            f"{moment}  validation {found.psnr:.3f} dB  (doing nothing: {found.untouched:.3f} dB)"
            f"{'  best' if better else ''}"
        )
        if self.params.samples:
            figure = self.outputs.samples(moment.step)
            self._guarded(figure, lambda: draw_samples(figure, self.space, held, self.params.samples))
            self._unsaved.pop(figure, None)  # there will be others
        if better:
            numbers = {"validation_psnr": f"{found.psnr:.3f}", "validation_untouched_psnr": f"{found.untouched:.3f}"}
            if self.keep_space(moment, numbers):
                self.best = found.psnr

    def keep_space(self, moment: Moment, numbers: Mapping[str, str] | None = None) -> bool:
        """Write the space with its card and some more numbers; says whether it could be written."""
        progress = {"step": str(moment.step), "seconds": f"{moment.seconds:.0f}"}
        return self._write_space(self.space, {**self.card, **(numbers or {}), **progress})

    def keep_state(self, checkpoint: Checkpoint) -> None:
        """Write the state of the training."""
        self._guarded(self.outputs.state, lambda: write_checkpoint(self.outputs.state, checkpoint))

    def finish(self, moment: Moment) -> None:
        """Fit the Gaussian over the training codes of the best space, and write it once more with that.

        Done once, at the end: an extractor may take seconds for a picture.

        Raises:
            RunError: If the last files could not be written.
        """
        data = self.material.training
        if data is not None and self.first and not self._unsaved:
            self._add_statistics(data, moment)
        if self._unsaved:
            raise RunError(next(iter(self._unsaved.values())))

    def _add_statistics(self, data: Data, moment: Moment) -> None:
        self.log(f"{moment}  fitting the Gaussian over {self.params.codes} training codes")
        header = read_header(self.outputs.space)
        best = load_space(self.outputs.space).to(self.device)
        shape = best.code_shape((data.crop, data.crop))
        samples = self._fixed(data, self.params.codes, "codes")

        def noise(start: int, stop: int) -> Tensor:
            return normal(shape, self.params.seed, "codes spread", range(start, stop))

        best.statistics = fit_statistics(best, samples, noise, batch=self.params.batch)
        self._write_space(best, header.card)

    def _write_space(self, space: KernelSpace, card: Mapping[str, str]) -> bool:
        path = self.outputs.space
        return self._guarded(path, lambda: save_space(path, space, card=card, half=self.params.half, overwrite=True))

    def _guarded(self, path: Path, write: Callable[[], None]) -> bool:
        """Write a file; a full disk must not end days of training, so it is tried again at the next occasion."""
        try:
            write()
        except RunError as error:
            self._unsaved[path] = str(error)
            self.hooks.warn(f"{error} The former file is untouched, and training goes on; make room for the next one.")
            return False
        self._unsaved.pop(path, None)
        return True

    def _held_out(self) -> Samples | None:
        if self._held is None and self.material.validation is not None:
            self._held = self._fixed(self.material.validation, self.params.validation_examples, "validation")
        return self._held

    def _fixed(self, data: Data, count: int, purpose: str) -> Samples:
        return fixed_examples(
            data, count, seed=self.params.seed, purpose=purpose, batch=self.params.batch, device=self.device
        )
