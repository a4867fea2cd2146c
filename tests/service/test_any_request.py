"""Issue 7: no request, allowed by OpenAPI or not, is answered with a fault of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from serving.service.limits import Limits
from tests.service.serving import Served, served

EXAMPLES = 15
HEADER_EXAMPLES = 300
MANY = Limits(*(10**6, 1e6) * 3)
FEW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)
NAMES = (
    "Origin",
    "Host",
    "Authorization",
    "Content-Type",
    "Accept",
    "Upgrade",
    "Connection",
    "Expect",
)
WORDS = (
    "http://[",
    "http://[::1",
    "//",
    "null",
    "websocket",
    "Upgrade",
    "Bearer",
    "Bearer tlk__",
)
VALUES = st.one_of(
    st.sampled_from(WORDS),
    st.text(st.characters(codec="latin-1", exclude_categories=("Cc",)), max_size=300),
)


@pytest.fixture(scope="module")
def service(
    valkey_url: str, ledger_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("any")
    with served(valkey_url, home, limits=MANY, dsn=ledger_dsn) as found:
        found.tell(("X:BTCUSD", "50000"))
        yield found


def operations(url: str) -> Iterator[schemathesis.APIOperation]:
    for found in schemathesis.openapi.from_url(url).get_all_operations():
        yield found.ok()


def is_answered(service: Served, case: schemathesis.Case) -> int:
    """Send it; return the status. Above 400 the answer says why."""
    answer = case.call(headers={"Authorization": f"Bearer {service.words['admin']}"})
    case.validate_response(answer, checks=[not_a_server_error])
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert error["fault"]
        assert error["remedy"]
    return answer.status_code


def asked(mode: GenerationMode, look: Callable[[schemathesis.Case], Any], url: str) -> set[str]:
    """Look at some requests of each operation; return the paths of those that have such ones."""
    paths = set()
    for operation in operations(url):
        holds = FEW(given(case=operation.as_strategy(generation_mode=mode))(look))
        try:
            holds()
        except Unsatisfiable:  # it takes nothing that could be wrong
            continue
        paths.add(operation.path)
    return paths


def test_no_request_that_is_allowed_is_answered_with_a_fault_of_ours(service: Served) -> None:
    def look(case: schemathesis.Case) -> None:
        is_answered(service, case)

    url = f"{service.url}/v1/openapi.json"
    assert len(asked(GenerationMode.POSITIVE, look, url)) >= 18


def test_no_request_that_is_wrong_is_answered_with_a_fault_of_ours(service: Served) -> None:
    refused = []

    def look(case: schemathesis.Case) -> None:
        is_refused = is_answered(service, case) >= 400
        of = case.operation  # without these only the key is wrong, and a right one was sent
        if of.path_parameters or of.query or of.body:
            refused.append(is_refused)

    url = f"{service.url}/v1/openapi.json"
    assert len(asked(GenerationMode.NEGATIVE, look, url)) >= 10
    assert sum(refused) > len(refused) / 2


def test_no_header_is_answered_with_a_fault_of_ours(service: Served) -> None:
    paths = st.sampled_from(
        ["/v1/prices", "/v1/health", "/", "/v1/orders", "/v1/kill", "/v1/stream"]
    )
    methods = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "DELETE"])
    headers = st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=4)

    @settings(FEW, max_examples=HEADER_EXAMPLES)
    @given(path=paths, method=methods, said=headers)
    def holds(path: str, method: str, said: dict[str, str]) -> None:
        raw = [(name.encode(), value.strip().encode("latin-1")) for name, value in said.items()]
        answer = http.request(method, path, headers=raw)
        assert answer.status_code < 500, (said, answer.text)

    with service.http("admin") as http:
        holds()


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
def test_an_upgrade_that_can_t_be_is_answered_and_not_waited_for(
    service: Served, method: str
) -> None:
    said = {"Connection": "Upgrade", "Upgrade": "websocket"}
    with service.http("admin") as http:
        assert http.request(method, "/v1/stream", headers=said).status_code in (404, 405)
        body = {"Content-Length": "2", **said}
        assert http.request("GET", "/v1/stream", headers=body, content=b"{}").status_code == 400
