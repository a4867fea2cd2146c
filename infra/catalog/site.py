"""The catalog's files, from contracts and facts: a folder that works from a disk, without a server.

Pages, one style sheet and one script, nothing from elsewhere. Whatever comes from contracts or data
is escaped by the templates; the pages' own policy allows no script but that file.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from infra.catalog import pages
from infra.catalog.facts import Facts
from infra.lineage.layout import layout
from infra.lineage.svg import svg
from lake.contracts.contract import Contract
from lake.errors import BadInput
from lake.lineage.graph import Edge, Graph, dataset_of
from lake.lineage.statements import PREFIX
from lake.queries.query import Query

ASSETS = ("catalog.css", "catalog.js")
MARK = "catalog.json"
"""Says that a folder is a catalog of ours, and may be replaced."""


@dataclass(frozen=True)
class Site:
    """What a catalog is made of; facts are empty where no server answered: `silent` says why."""

    contracts: Sequence[Contract]
    facts: Mapping[str, Facts]
    graph: Graph
    statements: Sequence[Query]
    made: datetime
    silent: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the datasets, each with a page."""
        return frozenset(each.name for each in self.contracts)

    def of(self, contract: Contract) -> Facts:
        """Return a dataset's facts."""
        return self.facts.get(contract.name, Facts(missing=(self.silent,) if self.silent else ()))


def render(site: Site) -> dict[str, str]:
    """Return path -> content of every file."""
    templates = _templates()
    shown = {"site": site, "pages": pages}
    found = {
        "index.html": _page(templates, "index.html", shown, "./"),
        "lineage.html": _page(
            templates, "lineage.html", {**shown, "drawing": _whole_drawing(site)}, "./"
        ),
        "statements.html": _page(templates, "statements.html", shown, "./"),
    }
    for contract in site.contracts:
        drawing = _drawing(site, contract)
        values = {**shown, "contract": contract, "facts": site.of(contract), "drawing": drawing}
        found[f"datasets/{contract.name}.html"] = _page(templates, "dataset.html", values, "../")
    statements = [(each.name, each.title) for each in site.statements]
    index = pages.search_index(site.contracts, statements)
    # In a script of its own: a page from a disk may not fetch a file.
    found["search.js"] = f"window.CATALOG = {json.dumps(index, ensure_ascii=True)};\n"
    for name in ASSETS:
        found[name] = _asset(name)
    made = {"made": site.made.isoformat(), "datasets": [each.name for each in site.contracts]}
    found[MARK] = json.dumps(made, indent=2) + "\n"
    return found


def write(found: Mapping[str, str], folder: Path) -> None:
    """Write the files beside the folder, then put them in its place.

    Raises BadInput for a folder that holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise BadInput(str(folder), "holds something that is no catalog", "choose another with -o")
    new, old = (folder.with_name(f".{folder.name}.{end}.{os.getpid()}") for end in ("new", "old"))
    for path, text in found.items():
        target = new / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _templates() -> Environment:
    return Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return files("infra.catalog").joinpath("site", name).read_text(encoding="utf-8")


def _page(templates: Environment, name: str, values: Mapping[str, object], root: str) -> str:
    return templates.get_template(name).render(**values, root=root) + "\n"


def _drawing(site: Site, contract: Contract) -> Markup:
    """Return one step up and one step down of a dataset's columns."""
    columns = [f"{contract.name}.{name}" for name in contract.names]
    edges = dict.fromkeys(
        edge for name in columns for edge in (*site.graph.sources(name), *site.graph.uses(name))
    )
    near = [edge for edge in edges if dataset_of(edge.source) != dataset_of(edge.target)]
    return _svg(site, near, columns, "", f"Lineage of {contract.name}") if near else Markup("")


def _whole_drawing(site: Site) -> Markup:
    """Return all datasets and which is made of which."""
    pairs = {
        (dataset_of(edge.source), dataset_of(edge.target))
        for edge in site.graph.edges
        if dataset_of(edge.source) != dataset_of(edge.target)
    }
    edges = [Edge(_whole(site, one), _whole(site, other)) for one, other in sorted(pairs)]
    return _svg(site, edges, (), "datasets/", "Lineage of all datasets")


def _whole(site: Site, dataset: str) -> str:
    """Return what stands for a dataset: how many columns it has, or that it is a statement."""
    count = sum(dataset_of(each) == dataset for each in site.graph.columns)
    return f"{dataset}.{'statement' if dataset.startswith(PREFIX) else f'{count} columns'}"


def _svg(
    site: Site, edges: Sequence[Edge], columns: Sequence[str], folder: str, title: str
) -> Markup:
    shown = [each for each in columns if any(each in (e.source, e.target) for e in edges)]
    drawing = svg(
        layout(edges, shown),
        link=lambda name: f"{folder}{name}.html" if name in site.names else "",
        title=title,
    )
    return Markup(drawing)  # the drawing escapes its own text
