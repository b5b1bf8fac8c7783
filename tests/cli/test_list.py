import json

import pytest

from deblurkit.cli.list import offered
from deblurkit.registry import KINDS, registry
from deblurkit.specs import DataTermSpec, KernelPriorSpec

pytestmark = pytest.mark.usefixtures("fake")


def test_everything_is_listed_with_its_provider(deblurkit):
    done = deblurkit("list")
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == [
        *("image-priors", "kernel-priors", "data-terms", "optimizers", "executors", "recipes")
    ]
    rows = [line.split("  ") for line in lines]
    gentle = [cell.strip() for cell in next(row for row in rows if "gentle" in row) if cell.strip()]
    assert gentle == ["gentle", "A gentle penalty.", "deblurkit-good 1.0", "offers energy, parameters, restore"]
    turns = next(line for line in lines if line.startswith("  turns "))
    assert turns.endswith("needs restore or parameters x estimate or parameters")
    assert next(line for line in lines if line.startswith("  eager ")).endswith("needs nothing x nothing")
    assert "  fast    Closed forms." in lines


def test_a_kind(deblurkit):
    assert deblurkit("list", "data-terms").out.splitlines() == [
        "data-terms",
        "  cubic   The cube.    deblurkit-good 1.0",
        "  square  The square.  deblurkit 9.9",
    ]
    assert deblurkit("list", "recipes").out.splitlines()[0] == "recipes"


def test_a_name_shows_parameters_with_default_and_bounds(deblurkit):
    out = deblurkit("list", "gentle").out
    assert "image prior 'gentle', deblurkit-good 1.0" in out
    assert "reference: Nobody 2026" in out
    assert "offers: energy, parameters, restore" in out
    row = next(line for line in out.splitlines() if line.startswith("  image_prior.weight"))
    assert [cell.strip() for cell in row.split("  ") if cell.strip()] == [
        *("image_prior.weight", "number", "0.001", "x>=0", "Strength of the penalty.")
    ]


def test_a_name_of_two_kinds_shows_both(deblurkit):
    out = deblurkit("list", "net").out
    assert "image prior 'net', deblurkit 9.9" in out
    assert "kernel prior 'net', deblurkit 9.9" in out
    assert set(json.loads(deblurkit("list", "net", "--json").out)) == {"image_priors", "kernel_priors"}


def test_a_prior_that_offers_nothing_says_so():
    spec = KernelPriorSpec(name="idle", summary="Nothing.", target="idle:Idle")
    assert offered(spec) == "nothing"
    assert offered(DataTermSpec(name="idle", summary="Nothing.", target="idle:Idle")) == ""


def test_an_optimizer_shows_its_needs(deblurkit):
    assert "needs of the kernel prior: estimate or parameters" in deblurkit("list", "turns").out


def test_a_recipe_shows_what_it_sets(deblurkit):
    lines = deblurkit("list", "deeper").out.splitlines()
    assert lines[:2] == ["recipe 'deeper'", "  More of it."]
    cells = {tuple(line.split()) for line in lines[3:]}
    assert ("image_prior.depth", "8", "recipe", "deeper") in cells
    assert ("image_prior.name", '"net"', "recipe", "deep") in cells


def test_json_is_one_document_with_everything(deblurkit):
    document = json.loads(deblurkit("list", "--json").out)
    assert set(document) == {"image_priors", "kernel_priors", "data_terms", "optimizers", "executors", "recipes"}
    for kind in KINDS:
        assert [one["name"] for one in document[f"{kind}s"]] == registry().names(kind)
    net = next(one for one in document["image_priors"] if one["name"] == "net")
    assert (net["provider"], net["version"], net["offers"]) == ("deblurkit", "9.9", ["fit", "parameters"])
    assert net["parameters"][0] == {
        "name": "depth",
        "type": "integer",
        "default": 5,
        "bounds": "1<=x<=8",
        "help": "Number of scales.",
    }
    turns = next(one for one in document["optimizers"] if one["name"] == "turns")
    assert turns["needs_image"] == [["restore"], ["parameters"]]
    assert set(json.loads(deblurkit("list", "optimizers", "--json").out)) == {"optimizers"}
    assert json.loads(deblurkit("list", "fast", "--json").out) == {
        "recipes": [{"name": "fast", "summary": "Closed forms."}]
    }


def test_an_unknown_name(deblurkit, use_plugins):
    done = deblurkit("list", "image-prior")
    assert (done.code, done.out) == (2, "")
    assert done.err == "Error: no kind, component or recipe 'image-prior'; did you mean 'image-priors'?\n"
    use_plugins("builtin", "broken")
    assert deblurkit("list", "tv").code == 3
