"""The stack's buckets are named by setting; a home keeps those that it began with."""

from __future__ import annotations

import pytest

from infra.servers.buckets import LAKE, MODELS, Buckets, buckets_of
from lake.errors import BadInput

HELD = {"bucket": "market-lake", "models_bucket": "market-models"}


def test_a_new_home_has_the_buckets_that_are_asked_for_or_the_usual() -> None:
    assert buckets_of({}, "", "") == Buckets(LAKE, MODELS)
    assert buckets_of({}, "market-lake", "") == Buckets("market-lake", MODELS)
    assert buckets_of({}, *HELD.values()) == Buckets(*HELD.values())


@pytest.mark.parametrize("asked", [("", ""), ("market-lake", ""), tuple(HELD.values())])
def test_a_home_keeps_its_own(asked: tuple[str, str]) -> None:
    assert buckets_of(HELD, *asked) == Buckets(*HELD.values())


@pytest.mark.parametrize("asked", [("other", ""), ("", "other")])
def test_another_than_the_home_s_is_refused(asked: tuple[str, str]) -> None:
    with pytest.raises(BadInput, match=r"^bucket other: .* has its files in market-"):
        buckets_of(HELD, *asked)


@pytest.mark.parametrize("name", ["", "ab", "Lake", "a/b", "-lake", "lake-", "l" * 64, "ü" * 5])
def test_a_name_that_no_store_takes_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="is no name of a bucket"):
        Buckets(name, MODELS)


def test_one_bucket_for_both_would_open_the_lake_to_mlflow() -> None:
    with pytest.raises(BadInput, match="name two"):
        Buckets("one", "one")
