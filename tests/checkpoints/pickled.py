"""Writers of pickles such as NVIDIA's programs write them, without those programs.

Modules of the right names stand in for theirs while a file is written; nothing of them is needed to read it.
"""

import contextlib
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

BUFFERS = ("w_avg", "noise_const", "resample_filter", "freqs", "phases", "transform", "magnitude_ema")
"""Last parts of names that are no parameters."""
HOOKS = ("_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")
SOURCE = "raise SystemExit('the source in a pickle was run')\n"


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
    raise AssertionError("only its name is pickled")


class EasyDict(dict):
    """Their dictionary with attributes."""


class Network:
    """Their TensorFlow network, of which only the state is pickled."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __getstate__(self) -> dict[str, Any]:
        return self.state


class Module:
    """An object of their persistent classes: the table that torch's modules have for attributes, and source code."""

    def __init__(self, class_name: str, state: dict[str, Any], source: str = SOURCE) -> None:
        self.meta = {"type": "class", "version": 6, "module_src": source, "class_name": class_name, "state": state}

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconstruct_persistent_obj, (self.meta,), None


STANDINS = {
    "torch_utils.persistence": {"_reconstruct_persistent_obj": _reconstruct_persistent_obj},
    "dnnlib.util": {"EasyDict": EasyDict},
    "dnnlib.tflib.network": {"Network": Network},
}


@contextlib.contextmanager
def standins() -> Iterator[None]:
    """For the time of a pickling, make the stand-ins bear the names that NVIDIA's files have."""
    before = dict(sys.modules)
    named = []
    for module, members in STANDINS.items():
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:count]), types.ModuleType(".".join(parts[:count])))
        for name, member in members.items():
            setattr(sys.modules[module], name, member)
            named.append((member, member.__module__))
            member.__module__ = module
    try:
        yield
    finally:
        for member, own in named:
            member.__module__ = own
        for module in [name for name in sys.modules if name not in before]:
            del sys.modules[module]


def dump(path: Path, document: Any, protocol: int = 4) -> Path:
    """Pickle what holds stand-ins."""
    with standins():
        path.write_bytes(pickle.dumps(document, protocol))
    return path


def module_of(
    tensors: Mapping[str, Tensor], init_kwargs: Mapping[str, Any], class_name: str = "Generator", source: str = SOURCE
) -> Module:
    """A tree of modules that holds tensors under dotted names, the way ADA's networks are pickled.

    The top has ``init_kwargs`` and its plain values as attributes; a convolution has the ``conv_clamp`` of
    ``synthesis_kwargs``, and numbers of NumPy's among its attributes, as theirs have.
    """
    clamp = dict(init_kwargs.get("synthesis_kwargs", {})).get("conv_clamp")
    plain = {name: value for name, value in init_kwargs.items() if isinstance(value, bool | int | float | str)}
    return _module(
        tensors, class_name, {"_init_args": (), "_init_kwargs": EasyDict(init_kwargs), **plain}, clamp, source
    )


def _module(
    tensors: Mapping[str, Tensor], class_name: str, attributes: dict[str, Any], clamp: float | None, source: str
) -> Module:
    state: dict[str, Any] = {"training": False, "_non_persistent_buffers_set": set(), "_is_full_backward_hook": None}
    state |= {name: OrderedDict() for name in ("_parameters", "_buffers", "_modules", *HOOKS)} | attributes
    children: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        if rest:
            children.setdefault(first, {})[rest] = tensor
        elif first in BUFFERS:
            state["_buffers"][first] = tensor.detach()
        else:
            state["_parameters"][first] = nn.Parameter(tensor.detach(), requires_grad=False)
    for name, held in children.items():
        own: dict[str, Any] = {"_init_args": (), "_init_kwargs": {}, "activation": "lrelu"}
        if "weight" in held:
            own |= {"weight_gain": np.float64(0.25), "act_gain": np.float32(2**0.5), "padding": np.array([1, 1])}
            own |= {"conv_clamp": clamp, "up": 1, "use_noise": True}
        state["_modules"][name] = _module(held, f"{name.capitalize()}Layer", own, clamp, source)
    return Module(class_name, state, source)


