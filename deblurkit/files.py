"""Files: written so that nobody ever finds half of one, and told from what they were before.

Pictures, kernels, run records: everything that deblurkit writes goes through `atomic_write`.
"""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from deblurkit.errors import RunError, UsageError


def atomic_write(path: Path, write: Callable[[BinaryIO], object], overwrite: bool, flag: str = "-o") -> None:
    """Write a file under a temporary name in the same folder, then rename it into place.

    The folder is created where it is missing. When `write` raises, also by Ctrl-C, `path` is untouched and nothing
    is left behind. A symbolic link is followed: what it points to is replaced.

    Args:
        path: The file to write.
        write: Called once with the open temporary file; it writes the content.
        overwrite: Whether an existing file may be replaced.
        flag: By which the user names the place, for the message.

    Raises:
        UsageError: `path` exists and may not be replaced, or is no regular file.
        RunError: The system refuses: no permission, disk full, a name too long.
    """
    _check_target(path, overwrite, flag)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".deblurkit-{secrets.token_hex(6)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            write(file)
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        _check_target(path, overwrite, flag)  # another process may have written it meanwhile
        os.replace(temporary, target)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error}); choose another place.") from error
    finally:
        with contextlib.suppress(OSError):  # it never came to be, or was renamed
            temporary.unlink()


def check_writable(path: Path, overwrite: bool, flag: str = "-o") -> None:
    """Find out now, not after minutes of computing, whether `path` can be written.

    Creates the folder and, for a moment, an empty file in it: the only test that is true on every file system.

    Args:
        path: The file that will be written.
        overwrite: Whether an existing file may be replaced.
        flag: By which the user names the place, for the message.

    Raises:
        UsageError: `path` exists and may not be replaced, is no regular file, or its folder cannot be written to.
    """
    _check_target(path, overwrite, flag)
    target = Path(os.path.realpath(path))
    probe = target.with_name(f".deblurkit-{secrets.token_hex(6)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); choose a folder that you may write to with {flag}."
        ) from error


def version_of(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written anew, for the key of a cache; zeros where there is none to be seen."""
    try:
        status = path.stat()
    except OSError:  # reading it will say what is wrong
        return 0, 0, 0
    return status.st_mtime_ns, status.st_ino, status.st_size


def _check_target(path: Path, overwrite: bool, flag: str) -> None:
    """Refuse a target that exists and may not be replaced, or that is a folder or a device."""
    try:
        exists, regular = os.path.lexists(path), path.is_file()
    except OSError:  # a name too long, a loop of links: the attempt to write says it better
        return
    if exists and path.exists() and not regular:
        raise UsageError(f"{path}: is not a regular file, and so cannot be replaced; name another one with {flag}.")
    if exists and not overwrite:
        raise UsageError(f"{path}: exists already; add --overwrite to replace it, or name another place with {flag}.")
