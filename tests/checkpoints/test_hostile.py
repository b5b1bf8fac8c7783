"""Files that are out to do harm, or are no weights: one sentence each, exit code 2, nothing run and nothing written."""

import codecs
import contextlib
import io
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from hostile import CARRIERS, PAYLOADS, STEPS, WEIGHTS, Call, peak, rewritten, steps, torch_file, zip_of
from pickled import dump, module_of, write_ada, write_tf
from torch import nn

from deblurkit.checkpoints import claims
from deblurkit.checkpoints.foreign import read_foreign
from deblurkit.cli import main
from deblurkit.errors import UsageError

MEMORY = 256 << 20
"""Bytes that a file of a few kilobytes may cost, all libraries and the test's own work counted."""


@pytest.fixture
def refusal(tmp_path, capfd, monkeypatch):
    """Open a file by the command line and by the function below it; return the sentence that both say."""
    monkeypatch.chdir(tmp_path)

    def refused(content: bytes) -> str:
        path, out = tmp_path / "weights.pkl", tmp_path / "a.safetensors"
        path.write_bytes(content)
        before = sorted(tmp_path.rglob("*"))
        capfd.readouterr()
        code = main(["import-weights", str(path), "-o", str(out)])
        printed = capfd.readouterr()
        assert (code, printed.out) == (2, ""), printed.err
        assert printed.err.startswith(f"Error: {path}: ")
        assert printed.err.count("\n") == 1
        assert len(printed.err) < 350 + len(str(path))
        with pytest.raises(UsageError) as caught:
            read_foreign(path)
        assert printed.err == f"Error: {caught.value}\n"
        assert sorted(tmp_path.rglob("*")) == before
        return str(caught.value).removeprefix(f"{path}: ")

    return refused


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_payloads_do_harm(tmp_path, payload):
    target = tmp_path / "hacked"
    data = pickle.dumps(PAYLOADS[payload](target))
    assert not target.exists()
    try:
        pickle.loads(data)
    except AttributeError:  # what was called is rather surprised by its state
        assert payload == "reconstructor"
    assert target.exists()


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_is_called(refusal, tmp_path, payload, carrier):
    target = tmp_path / "hacked"
    text = refusal(CARRIERS[carrier](tmp_path / "made", PAYLOADS[payload](target)))
    assert not target.exists()
    if carrier.startswith("plain"):
        assert "plain Python pickle" in text or carrier[-1] in "01"  # those begin like any text
    else:
        assert "holds more than weights: opening it would run " in text or carrier == "ADA zip blob"


@pytest.mark.parametrize("body", STEPS)
def test_steps_that_no_checkpoint_takes(refusal, tmp_path, body):
    before = peak()
    text = refusal(steps(STEPS[body]))
    assert not (tmp_path / "hacked").exists()
    assert "is damaged or incomplete" in text or "holds more than weights" in text
    assert peak() - before < MEMORY


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("names of names", "run torch.storage._load_from_bytes.__globals__,"),
        ("name with a line break", r"run 'torch.storage\n._load_from_bytes',"),
        ("known name in another module", "run dnnlib.tflib.network.os.Network,"),
        ("objects", "an array in it holds no plain numbers"),
        ("OBJ", "run __builtin__.eval,"),
        ("state of a function", "gives a state to what has none"),
        ("state of a dictionary", "gives a state to what has none"),
        ("call of text", "calls what is no name"),
        ("BINPERSID", "refers to something outside of the file"),
        ("PERSID", "takes the step PERSID, which no checkpoint takes"),
        ("a table of itself", "hold one another"),
        ("doubled lists", "more than 500000 values"),
    ],
)
def test_the_sentence_says_what_was_found(refusal, body, words):
    assert words in refusal(steps(STEPS[body]))


