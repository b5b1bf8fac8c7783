"""Many pictures, one after the other: a failure costs only its own picture."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deblurkit.cli import DEBUG, console
from deblurkit.cli.options import Options
from deblurkit.config import Config
from deblurkit.devices import choose_device
from deblurkit.errors import DeblurkitError, ExitCode, UsageError
from deblurkit.files import check_writable
from deblurkit.images import OutputPaths, check_picture_size, find_images, output_paths, read_image, write_image
from deblurkit.kernels import write_kernel
from deblurkit.pipeline import Parts, deblur, observe, prepare
from deblurkit.record import plan_document, summary, write_record
from deblurkit.registry import registry


@dataclass
class Batch:
    """What came of the pictures so far.

    Attributes:
        documents: One JSON document a picture, failed ones too.
        code: The worst exit code.
    """

    documents: list[dict[str, Any]] = field(default_factory=list)
    code: int = ExitCode.DONE

    def fail(self, source: Path, error: BaseException) -> None:
        """Note a failure and say it on stderr; the batch goes on."""
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        text, code = sentence(error)
        console.error(text if str(source) in text else f"{source}: {text}")
        self.documents.append({"input": str(source), "error": text, "exit_code": int(code)})
        self.code = max(self.code, code)


def process(paths: Sequence[Path], config: Config, options: Options) -> int:
    """Deblur everything that the paths stand for, and say what came of it.

    Returns:
        The exit code: the worst of all pictures'.

    Raises:
        UsageError: If something is wrong before the first picture is touched.
        PluginError: If a component cannot be imported.
    """
    batch = Batch()
    choose_device(config.run.device)
    parts = Parts.load(config, registry())
    pairs = find_pairs(paths, options, batch, parts.shows_kernel)
    if options.dry_run:
        show_plans([source for source, _ in pairs], config, parts, options, batch)
        return batch.code
    for number, (source, output) in enumerate(pairs, start=1):
        title = source.name if len(pairs) == 1 else f"{source.name} ({number}/{len(pairs)})"
        try:
            for path in files_of(output, parts.shows_kernel):
                check_writable(path, options.overwrite or options.resume)
            interrupted = deblur_file(source, output, config, options, title, batch)
        except KeyboardInterrupt:
            console.error(f"{source}: interrupted; nothing was written for it")
            interrupted = True
        except Exception as error:
            interrupted = False
            batch.fail(source, error)
        if interrupted:
            batch.code = ExitCode.INTERRUPTED
            break
    if options.json:
        console.document({"images": batch.documents})
    return batch.code


def find_pairs(
    paths: Sequence[Path], options: Options, batch: Batch, shows_kernel: bool
) -> list[tuple[Path, OutputPaths]]:
    """The pictures that the paths stand for, each with the places of its results.

    A path that stands for nothing is noted and costs only itself, unless it is the only one.
    """
    good: list[Path] = []
    for path in paths:
        try:
            find_images([path])
            good.append(path)
        except UsageError as error:
            if len(paths) == 1:
                raise
            batch.fail(path, error)
    if not good:
        return []
    sources = find_images(good)
    pairs = list(zip(sources, output_paths(sources, options.out), strict=True))
    if options.resume:
        left = [pair for pair in pairs if not all(path.is_file() for path in files_of(pair[1], shows_kernel))]
        if len(left) < len(pairs):
            console.note(f"{len(pairs) - len(left)} of {len(pairs)} pictures are finished already and are skipped")
        pairs = left
    return pairs


def deblur_file(source: Path, output: OutputPaths, config: Config, options: Options, title: str, batch: Batch) -> bool:
    """Read, deblur, write and report one picture.

    Returns:
        Whether Ctrl-C ended it early; what was reached is written all the same.
    """
    picture = read_image(source)
    check_picture_size(picture)
    valid = None if picture.alpha is None else (picture.alpha > 0).to(picture.pixels.dtype)
    with console.ProgressDisplay(title, quiet=options.quiet) as display:
        result = deblur(picture.pixels, config, valid=valid, listener=display.update)
    notes = [*picture.notes, *write_image(output.image, result.image, picture, options.overwrite)]
    if result.kernel is not None:
        write_kernel(output.kernel, output.kernel_picture, result.kernel, options.overwrite)
    if options.record is not None:
        write_record(options.record / output.image.stem, result, config, registry(), overwrite=options.overwrite)
    for text in notes:
        console.note(text if str(source) in text else f"{source}: {text}")
    for reason in result.quality.reasons:
        console.warn(f"{source}: {result.quality.flag}: {reason}")
    if result.stopped:
        console.warn(f"{source}: the estimation ended early ({result.stopped}); the best image so far was written")
    kernel = None if result.kernel is None else output.kernel
    batch.documents.append(summary(result, config, source=source, image=output.image, kernel=kernel))
    if not options.json:
        console.result(str(output.image))
    return result.stopped == "interrupted"


def files_of(output: OutputPaths, shows_kernel: bool) -> list[Path]:
    """All files that a picture's results consist of."""
    return [output.image, *([output.kernel, output.kernel_picture] if shows_kernel else [])]


def show_plans(sources: Sequence[Path], config: Config, parts: Parts, options: Options, batch: Batch) -> None:
    """Print what would be done to each picture, and the resolved config with the origin of every value."""
    plans: list[dict[str, Any]] = []
    for source in sources:
        try:
            picture = read_image(source)
            check_picture_size(picture)
            plans.append({"input": str(source), **plan_document(prepare(observe(picture.pixels), parts, registry()))})
        except Exception as error:
            batch.fail(source, error)
    if options.json:
        console.document({"plans": plans, "config": config.to_json(), "origins": dict(config.origins)})
        return
    for plan in plans:
        console.result(f"{plan.pop('input')}")
        for key, value in plan.items():
            console.result(f"  {key} = {value}")
    for key, value in config.values().items():
        console.result(f"{key} = {value!r}  ({config.origins.get(key, 'default')})")


def sentence(error: BaseException) -> tuple[str, ExitCode]:
    """One line about an error, and its exit code."""
    if isinstance(error, DeblurkitError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "not enough memory" in str(error):
        return "out of memory; give a smaller --crop or a smaller picture", ExitCode.RUN_FAILED
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())} (set {DEBUG}=1)", ExitCode.RUN_FAILED
