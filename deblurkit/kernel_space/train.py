"""Training of a kernel space: first on kernels alone where it has kernels, then on pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from deblurkit.errors import RunError, UsageError
from deblurkit.kernel_space.datasets import Data
from deblurkit.kernel_space.draws import everywhere, generator, normal
from deblurkit.kernel_space.feed import Feed, numbers_of
from deblurkit.kernel_space.kernel_sources import centred
from deblurkit.kernel_space.losses import cosine_rate, picture_loss
from deblurkit.kernel_space.prepare import Material
from deblurkit.kernel_space.reports import Hooks, Outputs, Step, duration
from deblurkit.kernel_space.settings import WITHOUT_INFLUENCE, TrainParams
from deblurkit.kernel_space.training_state import Checkpoint, check_same_settings, read_checkpoint, write_checkpoint
from deblurkit.kernel_space.validation import Samples, draw_samples, fit_statistics, fixed_examples, score
from deblurkit.kernel_space.world import World
from deblurkit.nets.kernel_space.header import read_header
from deblurkit.nets.kernel_space.space import ConvolutionalSpace, KernelSpace
from deblurkit.nets.kernel_space.weights import load_space, save_space
from deblurkit.params import plain

CHUNK = 32
"""Kernels that go through the loss together."""
POLL = 10
"""Steps between two looks at whether another process wants to stop, where each makes an accelerator wait."""


class Training:
    """One training, from its start or from a checkpoint.

    Args:
        space: The space, its weights as they are to be at the start.
        material: What to train on.
        params: The settings.
        outputs: Where to write; only the first process does.
        world: The processes that train together.
        card: What the space's file shall say of its origin, beside numbers.
        hooks: Whom to talk to.
    """

    def __init__(
        self,
        space: KernelSpace,
        material: Material,
        params: TrainParams,
        *,
        outputs: Outputs,
        world: World,
        card: Mapping[str, str],
        hooks: Hooks,
    ) -> None:
        self.space = space.to(world.device).train().requires_grad_(True)
        self.material = material
        self.params = params
        self.outputs = outputs
        self.world = world
        self.card = dict(card)
        self.hooks = hooks
        self.device = world.device
        self.kernel_steps = params.kernel_iterations if isinstance(space, ConvolutionalSpace) else 0
        self.picture_steps = params.iterations if material.training is not None else 0
        self.total = self.kernel_steps + self.picture_steps
        if not self.total:
            raise UsageError(f"The preset {space.preset!r} has no kernels to train on, and iterations is 0.")
        self.step = 0
        self.best = -math.inf
        wide = torch.float32 if self.device.type == "mps" else torch.float64
        self.running = torch.zeros((), dtype=wide, device=self.device)
        self.running_count = 0
        self.history: list[tuple[int, float]] = []
        self.seconds = 0.0
        self.unsaved: dict[Path, str] = {}
        self._window_started = (0, time.monotonic())
        self._held: Samples | None = None
        world.share(space)
        self.optimizer = self._new_optimizer()
        self.feed = Feed(material.training, params, world) if material.training and self.picture_steps else None

    def run(self) -> None:
        """Train to the end.

        Raises:
            KeyboardInterrupt: If the stop hook asked for it; a checkpoint has been written.
            RunError: If the loss is not finite, memory does not suffice, or the last files cannot be written.
        """
        started = time.monotonic() - self.seconds
        self._window_started = (self.step, time.monotonic())
        while self.step < self.total:
            with _explained_memory():
                loss = self._one_step()
            self.running += loss.detach().to(self.running)
            self.running_count += 1
            self.step += 1
            self.seconds = time.monotonic() - started
            self.hooks.step(Step(*self._stage(), loss.detach()))
            stop = self._asked_to_stop()
            ends_stage = self.step in (self.kernel_steps, self.total)
            if ends_stage or self.step % self.params.log_every == 0:
                self._log_loss()
            if ends_stage or self._due(self.params.validate_every, self.step - self.kernel_steps):
                self._validate()
            if stop or self.step == self.total or self._due(self.params.checkpoint_every, self.step):
                self._checkpoint()
            if self.step == self.kernel_steps:
                self.optimizer = self._new_optimizer()
            if stop and self.step < self.total:
                self._leave()
        self._add_statistics()
        if self.unsaved:
            raise RunError(next(iter(self.unsaved.values())))

    def _leave(self) -> NoReturn:
        """End before the end, with a space where there is none yet."""
        if self.world.first and not self.outputs.space.exists():
            self.space.eval()
            self._keep_space({})
        self._log(f"step {self.step}/{self.total}  interrupted; --resume continues here")
        raise KeyboardInterrupt

    def _one_step(self) -> Tensor:
        params = self.params
        on_kernels = self.step < self.kernel_steps
        rate = (
            cosine_rate(self.step, self.kernel_steps, high=params.kernel_lr, low=min(params.eta_min, params.kernel_lr))
            if on_kernels
            else cosine_rate(
                self._picture_step, self.picture_steps, high=params.lr, low=params.eta_min, periods=params.periods
            )
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._kernel_loss() if on_kernels else self._picture_loss()
        loss.backward()
        self.world.average_gradients(self.space.parameters())
        if params.clip:
            torch.nn.utils.clip_grad_norm_(self.space.parameters(), params.clip)
        self.optimizer.step()
        return loss

    def _kernel_loss(self) -> Tensor:
        assert isinstance(self.space, ConvolutionalSpace)
        numbers = self._numbers(self.step, self.params.kernel_batch)
        kernels = self.material.kernels.take(self.params.seed, "kernel stage", numbers)
        kernels = centred(kernels, self.space.window).to(self.device)
        # a loss may draw noise from the global generator, and it has to be the same however a batch is divided
        size = math.gcd(self.params.kernel_batch, CHUNK)
        losses = []
        for start, part in zip(numbers[::size], kernels.split(size), strict=True):
            with self._precision(), everywhere(generator(self.params.seed, "kernel noise", start), self.device):
                losses.append(self.space.kernel_loss(part))
        return torch.stack(losses).mean()

    def _picture_loss(self) -> Tensor:
        assert self.feed is not None
        params = self.params
        data, examples = self.feed.take(self._picture_step)
        sharp, blurry = data.collate(examples, self.device)
        noise = None
        if params.vae:
            shape = self.space.code_shape((data.crop, data.crop))
            numbers = self._numbers(self._picture_step, params.batch)
            noise = normal(shape, params.seed, "spread", numbers).to(self.device)
        with self._precision():
            return picture_loss(self.space, sharp, blurry, noise, params)

    def _numbers(self, step: int, batch: int) -> range:
        """The numbers, among all examples of the training, of this process's batch."""
        return numbers_of(step, batch, self.world)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bfloat16"):
            yield

    def _new_optimizer(self) -> torch.optim.Adam:
        """Adam; each stage begins with fresh moments, for those of another loss mean nothing."""
        first, second = self.params.betas
        return torch.optim.Adam(self.space.parameters(), lr=self.params.lr, betas=(first, second))

    @property
    def _picture_step(self) -> int:
        return max(0, self.step - self.kernel_steps)

    def _stage(self) -> tuple[str, int, int]:
        if self.step <= self.kernel_steps:
            return "kernels", self.step, self.kernel_steps
        return "pictures", self._picture_step, self.picture_steps

    def _due(self, every: int, step: int) -> bool:
        return every > 0 and step > 0 and step % every == 0

    def _asked_to_stop(self) -> bool:
        if self.world.size == 1:
            return self.hooks.stop()
        every = POLL if self.device.type == "cuda" else 1
        return self.step % every == 0 and self.world.any(self.hooks.stop())

    def _log_loss(self) -> None:
        """Write a line with the mean loss since the last one; every process takes part."""
        loss = float(self.world.mean(self.running.clone() / max(1, self.running_count)))
        self.running.zero_()
        self.running_count = 0
        self._check_finite(loss)
        self.history.append((self.step, loss))
        stage, done, total = self._stage()
        before, since = self._window_started
        rate = (self.step - before) / max(time.monotonic() - since, 1e-9)
        self._window_started = (self.step, time.monotonic())
        batch = (self.params.kernel_batch if stage == "kernels" else self.params.batch) * self.world.size
        self._log(
            f"step {self.step}/{self.total}  {stage}  loss {loss:.6g}  lr {self.optimizer.param_groups[0]['lr']:.3g}  "
            f"{rate:.3g} steps/s  {rate * batch:.3g} examples/s  ETA {duration((total - done) / max(rate, 1e-9))}"
        )

    def _validate(self) -> None:
        """Score, draw the figure, and write the space if it is the best so far; the first process does it for all."""
        if not self.world.first:
            return
        self.space.eval()
        try:
            self._judge_and_keep()
        finally:
            self.space.train()
            self._window_started = (self.step, time.monotonic())

    def _judge_and_keep(self) -> None:
        held = self._held_out()
        if held is None:
            self._keep_space({})
            return
        found = score(self.space, held, batch=self.params.batch)
        better = found.psnr > self.best
        self._log(
            f"step {self.step}/{self.total}  validation {found.psnr:.3f} dB  (doing nothing: {found.untouched:.3f} dB)"
            f"{'  best' if better else ''}"
        )
        if self.params.samples:
            figure = self.outputs.samples(self.step)
            self._guarded(figure, lambda: draw_samples(figure, self.space, held, self.params.samples))
            self.unsaved.pop(figure, None)  # there will be others
        if better:
            numbers = {"validation_psnr": f"{found.psnr:.3f}", "validation_untouched_psnr": f"{found.untouched:.3f}"}
            if self._keep_space(numbers):
                self.best = found.psnr

    def _keep_space(self, numbers: Mapping[str, str]) -> bool:
        """Write the space with its card; says whether it could be written."""
        card = {**self.card, **numbers, "step": str(self.step), "seconds": f"{self.seconds:.0f}"}
        return self._guarded(
            self.outputs.space,
            lambda: save_space(self.outputs.space, self.space, card=card, half=self.params.half, overwrite=True),
        )

    def _checkpoint(self) -> None:
        """Write the state of the training; every process takes part."""
        running = float(self.world.mean(self.running))
        self._check_finite(running)
        if not self.world.first:
            return
        checkpoint = Checkpoint(
            step=self.step,
            space=dict(self.space.state_dict()),
            optimizer=self.optimizer.state_dict(),
            settings=self._settings(),
            best=self.best,
            running=(running, self.running_count),
            history=self.history,
            seconds=self.seconds,
        )
        self._guarded(self.outputs.state, lambda: write_checkpoint(self.outputs.state, checkpoint))

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise RunError(
                f"The loss is not finite at step {self.step}; train anew (--overwrite), with a smaller --lr or --clip."
            )

    def _guarded(self, path: Path, write: Callable[[], None]) -> bool:
        """Write a file; a full disk must not end days of training, so it is tried again at the next occasion."""
        try:
            write()
        except RunError as error:
            self.unsaved[path] = str(error)
            self.hooks.warn(f"{error} The former file is untouched, and training goes on; make room for the next one.")
            return False
        self.unsaved.pop(path, None)
        return True

    def _log(self, line: str) -> None:
        if self.world.first:
            self.hooks.log(line)

    def _held_out(self) -> Samples | None:
        if self._held is None and self.material.validation is not None:
            self._held = self._fixed(self.material.validation, self.params.validation_examples, "validation")
        return self._held

    def _add_statistics(self) -> None:
        """Fit the Gaussian over the training codes of the best space, and write it once more with that.

        Done once, at the end: an extractor may take seconds for a picture.
        """
        data = self.material.training
        if data is None or not self.world.first or self.unsaved:
            return
        self._log(f"step {self.step}/{self.total}  fitting the Gaussian over {self.params.codes} training codes")
        header = read_header(self.outputs.space)
        best = load_space(self.outputs.space).to(self.device)
        shape = best.code_shape((data.crop, data.crop))
        samples = self._fixed(data, self.params.codes, "codes")

        def noise(start: int, stop: int) -> Tensor:
            return normal(shape, self.params.seed, "codes spread", range(start, stop))

        best.statistics = fit_statistics(best, samples, noise, batch=self.params.batch)
        self._guarded(
            self.outputs.space,
            lambda: save_space(self.outputs.space, best, card=header.card, half=self.params.half, overwrite=True),
        )

    def _fixed(self, data: Data, count: int, purpose: str) -> Samples:
        return fixed_examples(
            data, count, seed=self.params.seed, purpose=purpose, batch=self.params.batch, device=self.device
        )

    def _settings(self) -> dict[str, object]:
        """What a continuation must have in common with its beginning."""
        kept = {name: value for name, value in plain(self.params).items() if name not in WITHOUT_INFLUENCE}
        batches = {
            "batch x processes": self.params.batch * self.world.size,
            "kernel_batch x processes": self.params.kernel_batch * self.world.size,
        }
        return {**kept, **batches, "data": self.material.fingerprint}

    def resume(self) -> None:
        """Continue from the checkpoint beside the output.

        Raises:
            UsageError: There is none, it is damaged, or of other settings or data.
        """
        path = self.outputs.state
        checkpoint = read_checkpoint(path)
        check_same_settings(checkpoint.settings, self._settings(), path)
        try:
            self.space.load_state_dict(checkpoint.space)
            self.step = checkpoint.step
            self.optimizer.load_state_dict(checkpoint.optimizer)
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"{path}: does not fit this structure; train anew with --overwrite.") from error
        if self.step == self.kernel_steps:
            self.optimizer = self._new_optimizer()
        self.best = checkpoint.best
        total, self.running_count = checkpoint.running
        self.running.fill_(total)
        self.history = [(step, loss) for step, loss in checkpoint.history]
        self.seconds = checkpoint.seconds
        self._log(f"step {self.step}/{self.total}  resumed")


@contextmanager
def _explained_memory() -> Iterator[None]:
    """Say what to do where an accelerator's memory is full."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(
            "The device's memory is full; set a smaller --batch or --crop, or --precision bfloat16."
        ) from error