def test_the_source_in_a_network_is_not_run(tmp_path):
    source = f"import os\nos.mkdir({str(tmp_path / 'hacked')!r})\n"
    document = read_foreign(write_ada(tmp_path / "a.pkl", WEIGHTS, {}, source=source))
    assert document["G_ema"].tensors.keys() == WEIGHTS.keys()
    networks = read_foreign(write_tf(tmp_path / "b.pkl", {"dlatent_avg": np.ones(3)}, source=source))
    assert networks[2].tensors.keys() == {"dlatent_avg"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pkl", "b.pkl"]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_network(refusal, zipped):
    network = nn.Sequential(nn.Linear(20, 100), nn.ReLU6())
    assert "whole network" in refusal(torch_file(network, zipped))
    assert "whole network" in refusal(torch_file({"g_ema": network}, zipped))


def test_a_whole_network_among_nvidias(refusal, tmp_path):
    text = refusal(write_ada(tmp_path / "made", WEIGHTS, {}, D=nn.Linear(2, 2)).read_bytes())
    assert "opening it would run torch.nn.modules.linear.Linear" in text


@pytest.mark.parametrize("change", [lambda a: a.astype(object), lambda a: a.astype("U3"), lambda a: a.astype("c8")])
@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_of_other_things_than_numbers(refusal, tmp_path, change, protocol):
    made = write_tf(tmp_path / "made", {"dlatent_avg": change(np.ones(3))}, protocol=protocol)
    assert "an array in it holds no plain numbers" in refusal(made.read_bytes())


CLAIMS = {
    "shape": (b"K\x03K\x03\x86", b"K\x63K\x63\x86"),
    "storage": (b"cpuq\x03K\x09Nt", b"cpuq\x03K\x7fNt"),
    "bytes": (b"\x09" + bytes(7), b"\xff" + bytes(7)),
    "kind": (b"FloatStorage", b"ShortStorage"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_tensors_that_claim_more_than_they_have(refusal, tmp_path, claim):
    old, new = CLAIMS[claim]
    content = write_ada(tmp_path / "made", WEIGHTS, {}).read_bytes()
    assert old in content
    refusal(content.replace(old, new))


def test_a_tensor_that_repeats_its_numbers(refusal, tmp_path):
    before = peak()
    endless = {"G_ema": module_of({"mapping.w_avg": torch.ones(1).expand(10**11)}, {})}
    assert "repeats its numbers" in refusal(dump(tmp_path / "made", endless).read_bytes())
    often, once = module_of({}, {}), torch.ones(1000)
    often.meta["state"]["_buffers"] = {f"b{index}": once for index in range(50)}
    assert "more numbers than the file" in refusal(dump(tmp_path / "made", often).read_bytes())
    assert peak() - before < MEMORY


@pytest.mark.parametrize("zipped", [True, False])
def test_storages_that_claim_more_than_they_have(refusal, zipped):
    content = torch_file({"g_ema": {"style.1.weight": torch.ones(300)}}, zipped)
    count = struct.pack("<H", 300)
    assert content.count(b"M" + count) >= 1
    for old, new in ((b"M" + count, b"M\xff\xff"), (b"M" + count, b"J\xff\xff\xff\x7f")):
        if zipped:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entries = {name: archive.read(name) for name in archive.namelist()}
            changed = zip_of({name: data.replace(old, new) for name, data in entries.items()})
        else:
            changed = content.replace(old, new)
        assert "numbers than the file" in refusal(changed)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Call(bytearray, 6 << 30), "__builtin__.bytearray"),
        (Call(torch.Tensor, 6 << 30), "torch.Tensor"),
        (Call(torch.FloatTensor, 6 << 30), "torch.FloatTensor"),
        (Call(codecs.encode, Call(codecs.encode, b"a" * 9, "hex"), "hex"), "_codecs.encode"),
    ],
)
def test_names_that_torch_allows_and_no_checkpoint_needs(refusal, call, name, zipped):
    before = peak()
    assert f"opening it would run {name}," in refusal(torch_file({"g_ema": WEIGHTS, "more": call}, zipped))
    assert peak() - before < MEMORY


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_torch_that_are_larger_than_their_storage(refusal, zipped):
    content = torch_file({"g_ema": {"style.1.weight": torch.ones(300)}}, zipped)
    old, new = b"K\x00M\x2c\x01\x85", b"K\x00J\0\0\0\x10\x85"  # offset 0, size (300,)
    if zipped:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {entry: archive.read(entry) for entry in archive.namelist()}
        assert any(old in data for data in entries.values())
        changed = zip_of({entry: data.replace(old, new) for entry, data in entries.items()})
    else:
        assert old in content
        changed = content.replace(old, new)
    assert "a tensor in it is larger than its storage" in refusal(changed)


@pytest.mark.parametrize("zipped", [True, False])
def test_states_that_are_given_to_tensors(refusal, zipped):
    class Stateful(nn.Parameter):
        def __reduce_ex__(self, _):
            return torch._utils._rebuild_parameter, (torch.ones(3), True, OrderedDict()), {"a": 1}

    assert "gives a state to what has none" in refusal(torch_file({"a": Stateful(torch.ones(3))}, zipped))


