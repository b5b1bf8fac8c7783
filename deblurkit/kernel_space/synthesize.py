"""New training pairs: sharp pictures, blurred as other pairs were, or as a kernel space draws."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deblurkit import __version__
from deblurkit.errors import ImageError, RunError, UsageError
from deblurkit.images import Picture, read_image
from deblurkit.kernel_space.manifest import MANIFEST, Sample, read_manifest, relative, write_manifest
from deblurkit.kernel_space.pairs import Pair, find_sharp, read_pair
from deblurkit.kernel_space.samples import BLUR, SHARP, Workshop, sha256, store_code
from deblurkit.kernel_space.transfer import reblur_psnr, take_blur
from deblurkit.nets.kernel_space.space import KernelSpace

SMALLEST = 16
"""Least height and width of what is written, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is asked for.

    Attributes:
        count: Blurs a picture.
        strength: Least and largest strength; between them it is drawn uniformly.
        noise: Standard deviation of white noise on the blurry side, white being 1.
        crop: Side of what is written, in pixels, cut out at random; 0 for everything.
        seed: Of all random choices.
        tiles: Codes a side, taken from pairs.
        steps: Adam steps that refine a pair's code.
    """

    count: int = 1
    strength: tuple[float, float] = (1.0, 1.0)
    noise: float = 0.0
    crop: int = 0
    seed: int = 0
    tiles: int = 1
    steps: int = 0

    def record(self, kind: str) -> dict[str, Any]:
        """For a manifest: all but the count, which may be raised later."""
        return {
            "blurs": kind,
            "strength": list(self.strength),
            "noise": self.noise,
            "crop": self.crop,
            "seed": self.seed,
            "tiles": self.tiles,
            "steps": self.steps,
        }


@dataclass(frozen=True)
class Outcome:
    """What came of one pair that should be made.

    Attributes:
        source: The picture to blur.
        sample: What was written; ``None`` if it failed.
        skipped: Whether it was there already.
        error: Why it failed, or what is odd about it: an exception in the first case, else ``None``.
        note: What the user should know.
    """

    source: Path
    sample: Sample | None = None
    skipped: bool = False
    error: BaseException | None = None
    note: str = ""


class PairCodes:
    """The codes of a set of pairs, taken when they are first needed and kept in files named by their content.

    Args:
        space: The kernel space.
        pairs: The pairs; one that cannot be used is dropped.
        out: The folder of the results.
        settings: For tiles and steps.
    """

    def __init__(self, space: KernelSpace, pairs: Sequence[Pair], out: Path, settings: Settings) -> None:
        self.space = space
        self.pairs = list(pairs)
        self.out = out
        self.settings = settings
        self.known: dict[Pair, tuple[str, float]] = {}
        self.broken: dict[Pair, Exception] = {}

    def choose(self, chance: random.Random) -> tuple[Pair, str, float, list[Exception]]:
        """A pair, the file of its code, how well it is explained, and what went wrong with others on the way.

        Raises:
            RunError: If none of the pairs can be used.
        """
        failures: list[Exception] = []
        while len(self.broken) < len(self.pairs):
            pair = self.pairs[chance.randrange(len(self.pairs))]
            if pair in self.broken:
                continue
            try:
                if pair not in self.known:
                    self.known[pair] = self._take(pair)
                return pair, *self.known[pair], failures
            except Exception as error:  # whatever a damaged file does, the others go on
                self.broken[pair] = error
                failures.append(error)
        last = list(self.broken.values())[-1]
        raise RunError(f"none of the pairs can be used, so there is no blur to transfer; the last one: {last}")

    def _take(self, pair: Pair) -> tuple[str, float]:
        """The file of a pair's code, relative to the results, and its reconstruction."""
        device = next(self.space.parameters()).device
        sharp, blurry = (one.to(device) for one in read_pair(pair))
        code = take_blur(self.space, sharp, blurry, tiles=self.settings.tiles, steps=self.settings.steps)
        psnr = min(reblur_psnr(self.space, sharp, blurry, code), 999.0)  # JSON has no infinity
        return store_code(self.out, code), round(psnr, 2)


