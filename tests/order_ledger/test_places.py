"""Where a home keeps its ledger's second place: as set, else its store's, else its own folder."""

from __future__ import annotations

from pathlib import Path

from feature_repo.ledger.places import FOLDER, OF_STORE, location_of
from lake.settings import Settings

STORE = {"bucket": "lake", OF_STORE: "s3://lake-ledger/orders"}


def test_a_store_with_a_place_has_it_unless_the_home_has_anchors_or_another_is_set(
    tmp_path: Path,
) -> None:
    home = Settings(home=tmp_path)
    assert location_of(home, STORE) == STORE[OF_STORE]
    assert location_of(home, {}) == ""
    given = Settings(home=tmp_path, ledger_place="s3://other/orders")
    assert location_of(given, STORE) == "s3://other/orders"
    (tmp_path / FOLDER).mkdir()
    assert location_of(home, STORE) == ""
    assert location_of(given, STORE) == "s3://other/orders"
