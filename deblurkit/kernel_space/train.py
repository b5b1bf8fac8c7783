"""Training of a kernel space: first on kernels alone where it has kernels, then on pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import torch
from torch import Tensor

from deblurkit.errors import RunError, UsageError
from deblurkit.kernel_space.batch_loss import BatchLoss
from deblurkit.kernel_space.curve import LossCurve
from deblurkit.kernel_space.keeper import Keeper, Moment
from deblurkit.kernel_space.losses import cosine_rate
from deblurkit.kernel_space.prepare import Material
from deblurkit.kernel_space.reports import Hooks, Outputs, Step, duration
from deblurkit.kernel_space.settings import TrainParams
from deblurkit.kernel_space.training_state import Checkpoint, check_same_settings, lasting_settings, read_checkpoint
from deblurkit.kernel_space.world import World
from deblurkit.nets.kernel_space.space import ConvolutionalSpace, KernelSpace

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
        self.hooks = hooks
        self.device = world.device
        self.kernel_steps = params.kernel_iterations if isinstance(space, ConvolutionalSpace) else 0
        self.picture_steps = params.iterations if material.training is not None else 0
        self.total = self.kernel_steps + self.picture_steps
        if not self.total:
            raise UsageError(f"The preset {space.preset!r} has no kernels to train on, and iterations is 0.")
        self.step = 0
        self.seconds = 0.0
        self.curve = LossCurve(world)
        self.keeper = Keeper(space, material, params, outputs=outputs, card=card, hooks=hooks, first=world.first,
                             device=world.device)  # fmt: skip
        world.share(space)
        self.optimizer = self._new_optimizer()
        self.batch_loss = BatchLoss(space, material, params, world)

    def run(self) -> None:
        """Train to the end.

        Raises:
            KeyboardInterrupt: If the stop hook asked for it; a checkpoint has been written.
            RunError: If the loss is not finite, memory does not suffice, or the last files cannot be written.
        """
        started = time.monotonic() - self.seconds
        self.curve.start_clock(self.step)
        while self.step < self.total:
            with _explained_memory():
                loss = self._one_step()
            self.curve.add(loss)
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
        self.keeper.finish(self._moment())

    @property
    def best(self) -> float:
        """The best validation PSNR in dB so far, ``-inf`` before the first."""
        return self.keeper.best

    @property
    def history(self) -> list[tuple[int, float]]:
        """(step, mean loss) of every line of the log."""
        return self.curve.history

    def _leave(self) -> NoReturn:
        """End before the end, with a space where there is none yet."""
        self._replace_missing_space()
        self.keeper.log(f"{self._moment()}  interrupted; --resume continues here")
        raise KeyboardInterrupt

    def _replace_missing_space(self) -> None:
        """Write the space as it is where there is none, so that something stands for the steps done so far."""
        if self.world.first and not self.outputs.space.exists():
            self.space.eval()
            self.keeper.keep_space(self._moment())
            self.space.train()

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
        loss = self.batch_loss.on_kernels(self.step) if on_kernels else self.batch_loss.on_pictures(self._picture_step)
        loss.backward()
        self.world.average_gradients(self.space.parameters())
        if params.clip:
            torch.nn.utils.clip_grad_norm_(self.space.parameters(), params.clip)
        self.optimizer.step()
        return loss

    def _new_optimizer(self) -> torch.optim.Adam:
        """Adam; each stage begins with fresh moments, for those of another loss mean nothing."""
        first, second = self.params.betas
        return torch.optim.Adam(self.space.parameters(), lr=self.params.lr, betas=(first, second))

    @property
    def _picture_step(self) -> int:
        return max(0, self.step - self.kernel_steps)

    def _moment(self) -> Moment:
        return Moment(self.step, self.total, self.seconds)

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
        loss = self.curve.close(self.step)
        stage, done, total = self._stage()
        pace = self.curve.pace(self.step)
        batch = (self.params.kernel_batch if stage == "kernels" else self.params.batch) * self.world.size
        self.keeper.log(
            f"{self._moment()}  {stage}  loss {loss:.6g}  lr {self.optimizer.param_groups[0]['lr']:.3g}  "
            f"{pace:.3g} steps/s  {pace * batch:.3g} examples/s  ETA {duration((total - done) / max(pace, 1e-9))}"
        )

    def _validate(self) -> None:
        """Score, draw the figure, and write the space if it is the best so far; the first process does it for all."""
        if not self.world.first:
            return
        self.space.eval()
        try:
            self.keeper.judge(self._moment())
        finally:
            self.space.train()
            self.curve.start_clock(self.step)

    def _checkpoint(self) -> None:
        """Write the state of the training; every process takes part."""
        running = self.curve.open_sum(self.step)
        if not self.world.first:
            return
        checkpoint = Checkpoint(
            step=self.step,
            space=dict(self.space.state_dict()),
            optimizer=self.optimizer.state_dict(),
            settings=self._settings(),
            best=self.best,
            running=running,
            history=self.history,
            seconds=self.seconds,
            content=self.material.content,
        )
        self.keeper.keep_state(checkpoint)

    def _settings(self) -> dict[str, object]:
        return lasting_settings(self.params, self.world.size, self.material.fingerprint)

    def resume(self) -> None:
        """Continue from the checkpoint beside the output.

        Raises:
            UsageError: There is none, it is damaged, or of other settings or data.
        """
        path = self.outputs.state
        checkpoint = read_checkpoint(path)
        contents = (checkpoint.content, self.material.content)
        check_same_settings(checkpoint.settings, self._settings(), path, contents=contents)
        try:
            self.space.load_state_dict(checkpoint.space)
            self.step = checkpoint.step
            self.optimizer.load_state_dict(checkpoint.optimizer)
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"{path}: does not fit this structure; train anew with --overwrite.") from error
        if self.step == self.kernel_steps:
            self.optimizer = self._new_optimizer()
        # a best space that is gone must not keep later ones from being written
        self.keeper.best = checkpoint.best if self.outputs.space.exists() else -math.inf
        self.curve.restore(checkpoint.running, checkpoint.history)
        self.seconds = checkpoint.seconds
        self._replace_missing_space()
        self.keeper.log(f"{self._moment()}  resumed")


@contextmanager
def _explained_memory() -> Iterator[None]:
    """Say what to do where an accelerator's memory is full."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(
            "The device's memory is full; set a smaller --batch or --crop, or --precision bfloat16."
        ) from error
