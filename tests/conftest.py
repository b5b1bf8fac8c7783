"""Test plugins and recipes, for everything that is built upon the registry."""

import importlib
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType

import pytest
import torch

from deblurkit import config
from deblurkit import registry as registry_module
from deblurkit.registry import Registry

# The tensors here are small: a second thread only waits, and badly so where the cores are busy.
torch.set_num_threads(1)

PLUGINS = Path(__file__).parent / "data" / "plugins"
RECIPES = {
    "fast": """
        summary = "Closed forms."
        image_prior.name = "sparse"
        image_prior.weight = 0.002
        kernel_prior.name = "simplex"
        data_term.name = "square"
        final.name = "both"
        final.weight = 0.5
        run.scales = 4
    """,
    "deep": """
        summary = "Networks."
        base = "none"
        image_prior = { name = "net", depth = 3 }
        kernel_prior.name = "net"
        data_term.name = "square"
        final.name = "none"
    """,
    "deeper": """
        summary = "More of it."
        base = "deep"
        image_prior.depth = 8
        optimizer.name = "turns"
    """,
}


@pytest.fixture
def read_plugins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Registry]:
    """Return a registry of the named folders in tests/data/plugins."""

    def read(*names: str, allow: tuple[str, ...] = ("*",)) -> Registry:
        folders = [str(PLUGINS / name) for name in names]
        for folder in folders:
            monkeypatch.syspath_prepend(folder)
        points = [point for found in distributions(path=folders) for point in found.entry_points]
        return Registry(points, allow)

    return read


@pytest.fixture
def use_plugins(
    read_plugins: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Registry]]:
    """Make the named test plugins those of this process, for the time of a test."""

    def use(*names: str) -> Registry:
        made = read_plugins(*names)
        monkeypatch.setattr(Registry, "discover", lambda: made)
        registry_module.registry.cache_clear()
        return made

    yield use
    registry_module.registry.cache_clear()


@pytest.fixture
def fake_recipes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace deblurkit's recipes by three for the test plugins."""
    folder = tmp_path_factory.mktemp("recipes")
    for name, text in RECIPES.items():
        (folder / f"{name}.toml").write_text(text)
    monkeypatch.setattr(config, "recipe_folder", lambda: folder)
    return folder


@pytest.fixture
def plain_spaces(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return tests/data/plain_spaces.py, its kernel spaces in the place of the real presets."""
    from deblurkit.nets.kernel_space import weights

    monkeypatch.syspath_prepend(str(PLUGINS.parent))
    monkeypatch.setitem(weights.PRESETS, "compact", "plain_spaces:PlainSpace")
    monkeypatch.setitem(weights.PRESETS, "paper", "plain_spaces:GridSpace")
    return importlib.import_module("plain_spaces")


@pytest.fixture(scope="session")
def compact_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a compact space for kernels of 9 x 9: a basis of random kernels, nets that do nothing yet."""
    from deblurkit.kernel_space.trajectories import random_kernels
    from deblurkit.nets.kernel_space.compact import CompactSpace
    from deblurkit.nets.kernel_space.space import Statistics
    from deblurkit.nets.kernel_space.weights import save_space
    from deblurkit.nets.seeding import seeded

    generator = torch.Generator().manual_seed(0)
    kernels = random_kernels(300, 9, generator=generator, shift=1.0)
    with seeded(generator):
        space = CompactSpace(window=9, dimensions=42, hidden=2, stages=1)
    space.fit_basis(kernels)
    codes = space.encode_kernel(kernels)[..., 0, 0].detach()
    space.statistics = Statistics(codes.mean(0) + 0.1, torch.eye(42))
    file = tmp_path_factory.mktemp("compact") / "space.safetensors"
    save_space(file, space, card={"data": "random kernels"})
    return file


@pytest.fixture(scope="session")
def paper_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a narrow space with the published structure, untrained and without statistics."""
    from deblurkit.nets.kernel_space.paper import PaperSpace
    from deblurkit.nets.kernel_space.weights import save_space
    from deblurkit.nets.seeding import seeded

    with seeded(torch.Generator().manual_seed(0)):
        space = PaperSpace(features=4, code=6, residual_front=1, residual_back=1, extractor_blocks=1)
    file = tmp_path_factory.mktemp("paper") / "space.safetensors"
    save_space(file, space, card={"data": "none"})
    return file
