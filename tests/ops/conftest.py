import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture
def draw(generator):
    """Uniform float64 tensors of a given shape, the same in every run."""
    return lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)
