from collections.abc import Callable
from typing import NamedTuple

import pytest

from deblurkit.cli import main


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def deblurkit(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run the command line in this process; everything that reaches stdout and stderr is returned."""

    def run(*args: str) -> Done:
        capfd.readouterr()
        code = main(list(args))
        return Done(int(code), *capfd.readouterr())

    return run


@pytest.fixture
def fake(use_plugins, fake_recipes) -> None:
    """Put the test components and recipes in the place of the real ones."""
    use_plugins("builtin", "good")
