"""Files of torch and safetensors: what is in them comes out, and no length in them is believed."""

import argparse
import collections
import io
import pickle
import zipfile

import pytest
import safetensors.torch
import torch
from pickled import write_ada
from torch import nn

from deblurkit.checkpoints.claims import check_legacy, check_zip
from deblurkit.checkpoints.foreign import read_foreign
from deblurkit.errors import UsageError
from deblurkit.nets.seeding import seeded
from deblurkit.nets.stylegan.stylegan2 import StyleGAN2
from deblurkit.nets.stylegan.weights import save_generator

BASE = torch.randn(400, generator=torch.Generator().manual_seed(0))
TRAINED = {
    "g_ema": {"style.1.weight": BASE[:100].view(10, 10), "input.input": BASE[100:], "half": BASE.half()},
    "g_optim": {
        "state": {0: {"step": 10, "exp_avg": BASE.clone()}},
        "param_groups": [{"betas": (0.0, 0.99), "lr": 2e-3}],
    },
    "args": argparse.Namespace(size=256, path="a"),
    "latent_avg": nn.Parameter(torch.ones(3)),
    "kinds": [torch.ones(3, dtype=dtype) for dtype in (torch.int64, torch.bfloat16, torch.bool, torch.complex64)],
    "none": torch.zeros(0),
    "shared": BASE,
    "many": [BASE[:300] for _ in range(20)],
    "module": nn.BatchNorm2d(3).state_dict(),
    "size": torch.Size((3, 4)),
    "device": torch.device("cpu"),
    "dtype": torch.bfloat16,
    "milestones": collections.Counter([3, 5, 5]),
    "members": {"a", "b"},
}


def equal(found, wanted):
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            equal(found[key], wanted[key])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for pair in zip(found, wanted, strict=True):
            equal(*pair)
    elif isinstance(wanted, torch.Tensor):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)
    else:
        assert found == wanted


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_genuine_files_of_torch(tmp_path, zipped, protocol):
    if protocol > 2:  # torch opens these only if they are as plain as this
        document, path = {"a": 3}, tmp_path / "a.pt"
    else:
        document, path = TRAINED, tmp_path / "a.pt"
    torch.save(document, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    (check_zip if zipped else check_legacy)(path)  # views of one storage count once
    if protocol == 2:
        equal(read_foreign(path), TRAINED)


def test_genuine_safetensors(tmp_path):
    safetensors.torch.save_file(TRAINED["g_ema"], tmp_path / "a.pt")
    equal(read_foreign(tmp_path / "a.pt"), TRAINED["g_ema"])


def test_the_name_of_a_file_tells_nothing(tmp_path):
    for name in ("a.pt", "a.safetensors", "a"):
        assert "G_ema" in read_foreign(write_ada(tmp_path / name, {"w_avg": torch.ones(2)}, {}))


def test_large_training_states_are_opened(tmp_path):
    document = {"g": {f"convs.{index}.conv.weight": torch.ones(1) for index in range(3000)}}
    torch.save(document, tmp_path / "a.pt")
    assert len(read_foreign(tmp_path / "a.pt")["g"]) == 3000


def test_generators_of_deblurkit_are_told_apart(tmp_path):
    with seeded(torch.Generator().manual_seed(0)):
        generator = StyleGAN2(channels=(4, 4), style=4, inputs=4, depth=1)
    save_generator(tmp_path / "a.safetensors", generator, card={})
    with pytest.raises(UsageError, match=r"is a generator of deblurkit already; use it as it is"):
        read_foreign(tmp_path / "a.safetensors")


def archive_of(document) -> dict[str, bytes]:
    content = io.BytesIO()
    torch.save(document, content)
    with zipfile.ZipFile(content) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_storage_that_is_missing(tmp_path):
    entries = archive_of({"a": torch.ones(3), "b": torch.ones(3)})
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        for name, data in entries.items():
            if not name.endswith("data/1"):
                archive.writestr(name, data)
    with pytest.raises(UsageError, match="storage 1 is missing"):
        read_foreign(tmp_path / "a.pt")


@pytest.mark.parametrize("module", ["dnnlib", "torch_utils"])
def test_other_pickles_are_not_opened_and_nvidias_are(tmp_path, module):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": "b"}, 4))
    with pytest.raises(UsageError, match=r"plain Python pickle.* NVIDIA"):
        read_foreign(path)
    path.write_bytes(pickle.dumps({"a": module}, 4))
    assert read_foreign(path) == {"a": module}


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_foreign(tmp_path / "no.pt")
    with pytest.raises(UsageError, match="is a folder"):
        read_foreign(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_sparse_tensors_are_refused_by_name(tmp_path, zipped):
    torch.save({"a": torch.ones(8).to_sparse()}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UsageError, match=r"run torch\._utils\._rebuild_sparse_tensor, so it was not opened"):
        read_foreign(tmp_path / "a.pt")