def synthesize(
    sources: Sequence[Path],
    workshop: Workshop,
    settings: Settings,
    pairs: Sequence[Pair] = (),
    *,
    resume: bool = False,
) -> Iterator[Outcome]:
    """Make ``settings.count`` pairs of every picture, one after the other.

    Args:
        sources: Pictures, and folders that are searched downwards; what lies in the folder of results is left out.
        workshop: Where they are made.
        settings: What is asked for.
        pairs: Where the blurs come from; none for blurs that the space draws.
        resume: Whether what is there already, by the manifest of the same request, is kept.

    Yields:
        What came of each.

    Raises:
        UsageError: If a source is missing or empty, or lies in the folder of results, the space cannot draw, or that
            folder holds another synthesis, or the pairs themselves.
    """
    written = {(workshop.out / kind).resolve() for kind in (SHARP, BLUR)}
    for path in (path for pair in pairs for path in (pair.sharp, pair.blurry)):
        if written & {*path.resolve().parents}:
            raise UsageError(
                f"{workshop.out}: holds the pairs that blurs are taken from, such as {path}; name another folder with "
                "-o"
            )
    if not pairs and workshop.space.statistics is None:
        raise UsageError(
            "--random: this kernel space does not know how its codes are distributed, so nothing can be drawn from it; "
            "name a space with statistics by --space, or give --pairs to take blurs from"
        )
    named = list(named_sources(sources, workshop.out, settings.count))
    if not named:
        raise UsageError(
            f"{workshop.out}: all pictures to blur lie in this folder of results, where none is looked for; name "
            "another folder with -o"
        )
    record = settings.record("pairs" if pairs else "random")
    earlier = names_in(workshop.out / MANIFEST) if workshop.overwrite and not resume else set()
    kept = begin(workshop, record, resume=resume)
    codes = PairCodes(workshop.space, pairs, workshop.out, settings) if pairs else None
    for path, wanted in named:
        missing = [one for one in wanted if one not in kept]
        yield from (Outcome(path, kept[one], skipped=True) for one in wanted if one in kept)
        if not missing:
            continue
        try:
            picture, digest = read_image(path), sha256(path)
        except Exception as error:
            yield Outcome(path, error=error)
            continue
        for one in missing:
            try:
                sample, failures = plan(path, digest, one, picture, workshop, settings, record, codes)
                yield from (Outcome(path, note=f"a pair is left out: {failure}") for failure in failures)
                yield Outcome(path, workshop.make(sample, picture))
            except Exception as error:
                yield Outcome(path, error=error)
                if codes is not None and len(codes.broken) == len(codes.pairs):
                    return
    left = earlier - {name for _, names in named for name in names}
    if left:
        yield Outcome(
            workshop.out,
            note=f"{workshop.out}: {len(left)} pairs of an earlier call are no longer in the manifest and may still be "
            "there; for a clean set, begin with an empty folder",
        )


def begin(workshop: Workshop, record: dict[str, Any], *, resume: bool) -> dict[str, Sample]:
    """Look at what the folder holds; by name what is kept of it.

    Raises:
        UsageError: If it holds a synthesis that may not be replaced, or another one than is asked for now.
        RunError: If the folder cannot be written to.
    """
    manifest = workshop.out / MANIFEST
    kept: dict[str, Sample] = {}
    if resume and manifest.exists():
        for sample in read_manifest(manifest):
            if (sample.settings, sample.space_sha256) != (record, workshop.space_sha256):
                raise UsageError(
                    f"{manifest}: was made with other settings or another space, so it cannot be resumed; take the "
                    "same ones, or another folder by -o"
                )
            if workshop.complete(sample):
                kept[sample.name] = sample
    write_manifest(manifest, kept.values(), overwrite=resume or workshop.overwrite)
    return kept


def names_in(manifest: Path) -> set[str]:
    """The names of a manifest that is about to be replaced; none where it is missing or damaged."""
    try:
        return {sample.name for sample in read_manifest(manifest)}
    except UsageError:
        return set()


def plan(
    path: Path,
    digest: str,
    name: str,
    picture: Picture,
    workshop: Workshop,
    settings: Settings,
    record: dict[str, Any],
    codes: PairCodes | None,
) -> tuple[Sample, list[Exception]]:
    """All random choices of one sample; they depend on the seed and its name alone, not on what came before."""
    chance = random.Random(f"{settings.seed}/{name}")
    window = choose_window(picture, settings.crop, workshop.space.margin, chance)
    strength = chance.uniform(*settings.strength)
    seed = chance.getrandbits(63)
    pair, code, psnr, failures = codes.choose(chance) if codes is not None else (None, "", 0.0, [])
    sample = Sample(
        name=name,
        source=relative(path, workshop.out),
        source_sha256=digest,
        window=window,
        margin=workshop.space.margin,
        seed=seed,
        code=code,
        pair=() if pair is None else (relative(pair.sharp, workshop.out), relative(pair.blurry, workshop.out)),
        reblur_psnr=psnr,
        strength=strength,
        noise=settings.noise,
        space_sha256=workshop.space_sha256,
        version=__version__,
        settings=record,
    )
    return sample, failures


def choose_window(picture: Picture, crop: int, margin: int, chance: random.Random) -> tuple[int, int, int, int]:
    """(top, left, height, width) of what is blurred: what is written, and the margin around it.

    Raises:
        ImageError: If the picture is too small.
    """
    height, width = picture.size
    needed = (crop or SMALLEST) + 2 * margin
    if min(height, width) < needed:
        raise ImageError(
            f"{picture.path}: is {width} x {height} pixels, and {needed} are needed on each side"
            + (f" for a crop of {crop} and the blur's border of {margin}; give a smaller --crop" if crop else "")
        )
    if not crop:
        return 0, 0, height, width
    return chance.randint(0, height - needed), chance.randint(0, width - needed), needed, needed


def named_sources(sources: Sequence[Path], out: Path, count: int) -> Iterator[tuple[Path, list[str]]]:
    """Every picture with the names of its results: its path below the folder that was named, numbered from the second.

    Where names meet, the later picture's are marked: ``a`` and ``a-2``, then ``a~2`` and ``a~2-2``.
    """
    taken: set[str] = set()
    inside = out.resolve()
    for source in sources:
        for path in find_sharp([source]):
            if inside in path.resolve().parents:
                continue
            below = path.relative_to(source) if path != source else Path(path.name)
            base = below.with_suffix("").as_posix()
            number, names = 1, _numbered(base, count)
            while taken & set(names):
                number += 1
                names = _numbered(f"{base}~{number}", count)
            taken.update(names)
            yield path, names


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}-{index + 1}" if index else name for index in range(count)]
