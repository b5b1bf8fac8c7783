"""NVIDIA's pickles give the tensors and settings that were pickled, in every protocol."""

import pickle
import pickletools
from collections import OrderedDict

import numpy as np
import pytest
import torch
from pickled import SOURCE, EasyDict, dump, module_of, network_of, write_ada, write_tf

from deblurkit.checkpoints.pickles import PersistentModule, TFNetwork, read_pickle
from deblurkit.errors import UsageError

PROTOCOLS = range(2, 6)
KWARGS = {
    "z_dim": 8,
    "c_dim": 0,
    "w_dim": 8,
    "img_resolution": 8,
    "img_channels": 3,
    "mapping_kwargs": EasyDict(num_layers=2),
    "synthesis_kwargs": EasyDict(conv_clamp=256, channel_base=16384, layers=[1, (2.5, None)]),
}


def draw(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).to(dtype)


WEIGHTS = {
    "mapping.w_avg": draw(8),
    "mapping.fc0.weight": draw(8, 8),
    "mapping.fc0.bias": draw(8),
    "synthesis.b4.const": draw(5, 4, 4),
    "synthesis.b4.conv1.weight": draw(5, 5, 3, 3),
    "synthesis.b4.conv1.noise_strength": torch.tensor(0.3),
    "synthesis.b4.conv1.resample_filter": draw(4, 4).T,
    "synthesis.b8.torgb.weight": draw(3, 5, 1, 1),
    "synthesis.b8.empty": torch.zeros(0, 3),
}
VARIABLES = {
    "dlatent_avg": draw(8).numpy(),
    "lod": np.float32(1.5),
    "mapping/Dense0/weight": draw(8, 6).numpy().T,
    "synthesis/noise0": draw(1, 1, 4, 4).numpy(),
    "synthesis/4x4/Const/const": draw(1, 5, 4, 4).numpy().astype(">f4"),
    "synthesis/4x4/Conv/weight": draw(3, 3, 5, 5).numpy()[:, :, ::-1],
}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        other = torch.as_tensor(np.array(wanted[name])) if not isinstance(wanted[name], torch.Tensor) else wanted[name]
        assert tensor.dtype == other.dtype, name
        assert tensor.shape == other.shape, name
        assert torch.equal(tensor, other), name


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_network_of_pytorch(tmp_path, protocol):
    document = read_pickle(write_ada(tmp_path / "a.pkl", WEIGHTS, KWARGS, protocol=protocol))
    assert list(document) == ["training_set_kwargs", "G", "D", "G_ema", "augment_pipe"]
    assert document["augment_pipe"] is None
    assert document["training_set_kwargs"]["xflip"] is True
    network = document["G_ema"]
    assert type(network) is PersistentModule
    assert network.class_name == "Generator"
    same(network.tensors, WEIGHTS)
    assert not any(tensor.any() for tensor in document["G"].tensors.values())
    assert document["D"].class_name == "Discriminator"


def test_settings_are_what_constructed_it_and_plain_attributes(tmp_path):
    settings = read_pickle(write_ada(tmp_path / "a.pkl", WEIGHTS, KWARGS))["G_ema"].settings
    for name, value in KWARGS.items():
        assert settings[name] == value
        assert type(settings[name]) in (dict, int)
    assert settings["synthesis.b4.conv1.conv_clamp"] == 256
    assert settings["synthesis.b4.conv1.weight_gain"] == 0.25
    assert settings["synthesis.b4.conv1.act_gain"] == pytest.approx(2**0.5)
    assert settings["synthesis.b4.conv1.use_noise"] is True
    assert settings["synthesis.b4.activation"] == "lrelu"
    assert not any("padding" in name or "_hooks" in name or "training" in name for name in settings)
    assert SOURCE not in str(settings)


def test_settings_that_are_not_plain_are_left_out(tmp_path):
    kwargs = {"z_dim": 3, "filter": torch.ones(3), "deep": {"a": [np.ones(3)]}, "other": module_of({}, {})}
    assert read_pickle(write_ada(tmp_path / "a.pkl", {}, kwargs))["G_ema"].settings == {"z_dim": 3}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_network_of_tensorflow(tmp_path, protocol):
    kwargs = {"resolution": 8, "label_size": 0, "randomize_noise": True, "structure": "auto", "act": None}
    networks = read_pickle(write_tf(tmp_path / "a.pkl", VARIABLES, 4, kwargs, protocol=protocol))
    assert [type(network) for network in networks] == [TFNetwork] * 3
    assert networks[2].version == 4
    assert networks[2].settings == kwargs
    native = {name: np.asarray(value, np.float32) for name, value in VARIABLES.items()}
    same(networks[2].tensors, native)
    assert not any(tensor.any() for tensor in networks[0].tensors.values())


def test_the_version_tells_a_stylegan1(tmp_path):
    assert read_pickle(write_tf(tmp_path / "a.pkl", VARIABLES, version=3))[2].version == 3


DTYPES = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kinds_of_tensors(tmp_path, dtype):
    made = {"weight": (100 * draw(3, 5)).to(dtype), "w_avg": draw(4, dtype=dtype)}
    same(read_pickle(write_ada(tmp_path / "a.pkl", made, {}))["G_ema"].tensors, made)


