"""``deblurkit train-kernel-space``: learn a family of blurs from pairs of sharp and blurry pictures."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deblurkit import config
from deblurkit.cli import console
from deblurkit.cli.arguments import parameter_option
from deblurkit.errors import ConfigError, DeblurkitError, ExitCode, RunError, UsageError
from deblurkit.files import check_writable
from deblurkit.kernel_space.settings import TEXTURES, TRAJECTORIES, Sources, TrainParams
from deblurkit.params import at, build, fields_of, suggest

if TYPE_CHECKING:
    from deblurkit.kernel_space.reports import Outputs
    from deblurkit.kernel_space.train import Training
    from deblurkit.kernel_space.world import World

SOURCES = ("pairs", "sharp", "kernels", "validation")
_META = "deblurkit.train"


class TrainCommand(click.Command):
    """A command whose options include all parameters of the training, in a section of their own in the help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = [
            parameter_option(one, one.name, _keep, value=one.default, origin=config.DEFAULT)
            for one in fields_of(TrainParams)
        ]
        self.params += self.settings

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the command, then the settings."""
        for title, options in (
            (
                "Options",
                [one for one in self.get_params(ctx) if isinstance(one, click.Option) and one not in self.settings],
            ),
            ("Settings, which may also stand in the --config file", self.settings),
        ):
            records = [record for one in options if (record := one.get_help_record(ctx)) is not None]
            with formatter.section(title):
                formatter.write_dl(records)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Keep a setting that was typed."""
    if ctx.get_parameter_source(param.name or "") is click.core.ParameterSource.COMMANDLINE:
        ctx.meta.setdefault(_META, {})[param.name] = value
    return value