def repeated(archive: zipfile.ZipFile) -> None:
    entry = next(entry for entry in archive.filelist if entry.filename.endswith("data/0"))
    for index in range(1, 100):
        again = zipfile.ZipInfo(f"archive/data/{index}")
        again.CRC, again.header_offset = entry.CRC, entry.header_offset
        again.file_size = again.compress_size = entry.file_size
        archive.filelist.append(again)


def inflated(archive: zipfile.ZipFile) -> None:
    for entry in archive.filelist:
        entry.file_size = entry.compress_size = 1 << 40


def uneven(archive: zipfile.ZipFile) -> None:
    for entry in archive.filelist:
        entry.file_size = 1 << 40


def doubled(archive: zipfile.ZipFile) -> None:
    archive.filelist.append(archive.filelist[0])


def encrypted(archive: zipfile.ZipFile) -> None:
    for entry in archive.filelist:
        entry.flag_bits |= 1


@pytest.mark.parametrize("change", [repeated, inflated, uneven, doubled, encrypted])
def test_zip_archives_that_lie(refusal, change):
    content = rewritten(torch_file({"style.1.weight": torch.ones(1000)}, True), change)
    assert "is damaged or incomplete" in refusal(content)


def test_zip_bombs(refusal, monkeypatch):
    assert "is compressed" in refusal(zip_of({"a/data.pkl": bytes(10**7)}, zipfile.ZIP_DEFLATED))
    nested = zip_of({"b.zip": zip_of({"c.zip": zip_of({"a/data.pkl": b"N."})})})
    assert "is a zip archive, not weights" in refusal(nested)
    assert "is damaged" in refusal(zip_of({"a/data.pkl": nested}))
    monkeypatch.setattr(claims, "MOST_ENTRIES", 5)
    assert "too many entries" in refusal(torch_file([torch.ones(1) for _ in range(6)], True))
    assert "more than 500000 steps" in refusal(zip_of({"a/data.pkl": b"\x80\x02" + b"N0" * 300_000 + b"."}))


def tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x80\x04", "plain Python pickle"),
        (b"<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title></html>", "is a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 381673535\n", "git lfs pull"),
        (b"\x1f\x8b" + bytes(40), "is an archive"),
        (b"BZh91AY&SY", "is an archive"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(9), "is an archive"),
        (tar(), "is an archive"),
        (zip_of({"ffhq.pkl": b"\x80\x03"}), "is a zip archive, not weights"),
        (np.random.default_rng(0).bytes(5000), "neither"),
        (steps(np.random.default_rng(1).bytes(5000)), "is damaged"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "is damaged"),
        (b'\x3e\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[9999999999],"data_offsets":[0,4]}}' + bytes(4), "is damaged"),
    ],
)
def test_what_is_no_checkpoint(refusal, content, words):
    assert words in refusal(content)


LAYOUTS = {
    "ADA": lambda path: write_ada(path, WEIGHTS, {}).read_bytes(),
    "ADA in protocol 2": lambda path: write_ada(path, WEIGHTS, {}, protocol=2).read_bytes(),
    "TF": lambda path: write_tf(path, {"dlatent_avg": np.ones(99), "mapping/Dense0/weight": np.ones(9)}).read_bytes(),
    "torch zip": lambda path: torch_file({"g_ema": WEIGHTS}, True),
    "torch legacy": lambda path: torch_file({"g_ema": WEIGHTS}, False),
    "safetensors": lambda path: safetensors.torch.save(WEIGHTS),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.8, 0.99, -1])
def test_truncated_files(refusal, tmp_path, layout, kept):
    content = LAYOUTS[layout](tmp_path / "made")
    assert "is damaged or incomplete" in refusal(content[: int(kept * len(content)) if kept > 0 else kept])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_flipped_bytes_run_nothing(tmp_path, layout):
    path = tmp_path / "a.pkl"
    content = LAYOUTS[layout](tmp_path / "made")
    (tmp_path / "made").unlink(missing_ok=True)
    generator = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for place in generator.integers(len(content), size=3):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(UsageError):  # or it opens: a flipped number is still one
            read_foreign(path)
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_stays(refusal, tmp_path):
    precious = tmp_path / "a.safetensors"
    precious.write_text("precious")
    path = tmp_path / "b.pkl"
    shutil.copyfile(write_ada(tmp_path / "made", WEIGHTS, {}, D=PAYLOADS["os.mkdir"](tmp_path / "hacked")), path)
    assert main(["import-weights", str(path), "-o", str(precious), "--overwrite"]) == 2
    assert precious.read_text() == "precious"
