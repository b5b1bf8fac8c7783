"""Arrows point one way, and the engine names no component."""

import ast
from pathlib import Path

import pytest

import deblurkit
from deblurkit.registry import registry

ROOT = Path(deblurkit.__file__).parent
# Rooms from the ground floor up; rooms in one tuple are neighbours that don't know each other.
FLOORS = [
    ("errors",),
    ("params",),
    ("specs",),
    ("hookspecs",),
    ("registry",),
    ("config",),
    ("files",),
    ("ops",),
    ("nets", "images", "kernels"),
    ("checkpoints",),
    ("core",),
    ("image_priors", "kernel_priors", "data_terms", "optimizers", "executors", "kernel_space"),
    ("devices", "metrics", "noise"),
    ("pipeline",),
    ("record", "report"),
    ("datasets",),
    ("scores",),
    ("cells",),
    ("benchmark", "ablation"),
    ("testing",),
    ("cli",),
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
TORCH_FREE = {"errors", "params", "specs", "hookspecs", "registry", "config", "files"}
HEAVY = {"torch", "scipy", "PIL", "rich", "numpy"}
ENGINE = ("core", "pipeline", "cli", "config", "registry", "specs", "params", "hookspecs", "record")


def sources(room=None):
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        name = parts[0].removesuffix(".py")
        if name not in ("__init__", "__main__") and (room is None or name == room):
            yield name, path


def imports(tree):
    """Every module imported anywhere in a file, with whether that is at the top level."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            yield name, node in tree.body


@pytest.mark.parametrize(("room", "path"), list(sources()), ids=lambda value: str(getattr(value, "name", value)))
def test_imports_point_downhill(room, path):
    assert room in FLOOR, f"{path.name}: give the new room '{room}' a floor here and in the design"
    for name, _ in imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "deblurkit" or len(parts) == 1 or parts[1] == "__version__":
            continue
        other = parts[1]
        assert other in FLOOR, f"{path.relative_to(ROOT)} imports deblurkit.{other}"
        assert other == room or FLOOR[other] < FLOOR[room], f"{path.relative_to(ROOT)} imports {name}, which is uphill"


@pytest.mark.parametrize(("room", "path"), list(sources()), ids=lambda value: str(getattr(value, "name", value)))
def test_what_is_read_at_every_start_imports_nothing_heavy(room, path):
    light = room in TORCH_FREE or path.name == "plugin.py"
    light |= room == "cli" and path.name not in ("batch.py",)
    if not light:
        return
    for name, at_top in imports(ast.parse(path.read_text())):
        assert not (at_top and name.split(".")[0] in HEAVY), f"{path.relative_to(ROOT)} imports {name} at its top"


def test_the_engine_names_no_component():
    known = {entry.spec.name for kind in ("image_prior", "kernel_prior", "data_term", "optimizer", "executor")
             for entry in registry().entries(kind)}  # fmt: skip
    assert {"dip", "fcn", "mse", "joint"} <= known
    for room, path in sources():
        if room not in ENGINE or path.name == "metrics.py":  # which scores by SSIM, no matter who optimises it
            continue
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                assert node.value not in known, f"{path.relative_to(ROOT)}:{node.lineno} names {node.value!r}"


def test_no_room_is_a_junk_drawer():
    names = {path.stem for _, path in sources()}
    assert not names & {"utils", "util", "helpers", "misc", "common"}
