import shutil
from dataclasses import replace

import pytest

from deblurkit.cells.cell import blurry_cell, oracle_cell, oracle_of, run_cell, source_digest
from deblurkit.config import Part, resolve
from deblurkit.errors import UsageError
from deblurkit.registry import registry


def key(case, config, **changes):
    return run_cell(case, config, registry(), given_size=False, **changes).key


def test_a_key_is_the_same_for_the_same_and_another_for_anything_else(scene, config):
    first = key(scene(1), config)
    assert first == key(scene(1), config)
    others = [
        key(scene(2), config),
        key(scene(1), replace(config, run=replace(config.run, seed=1))),
        key(scene(1), config, extras=("lpips",)),
        run_cell(scene(1), config, registry(), given_size=True).key,
        oracle_cell(scene(1), config, registry()).key,
        blurry_cell(scene(1)).key,
    ]
    assert len({first, *others}) == 1 + len(others)


def test_the_place_of_a_file_does_not_matter_its_content_does(scene, tmp_path):
    space = tmp_path / "a.bin"
    space.write_bytes(b"one")
    moved = tmp_path / "elsewhere" / "b.bin"
    moved.parent.mkdir()
    shutil.copy(space, moved)

    def config_with(path):
        config = resolve({}, registry=registry(), recipe="fast")
        known = registry().spec("kernel_prior", "known").params(file=path)
        return replace(config, kernel_prior=Part("known", known))

    first = key(scene(), config_with(space))
    assert key(scene(), config_with(moved)) == first
    moved.write_bytes(b"other")
    assert key(scene(), config_with(moved)) != first


def test_the_given_size_is_that_of_the_true_kernel(scene, config):
    assert run_cell(scene(size=7), config, registry(), given_size=True).config["run"]["kernel_size"] == 7
    assert run_cell(scene(size=7), config, registry(), given_size=False).config["run"]["kernel_size"] == "auto"
    nameless = run_cell(scene(size=None), config, registry(), given_size=True)
    assert nameless.problem == "scene0: has no true kernel to give its size"


def test_a_kernel_that_cannot_be_read_is_the_problem_of_its_cell(scene, config, monkeypatch):
    def refuse(self):
        raise UsageError("kernel.png: is damaged.")

    monkeypatch.setattr(type(scene()), "kernel", refuse)
    cell = run_cell(scene(), config, registry(), given_size=True)
    assert cell.problem == "kernel.png: is damaged."


@pytest.mark.parametrize(
    ("recipe", "flags", "expected"),
    [
        ("fast", {}, "hyper-laplacian"),  # which it names as its last step
        ("fast", {"final.name": "l0-gradient"}, "l0-gradient"),
        ("fast", {"final.name": "auto"}, "l0-gradient"),  # its image prior restores
        ("selfdeblur", {}, "hyper-laplacian"),  # it keeps the network's image, which needs no kernel
    ],
)
def test_the_oracle_takes_the_same_last_step(recipe, flags, expected):
    oracle = oracle_of(resolve({**flags, "run.seed": 3}, registry=registry(), recipe=recipe), registry())
    assert (oracle.image_prior.name, oracle.kernel_prior.name) == (expected, "known")
    assert oracle.run.seed == 0, "with the kernel known nothing is drawn"


def test_a_prior_that_only_serves_the_estimation_is_not_the_oracles(monkeypatch):
    entry = registry().find("image_prior", "l0-gradient")
    monkeypatch.setattr(
        registry(),
        "_entries",
        {**registry()._entries, ("image_prior", "l0-gradient"): replace(entry, spec=replace(entry.spec, last=-1))},
    )
    config = resolve({"final.name": "auto"}, registry=registry(), recipe="fast")
    assert oracle_of(config, registry()).image_prior.name == "hyper-laplacian"


def test_a_plugin_that_is_edited_makes_new_keys(tmp_path, monkeypatch):
    package = tmp_path / "edited_plugin"
    package.mkdir()
    (package / "prior.py").write_text("FACTOR = 1.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    (package / "__init__.py").write_text("raise RuntimeError('it is not imported')")
    first = source_digest("edited_plugin")
    assert first == source_digest("edited_plugin")
    (package / "prior.py").write_text("FACTOR = 0.10")
    assert source_digest("edited_plugin") not in (first, "")
    assert source_digest("nowhere_to_be_found") == ""


def test_the_oracle_keeps_the_parameters_of_the_last_step():
    config = resolve({"final.name": "hyper-laplacian", "final.exponent": 0.7}, registry=registry(), recipe="fast")
    assert oracle_of(config, registry()).image_prior.params == config.final.params
