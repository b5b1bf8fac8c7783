"""Synthesised pairs, made once more from their manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from deblurkit import __version__
from deblurkit.errors import ImageError, UsageError
from deblurkit.images import read_image
from deblurkit.kernel_space.manifest import MANIFEST, read_manifest, relative, write_manifest
from deblurkit.kernel_space.samples import Workshop, load_code, sha256, store_code
from deblurkit.kernel_space.synthesize import Outcome


def replay(manifest: Path, workshop: Workshop) -> Iterator[Outcome]:
    """Make all samples of a manifest once more, in another folder, with their codes and a manifest of its own.

    Args:
        manifest: Of :func:`synthesize`.
        workshop: Where they are made; its space must be the one that they were made with.

    Yields:
        What came of each; a note where a file differs from the one that was written first.

    Raises:
        UsageError: If the manifest is none, or names another space, or the folder is its own.
    """
    samples = read_manifest(manifest)
    home = manifest.parent
    if home.resolve() == workshop.out.resolve():
        raise UsageError(f"{workshop.out}: is the folder of the manifest itself; name another one with -o")
    for sample in samples:
        if sample.space_sha256 != workshop.space_sha256 or sample.margin != workshop.space.margin:
            raise UsageError(
                f"{manifest}: was made with another kernel space (SHA-256 {sample.space_sha256[:12]}...); name that "
                "one by --space"
            )
    write_manifest(workshop.out / MANIFEST, (), overwrite=workshop.overwrite)
    for sample in samples:
        source = home / sample.source
        try:
            if sha256(source) != sample.source_sha256:
                raise ImageError(f"{source}: has changed since {manifest} was written; get the original back")
            picture = read_image(source)
            top, left, height, width = sample.window
            outside = top + height > picture.size[0] or left + width > picture.size[1]
            if outside or min(height, width) <= 2 * sample.margin:
                raise ImageError(f"{source}: has no window {sample.window}; the manifest is damaged")
            moved = replace(
                sample,
                source=relative(source, workshop.out),
                pair=tuple(relative(home / one, workshop.out) for one in sample.pair),
                code=store_code(workshop.out, load_code(home / sample.code)) if sample.code else "",
                version=__version__,
            )
            done = workshop.make(moved, picture)
        except Exception as error:
            yield Outcome(source, error=error)
            continue
        same = (done.sharp_sha256, done.blur_sha256) == (sample.sharp_sha256, sample.blur_sha256)
        odd = f"{sample.name}: differs from the first time, by another version of a library or another device"
        yield Outcome(source, done, note="" if same else odd)
