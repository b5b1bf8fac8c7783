import importlib
from pathlib import Path

import pytest

from deblurkit.nets.kernel_space import weights

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def tiny_space(monkeypatch):
    """Return tests/data/tiny_space.py, its space being the preset "tiny"."""
    monkeypatch.syspath_prepend(str(DATA))
    monkeypatch.setitem(weights.PRESETS, "tiny", "tiny_space:TinySpace")
    return importlib.import_module("tiny_space")