def write_ada(
    path: Path,
    G_ema_state: Mapping[str, Tensor],
    init_kwargs: Mapping[str, Any],
    *,
    protocol: int = 4,
    source: str = SOURCE,
    **others: Any,
) -> Path:
    """Write a pickle like those of StyleGAN2-ADA (PyTorch) and StyleGAN3.

    Args:
        path: The file.
        G_ema_state: The generator's tensors by their names: ``mapping.fc0.weight``, ``synthesis.b4.const``.
        init_kwargs: What the generator was constructed with: ``z_dim``, ``c_dim``, ``w_dim``, ``img_resolution``,
            ``img_channels``, ``mapping_kwargs``, ``synthesis_kwargs``.
        protocol: Of pickle.
        source: The code that goes with every module; by default it would end the program.
        others: Further entries, or other values of ``G`` (by default as ``G_ema``, all zero), ``D`` and so on.
    """
    zeros = {name: torch.zeros_like(tensor) for name, tensor in G_ema_state.items()}
    critic = {"b4.fc.weight": torch.ones(2, 2), "b4.fc.bias": torch.ones(2)}
    document = {
        "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset", path="a.zip", xflip=True),
        "G": module_of(zeros, init_kwargs, source=source),
        "D": module_of(critic, {"c_dim": 0, "img_resolution": 8}, "Discriminator", source),
        "G_ema": module_of(G_ema_state, init_kwargs, source=source),
        "augment_pipe": None,
    }
    return dump(path, document | others, protocol)


def network_of(
    variables: Mapping[str, np.ndarray],
    version: int = 4,
    static_kwargs: Mapping[str, Any] | None = None,
    name: str = "Gs",
    source: str = SOURCE,
) -> Network:
    """A TensorFlow network whose variables ``mapping/...`` and ``synthesis/...`` are those of its components."""
    own = [(key, value) for key, value in variables.items() if key.partition("/")[0] not in ("mapping", "synthesis")]
    components = {}
    for part in ("mapping", "synthesis"):
        held = {key.removeprefix(f"{part}/"): value for key, value in variables.items() if key.startswith(f"{part}/")}
        if held:
            components[part] = network_of(held, version, static_kwargs, f"G_{part}", source)
    state = {
        "version": version,
        "name": name,
        "static_kwargs": dict(static_kwargs or {}),
        "components": components,
        "build_module_src": source,
        "build_func_name": "G_main",
        "variables": own,
    }
    return Network(state)


def write_tf(
    path: Path,
    variables: Mapping[str, np.ndarray],
    version: int = 4,
    static_kwargs: Mapping[str, Any] | None = None,
    *,
    protocol: int = 4,
    source: str = SOURCE,
) -> Path:
    """Write a pickle like those of StyleGAN and StyleGAN2 (TensorFlow): G (here all zero), D, and Gs, the one meant.

    Args:
        path: The file.
        variables: By their names with the component before them: ``mapping/Dense0/weight``, ``synthesis/noise0``,
            ``synthesis/4x4/Const/const``, ``dlatent_avg``.
        version: Of the pickled network: below 4 for StyleGAN1.
        static_kwargs: ``resolution``, ``latent_size``, ``label_size``, ``fmap_base`` and so on.
        protocol: Of pickle.
        source: The code that goes with every network; by default it would end the program.
    """
    zeros = {name: np.zeros_like(value) for name, value in variables.items()}
    critic = {"4x4/Dense0/weight": np.ones((2, 2), np.float32)}
    networks = (
        network_of(zeros, version, static_kwargs, "G", source),
        network_of(critic, version, static_kwargs, "D", source),
        network_of(variables, version, static_kwargs, "Gs", source),
    )
    return dump(path, networks, protocol)
