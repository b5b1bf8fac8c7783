"""Train a small StyleGAN2 on digits: `python configs/stylegan/train.py -o digits.safetensors`.

Non-saturating loss, lazy R1, style mixing, moving average of the weights (Karras et al., CVPR 2020; no path length
regularisation). The state is written beside the weights every few minutes; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from pathlib import Path
from typing import Any

import digits
import numpy as np
import torch
from discriminator import Discriminator
from PIL import Image
from torch import Tensor
from torch.nn import functional

from deblurkit.files import atomic_write
from deblurkit.nets.stylegan.stylegan2 import StyleGAN2

CHANNELS = (96, 96, 64, 32, 16)
STYLE = 64
DEPTH = 4
RATE = 2.5e-3
PENALTY = 0.2
PENALTY_EVERY = 16
MIXING = 0.5
HALF_LIFE = 5000
"""Pictures after which half of the moving average is new."""


class Trainer:
    """Two networks that play against each other, and everything that a later process needs to go on."""

    def __init__(self, seed: int, batch: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        self.batch, self.device = batch, device
        self.random = np.random.default_rng(seed)
        self.maker = StyleGAN2(channels=CHANNELS, style=STYLE, inputs=STYLE, depth=DEPTH).to(device)
        self.judge = Discriminator(CHANNELS).to(device)
        self.average = copy.deepcopy(self.maker).requires_grad_(False)
        lazy = PENALTY_EVERY / (PENALTY_EVERY + 1)
        self.maker_adam = torch.optim.Adam(self.maker.parameters(), lr=RATE, betas=(0.0, 0.99))
        self.judge_adam = torch.optim.Adam(self.judge.parameters(), lr=RATE * lazy, betas=(0.0, 0.99**lazy))
        self.seen = 0

    def styles(self) -> Tensor:
        """Styles of random z, (B, n, D); those of every second picture or so change at a random layer."""
        w = self.maker.map(torch.randn(2 * self.batch, STYLE, device=self.device)).view(2, self.batch, 1, STYLE)
        layer = torch.arange(self.maker.latents, device=self.device).view(1, -1, 1)
        cut = torch.randint(1, self.maker.latents, (self.batch, 1, 1), device=self.device)
        cut = torch.where(torch.rand_like(cut, dtype=torch.float32) < MIXING, cut, self.maker.latents)
        return torch.where(layer < cut, w[0], w[1])

    def fakes(self) -> Tensor:
        """Pictures (B, 3, R, R) of random styles and noises."""
        sides = self.maker.noise_sizes
        noises = [torch.randn(self.batch, 1, side, side, device=self.device) for side in sides]
        return self.maker(self.styles(), noises)

    def step(self, index: int) -> dict[str, float]:
        """One update of both networks."""
        real = torch.from_numpy(digits.batch(self.random, self.batch)).to(self.device) * 2 - 1
        with torch.no_grad():
            fake = self.fakes()
        judge_loss = functional.softplus(self.judge(fake)).mean() + functional.softplus(-self.judge(real)).mean()
        update(self.judge_adam, judge_loss)
        if index % PENALTY_EVERY == 0:
            real.requires_grad_()
            (slope,) = torch.autograd.grad(self.judge(real).sum(), real, create_graph=True)
            update(self.judge_adam, PENALTY / 2 * PENALTY_EVERY * slope.square().sum((1, 2, 3)).mean())
        self.judge.requires_grad_(False)
        maker_loss = functional.softplus(-self.judge(self.fakes())).mean()
        update(self.maker_adam, maker_loss)
        self.judge.requires_grad_(True)
        self.seen += self.batch
        self.follow()
        return {"judge": float(judge_loss.detach()), "maker": float(maker_loss.detach())}

    @torch.no_grad()
    def follow(self) -> None:
        """Let the average go after the weights; faster at the beginning."""
        keep = 0.5 ** (self.batch / min(HALF_LIFE, max(self.seen * 0.1, 1.0)))
        for slow, fast in zip(self.average.parameters(), self.maker.parameters(), strict=True):
            slow.lerp_(fast, 1 - keep)

    def state(self) -> dict[str, Any]:
        """Everything, of types that a safe loader takes."""
        return {
            "maker": self.maker.state_dict(),
            "judge": self.judge.state_dict(),
            "average": self.average.state_dict(),
            "maker_adam": self.maker_adam.state_dict(),
            "judge_adam": self.judge_adam.state_dict(),
            "torch": torch.get_rng_state(),
            "seen": self.seen,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`; the pictures are drawn from a stream of their own for every start."""
        for name in ("maker", "judge", "average", "maker_adam", "judge_adam"):
            getattr(self, name).load_state_dict(state[name])
        torch.set_rng_state(state["torch"])
        self.seen = state["seen"]
        self.random = np.random.default_rng([self.seen, 1])


def update(adam: torch.optim.Adam, loss: Tensor) -> None:
    """One step."""
    adam.zero_grad(set_to_none=True)
    loss.backward()
    adam.step()


@torch.no_grad()
def show(generator: StyleGAN2, path: Path, rows: int = 6) -> None:
    """Write a sheet of random pictures."""
    source = torch.Generator().manual_seed(1)
    w = generator.map(torch.randn(rows * 2 * rows, STYLE, generator=source).to(generator.mean_style))
    x = generator(w[:, None].expand(-1, generator.latents, -1), generator.own_noises())
    sheet = x.view(rows, 2 * rows, 3, *x.shape[2:]).permute(0, 3, 1, 4, 2).reshape(rows * x.shape[2], -1, 3)
    Image.fromarray(((sheet.clamp(-1, 1) + 1) * 127.5).round().byte().cpu().numpy()).save(path)


def main() -> None:
    """Train until so many pictures were seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="weights to write, .safetensors")
    parser.add_argument("--pictures", type=int, default=192_000, help="pictures to see in all")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    trainer = Trainer(options.seed, options.batch, torch.device(options.device))
    state = options.out.with_suffix(".state.pt")
    if state.exists():
        trainer.restore(torch.load(state, map_location="cpu", weights_only=True))
        print(f"goes on after {trainer.seen} pictures", file=sys.stderr)
    started = noted = time.monotonic()
    first = trainer.seen
    index = first // options.batch
    while trainer.seen < options.pictures:
        losses = trainer.step(index)
        index += 1
        if time.monotonic() - noted > 120 or trainer.seen >= options.pictures:
            noted = time.monotonic()
            pace = (trainer.seen - first) / (noted - started)
            print(f"{trainer.seen} pictures, {pace:.1f} a second, {losses}", file=sys.stderr, flush=True)
            atomic_write(state, lambda file: torch.save(trainer.state(), file), True)
            show(trainer.average, options.out.with_suffix(".png"))
    finish(trainer, options)


def finish(trainer: Trainer, options: argparse.Namespace) -> None:
    """Measure the distribution of styles, and write the weights."""
    from deblurkit.nets.stylegan.weights import save_generator

    generator = trainer.average.cpu()
    generator.gaussian = generator.measure(200_000, torch.Generator().manual_seed(0))
    z = torch.randn(100_000, STYLE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        generator.mean_style.copy_(generator.map(z).mean(0))
    card = {
        "data": f"digits of {len(digits.TRAINING)} fonts in matplotlib: DejaVu, STIX, Computer Modern",
        "command": f"configs/stylegan/train.py --pictures {trainer.seen} --batch {options.batch} --seed {options.seed}",
        "licence": "MIT",
    }
    save_generator(options.out, generator, card=card, half=True, overwrite=True)


if __name__ == "__main__":
    main()
