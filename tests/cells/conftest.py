from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from deblurkit.cells.store import Store
from deblurkit.config import resolve
from deblurkit.datasets.case import Case, Sample
from deblurkit.errors import UsageError
from deblurkit.registry import registry


@dataclass(frozen=True)
class Scene(Case):
    """A picture that is made of its number; number 13 is missing."""

    layout: ClassVar[str] = "levin"
    number: int = 0
    size: int | None = 5

    def files(self) -> tuple[Path, ...]:
        if self.number == 13:
            raise UsageError("scene 13: cannot be read; check the file.")
        return ()

    def _recipe(self) -> tuple[int]:
        return (self.number,)

    def kernel(self) -> torch.Tensor | None:
        return None if self.size is None else torch.ones(1, 1, self.size, self.size) / self.size**2

    def load(self) -> Sample:
        torch.manual_seed(self.number)
        truth = torch.rand(1, 1, 64, 64)
        return Sample(truth * 0.5 + 0.25, (truth,), self.kernel())


@pytest.fixture
def scene():
    def make(number: int = 0, group: str = "", size: int | None = 5) -> Scene:
        return Scene(f"scene{number}", group, number=number, size=size)

    return make


@pytest.fixture
def config():
    return resolve({"run.threads": 1, "run.largest_kernel": 7}, registry=registry())


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "run")
