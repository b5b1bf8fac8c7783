"""Checkpoints that strangers wrote, opened without running what is in them."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from deblurkit.checkpoints.claims import check_legacy, check_zip
from deblurkit.checkpoints.machine import RefusedName
from deblurkit.checkpoints.pickles import read_pickle
from deblurkit.checkpoints.refusals import damaged, more_than_weights
from deblurkit.errors import UsageError
from deblurkit.nets.kernel_space.header import KERNEL_SPACE
from deblurkit.nets.stylegan.weights import GENERATOR

LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
"""How torch.save began its files before version 1.6."""
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)
ARCHIVES = (b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"BZh", b"\xfd7zXZ")
NVIDIA = (b"dnnlib", b"torch_utils")
"""Modules that every network of NVIDIA's names."""
START = 1 << 16
"""Bytes looked at to tell what a file is."""


def read_foreign(path: Path) -> Any:
    """Read what a file of PyTorch, safetensors or NVIDIA's holds, onto the CPU; nothing in it is run.

    Args:
        path: A ``.pth``, ``.pt``, ``.safetensors`` or ``.pkl`` file, whatever its name.

    Returns:
        What was saved: usually a dictionary of tensors, or of such dictionaries; for NVIDIA's pickles see
        :func:`~deblurkit.checkpoints.pickles.read_pickle`.

    Raises:
        UsageError: If the file is missing, damaged, no checkpoint, or holds code.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name the weights file in it")
    try:
        with open(path, "rb") as file:
            start = file.read(START)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); name a weights file") from error
    return _reader(path, start)(path)


def _reader(path: Path, start: bytes) -> Callable[[Path], Any]:
    """Tell by its first bytes how to open a file."""
    if not start:
        raise UsageError(f"{path}: is empty; get the file anew")
    if PAGE.match(start):
        raise UsageError(
            f"{path}: is a web page, not weights: the link it was downloaded from is dead or wants a click; look into "
            "it with a browser, and get the file anew"
        )
    if start.startswith(b"version https://git-lfs"):
        raise UsageError(f"{path}: is only the pointer that git keeps in the place of a large file; run git lfs pull")
    if start.startswith(b"PK\x03\x04"):
        return _read_zip
    if start.startswith(LEGACY):
        return _read_legacy
    if start[:1] == b"\x80" and start[1:2] <= b"\x05":
        return _read_pickle
    if start.startswith(ARCHIVES) or start[257:262] == b"ustar":
        raise UsageError(f"{path}: is an archive; unpack it, and name the weights file inside")
    if start[8:9] == b"{":
        return _read_safetensors
    raise UsageError(f"{path}: is neither a PyTorch nor a safetensors file; get the file anew, or name another one")


def _read_zip(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise damaged(path, EOFError("its end is missing")) from error
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") for name in names):
        raise UsageError(f"{path}: is a TorchScript program, not weights; save its state_dict() and import that")
    if not any(name.endswith("/data.pkl") for name in names):
        raise UsageError(f"{path}: is a zip archive, not weights; unpack it, and name the weights file inside")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UsageError(f"{path}: is compressed, which PyTorch never does; get the file anew from its source")
    return _read_torch(path, check_zip)


def _read_legacy(path: Path) -> Any:
    return _read_torch(path, check_legacy)


def _read_torch(path: Path, check: Callable[[Path], None]) -> Any:
    try:
        check(path)
        # trained StyleGAN files carry their options; a Namespace only holds values
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except RefusedName as error:
        raise more_than_weights(path, str(error)) from error
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None:
            raise damaged(path, error) from error
        raise more_than_weights(path, named[1]) from error
    except Exception as error:  # what a damaged pickle raises is anybody's guess
        raise damaged(path, error) from error


def _read_pickle(path: Path) -> Any:
    """NVIDIA's networks are told by the modules that their pickles name; no other pickle is opened."""
    with open(path, "rb") as file:
        start = file.read(START)
    if any(module in start for module in NVIDIA):
        return read_pickle(path)
    raise UsageError(
        f"{path}: is a plain Python pickle, which could run any code when opened, so it was not opened; only files of "
        "torch.save, safetensors, and the networks that NVIDIA's StyleGAN programs pickle can be imported"
    )


def _read_safetensors(path: Path) -> Any:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            form = (file.metadata() or {}).get("format")
        for kind in (KERNEL_SPACE, GENERATOR):
            if form == kind.format:
                raise UsageError(f"{path}: is a {kind.noun} of deblurkit already; use it as it is")
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise damaged(path, error) from error
