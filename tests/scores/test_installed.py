"""Scores of other packages, played by modules made here."""

import importlib.metadata
import math
import socket
import sys
import warnings
from types import ModuleType, SimpleNamespace

import pytest
import torch

from deblurkit.datasets import Sample
from deblurkit.errors import RunError, UsageError
from deblurkit.scores import RAW, extra_scores, protocol_of


class Network(torch.nn.Module):
    """Half the mean absolute difference of pictures in [-1, 1]."""

    def __init__(self, net, verbose):
        super().__init__()
        assert (net, verbose) == ("alex", False)

    def forward(self, a, b):
        assert a.shape[1] == b.shape[1] == 3
        assert not torch.is_grad_enabled()
        return (a - b).abs().mean().view(1, 1, 1, 1) / 2


class Metric:
    """The mean, or the mean difference."""

    def __init__(self, mode, lower):
        self.metric_mode, self.lower_better = mode, lower

    def __call__(self, image, truth=None):
        assert (truth is None) == (self.metric_mode == "NR")
        if image.shape[-1] < 16:
            raise AssertionError("the picture is too small.\nmore")
        return image.mean() if truth is None else (image - truth).abs().mean()


def absent(monkeypatch, *names):
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def lpips(monkeypatch):
    module = ModuleType("lpips")
    module.LPIPS = Network
    monkeypatch.setitem(sys.modules, "lpips", module)
    return module


@pytest.fixture
def pyiqa(monkeypatch):
    made = {"niqe": ("NR", True), "musiq": ("NR", False), "dists": ("FR", True), "lpips": ("FR", True)}
    module = ModuleType("pyiqa")
    module.list_models = lambda: list(made)
    module.create_metric = lambda name, device: Metric(*made[name])
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    return module


@pytest.fixture
def sample():
    y = torch.full((1, 1, 20, 20), 0.25)
    return Sample(y, (y + 0.25,), None)


def test_lpips(lpips, sample):
    (scorer,) = extra_scores(["lpips", "lpips"])
    assert (scorer.score.name, scorer.score.better, scorer.needs_truth) == ("lpips", "lower", True)
    assert scorer.measure(sample.y, sample) == {"lpips": pytest.approx(0.25)}
    assert scorer.measure(sample.y * math.nan, sample) == {}
    assert scorer.measure(sample.y, Sample(sample.y, (), None)) == {}


def test_pyiqa(pyiqa, sample, monkeypatch):
    absent(monkeypatch, "lpips")
    scorers = extra_scores(["niqe", "musiq", "dists", "lpips"])
    assert [one.score.better for one in scorers] == ["lower", "higher", "lower", "lower"]
    assert [one.needs_truth for one in scorers] == [False, False, True, True]
    assert "in the package pyiqa" in scorers[0].score.text
    assert scorers[0].measure(sample.y + 5.0, sample) == {"niqe": pytest.approx(1.0)}  # clipped
    assert scorers[1].measure(sample.y, Sample(sample.y, (), None)) == {"musiq": pytest.approx(0.25)}
    assert scorers[2].measure(sample.y, sample) == {"dists": pytest.approx(0.25)}
    with pytest.raises(RunError, match=r"niqe: cannot judge this picture \(the picture is too small\)\."):
        scorers[0].measure(sample.y[..., :8], sample)


@pytest.mark.parametrize("layout", ["levin", "lai", "kohler", "pairs", "reblur"])
def test_no_score_of_a_protocol_is_replaced(pyiqa, layout):
    names = [score.name for score in (*protocol_of(layout).scores, *RAW)]
    pyiqa.list_models = lambda: names  # it does have psnr and ssim
    pyiqa.create_metric = lambda name, device: Metric("FR", False)
    for name in names:
        with pytest.raises(UsageError, match=rf"^{name}: is the name of a score that deblurkit defines itself.*\.$"):
            extra_scores([name])


def test_a_scorer_knows_its_package_and_the_version(lpips, pyiqa, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", {"lpips": "0.1.4", "pyiqa": "0.1.13"}.__getitem__)
    scorers = extra_scores(["lpips", "niqe"])
    assert [one.source for one in scorers] == ["lpips 0.1.4", "pyiqa 0.1.13"]
    assert scorers[1].score.text.endswith("in the package pyiqa 0.1.13.")

    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", unknown)
    assert [one.source for one in extra_scores(["lpips", "niqe"])] == ["lpips", "pyiqa"]


def test_nothing_is_asked_for():
    assert extra_scores([]) == ()


def test_a_missing_package(monkeypatch):
    absent(monkeypatch, "lpips", "pyiqa")
    monkeypatch.setattr("deblurkit.scores.installed.importlib.import_module", missing)
    with pytest.raises(UsageError, match="lpips: needs a package that is not installed; install lpips, or pyiqa"):
        extra_scores(["lpips"])
    with pytest.raises(UsageError, match="niqe: needs a package that is not installed; install pyiqa"):
        extra_scores(["niqe"])


def missing(name):
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_broken_package(monkeypatch):
    def broken(name):
        raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")

    monkeypatch.setattr("deblurkit.scores.installed.importlib.import_module", broken)
    with pytest.raises(UsageError, match=r"lpips: is installed, but cannot be imported \(No module named 'torchv"):
        extra_scores(["lpips"])


def test_an_unknown_score(pyiqa):
    with pytest.raises(UsageError, match=r"nique: is no score of the installed pyiqa; did you mean 'niqe'\?"):
        extra_scores(["nique"])
    with pytest.raises(UsageError, match=r"xyz: is no score of the installed pyiqa; pyiqa\.list_models\(\) shows"):
        extra_scores(["xyz"])


def test_nothing_is_downloaded(lpips, pyiqa, monkeypatch, capsys):
    looked_up = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: looked_up.append(args) or [])
    before = socket.getaddrinfo

    def fetch(*_, **__):
        print("Downloading")
        warnings.warn("deprecated", stacklevel=1)
        socket.create_connection(("weights.example.org", 443), timeout=1)

    lpips.LPIPS = fetch
    pyiqa.create_metric = fetch
    for name in ("lpips", "niqe"):
        with pytest.raises(UsageError, match=rf"{name}: cannot be made ready without a download \(.*downloads nothing"):
            extra_scores([name])
    assert not looked_up
    assert capsys.readouterr() == ("", "")
    assert socket.getaddrinfo is before


def test_a_metric_without_a_mode_compares_with_the_truth(pyiqa, sample):
    pyiqa.create_metric = lambda name, device: SimpleNamespaceMetric()
    (scorer,) = extra_scores(["dists"])
    assert scorer.needs_truth
    assert scorer.measure(sample.y, sample) == {"dists": 7.0}


class SimpleNamespaceMetric(SimpleNamespace):
    lower_better = True

    def __call__(self, image, truth):
        return torch.tensor([[7.0]])
