"""Trino's faults in our words: what to do stands in each."""

from __future__ import annotations

import pytest
from trino.exceptions import TrinoConnectionError, TrinoExternalError, TrinoUserError

from lake.errors import Refused, TicklakeError, WrongUse
from lake.trino_session import LostRace, TrinoAway, query_fault

URL = "http://127.0.0.1:8080"
NO_TABLES = "Cannot check and eventually update SQL schema"
"""Of Iceberg's JdbcCatalog."""


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            TrinoExternalError({"message": NO_TABLES, "errorName": "ICEBERG_CATALOG_ERROR"}),
            TrinoAway,
            "it can't reach its catalog's tables in PostgreSQL: see: ticklake status; make them",
        ),
        (
            TrinoExternalError(
                {"message": "Failed to commit", "errorName": "TRANSACTION_CONFLICT"}
            ),
            LostRace,
            "Failed to commit: try again",
        ),
        (
            TrinoUserError(
                {"message": "Access Denied: no", "errorName": "PERMISSION_DENIED"},
            ),
            Refused,
            "query: Access Denied: no: ask an operator",
        ),
        (
            TrinoUserError(
                {"message": "line 1:8: no", "errorName": "X", "errorType": "USER_ERROR"}
            ),
            WrongUse,
            "query: line 1:8: no: correct it there",
        ),
        (TrinoConnectionError("no route\nmore"), TrinoAway, "no route: see: ticklake status"),
    ],
)
def test_a_fault_is_one_sentence_with_what_to_do(
    error: Exception, kind: type[TicklakeError], words: str
) -> None:
    found = query_fault(URL, error)
    assert type(found) is kind
    assert words in str(found)
