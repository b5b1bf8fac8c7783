"""What can be set in the training of a kernel space; the command line reads it at every start: nothing heavy here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deblurkit.params import Params, param

TRAJECTORIES = "trajectories"
"""In the place of a kernel file: random camera shakes, a new one for every example."""
TEXTURES = "textures"
"""In the place of a folder of sharp pictures: synthetic textures, which nobody has rights in."""


@dataclass(frozen=True, kw_only=True)
class TrainParams(Params):
    """How a kernel space is trained: its structure, the two stages, the blur on the fly, the bookkeeping."""

    preset: str = param("compact", "Structure of the space: compact, or paper (Tran et al.).")
    window: int | Literal["auto"] = param(
        "auto", "Side of the kernels in pixels; auto: the preset's.", min=3, max=101, odd=True
    )
    dimensions: int | Literal["auto"] = param("auto", "Length of the code; auto: the preset's.", min=1)
    features: int | Literal["auto"] = param("auto", "Width of the networks; auto: the preset's.", min=1)
    stages: int | Literal["auto"] = param("auto", "Stages of the kernel decoder; auto: the preset's.", min=0)
    response: bool = param(True, "Let the camera's response be part of the space (where there is the choice).")
    channels: int | Literal["auto"] = param("auto", "Channels that the networks see; auto: the preset's.", min=1, max=3)
    vae: bool = param(False, "Let the extractor give a mean and a spread, for blurs drawn at random (where offered).")
    init: Path = param(Path(), "Space whose weights to start from, as far as their shapes fit.")

    iterations: int = param(200, "Steps on pictures; preset paper was published with 600000.", min=0)
    batch: int = param(8, "Examples a step and process.", min=1)
    crop: int = param(128, "Side of the pictures trained on, in pixels.", min=16)
    lr: float = param(1e-3, "Learning rate of Adam.", above=0.0)
    eta_min: float = param(1e-6, "Learning rate at the end of a cosine period.", min=0.0)
    periods: tuple[int, ...] = param((), "Steps of each cosine period, for warm restarts; none: one period.", min=1)
    betas: tuple[float, ...] = param((0.9, 0.99), "Decay of Adam's two moments.", min=0.0, below=1.0)
    clip: float = param(0.0, "Largest norm of the gradient; 0 leaves it.", min=0.0)
    reduction: Literal["mean", "sum"] = param("mean", "Errors of a picture's values: averaged, or summed up.")
    kl_weight: float = param(10.0, "Weight of the Kullback-Leibler term of a space with spread.", min=0.0)

    kernel_iterations: int = param(3000, "Steps on kernels alone, before those on pictures.", min=0)
    kernel_batch: int = param(64, "Kernels a step and process.", min=1)
    basis_kernels: int = param(4096, "Kernels whose principal components a linear basis starts from.", min=0)
    kernel_lr: float = param(1e-3, "Learning rate of the steps on kernels.", above=0.0)

    grey: bool = param(False, "Turn all pictures into grey.")
    flips: bool = param(True, "Mirror and transpose the pictures at random.")
    kernel_window: int | Literal["auto"] = param(
        "auto", "Side of random trajectories in pixels; auto: the space's, or 27.", min=3, max=101, odd=True
    )
    shift: float = param(3.0, "Largest offset of a random trajectory's centre, in pixels.", min=0.0)
    gamma_share: float = param(
        0.5, "Share of examples on the fly that are blurred in light of gamma 2.2.", min=0, max=1
    )
    saturated_share: float = param(0.2, "Share of examples on the fly that are overexposed.", min=0, max=1)
    gain: float = param(1.8, "Largest overexposure; light above white is cut off after the blur.", min=1.0)
    noise: float = param(0.0, "Largest standard deviation of noise added on the fly, white being 1.", min=0, max=1)
    textures: int = param(32, "How many synthetic textures there are.", min=2)
    texture_side: int = param(512, "Their side in pixels.", min=64)

    validation_share: float = param(0.05, "Share of the pictures of every source that is held out.", min=0, below=1)
    validation_examples: int = param(32, "Examples that are scored.", min=1)
    validate_every: int = param(100, "Steps on pictures between validations; 0: only at the end of a stage.", min=0)
    checkpoint_every: int = param(100, "Steps between checkpoints; 0: only at the end.", min=0)
    log_every: int = param(25, "Steps between lines of the log.", min=1)
    samples: int = param(4, "Examples in the figure drawn at each validation; 0 draws none.", min=0)
    codes: int = param(256, "Training codes to which the Gaussian over codes is fitted.", min=2)
    half: bool = param(False, "Store the space in 16 bits a number.")

    seed: int = param(0, "Seed of all random numbers.", min=0, max=2**32 - 1)
    device: str = param("auto", "auto, cpu, cuda, cuda:N or mps.")
    precision: Literal["float32", "bfloat16"] = param("float32", "Arithmetic of the networks.")
    threads: int = param(0, "Processor threads of a process; 0 chooses.", min=0)
    workers: int = param(0, "Threads that decode pictures ahead; 0: none.", min=0)
    cache: float = param(2.0, "Gigabytes of decoded pictures to keep in memory, for each process.", min=0.0)

    def check_together(self) -> None:
        """Refuse what contradicts itself."""
        if len(self.betas) != 2:
            raise ValueError(f"betas: needs two numbers, not {len(self.betas)}")
        if not self.iterations and not self.kernel_iterations:
            raise ValueError("iterations and kernel_iterations: are both 0, so there is nothing to train")
        if self.eta_min > self.lr:
            raise ValueError(f"eta_min: is larger than lr ({self.eta_min:g} > {self.lr:g})")


WITHOUT_INFLUENCE = frozenset({"device", "threads", "workers", "cache", "log_every", "checkpoint_every", "batch",
                               "kernel_batch", "half", "samples"})  # fmt: skip
"""Settings that a resumed training may change: they have no part in its result. (Batches are compared over all
processes.)"""


@dataclass(frozen=True)
class Sources:
    """Where the examples come from: pairs, or sharp pictures that are blurred on the fly.

    Attributes:
        pairs: Folders and lists of pairs, see :func:`deblurkit.kernel_space.pairs.find_pairs`.
        sharp: Folders of sharp pictures, or the word ``textures``.
        kernels: Kernel files, folders of them, or the word ``trajectories``.
        validation: Folders and lists of pairs to score on; else a share of the sources is held out.
    """

    pairs: tuple[Path, ...] = ()
    sharp: tuple[Path, ...] = ()
    kernels: tuple[Path, ...] = ()
    validation: tuple[Path, ...] = ()

    def named(self) -> Mapping[str, list[str]]:
        """The sources as text, for records."""
        return {name: [str(path) for path in paths] for name, paths in vars(self).items() if paths}