def test_truth_values(tmp_path):
    made = {"weight": torch.tensor([True, False])}
    document = dump(tmp_path / "a.pkl", {"a": made, "b": EasyDict(c=np.array([True, False]), d=np.bool_(True))})
    read = read_pickle(document)
    same(read["a"], made)
    assert read["b"]["c"].tolist() == [True, False]
    assert read["b"]["d"] is True


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f2", ">f8", "<i4", ">i8", "i1", "u1", ">u2", "?"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_kinds_of_arrays(tmp_path, kind, protocol):
    for array in (np.arange(12).reshape(3, 4), np.arange(12).reshape(3, 4).T, np.array(3), np.zeros((0, 3))):
        wanted = array.astype(kind)
        found = read_pickle(dump(tmp_path / "a.pkl", EasyDict(a=wanted), protocol))["a"]
        assert found.shape == wanted.shape
        assert np.array_equal(found.numpy(), wanted)


def test_views_keep_their_strides_and_places(tmp_path):
    base = draw(6, 4)
    made = {"w_avg": base[2:5, 1:3], "weight": base.T[1], "bias": draw(2, 3, 4).permute(2, 0, 1)}
    same(read_pickle(write_ada(tmp_path / "a.pkl", made, {}))["G_ema"].tensors, made)


def test_numbers_can_be_written_to(tmp_path):
    document = read_pickle(dump(tmp_path / "a.pkl", EasyDict(a=torch.ones(2), b=np.ones(2))))
    assert (document["a"].add_(1) == 2).all()
    assert (document["b"].add_(1) == 2).all()


def test_plain_values(tmp_path):
    wanted = EasyDict(a=[1, -1, 2**40, -(2**70), 1.5, "ä" * 300, True, None], b=(1, (2,), ()), c={5: OrderedDict(d=1)})
    for protocol in PROTOCOLS:
        assert read_pickle(dump(tmp_path / "a.pkl", wanted, protocol)) == wanted
    assert read_pickle(dump(tmp_path / "a.pkl", EasyDict(a={"b"}))) == {"a": ["b"]}


def test_what_is_shared_is_shared(tmp_path):
    network = module_of(WEIGHTS, {})
    document = read_pickle(dump(tmp_path / "a.pkl", {"G": network, "G_ema": network}))
    assert document["G"] is document["G_ema"]


def test_missing_parts_of_a_module(tmp_path):
    network = module_of({}, {})
    for name in list(network.meta["state"]):
        del network.meta["state"][name]
    network.meta["state"]["_parameters"] = {"bias": None, "weight": torch.ones(1)}
    assert read_pickle(dump(tmp_path / "a.pkl", network)).tensors == {"weight": torch.ones(1)}


def loops():
    network, other = module_of({}, {}), module_of({"weight": torch.ones(1)}, {})
    network.meta["state"]["_modules"]["a"] = other
    other.meta["state"]["_modules"] = network.meta["state"]["_modules"]
    yield network
    inner = module_of({}, {})
    for _ in range(30):
        outer = module_of({}, {})
        outer.meta["state"]["_modules"] = {"a": inner, "b": inner}
        inner = outer
    yield inner
    deep = module_of({}, {})
    for _ in range(100):
        deep, last = module_of({}, {}), deep
        deep.meta["state"]["_modules"] = {"a": last}
    yield deep
    first = network_of({"lod": np.ones(1)})
    first.state["components"]["a"] = first
    yield first


@pytest.mark.parametrize("network", list(loops()), ids=["loop", "doubled", "deep", "TF"])
def test_networks_that_hold_one_another(tmp_path, network):
    with pytest.raises(UsageError, match=r"hold one another|calls what is no name|is no table|is none|has no state"):
        read_pickle(dump(tmp_path / "a.pkl", network))


BROKEN = {
    "state": lambda network: network.meta.update(state=None),
    "type": lambda network: network.meta.update(type="function"),
    "class_name": lambda network: network.meta.update(class_name=None),
    "parameters": lambda network: network.meta["state"].update(_parameters=[1]),
    "parameter": lambda network: network.meta["state"].update(_parameters={"a": 1}),
    "module": lambda network: network.meta["state"].update(_modules={"a": {}}),
    "init_kwargs": lambda network: network.meta["state"].update(_init_kwargs=[]),
    "bytes": lambda network: network.meta["state"].update(_init_kwargs={"a": b"abc"}),
}


@pytest.mark.parametrize("change", BROKEN)
def test_modules_of_another_form(tmp_path, change):
    network = module_of(WEIGHTS, {})
    BROKEN[change](network)
    with pytest.raises(UsageError, match="is damaged or incomplete"):
        read_pickle(dump(tmp_path / "a.pkl", network))


@pytest.mark.parametrize(
    "change",
    [
        {"version": None},
        {"variables": None},
        {"variables": [("a",)]},
        {"variables": [(1, np.ones(1))]},
        {"variables": [("a", "b")]},
        {"components": {"a": 1}},
        {"components": 3},
        {"static_kwargs": 3},
    ],
    ids=str,
)
def test_networks_of_another_form(tmp_path, change):
    network = network_of({"lod": np.ones(1)})
    network.state |= change
    with pytest.raises(UsageError, match="is damaged or incomplete"):
        read_pickle(dump(tmp_path / "a.pkl", network))


def test_the_writers_need_the_names_that_they_stand_in_for(tmp_path):
    write_ada(tmp_path / "a.pkl", WEIGHTS, {})
    with pytest.raises(ModuleNotFoundError):
        pickle.loads((tmp_path / "a.pkl").read_bytes())
    names = [arg for op, arg, _ in pickletools.genops((tmp_path / "a.pkl").read_bytes()) if isinstance(arg, str)]
    assert "torch_utils.persistence" in names
    assert SOURCE in names
