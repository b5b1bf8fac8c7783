"""The reference pages are those of the code as it is, and the links of the documentation lead somewhere."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pytest

from deblurkit.cli import COMMANDS, cli
from deblurkit.cli.list import plural
from deblurkit.config import recipes, resolve
from deblurkit.core import DataTerm, Executor, ImagePrior, KernelPrior, Optimizer
from deblurkit.hookspecs import HOOKS
from deblurkit.params import Params, param
from deblurkit.registry import KINDS, Entry, registry
from deblurkit.specs import Offer

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "reference").rglob("*.md"))
WRITTEN = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "plugins/README.md", "configs/README.md")
    ),
    *sorted(DOCS.glob("*.md")),
]

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="docs/ lies only in a checkout")


@pytest.fixture(scope="module")
def program():
    """The program that writes the pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield importlib.import_module("reference")


@pytest.fixture(scope="module")
def pages(program):
    with program.only_built_ins():
        return program.all_pages(registry())


def test_the_pages_are_current(program, pages):
    assert not program.stale_pages(pages), f"renew them: {program.RENEW}"


@dataclass(frozen=True, kw_only=True)
class OtherParams(Params):
    """Parameters that no page shows."""

    depth: int = param(3, "Another parameter.", min=1)


def test_a_changed_parameter_makes_its_page_stale(program):
    with program.only_built_ins(), pytest.MonkeyPatch.context() as patch:
        entry = registry().find("image_prior", "identity")
        changed = Entry(replace(entry.spec, params=OtherParams), entry.provider)
        patch.setitem(registry()._entries, ("image_prior", "identity"), changed)
        pages = program.component_pages(registry())
    assert "| `--image-prior.depth` | integer | `3` | x ≥ 1 | Another parameter. |" in pages["image-priors/identity.md"]
    assert [name for name in program.stale_pages(pages) if name in pages] == ["image-priors/identity.md"]


