"""Many pictures, one after the other: a failure costs only its own picture."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblurkit.cli import DEBUG, console
from deblurkit.cli.options import Options
from deblurkit.cli.page import MOST_PICTURES, Shown, finished_picture, page_of_runs, picture_of_run
from deblurkit.config import DEFAULT, Config
from deblurkit.devices import choose_device
from deblurkit.errors import DeblurkitError, ExitCode, UsageError
from deblurkit.files import check_writable
from deblurkit.images import (
    WORD,
    OutputPaths,
    Picture,
    check_picture_size,
    find_images,
    output_paths,
    read_image,
    write_image,
)
from deblurkit.kernels import write_kernel
from deblurkit.pipeline import Parts, Progress, Result, admitted, deblur, observe, prepare
from deblurkit.pipeline.cost import expect
from deblurkit.record import (
    RECORD_FLAG,
    cost_document,
    environment,
    notice,
    plan_document,
    record_files,
    summary,
    write_record,
)
from deblurkit.registry import registry
from deblurkit.report import check_report, write_report

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Batch:
    """What came of the pictures so far.

    Attributes:
        documents: One JSON document a picture, failed ones too.
        code: The worst exit code.
        shown: What a report shows of them.
    """

    documents: list[dict[str, Any]] = field(default_factory=list)
    code: int = ExitCode.DONE
    shown: list[Shown] = field(default_factory=list)

    def fail(self, source: Path, error: BaseException) -> None:
        """Note a failure and say it on stderr; the batch goes on."""
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        text, code = sentence(error)
        console.error(text if str(source) in text else f"{source}: {text}")
        self.documents.append({"input": str(source), "error": text, "exit_code": int(code)})
        self.code = max(self.code, code)

    def abort(self, source: Path) -> None:
        """Note that the user did not want to wait for a picture."""
        console.error(f"{source}: interrupted; nothing was written for it")
        self.documents.append({"input": str(source), "error": "interrupted", "exit_code": int(ExitCode.INTERRUPTED)})
        self.code = ExitCode.INTERRUPTED


@dataclass(frozen=True)
class Job:
    """One picture and the places of its results.

    Attributes:
        source: The picture's file.
        output: Where its results go.
        record: Folder for its record, or ``None``.
    """

    source: Path
    output: OutputPaths
    record: Path | None

    def results(self, shows_kernel: bool) -> list[Path]:
        """All files that its results consist of, the record apart."""
        return [self.output.image, *([self.output.kernel, self.output.kernel_picture] if shows_kernel else [])]


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
    jobs = find_jobs(paths, options, batch)
    if options.resume and not options.dry_run:
        jobs = unfinished(jobs, parts.shows_kernel, batch)
    if jobs:
        parts.check()
    if options.report is not None and not options.dry_run:
        check_report(options.report, overwrite=options.overwrite or options.resume)
    if options.dry_run:
        show_plans(jobs, config, parts, options, batch)
        return batch.code
    with console.Interruption() as interruption:
        for number, job in enumerate(jobs, start=1):
            title = job.source.name if len(jobs) == 1 else f"{job.source.name} ({number}/{len(jobs)})"
            try:
                deblur_file(job, config, parts, options, title, batch, interruption)
            except KeyboardInterrupt:
                batch.abort(job.source)
                break
            except Exception as error:
                batch.fail(job.source, error)
            if interruption.asked:
                batch.code = ExitCode.INTERRUPTED
                break
    if options.report is not None:
        write_page(options.report, batch, parts, overwrite=options.overwrite or options.resume)
    if options.json:
        console.document({"images": batch.documents})
    return batch.code


def write_page(path: Path, batch: Batch, parts: Parts, *, overwrite: bool) -> None:
    """Write the report of a batch, with what was finished earlier before what was done now; none of no results."""
    if all("error" in document for document in batch.documents):
        console.note(f"{path}: not written, since there is no result to show")
        return
    earlier: list[Shown] = []
    for document in batch.documents:
        if document.get("skipped") and len(earlier) + len(batch.shown) < MOST_PICTURES:
            try:
                earlier.append(finished_picture(document, parts.image.synthesises))
            except Exception as error:  # whatever is wrong with it, the others are shown
                console.warn(f"{sentence(error)[0].rstrip('.')}; the report leaves this picture out")
    config = parts.config
    facts = environment(registry(), config.run.device)
    write_report(path, page_of_runs(batch.documents, [*earlier, *batch.shown], config, facts), overwrite=overwrite)
    console.note(f"{path}: the report")


def find_jobs(paths: Sequence[Path], options: Options, batch: Batch, word: str = WORD) -> list[Job]:
    """The pictures that the paths stand for, each with the places of its results, marked by a word beside their input.

    A path that stands for nothing is noted and costs only itself.
    """
    good: list[Path] = []
    for path in paths:
        try:
            find_images([path], word)
            good.append(path)
        except UsageError as error:
            batch.fail(path, error)
    if not good:
        return []
    sources = find_images(good, word)
    outputs = output_paths(sources, options.out, word)
    records = record_folders(outputs, options.record)
    return [Job(*one) for one in zip(sources, outputs, records, strict=True)]


def record_folders(outputs: Sequence[OutputPaths], folder: Path | None) -> list[Path | None]:
    """A folder of its own for the record of every picture, named after its result; numbered where names meet."""
    if folder is None:
        return [None for _ in outputs]
    names: list[str] = []
    for output in outputs:
        stem = output.kernel.name.removesuffix(".kernel.npy")
        same = sum(name == stem or name.startswith(f"{stem}~") for name in names)
        names.append(f"{stem}~{same + 1}" if same else stem)
    return [folder / name for name in names]


def unfinished(jobs: Sequence[Job], shows_kernel: bool, batch: Batch) -> list[Job]:
    """The jobs whose results are not all there; the others are noted."""
    left = []
    for job in jobs:
        if all(path.is_file() for path in job.results(shows_kernel)):
            kernel = str(job.output.kernel) if shows_kernel else None
            batch.documents.append(
                {"input": str(job.source), "output": str(job.output.image), "kernel": kernel, "skipped": True}
            )
        else:
            left.append(job)
    if len(left) < len(jobs):
        console.note(f"{len(jobs) - len(left)} of {len(jobs)} pictures are finished already and are skipped")
    return left


def deblur_file(
    job: Job,
    config: Config,
    parts: Parts,
    options: Options,
    title: str,
    batch: Batch,
    interruption: console.Interruption,
) -> None:
    """Read, deblur, write and report one picture; after Ctrl-C what was reached is written all the same."""
    overwrite = options.overwrite or options.resume
    picture = read_picture(job.source)
    for path in job.results(parts.shows_kernel):
        check_writable(path, overwrite)
    for path in record_files(job.record) if job.record else ():
        check_writable(path, overwrite, RECORD_FLAG)
    with console.ProgressDisplay(title, quiet=options.quiet) as display:

        def listen(event: Progress) -> None:
            display.update(event)
            interruption.check(event)

        result = deblur(picture.pixels, config, valid=opaque(picture), listener=listen)
    with interruption.postponed():
        notes = list(picture.notes)
        if result.reframed:
            height, width = result.image.shape[-2:]
            lost = "" if picture.alpha is None else ", and its transparency is dropped"
            name = config.image_prior.name
            notes.append(f"the image prior '{name}' made it a picture of {width}x{height} pixels{lost}")
            picture = replace(picture, alpha=None)  # which belongs to another frame
        notes += write_image(job.output.image, result.image, picture, overwrite)
        kernel = result.kernel if result.kernel is not None and bool(result.kernel.isfinite().all()) else None
        if kernel is not None:
            write_kernel(job.output.kernel, job.output.kernel_picture, kernel, overwrite)
        if job.record is not None:
            write_record(job.record, result, config, registry(), overwrite=overwrite)
    if options.report is not None and len(batch.shown) < MOST_PICTURES:
        batch.shown.append(picture_of_run(job.source, picture, result))
    report(job, result, None if kernel is None else job.output.kernel, notes, config, options, batch)


def report(
    job: Job,
    result: Result,
    kernel: Path | None,
    notes: Sequence[str],
    config: Config,
    options: Options,
    batch: Batch,
) -> None:
    """Say what came of one picture: its path on stdout, or a document for later; everything else on stderr."""
    source = str(job.source)
    for text in notes:
        console.note(text if source in text else f"{source}: {text}")
    say = console.note if result.quality.flag == "good" else console.warn
    for reason in result.quality.reasons:
        say(f"{source}: {result.quality.flag}: {reason}")
    if result.kept_start:
        console.note(
            f"{source}: the kernel that the recipe '{config.run.size_recipe}' found stands, since what the estimation "
            "made of it was no better"
        )
    if result.synthesised:
        console.warn(f"{source}: {notice(result)}")
    if result.stopped:
        console.warn(f"{source}: the estimation ended early ({result.stopped}); the best image so far was written")
    batch.documents.append(summary(result, config, source=job.source, image=job.output.image, kernel=kernel))
    if not options.json:
        console.result(str(job.output.image))


def read_picture(source: Path) -> Picture:
    """Read a picture that is large enough to be deblurred."""
    picture = read_image(source)
    check_picture_size(picture)
    return picture


def opaque(picture: Picture) -> Tensor | None:
    """1 where a picture can be seen, 0 where it is transparent; ``None`` without transparency."""
    return None if picture.alpha is None else (picture.alpha > 0).to(picture.pixels.dtype)


def show_plans(jobs: Sequence[Job], config: Config, parts: Parts, options: Options, batch: Batch) -> None:
    """Print what would be done to each picture, and the resolved config with the origin of every value."""
    plans: list[dict[str, Any]] = []
    for job in jobs:
        try:
            picture = read_picture(job.source)
            frame = observe(*admitted(picture.pixels, opaque(picture), parts))
            plan = prepare(frame, parts, registry(), scouting=False)
            document = plan_document(plan, parts.config.run.precision)
            cost = expect(frame, parts, plan)
            plans.append({"input": str(job.source), "output": str(job.output.image), **document, **cost_document(cost)})
        except Exception as error:
            batch.fail(job.source, error)
    if options.json:
        origins = {key: config.origins.get(key, DEFAULT) for key in config.values()}
        console.document({"plans": plans, "failed": batch.documents, "config": config.to_json(), "origins": origins})
        return
    for plan_facts in plans:
        console.result("\n".join(plan_lines(plan_facts)))
    for key, value in config.values().items():
        console.result(f"{key} = {json.dumps(value)}  ({config.origins.get(key, DEFAULT)})")


def plan_lines(facts: Mapping[str, Any]) -> list[str]:
    """A plan in words."""
    height, width = facts["size"]
    crop = facts["crop"]
    size = facts["kernel_window"]
    kernel = "given" if size is None else f"auto, at most {size} px" if facts["automatic"] else f"{size} px"
    if facts["size_recipe"]:
        kernel += f", found first by the recipe {facts['size_recipe']}"
    part = "everything"
    if (crop["height"], crop["width"]) != (height, width):
        part = f"{crop['width']} x {crop['height']} px from column {crop['left']}, row {crop['top']}"
    scales = ", ".join(f"{factor:g}" for factor in facts["scales"]) or "none, nothing is estimated"
    seconds = facts["expected_seconds"]
    rows = {
        "output": facts["output"],
        "picture": f"{width} x {height} px, {channels(facts['channels'])}",
        "estimated on": f"{channels(facts['estimated_channels'])}, {part}",
        "kernel": kernel,
        "scales": scales,
        "device": f"{facts['device']}, {facts['threads']} threads, {facts['precision']}",
        "memory": f"about {facts['memory_bytes'] / 1e9:.1f} GB",
        "time": "unknown" if seconds is None else f"about {duration(seconds)}, if this machine stays as busy as it is",
    }
    return [facts["input"], *(f"  {name:<13} {text}" for name, text in rows.items())]


def channels(count: int) -> str:
    """A number of channels as one would say it."""
    return "1 channel" if count == 1 else f"{count} channels"


def duration(seconds: float) -> str:
    """Seconds as one would say them: ``8 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def sentence(error: BaseException) -> tuple[str, ExitCode]:
    """One line about an error, and its exit code."""
    if isinstance(error, DeblurkitError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "not enough memory" in str(error):
        return "out of memory; give a smaller --crop or a smaller picture", ExitCode.RUN_FAILED
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())} (set {DEBUG}=1)", ExitCode.RUN_FAILED
