"""Scores of other packages, where they are installed: LPIPS, and those of pyiqa. Nothing is ever downloaded."""

import importlib
import importlib.metadata
import io
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from deblurkit.datasets import Sample
from deblurkit.errors import RunError, UsageError
from deblurkit.scores.pictures import matched
from deblurkit.scores.protocols import NAMES
from deblurkit.scores.score import Score

_OFFLINE = threading.Lock()


@dataclass(frozen=True)
class Scorer:
    """A score of another package.

    Attributes:
        score: What it is.
        judge: Picture and truth, (1, 3, H, W) in [0, 1], to a number; the truth is None where none is needed.
        needs_truth: Whether it compares with a truth.
        source: The package and its version, ``pyiqa 0.1.13``: another one may judge otherwise.
    """

    score: Score
    judge: Callable[[Tensor, Tensor | None], float]
    needs_truth: bool
    source: str

    def measure(self, image: Tensor, sample: Sample) -> dict[str, float]:
        """Judge a result, in colour and clipped to [0, 1], against the first truth.

        Args:
            image: (1, C, H, W).
            sample: What is known of the case.

        Returns:
            The value by the score's name; nothing where the picture is not finite, or the truth is missing.

        Raises:
            RunError: The package cannot judge this picture: too small, say.
        """
        if not bool(torch.isfinite(image).all()) or (self.needs_truth and not len(sample.truths)):
            return {}
        image, truth = image.detach().cpu().double(), None
        if self.needs_truth:
            truth, image = matched(image, sample.truths[0])
            truth = _colour(truth)
        try:
            with torch.no_grad():
                value = self.judge(_colour(image), truth)
        except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
            raise RunError(f"{self.score.name}: cannot judge this picture ({_first_line(error)}).") from error
        return {self.score.name: value}


def extra_scores(names: Sequence[str]) -> tuple[Scorer, ...]:
    """Make scorers ready: ``lpips`` by the package lpips (or pyiqa), every other name by pyiqa.

    Args:
        names: ``lpips``, ``niqe``, ``musiq``, ``dists``, ...: pyiqa's names.

    Returns:
        One for each name, in order.

    Raises:
        UsageError: The package is missing, knows no such score, or has not got its weights; or the name is that of a
            score of deblurkit's own.
    """
    scorers = []
    for name in dict.fromkeys(names):
        if name in NAMES:
            raise UsageError(
                f"{name}: is the name of a score that deblurkit defines itself, where a data set's protocol has it; "
                "leave it out."
            )
        module = _package("lpips") if name == "lpips" else None
        scorers.append(_lpips(module) if module is not None else _pyiqa(name))
    return tuple(scorers)


def _lpips(package: ModuleType) -> Scorer:
    """LPIPS with AlexNet (Zhang et al. 2018), by the authors' package."""
    with _offline("lpips", "the weights of AlexNet, which 'lpips.LPIPS(net=\"alex\")' puts into torch's cache"):
        network = package.LPIPS(net="alex", verbose=False).eval()
    source = _source("lpips")
    text = f"Learned perceptual distance with AlexNet (Zhang et al. 2018), package {source}."
    score = Score("lpips", "LPIPS", text, False, "lower", 4, "")

    def judge(image: Tensor, truth: Tensor | None) -> float:
        assert truth is not None
        return float(network(2.0 * image - 1.0, 2.0 * truth - 1.0))

    return Scorer(score, judge, needs_truth=True, source=source)


def _pyiqa(name: str) -> Scorer:
    """A score of pyiqa, by its name there."""
    package = _package("pyiqa")
    if package is None:
        wanted = "lpips, or pyiqa" if name == "lpips" else "pyiqa"
        raise UsageError(f"{name}: needs a package that is not installed; install {wanted}, or leave this score out.")
    known = list(package.list_models())
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "pyiqa.list_models() shows what there is."
        raise UsageError(f"{name}: is no score of the installed pyiqa; {hint}")
    with _offline(name, f"its weights, which 'pyiqa.create_metric(\"{name}\")' puts into the cache"):
        metric: Any = package.create_metric(name, device=torch.device("cpu"))
    needs_truth = getattr(metric, "metric_mode", "FR") == "FR"
    better: Literal["higher", "lower"] = "lower" if metric.lower_better else "higher"
    kind = "against the truth" if needs_truth else "without a truth"
    source = _source("pyiqa")
    text = f"{name.upper()} {kind}, with its defaults in the package {source}."

    def judge(image: Tensor, truth: Tensor | None) -> float:
        return float(metric(image) if truth is None else metric(image, truth))

    return Scorer(Score(name, name.upper(), text, False, better, 4, ""), judge, needs_truth, source)


def _package(name: str) -> ModuleType | None:
    """The package, or None where it is not installed.

    Raises:
        UsageError: It is installed, and broken.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise UsageError(
            f"{name}: is installed, but cannot be imported ({error}); install it with all that it needs."
        ) from error
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise UsageError(
            f"{name}: is installed, but cannot be imported ({error}); install it with all that it needs."
        ) from error


@contextmanager
def _offline(name: str, weights: str) -> Iterator[None]:
    """Let a package load its weights from the cache only: no name of a host is looked up meanwhile, nothing printed.

    Raises:
        UsageError: Whatever went wrong in it.
    """

    def refuse(*_: object, **__: object) -> NoReturn:
        raise ConnectionError("deblurkit downloads nothing")

    with _OFFLINE:
        lookup = socket.getaddrinfo
        socket.getaddrinfo = refuse
        try:
            with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                yield
        except Exception as error:  # a stranger's code
            raise UsageError(
                f"{name}: cannot be made ready without a download ({_first_line(error)}); fetch {weights}, or leave "
                "this score out."
            ) from error
        finally:
            socket.getaddrinfo = lookup


def _source(package: str) -> str:
    """The package and its version, the name alone where that is unknown."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def _colour(x: Tensor) -> Tensor:
    """(1, 3, H, W) float32 in [0, 1]."""
    return x.expand(-1, 3, -1, -1).float().clamp(0.0, 1.0).contiguous()


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
