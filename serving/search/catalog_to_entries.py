"""From contracts, feature sets, statements and models to entries of the search."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg

from feature_repo.feature import Feature
from feature_repo.feature_set import IN_FORCE, FeatureSet, feature_set
from lake.contracts.contract import DATASETS, Contract, load
from lake.errors import Unavailable
from lake.queries.query import Query, catalog
from lake.roles import role_dsn
from lake.state import RUN_UP
from serving.search.entry import Entry

CONNECT_S_MAX = 2
MODELS_MAX = 1_000


def catalog_entries() -> list[Entry]:
    """Return what contracts, feature sets and the library of statements say; asks no server."""
    contracts = [load(name) for name in DATASETS]
    sets = [feature_set(name) for name in IN_FORCE]
    made = {f"{each.dataset}.{name}" for each in sets for name in each.names}
    return [
        *map(_dataset, contracts),
        *_columns(contracts, made),
        *(_feature(one, each) for each in sets for one in each.features),
        *map(_statement, catalog()),
    ]


def model_entries(home: Path) -> list[Entry]:
    """Return the models of a home's registry as the hot tier has them, the newest state of each.

    Raises Unavailable where the database does not answer.
    """
    try:
        with psycopg.connect(role_dsn(home, "analyst"), connect_timeout=CONNECT_S_MAX) as db:
            rows = db.execute(MODELS, (MODELS_MAX,)).fetchall()
    except psycopg.Error as error:
        raise Unavailable("postgres", " ".join(str(error).split()), RUN_UP) from error
    return [_model(*row) for row in rows]


MODELS = """
SELECT model, model_version, roles, learner, label, features
FROM (
    SELECT DISTINCT ON (model, model_version) *
    FROM market.ml_models ORDER BY model, model_version, row_no DESC
) AS newest
WHERE status = 'registered'
ORDER BY model, model_version DESC
LIMIT %s
"""


def _dataset(contract: Contract) -> Entry:
    more = " ".join((contract.granularity, *contract.names))
    return Entry("dataset", contract.name, contract.description, (contract.name,), more)


def _columns(contracts: Iterable[Contract], but: set[str]) -> Iterator[Entry]:
    """Yield one entry for columns of the same name and meaning, whatever datasets have it."""
    found: defaultdict[tuple[str, str, str], list[Contract]] = defaultdict(list)
    for contract in contracts:
        for column in contract.columns:
            if f"{contract.name}.{column.name}" not in but:
                found[column.name, column.description, column.unit].append(contract)
    for (name, text, unit), having in found.items():
        where = tuple(each.name for each in having)
        one = having[0]
        full = f"{one.name}.{name}" if len(having) == 1 else name
        more = f"{one.name} {one.description}" if len(having) == 1 else " ".join(where)
        yield Entry("column", full, text, where, more, unit)


def _feature(feature: Feature, of: FeatureSet) -> Entry:
    meaning = load(of.dataset).column(feature.name).description
    more = f"{feature.formula} {feature.source} {of.name} {of.rows}"
    return Entry("feature", f"{of.dataset}.{feature.name}", meaning, (of.dataset,), more)


def _statement(query: Query) -> Entry:
    more = " ".join(column.meaning for column in query.columns)
    return Entry("statement", query.name, f"{query.title}. {query.answers}", (), more)


def _model(name: str, version: int, roles: str, learner: str, label: str, features: str) -> Entry:
    said = f"Predicts {label}, by {learner}" + (f"; {roles}" if roles else "") + "."
    return Entry("model", f"{name} {version}", said, ("ml_models",), features)
