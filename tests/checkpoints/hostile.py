"""Files that do harm where they are opened without care: each makes a folder, or would take all memory."""

import builtins
import copyreg
import functools
import importlib
import io
import operator
import os
import pickle
import runpy
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.testing._private.utils import runstring
from pickled import EasyDict, dump, module_of, network_of

WEIGHTS = {"mapping.fc0.weight": torch.ones(3, 3), "synthesis.b4.const": torch.ones(3, 4, 4)}
PERSISTENCE = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
MODULE = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n0"
"""Names a module of NVIDIA's, as its files do, and drops it."""


class Call:
    """A call that a pickle makes when it is opened without care."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.parts = (function, args, state) if state is not None else (function, args)

    def __call__(self) -> None:
        raise AssertionError("only pickled")

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


class Restored:
    """What does harm only when it is given its state."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __getstate__(self) -> dict[str, str]:
        return {"target": self.target}

    def __setstate__(self, state: dict[str, str]) -> None:
        os.mkdir(state["target"])


def inner(target: Path) -> Path:
    """A file that does harm, to be opened by another one."""
    path = target.with_name("inner.bin")
    path.write_bytes(pickle.dumps(Call(os.mkdir, str(target))))
    return path


def hub(target: Path) -> Call:
    folder = target.with_name("hub")
    folder.mkdir(exist_ok=True)
    (folder / "hubconf.py").write_text(f"import os\nos.mkdir({str(target)!r})\ndef model(): pass\n")
    return Call(functools.partial(torch.hub.load, source="local"), str(folder), "model")


def script(target: Path) -> str:
    path = target.with_name("script.py")
    path.write_text(f"import os\nos.mkdir({str(target)!r})\n")
    return str(path)


def code(target: Path) -> str:
    return f"__import__('os').mkdir({str(target)!r})"


PAYLOADS: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda target: Call(os.system, f"mkdir '{target}'"),
    "os.mkdir": lambda target: Call(os.mkdir, str(target)),
    "eval": lambda target: Call(eval, code(target)),
    "exec": lambda target: Call(exec, code(target)),
    "compile": lambda target: Call(eval, Call(compile, code(target), "a", "eval")),
    "subprocess": lambda target: Call(subprocess.check_call, ["mkdir", str(target)]),
    "getattr": lambda target: Call(Call(getattr, Call(importlib.import_module, "os"), "mkdir"), str(target)),
    "attrgetter": lambda target: Call(
        Call(operator.attrgetter("mkdir"), Call(importlib.import_module, "os")), str(target)
    ),
    "methodcaller": lambda target: Call(operator.methodcaller("mkdir"), target),
    "partial": lambda target: Call(functools.partial(os.mkdir, str(target))),
    "map": lambda target: Call(list, Call(map, os.mkdir, [str(target)])),
    "globals": lambda target: Call(Call(operator.itemgetter("mkdir"), Call(builtins.vars, os_module())), str(target)),
    "runpy": lambda target: Call(runpy.run_path, script(target)),
    "dotted name": lambda target: Call(Path.touch, target),
    "pickle.loads": lambda target: Call(pickle.loads, pickle.dumps(Call(os.mkdir, str(target)))),
    "torch.load": lambda target: Call(functools.partial(torch.load, weights_only=False), str(saved(target))),
    "torch.hub": hub,
    "numpy.load": lambda target: Call(functools.partial(np.load, allow_pickle=True), str(inner(target))),
    "numpy.runstring": lambda target: Call(runstring, code(target), {}),
    "setstate": Restored,
    "reconstructor": lambda target: Call(copyreg._reconstructor, Restored, object, None, state={"target": str(target)}),
}
"""What opens a folder when Python's own unpickler reads it."""


def os_module() -> Call:
    return Call(importlib.import_module, "os")


def saved(target: Path) -> Path:
    path = target.with_name("inner.pt")
    torch.save(Call(os.mkdir, str(target)), path)
    return path


def torch_file(document: Any, zipped: bool) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch cannot find the source of a test's classes
        torch.save(document, content, _use_new_zipfile_serialization=zipped)
    return content.getvalue()


class Stored:
    """A storage in whose blob something else stands."""

    def __init__(self, document: Any, zipped: bool) -> None:
        self.blob = torch_file(document, zipped)

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.storage._load_from_bytes, (self.blob,)


def pickled(path: Path, document: Any, protocol: int = 4) -> bytes:
    return dump(path, document, protocol).read_bytes()


CARRIERS: dict[str, Callable[[Path, Any], bytes]] = {
    **{f"plain {protocol}": lambda _, evil, p=protocol: pickle.dumps(evil, p) for protocol in range(6)},
    "torch zip": lambda _, evil: torch_file({"g_ema": dict(WEIGHTS), "more": evil}, True),
    "torch legacy": lambda _, evil: torch_file({"g_ema": dict(WEIGHTS), "more": evil}, False),
    **{
        f"ADA {protocol}": lambda path, evil, p=protocol: pickled(path, {"G_ema": module_of(WEIGHTS, {}), "D": evil}, p)
        for protocol in range(2, 6)
    },
    "ADA first": lambda path, evil: pickled(path, {"augment_pipe": evil, "G_ema": module_of(WEIGHTS, {})}),
    "ADA settings": lambda path, evil: pickled(path, {"G_ema": module_of(WEIGHTS, {"z_dim": evil})}),
    "ADA class": lambda path, evil: pickled(path, {"G_ema": module_of(WEIGHTS, {}, class_name=evil)}),
    "ADA blob": lambda path, evil: pickled(path, {"G_ema": module_of(WEIGHTS, {}), "D": Stored(evil, False)}),
    "ADA zip blob": lambda path, evil: pickled(path, {"G_ema": module_of(WEIGHTS, {}), "D": Stored(evil, True)}),
    "ADA dict": lambda path, evil: pickled(path, {"training_set_kwargs": EasyDict(path=evil)}),
    "TF": lambda path, evil: pickled(path, (network_of({}, 4, {"resolution": evil}),)),
    "TF variable": lambda path, evil: pickled(path, (network_of({"dlatent_avg": evil}),)),
}
"""Where such a call may stand."""


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def named(module: str, name: str) -> bytes:
    """A name in the way of protocol 4."""
    return short(module) + short(name) + b"\x93"


