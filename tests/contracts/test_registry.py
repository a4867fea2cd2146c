"""Released schemas come to a registry, every version in order, once; it then refuses breaks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from infra.command.main import run
from infra.contracts.export import released
from infra.contracts.registry import Registry
from infra.servers.ports import choose
from lake.contracts.contract import DATASETS
from lake.errors import BadInput, Refused, Unavailable
from tests.contracts.schema_registry import registry

ALL = released()
TRADES = [each for each in ALL if each.name == "crypto_trades"]
SUBJECT = "ticklake.market.crypto_trades-value"


def test_every_version_is_registered_in_order_and_once() -> None:
    with registry() as stored:
        first = Registry(stored.url).publish(ALL)
        again = Registry(f"{stored.url}/").publish(ALL)
    assert again == first
    assert {each.subject for each in first} == {f"ticklake.market.{d}-value" for d in DATASETS}
    assert [e.version for e in first if e.subject == SUBJECT] == [e.version for e in TRADES]
    assert stored.subjects[SUBJECT] == [e.id for e in first if e.subject == SUBJECT]
    assert set(stored.levels.values()) == {"FULL_TRANSITIVE"}


def test_a_break_is_refused_with_the_registry_s_word() -> None:
    broken = replace(TRADES[-1], version="9.0.0", columns=TRADES[-1].columns[1:])
    with registry() as stored:
        Registry(stored.url).publish(TRADES)
        with pytest.raises(
            Refused, match=r"crypto_trades-value 9\.0\.0: .*409.*incompatible: ticker"
        ):
            Registry(stored.url).publish([broken])


def test_a_registry_that_is_away_or_asks_for_a_key_is_said() -> None:
    with registry() as stored:
        stored.key = "hunter2"
        with pytest.raises(Refused, match="401: Unauthorized: set TICKLAKE_SCHEMA_REGISTRY_KEY"):
            Registry(stored.url).publish(TRADES)
        assert len(Registry(stored.url, "hunter2").publish(TRADES)) == len(TRADES)
        stored.down = True
        with pytest.raises(Unavailable, match="503: leader is away"):
            Registry(stored.url, "hunter2").publish(TRADES)
    with pytest.raises(Unavailable, match="does not answer"):
        Registry(f"http://127.0.0.1:{choose(None)}").publish(TRADES)
    with pytest.raises(BadInput, match="no http address"):
        Registry("kafka:9092")


def test_the_verb_publishes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["contracts", "publish"]) == 2
    with registry() as stored:
        monkeypatch.setenv("TICKLAKE_SCHEMA_REGISTRY_URL", stored.url)
        assert run(["contracts", "publish", "--json"]) == 0
    capsys_out = capsys.readouterr().out
    assert len(json.loads(capsys_out)["registered"]) == len(ALL)
