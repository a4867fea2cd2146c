"""The registry of models becomes the table ml_models: a row for each change of a version.

The registry decides, the table tells: what it holds is compared with what the registry says, and
only what differs is written. A version that was deleted there is gone here, and its rows stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.rows import dict_row

from feature_repo.models.registry import Registry, Version
from flows.numbered_to_lake import take_in_turn
from lake.clock import Clock, utc_from_us
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import NUMBERED_DATASETS, load
from lake.errors import Damaged
from lake.hot.numbered import append
from lake.hot.turn import TURN_S_MAX, turn
from lake.warehouse import Warehouse

DATASET = "ml_models"
REGISTERED, GONE = "registered", "gone"

Row = dict[str, Any]
Key = tuple[str, int]

_HELD = (
    "SELECT DISTINCT ON (model, model_version) * FROM market.ml_models"
    " ORDER BY model, model_version, row_no DESC"
)


def publish(
    dsn: str,
    warehouse: Warehouse,
    registry: Registry,
    clock: Clock,
    *,
    wait_s: float = TURN_S_MAX,
) -> int:
    """Write what changed in the registry since the last call; return how many versions did.

    Raises Unavailable where the registry does not answer, or while another run holds the turn.
    """
    with turn(dsn, DATASET, wait_s=wait_s) as lease:
        with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
            held = {(row["model"], row["model_version"]): row for row in connection.execute(_HELD)}
        rows = _changes(registry, held)
        if rows:
            now = utc_from_us(clock.now_us())
            schema = arrow_schema(load(DATASET))
            schema = schema.remove(schema.get_field_index(NUMBERED_DATASETS[DATASET]))
            made = [{**row, "changed_time": now} for row in rows]
            with psycopg.connect(dsn, autocommit=True) as connection:
                append(connection, DATASET, pa.Table.from_pylist(made, schema))
        take_in_turn(dsn, warehouse, DATASET, lease)
    return len(rows)


def _changes(registry: Registry, held: Mapping[Key, Row]) -> list[Row]:
    """Return the rows that the registry has and the table has not."""
    found = {(each.name, each.version): each for each in registry.versions()}
    rows = []
    for key, version in found.items():
        known = held.get(key)
        state = {"roles": ", ".join(version.roles), "status": REGISTERED}
        if known is None or known["run_id"] != version.run_id:
            rows.append({**_row(registry, version), **state})
        elif {name: known[name] for name in state} != state:
            rows.append({**known, **state})
    for key, known in held.items():
        if key not in found and known["status"] != GONE:
            rows.append({**known, "roles": "", "status": GONE})
    for row in rows:
        row.pop(NUMBERED_DATASETS[DATASET], None)
    return rows


def _row(registry: Registry, version: Version) -> Row:
    """Return what does not change of a version; one without a whole card has empty words."""
    try:
        card = registry.stored(version)[1]
        facts, metrics, features = card.facts, card.metrics, list(card.features)
    except Damaged:
        facts, metrics, features = {}, {}, []
    return {
        "model": version.name,
        "model_version": version.version,
        "created_time": utc_from_us(version.created_us),
        "run_id": version.run_id,
        "model_hash": version.model_hash,
        "learner": facts.get("learner", ""),
        "release": facts.get("release", ""),
        "label": facts.get("label", ""),
        "features": json.dumps(features),
        "feature_versions": json.dumps(facts.get("feature_versions", {}), sort_keys=True),
        "metrics": json.dumps(dict(metrics), sort_keys=True),
        "receipt": facts.get("receipt", ""),
        "place": version.source,
    }
