"""Every registered component is under its contract, whoever provides it."""

from pathlib import Path

import pytest
import torch

from deblurkit.kernels import write_kernel
from deblurkit.registry import registry
from deblurkit.testing import (
    KERNEL_SIZE,
    DataTermContract,
    ImagePriorContract,
    KernelPriorContract,
    OptimizerContract,
    curved_kernel,
)

DIGITS = Path(__file__).parents[1] / "data" / "digits.safetensors"
SMALL = {
    ("image_prior", "stylegan"): {"weights": DIGITS, "candidates": 2, "fit_steps": 30, "fit_lr": 2e-2},
    ("image_prior", "dip"): {"channels": 8, "scales": 3, "fit_steps": 60, "fit_lr": 1e-2},
    ("kernel_prior", "dip"): {"channels": 8, "scales": 2, "fit_steps": 60, "fit_lr": 1e-2},
    ("kernel_prior", "fcn"): {"hidden_units": 50},
    ("optimizer", "joint"): {"iterations": 4},
    ("optimizer", "alternating"): {"iterations": 2, "image_steps": 2, "kernel_steps": 2},
}
CONTRACTS = {
    "image_prior": ImagePriorContract,
    "kernel_prior": KernelPriorContract,
    "data_term": DataTermContract,
    "optimizer": OptimizerContract,
}


ENCODED = {
    "Encoded": {},
    "EncodedNetwork": {"code": "network", "fit_steps": 3},
    "EncodedProject": {"project": True},
    "EncodedResponse": {"response": True},
    "EncodedTiles": {"tiles": 2},
    "EncodedPaper": {},
    "EncodedPaperNetwork": {"code": "network", "fit_steps": 2},
}
"""Ways to use `encoded`, by the name of their contract; what it then offers differs."""


@pytest.fixture(autouse=True)
def _given_file(request, tmp_path):
    """`known` and `encoded` need files, which a contract's parameters can only name once there is a folder."""
    spec = getattr(request.cls, "spec", None)
    if spec is not None and spec.kind == "kernel_prior" and spec.name == "encoded":
        name = request.cls.__name__.removeprefix("TestKernelPrior")
        space = request.getfixturevalue("paper_file" if "Paper" in name else "compact_file")
        request.cls.overrides = {"space": space, "penalty": 0.1, **ENCODED[name]}
        request.cls.spec = registry().spec("kernel_prior", "encoded").narrowed(spec.params(**request.cls.overrides))
    if spec is not None and spec.kind == "kernel_prior" and spec.name == "known":
        file = tmp_path / "given.kernel.npy"
        write_kernel(file, tmp_path / "given.kernel.png", curved_kernel(KERNEL_SIZE), overwrite=False)
        request.cls.overrides = {"file": file}


def _partners():
    pairs = [("dip", "fcn"), ("identity", "convolution"), ("l0-gradient", "convolution"), ("hyper-laplacian", "fcn")]
    pairs += [("identity", "encoded"), ("hyper-laplacian", "encoded")]
    pairs += [("stylegan", "convolution"), ("stylegan", "fcn"), ("stylegan", "bicubic")]
    return [
        (
            registry().spec("image_prior", image),
            SMALL.get(("image_prior", image), {}),
            registry().spec("kernel_prior", kernel),
            SMALL.get(("kernel_prior", kernel), {}),
        )
        for image, kernel in pairs
    ]


for _kind, _base in CONTRACTS.items():
    for _entry in registry().entries(_kind):
        _name = f"Test{_kind.title().replace('_', '')}{_entry.spec.name.title().replace('-', '')}"
        _members = {"spec": _entry.spec, "overrides": SMALL.get((_kind, _entry.spec.name), {})}
        if _kind == "optimizer":
            _members |= {"partners": _partners(), "data": registry().spec("data_term", "mse")}
        globals()[_name] = type(_name, (_base,), _members)


for _name in ENCODED:
    _spec = registry().spec("kernel_prior", "encoded")
    globals()[f"TestKernelPrior{_name}"] = type(f"TestKernelPrior{_name}", (KernelPriorContract,), {"spec": _spec})


def test_all_four_kinds_are_there():
    assert all(registry().entries(kind) for kind in CONTRACTS)
    assert not registry().broken, [str(b) for b in registry().broken]
    assert torch.get_default_dtype() == torch.float32
