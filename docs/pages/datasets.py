"""A page for every layout of data sets, and one for all scores."""

from deblurkit.datasets import Case, find
from deblurkit.scores import Score, protocol_of
from pages.markdown import docstring_of, module_docstring, page, prose, section, table

_ROOM = "deblurkit.datasets."


def layouts() -> list[str]:
    """Return the names of the layouts that are looked for, in the order in which they are tried."""
    return [name for name in find.LAYOUTS if name != find.AUTO]


def dataset_pages() -> dict[str, str]:
    """Return the pages of all layouts by path below ``docs/reference``."""
    return {f"datasets/{name}.md": _layout(name) for name in layouts()}


def scores() -> dict[str, Score]:
    """Return all scores by name, in the order in which the layouts bring them."""
    return {score.name: score for name in layouts() for score in protocol_of(name).scores}


def _layout(name: str) -> str:
    protocol = protocol_of(name)
    cases = [cls for cls in Case.__subclasses__() if cls.layout == name and cls.__module__.startswith(_ROOM)]
    targets = [f"{cls.__module__}:{cls.__name__}" for cls in cases]
    rows = [
        (
            f"[{score.name}](../scores.md#{score.name})",
            score.title,
            "as published" if score.published else "",
            "leads" if score.name == protocol.primary else "",
        )
        for score in protocol.scores
    ]
    return page(
        f"# {name}",
        f"[Data set](../README.md#data-sets). {prose(module_docstring(targets[0]))}",
        f"Found by looking, or by `--layout {name}`: {find._TABLE[name].files}.",
        section("What its pictures are", *(prose(docstring_of(one).partition("Attributes:")[0]) for one in targets)),
        section("Scores", table(("score", "heading", "published", "table"), rows)),
        section("Commands", "[benchmark](../commands/benchmark.md), [ablate](../commands/ablate.md)"),
    )


def scores_page() -> str:
    """Return the page of all scores."""
    return page(
        "# Scores",
        "What the tables of [benchmark](commands/benchmark.md) and [ablate](commands/ablate.md) say of a result. "
        "Scores as published stand beside corrected ones, each under its own name, so that no number is taken for "
        "another. `--score NAME` adds LPIPS or a score of pyiqa, where such a package is installed.",
        *(_score(score) for score in scores().values()),
    )


def _score(score: Score) -> str:
    protocols = [protocol_of(name) for name in layouts()]
    has = [(one.layout, next((own for own in one.scores if own.name == score.name), None)) for one in protocols]
    names = [
        f"[{layout}](datasets/{layout}.md)" + (" (as published)" if own.published else "") for layout, own in has if own
    ]
    unit = f", in {score.unit}" if score.unit else ""
    return section(score.name, f"{score.text} The {score.better} the better{unit}.", f"Data sets: {', '.join(names)}.")
