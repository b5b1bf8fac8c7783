"""Files are written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from deblurkit.errors import RunError, UsageError
from deblurkit.files import atomic_write, check_writable


def test_writes_into_a_new_folder_with_the_usual_permissions(tmp_path):
    path = tmp_path / "new" / "deep" / "a.bin"
    atomic_write(path, lambda file: file.write(b"content"), False)
    assert path.read_bytes() == b"content"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise error("disk full")

    with pytest.raises(RunError if error is OSError else error):
        atomic_write(path, fail, True)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_existing_file_is_replaced_only_on_demand_and_keeps_its_mode(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(0o640)
    for refuse in (lambda: atomic_write(path, lambda file: None, False), lambda: check_writable(path, False)):
        with pytest.raises(UsageError, match="--overwrite"):
            refuse()
    atomic_write(path, lambda file: file.write(b"new"), True)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("flag", ["-o", "--report"])
def test_the_flag_that_names_the_place_is_named(tmp_path, flag):
    path, blocked = tmp_path / "a.bin", tmp_path / "a.bin" / "b.bin"
    words = {} if flag == "-o" else {"flag": flag}
    path.touch()
    for target, overwrite in ((path, False), (tmp_path, True), (blocked, False)):
        with pytest.raises(UsageError, match=rf" with {flag}\.$"):
            check_writable(target, overwrite, **words)
    late = tmp_path / "late.bin"
    for target, overwrite in ((path, False), (tmp_path, True), (late, False)):
        with pytest.raises(UsageError, match=rf" with {flag}\.$"):
            atomic_write(target, lambda file: late.write_bytes(b"other"), overwrite, **words)


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(UsageError, match="exists already"):
        atomic_write(path, lambda file: path.write_bytes(b"other"), False)
    assert path.read_bytes() == b"other"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_link_is_followed(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    atomic_write(link, lambda file: file.write(b"new"), True)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_folders_and_devices_are_no_targets(tmp_path):
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(UsageError, match="regular file"):
            check_writable(path, True)
        with pytest.raises(UsageError, match="regular file"):
            atomic_write(path, lambda file: None, True)


def test_a_place_that_cannot_be_written_is_found_beforehand(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a.png", tmp_path / ("long" * 100) / "a.png", Path("/proc/deblurkit/a.png")):
        with pytest.raises(UsageError, match="cannot be written"):
            check_writable(path, False)
        with pytest.raises(RunError, match="cannot be written"):
            atomic_write(path, lambda file: None, False)


def test_checking_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "new" / "a.png", False)
    assert os.listdir(tmp_path / "new") == []