@click.command(cls=TrainCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pairs", nargs=-1, type=click.Path(path_type=Path), metavar="[PAIRS]...")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The space, a .safetensors file.")
@click.option(
    "--sharp",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of sharp pictures to blur on the fly, or 'textures' for synthetic ones; may be repeated.",
)
@click.option(
    "--kernels",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Kernel file, folder of them, or 'trajectories' (the default) for random camera shakes; may be repeated.",
)
@click.option(
    "--validation",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Pairs to score on instead of a held-out share; may be repeated.",
)
@click.option("--config", "file", type=click.Path(path_type=Path), help="TOML file with sources and settings.")
@click.option("--resume", is_flag=True, help="Continue from the checkpoint beside the output.")
@click.option("--overwrite", is_flag=True, help="Train anew and replace what is there.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def train_kernel_space(
    ctx: click.Context,
    pairs: tuple[Path, ...],
    out: Path,
    sharp: tuple[Path, ...],
    kernels: tuple[Path, ...],
    validation: tuple[Path, ...],
    file: Path | None,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> int:
    """Learn a kernel space: a family of blurs, and an extractor that finds a picture's place in it.

    PAIRS are folders or lists of sharp and blurry pictures: the layouts of GoPro and REDS, folders sharp/ and blur/ (or
    gt/ and input/, ...), files NAME_sharp and NAME_blur, or a text file with a sharp and a blurry file on each line. Or
    name sharp pictures with --sharp, which are then blurred on the fly.

    Beside the best space, OUT.last.pt is kept for an exact --resume, OUT.log with one line an event, and a figure of
    every validation in OUT.samples. Several devices or machines train together under PyTorch's launcher, the batch
    being that of each process:

    \b
    Examples:
      deblurkit train-kernel-space GOPRO/train -o gopro.safetensors
      deblurkit train-kernel-space --sharp textures --kernels trajectories -o own.safetensors
      torchrun --nproc-per-node 4 -m deblurkit train-kernel-space GOPRO/train --preset paper -o gopro.safetensors
    """  # noqa: D301  click wants a real backspace before text that it must not wrap
    typed = Sources(pairs, sharp, kernels, validation)
    if pairs and kernels:
        raise UsageError("--kernels: blur sharp pictures, and PAIRS are blurry already; name sharp pictures by --sharp")
    sources, params = read_settings(file, typed, ctx.meta.get(_META, {}))
    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: a space is a .safetensors file; name it so with -o.")

    from deblurkit.kernel_space.reports import Outputs
    from deblurkit.kernel_space.world import World, launched

    world = World(_device(params, launched(), None if "device" in ctx.meta.get(_META, {}) else file))
    try:
        outputs = Outputs(out)
        with console.Interruption() as interruption, Reporter(outputs, world, quiet=quiet) as reporter:
            training = _agreed(world, lambda: _set_up(sources, params, outputs, world, reporter, interruption,
                                                      resume=resume, overwrite=overwrite))  # fmt: skip
            if training is None:
                return ExitCode.RUN_FAILED
            training.run()
    except RuntimeError as error:
        if world.size > 1 and "onnection" in str(error):
            raise RunError("Another process of this training has ended; its own message says why.") from error
        raise
    finally:
        world.close()
    if world.first:
        best = f", validation {training.best:.3f} dB" if training.best > -float("inf") else ""
        console.note(f"Trained {training.step} steps{best}.")
        console.result(str(out))
    return ExitCode.DONE


def read_settings(file: Path | None, typed: Sources, flags: Mapping[str, Any]) -> tuple[Sources, TrainParams]:
    """Merge a config file and what was typed; what was typed wins.

    Raises:
        ConfigError: At an unknown key or an impossible value.
    """
    values: dict[str, Any] = {}
    named: dict[str, tuple[Path, ...]] = {}
    declared = {one.name: one for one in fields_of(TrainParams)}
    for key, value in (config.read_document(file) if file is not None else {}).items():
        place = str(file)
        if key in SOURCES:
            named[key] = _paths(key, value, Path(place))
        elif key in declared:
            try:
                values[key] = declared[key].check(value)
            except ValueError as error:
                raise ConfigError(f"{key}: {error}{at(place)}") from None
            if isinstance(values[key], Path) and values[key] != Path():
                values[key] = Path(place).parent / values[key]
        else:
            known = [*SOURCES, *declared]
            cure = suggest(key, known) or "; deblurkit train-kernel-space --help names all settings"
            raise ConfigError(f"{key}: no such setting{cure}{at(place)}")
    if typed.pairs or typed.sharp:
        named.pop("pairs", None)
        named.pop("sharp", None)
    named |= {key: paths for key, paths in vars(typed).items() if paths}
    return Sources(**named), build(TrainParams, {**values, **flags}, subject="train-kernel-space")


def _paths(key: str, value: object, file: Path) -> tuple[Path, ...]:
    """Names of a config file, relative to it."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"{key}: must be a path or a list of paths, not {value!r}{at(str(file))}")
    words = {"sharp": TEXTURES, "kernels": TRAJECTORIES}
    return tuple(Path(name) if name == words.get(key) else file.parent / Path(name).expanduser() for name in names)


def _device(params: TrainParams, processes: int, file: Path | None) -> Any:
    """The device of this process: under a launcher each process of a machine takes the next one."""
    import torch

    from deblurkit.cli.device import named_device
    from deblurkit.devices import set_threads

    name = params.device
    if processes > 1 and name in ("auto", "cuda"):
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    if processes == 1 or params.threads:
        set_threads(params.threads, params.batch * params.crop**2 * 16)
    return named_device(name, file)


def _agreed(world: World, prepare: Any) -> Training | None:
    """Prepare in all processes; where it fails in any, one raises the sentence and the others are None."""
    made, error = None, None
    try:
        made = prepare()
    except DeblurkitError as caught:
        error = caught
    rank, _ = world.first_complaint(str(error) if error else "")
    if error is not None and rank == world.rank:
        raise error
    return None if rank >= 0 else made


def _set_up(
    sources: Sources,
    params: TrainParams,
    outputs: Outputs,
    world: World,
    reporter: Reporter,
    interruption: console.Interruption,
    *,
    resume: bool,
    overwrite: bool,
) -> Training:
    """Check and find everything, so that nothing fails later that could have been found now."""
    from deblurkit.kernel_space.prepare import find_material, fit_basis, new_space
    from deblurkit.kernel_space.reports import Hooks
    from deblurkit.kernel_space.train import Training

    if world.first:
        if not (resume or overwrite) and outputs.state.exists():
            raise UsageError(
                f"{outputs.state}: is the state of an earlier training; continue it by --resume, or replace it by "
                "--overwrite."
            )
        for path in (outputs.space, outputs.state, outputs.log):
            check_writable(path, overwrite or resume)
    space = new_space(params)
    material = find_material(sources, params, space, reporter.warn)
    if not resume:
        fit_basis(space, material.kernels, params)
    hooks = Hooks(step=reporter.step, log=reporter.log, warn=reporter.warn, stop=lambda: interruption.asked)
    card = {
        "data": material.description,
        "command": shlex.join(["deblurkit", *sys.argv[1:]]),
        "seed": str(params.seed),
        "iterations": f"{params.kernel_iterations} on kernels, {params.iterations} on pictures",
    }
    training = Training(space, material, params, outputs=outputs, world=world, card=card, hooks=hooks)
    if resume:
        training.resume()
    else:
        reporter.begin()
    reporter.log(f"training {params.preset} on {material.description}")
    return training


class Reporter:
    """Log file, live bar and warnings of one training; only the first process writes and shows progress.

    Args:
        outputs: Where the log goes.
        world: The processes.
        quiet: Whether only warnings are shown.
    """

    def __init__(self, outputs: Outputs, world: World, *, quiet: bool) -> None:
        self.path = outputs.log
        self.first = world.first
        self.quiet = quiet or not world.first
        self.display = console.ProgressDisplay(outputs.space.stem, quiet=self.quiet)
        self.broken = False

    def __enter__(self) -> Reporter:
        self.display.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.display.__exit__(*error)

    def begin(self) -> None:
        """Begin the log anew."""
        if self.first:
            self.path.unlink(missing_ok=True)

    def step(self, step: Any) -> None:
        """Move the bar."""
        if self.display.live is not None:
            from deblurkit.pipeline import Progress

            self.display.update(Progress(step.stage, done=step.done, total=step.total, loss=step.loss))

    def log(self, line: str) -> None:
        """Append a line to the log; show it, unless the bar says the same."""
        if not self.first:
            return
        self._append(line)
        if self.quiet:
            return
        if self.display.live is None:
            console.note(line)
        elif "  loss " not in line:
            self.display.live.console.print(line, highlight=False)

    def warn(self, text: str) -> None:
        """Say on stderr, and in the log, that something deserves a look."""
        if self.first:
            self._append(f"Warning: {text}")
        console.warn(text)

    def _append(self, line: str) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            if not self.broken:
                console.warn(f"{self.path}: cannot be written ({error.strerror or error}); training goes on without.")
            self.broken = True