EVAL = b"(c__builtin__\neval\n" + short("__import__('os').mkdir('hacked')")
STEPS = {
    "names of names": named("torch.storage", "_load_from_bytes.__globals__"),
    "name of a module in a module": named("torch_utils.persistence", "os.system"),
    "attribute of a known class": named("dnnlib.util", "EasyDict.__subclasses__"),
    "attribute of a known function": named("_codecs", "encode.__self__"),
    "known name in another module": named("dnnlib.tflib.network.os", "Network"),
    "name with a line break": named("torch.storage\n", "_load_from_bytes"),
    "name of the unpickler": named("pickle", "Unpickler"),
    "name of this program": named("deblurkit.checkpoints.pickles", "read_pickle"),
    "OBJ": EVAL + b"o",
    "INST": b"(" + short("__import__('os').mkdir('hacked')") + b"i__builtin__\neval\n",
    "NEWOBJ_EX": named("dnnlib.util", "EasyDict") + b"})\x92",
    "EXT1": b"\x82\x01",
    "PERSID": b"Pos.system\n",
    "BINPERSID": short("os.system") + b"Q",
    "BINPERSID of a storage": b"(" + short("storage") + named("torch._utils", "_rebuild_parameter") + b"K\x00tQ",
    "state of a function": PERSISTENCE + b"}" + short("__code__") + b"Nsb",
    "slots of a function": PERSISTENCE + b"N}" + short("__defaults__") + b")s\x86b",
    "state of a class": named("dnnlib.util", "EasyDict") + b"N}" + short("__reduce__") + b"Ns\x86b",
    "state of a dictionary": named("dnnlib.util", "EasyDict") + b")\x81}" + short("__class__") + b"Nsb",
    "state of a tensor": b"]}" + short("__class__") + b"Nsb",
    "slots of a network": named("dnnlib.tflib.network", "Network") + b")\x81N}" + short("__class__") + b"Ns\x86b",
    "two states": named("dnnlib.tflib.network", "Network") + b")\x81}b}b",
    "call of a result": named("dnnlib.util", "EasyDict") + b")R)R",
    "call of text": short("os.system") + b")R",
    "call without arguments": PERSISTENCE + b"NR",
    "call with too many": PERSISTENCE + b"}}}\x87R",
    "NumPy's class called": named("numpy", "ndarray") + b")R",
    "array of another class": named("numpy._core.multiarray", "_reconstruct")
    + named("dnnlib.util", "EasyDict")
    + b")N\x87R",
    "objects": named("numpy", "dtype") + short("O8") + b"\x85R",
    "objects, spelled out": named("numpy", "dtype") + short("object") + b"\x85R",
    "records": named("numpy", "dtype") + short("V8") + b"\x85R",
    "fields": named("numpy", "dtype") + short("f4") + b"\x85R(K\x03" + short("<") + b"N)}K\x04K\x01K\x00tb",
    "text for bytes, in another coding": named("_codecs", "encode") + short("a") + short("zip") + b"\x86R",
    "list as key": b"}]Ns",
    "float as key": b"}G" + bytes(8) + b"Ns",
    "module without a table": PERSISTENCE + b"]\x85R",
    "module of a module": PERSISTENCE + b"}" + short("type") + short("module") + b"s\x85R",
    "nothing on the stack": b"0000",
    "unknown place in the memo": b"h\x63",
    "huge place in the memo": b"Nr\xff\xff\xff\x7f" + b"j\xfe\xff\xff\x7f",
    "huge text": b"\x8d" + struct.pack("<Q", 1 << 60),
    "huge bytes": b"\x8e" + struct.pack("<Q", 1 << 40),
    "huge array of bytes": b"\x96" + struct.pack("<Q", 1 << 62),
    "huge integer": b"\x8b" + struct.pack("<i", 1 << 30),
    "large integer": b"\x8a\x20" + b"\x7f" * 32,
    "out-of-band buffer": b"\x97",
    "unknown step": b"\xff",
    "decimal integer": b"I" + b"9" * 100_000 + b"\n",
    "a table of itself": b"]\x94h\x01a",
    "a tuple of itself": b"]\x94h\x01\x85a",
    "doubled lists": b"]" + b"".join(b"\x94]h" + bytes([i]) + b"ah" + bytes([i]) + b"a" for i in range(1, 41)),
    "deep lists": b"]" * 50_000 + b"a" * 49_999,
    "deep tuples": b")" + b"\x85" * 50_000,
    "a million steps": b"N0" * 500_000 + b"N",
}
"""Bodies of pickles that are out to do harm, or take no step that a checkpoint takes."""


def steps(body: bytes) -> bytes:
    """A pickle of protocol 4 that begins as NVIDIA's do."""
    return b"\x80\x04" + MODULE + short("torch_utils") + b"\x940" + body + b"."


def zip_of(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return content.getvalue()


def rewritten(content: bytes, change: Callable[[zipfile.ZipFile], None]) -> bytes:
    """A zip archive with another table of contents."""
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive:
        change(archive)
        archive._didModify = True
    return stream.getvalue()


def peak() -> int:
    """The most bytes that this process ever had in memory; 0 where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