def test_stale_pages_are_named_renewed_and_removed(program, tmp_path, monkeypatch, capsys):
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "gone.md").write_text("of a hook that is gone")
    (tmp_path / "same.md").write_text("same\n")
    (tmp_path / "old.md").write_text("old\n")
    wanted = {"same.md": "same\n", "old.md": "new\n", "parts/new.md": "new\n"}
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    monkeypatch.setattr(program, "all_pages", lambda parts: wanted)
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    assert program.main() == 1
    printed, err = capsys.readouterr()
    assert [line.partition(": ")[2] for line in printed.splitlines()] == [
        "belongs to nothing",
        "not current",
        "not current (missing)",
    ]
    assert program.RENEW in err
    monkeypatch.setattr(sys, "argv", ["reference.py"])
    assert program.main() == 0
    assert {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.md")} == wanted
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    assert program.main() == 0


def test_nothing_but_the_code_decides(tmp_path):
    """Another folder, home, terminal, language and set of plugins change no page."""
    around = {"COLUMNS": "37", "TERM": "dumb", "FORCE_COLOR": "1", "HOME": str(tmp_path), "LC_ALL": "C"}
    env = {**os.environ, **around, "DEBLURKIT_PLUGINS": "nobody", "DEBLURKIT_DEBUG": "1", "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, DOCS / "reference.py", "--check"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_has_its_page(pages):
    built_in = {
        f"{plural(kind)}/{entry.spec.name}.md"
        for kind in KINDS
        for entry in registry().entries(kind)
        if entry.provider.built_in
    }
    wanted = built_in | {f"commands/{name}.md" for name in COMMANDS} | {f"hooks/{name}.md" for name in HOOKS}
    assert wanted | {f"recipes/{name}.md" for name in recipes()} <= pages.keys()
    index = (DOCS / "reference" / "README.md").read_text()
    linked = set(re.findall(r"\]\(([\w/-]+\.md)\)", index))
    assert linked == pages.keys() - {"README.md"}


def test_every_option_of_a_command_is_on_its_page(pages):
    parent = click.Context(cli, info_name="deblurkit", **cli.context_settings)
    for name, spec in COMMANDS.items():
        command = spec.load()
        context = click.Context(command, parent, name, **command.context_settings)
        options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
        assert options
        for option in options:
            part = re.match(r"--(image-prior|kernel-prior|data-term|optimizer|final|executor)\.", option.opts[0])
            assert part or option.opts[-1] in pages[f"commands/{name}.md"], (name, option.opts)


def test_examples_on_the_pages_are_in_the_help(pages):
    examples = re.search(r"## Examples\n\n```sh\n(.*?)\n```", pages["commands/run.md"], re.DOTALL)
    assert examples
    assert "deblurkit run photo.jpg" in examples[1].splitlines()


def test_defaults_on_the_pages_are_a_configuration(pages):
    """What stands on a page as a file is accepted, and changes nothing."""
    for kind in ("image_prior", "data_term", "optimizer"):
        for entry in registry().entries(kind):
            found = re.search(r"```toml\n(.*?)```", pages.get(f"{plural(kind)}/{entry.spec.name}.md", ""), re.DOTALL)
            if found:
                (values,) = tomllib.loads(found[1]).values()
                assert type(entry.spec.params())(**{k: v for k, v in values.items() if k != "name"}) == (
                    entry.spec.params()
                )
    found = re.search(r"```toml\n(.*?)```", pages["configuration.md"], re.DOTALL)
    run = tomllib.loads(found[1])["run"]
    assert resolve({f"run.{key}": value for key, value in run.items()}, registry=registry()).to_json()["run"] == run


BASES = {
    "image_priors": ImagePrior,
    "kernel_priors": KernelPrior,
    "data_terms": DataTerm,
    "optimizers": Optimizer,
    "executors": Executor,
}


@pytest.mark.parametrize(("hook", "base"), BASES.items(), ids=str)
def test_a_hook_lists_what_the_class_behind_it_may_implement(pages, hook, base):
    page = pages[f"hooks/deblurkit_{hook}.md"]
    below = page[page.index(f"\n## What the class may implement: {base.__name__}\n") :]
    wanted = [name for name in vars(base) if not name.startswith("_")]
    wanted = [name for name in wanted if callable(getattr(base, name)) or isinstance(vars(base)[name], property)]
    assert re.findall(r"^### (\w+)$", below, re.MULTILINE) == wanted
    for name in wanted:
        assert f"def {name}(self" in below or f"@classmethod\ndef {name}(cls" in below
    assert "  " not in re.sub(r"```.*?```", "", below, flags=re.DOTALL)


def test_offers_are_a_field_only_where_there_is_something_to_offer(pages):
    rows = {name for name in HOOKS if "| `offers` |" in pages[f"hooks/{name}.md"]}
    assert rows == {"deblurkit_image_priors", "deblurkit_kernel_priors"}


def test_every_offer_is_in_words(program):
    components = importlib.import_module("pages.components")
    assert set(components.OFFERS) == set(Offer)
    assert set(components.WORDS) == set(KINDS)


def test_pages_name_no_place_and_no_colour(pages):
    for name, text in pages.items():
        assert not re.search(r"\x1b|/(home|root|tmp|opt|work)/|``[^`]|:\w+:`", re.sub(r"```", "", text)), name
        assert str(Path.home()) not in text or Path.home() == Path("/")


NUMBERS = tomllib.loads((DOCS / "measured.toml").read_text()) if DOCS.is_dir() else {}
ROWS = [(kind, name, row) for kind, names in NUMBERS.items() for name, rows in names.items() for row in rows]


def test_measured_numbers_are_of_something_that_exists():
    for kind, name, row in ROWS:
        assert name in (recipes() if kind == "recipe" else registry().names(kind)), (kind, name)
        assert row.keys() == {"what", "number", "unit", "command"}
        assert isinstance(row["number"], int | float)
        assert row["what"]


@pytest.mark.parametrize("line", sorted({row["command"] for _, _, row in ROWS}))
def test_commands_of_measured_numbers_can_be_given(line):
    """The program exists and has the flags; what is run by deblurkit parses."""
    for words in map(shlex.split, line.split(" && ")):
        if words[0] == "python":
            source = (ROOT / words[1]).read_text()
            assert all(f'"{one}"' in source for one in words[2:] if one.startswith("--")), words
        else:
            assert words[0] == "deblurkit"
            assert words[1] in COMMANDS
            command = COMMANDS[words[1]].load()
            command.make_context(words[1], words[2:]).close()
        assert all((ROOT / word).is_file() for word in words if word.startswith(("tests/", "configs/")))


def headings(text):
    """What links call the headings of a document."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.+)$", outside, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize(
    "path", [*WRITTEN, *PAGES, *sorted((ROOT / "plugins").glob("*/README.md"))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", link):
            continue
        place, _, heading = link.partition("#")
        target = (path.parent / place) if place else path
        assert target.exists(), link
        assert not heading or heading in headings(target.read_text(encoding="utf-8")), link


def test_the_index_names_the_page_about_studies():
    text = " ".join((DOCS / "reference" / "README.md").read_text(encoding="utf-8").split())
    assert "[studies](../studies.md)" in text
