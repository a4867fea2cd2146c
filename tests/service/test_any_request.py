"""Issue 7: no request that OpenAPI lets anybody make is answered with a fault of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error

from serving.service.limits import Limits
from tests.service.serving import served

EXAMPLES = 15
MANY = Limits(*(10**6, 1e6) * 3)


def operations(url: str) -> Iterator[schemathesis.APIOperation]:
    for found in schemathesis.openapi.from_url(url).get_all_operations():
        yield found.ok()


def test_no_request_is_answered_with_a_fault_of_ours(
    valkey_url: str, ledger_dsn: str, tmp_path: Path
) -> None:
    with served(valkey_url, tmp_path, limits=MANY, dsn=ledger_dsn) as service:
        service.tell(("X:BTCUSD", "50000"))
        headers = {"Authorization": f"Bearer {service.words['admin']}"}
        paths = set()
        for operation in operations(f"{service.url}/v1/openapi.json"):
            paths.add(operation.path)

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
                database=None,
            )
            @given(case=operation.as_strategy())
            def holds(case: schemathesis.Case) -> None:
                answer = case.call(headers=headers)
                case.validate_response(answer, checks=[not_a_server_error])
                if answer.status_code >= 400:
                    error = answer.json()["error"]
                    assert error["fault"]
                    assert error["remedy"]

            holds()
        assert len(paths) >= 18
