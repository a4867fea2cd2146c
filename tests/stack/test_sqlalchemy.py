"""An analyst's tools find the views by SQLAlchemy: names, comments, rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from infra.command.main import run
from lake.contracts.contract import load
from lake.state import read_state
from lake.views.publish import publish
from lake.views.trino_views import TRINO_VIEWS
from lake.views.union_view import AGGREGATES
from tests.stack.emptied import emptied
from tests.verify.lakehouse import Lakehouse


@pytest.fixture
def engine(stack: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[sqlalchemy.Engine]:
    """Connect as `ticklake roles analyst` says, to three frames of trades."""
    house = Lakehouse(*emptied(stack))
    publish(stack)
    house.write(frames=3)
    house.close()
    assert run(["roles", "analyst", "--home", str(stack), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["roles"]["analyst"]["python"]
    url = sqlalchemy.make_url(said)
    secret = read_state(stack)["roles"]["analyst"]["trino"].get("password")
    found = sqlalchemy.create_engine(url.set(password=secret) if secret else url)
    yield found
    found.dispose()


def test_an_analyst_finds_names_comments_and_rows(engine: sqlalchemy.Engine) -> None:
    seen = sqlalchemy.inspect(engine)
    aggregates = {f"crypto_agg_{interval}" for interval in AGGREGATES}
    assert {*TRINO_VIEWS, *aggregates} == set(seen.get_view_names("market"))
    contract = load("crypto_trades")
    columns = seen.get_columns("crypto_trades", "market")
    assert [each["name"] for each in columns] == list(contract.names)
    assert [each["comment"] for each in columns] == [each.meaning for each in contract.columns]
    assert seen.get_table_comment("crypto_trades", "market") == {"text": contract.description}
    trades = sqlalchemy.Table("crypto_trades", sqlalchemy.MetaData(), autoload_with=engine)
    query = sqlalchemy.select(sqlalchemy.func.count(), sqlalchemy.func.min(trades.c.price))
    with engine.connect() as connection:
        assert [tuple(map(str, row)) for row in connection.execute(query)] == [
            ("9", "30001.0000000000")
        ]
