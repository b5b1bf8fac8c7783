"""Weights of networks in files: safetensors with a header that says how to build the network."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from deblurkit.errors import UsageError
from deblurkit.files import atomic_write
from deblurkit.nets.header import Header, Kind

SPARE = 1000
"""Parameters that a network may have beyond those in its file while it is only found out which are missing."""
SCALINGS = frozenset({"__truediv__", "div", "mul_", "normal_"})
"""Operations of constructors that keep a tensor's shape."""
LONGEST = 300
"""Letters of what is said of a misfit; a file chooses its own names."""


def save_weights(
    path: Path, kind: Kind, header: Header, tensors: Mapping[str, Tensor], *, half: bool, overwrite: bool
) -> None:
    """Write a file of weights, whole or not at all.

    Args:
        path: The ``.safetensors`` file.
        kind: What it is.
        header: How to build the network.
        tensors: By name.
        half: Store 16 bits a number instead of 32.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: If the file exists and may not be replaced.
        RunError: If the system refuses to write it.
    """
    dtype = torch.float16 if half else torch.float32
    plain = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    content = safetensors.torch.save(plain, header.metadata(kind))
    atomic_write(path, lambda file: file.write(content), overwrite)


def read_weights(path: Path, kind: Kind) -> tuple[Header, dict[str, Tensor]]:
    """Header and tensors (CPU, float32) of a file that :func:`save_weights` wrote.

    Raises:
        UsageError: If the file is missing, damaged, or of another kind.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = Header.of(file.metadata() or {}, path, kind)
            return header, {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  no mapping
    except (OSError, safetensors.SafetensorError) as error:
        cause = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise UsageError(f"{path}: cannot be read as a {kind.noun} ({cause}); name a {kind.noun}'s file") from error


def build(presets: Mapping[str, str], preset: str, config: Mapping[str, Any], noun: str) -> Any:
    """A network of one of the presets (name: ``"module:Class"``), its weights drawn from torch's global generator.

    Raises:
        UsageError: If there is no such preset.
        TypeError: If the config does not fit the structure.
    """
    if preset not in presets:
        raise UsageError(f"{preset}: no such {noun} preset; there are {', '.join(sorted(presets))}")
    return _class_of(presets[preset])(**config)


def _class_of(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def assemble(
    path: Path,
    kind: Kind,
    presets: Mapping[str, str],
    header: Header,
    tensors: Mapping[str, Tensor],
    *,
    own: bool = False,
) -> nn.Module:
    """The network of a header with its weights, in evaluation mode, frozen.

    A header is not believed: nothing is set aside for the network that it describes but names and shapes, until they
    are those of the file's tensors.

    Args:
        path: Where they come from.
        kind: What it is.
        presets: See :func:`build`.
        header: The file's.
        tensors: Likewise.
        own: Whether the file comes with deblurkit; it is believed, which saves the seconds that torch takes before it
            can calculate with shapes.

    Raises:
        UsageError: If they do not fit, or are not finite.
    """
    if header.preset not in presets:
        name = header.preset[:LONGEST]
        raise UsageError(f"{path}: is a {kind.noun} of the preset {name!r}, which needs a newer deblurkit")
    structure = _class_of(presets[header.preset])  # its module's own tensors shall be real ones
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=[]))  # the first weights are thrown away
            if not own:
                stack.enter_context(_at_most(len(tensors) + SPARE))
                stack.enter_context(torch.device("meta"))
                stack.enter_context(_Shapes())
            network: nn.Module = structure(**header.config)
        misfit = differences(network.state_dict(), tensors)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
        misfit = " ".join(str(error).split()) or type(error).__name__
    if misfit:
        misfit = misfit[:LONGEST]
        raise UsageError(f"{path}: its weights do not fit the structure that its header names ({misfit})")
    check_finite(path, tensors)
    # copies, as the tensors may lie in the file itself, which somebody may write to
    network.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)
    return network.eval().requires_grad_(False)


class _Shapes(TorchFunctionMode):
    """What constructors draw, and scale by a number, has only a shape here; torch would load much code to say so."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See torch."""
        name = getattr(func, "__name__", "")
        if name == "randn" and not kwargs:
            return torch.empty(*args)
        if name in SCALINGS and not kwargs and not any(isinstance(number, Tensor) for number in args[1:]):
            return args[0]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Refuse to construct networks of more parameters, in this thread: a loop in a constructor ends here."""
    own, left = threading.get_ident(), count

    def one_more(module: nn.Module, name: str, parameter: Any) -> None:
        del module, name, parameter
        nonlocal left
        if threading.get_ident() == own:
            left -= 1
            if left < 0:
                raise ValueError("the structure has many more tensors than the file")

    hook = register_module_parameter_registration_hook(one_more)
    try:
        yield
    finally:
        hook.remove()


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not finite.

    Raises:
        UsageError: With the name of the first tensor that has such a number.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UsageError(f"{path}: its {name} holds numbers that are not finite; get the file anew")


def differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Say in a few words how weights differ from those of a structure, in names and shapes; empty if they don't."""
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    kinds = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "of another shape": shapes,
    }
    return "; ".join(f"{len(names)} {kind}: {_few(names)}" for kind, names in kinds.items() if names)


def _few(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
