"""Issue 7, part 8: every write has its lines in the audit, and a line that was changed shows."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lake.errors import DiskFull
from serving.service.write_audit import FILE, NOTHING, TAIL_BYTES, WriteAudit, first_fault
from tests.service.serving import CLOCK, Served, served


@pytest.fixture(scope="module")
def service(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(valkey_url, tmp_path_factory.mktemp("audit")) as found:
        yield found


def lines(service: Served) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.parts.audit.path.read_text().splitlines()]


def test_every_write_has_its_lines_and_a_changed_one_shows(service: Served, tmp_path: Path) -> None:
    with service.http("trade") as http:
        for _ in range(2):
            http.post("/v1/orders", json={"client_order_id": "audited", "size": "0"})
    with service.http() as http:
        http.get("/v1/prices")
    asked, answered = lines(service)[-2:]
    assert (asked["step"], asked["name"], asked["path"]) == ("asked", "a tradeer", "/v1/orders")
    assert (answered["step"], answered["status"]) == ("answered", 422)
    text = service.parts.audit.path.read_text()
    assert service.words["trade"].rpartition("_")[2] not in text
    assert first_fault(service.parts.audit.path) is None
    forged = tmp_path / "forged.jsonl"
    forged.write_text(text.replace('"status":422', '"status":201', 1))
    assert first_fault(forged) is not None


def test_a_write_whose_line_can_t_be_kept_is_not_done(tmp_path: Path) -> None:
    audit = WriteAudit(tmp_path, CLOCK)
    audit.close()
    with pytest.raises(DiskFull):
        audit.note({"step": "asked"})
    again = WriteAudit(tmp_path, CLOCK)
    again.note({"a": 1})
    third = WriteAudit(tmp_path, CLOCK)  # another service of the home
    third.note({"a": 2})
    again.note({"a": 3})
    third.close()
    again.close()
    assert first_fault(tmp_path / FILE) is None


def test_a_path_of_any_length_leaves_the_chain_whole(service: Served) -> None:
    with service.http("read") as http:
        for _ in range(2):  # the second rests on the line of the first
            answer = http.post("/v1/" + "%01" * 10_900)
            assert answer.status_code == 404
    asked = lines(service)[-1]
    assert asked["path"].startswith("/v1/\x01")
    assert asked["path"].endswith("… cut, of 10904 characters")
    assert first_fault(service.parts.audit.path) is None


def test_a_line_of_before_that_is_longer_than_a_tail_is_hashed_whole(tmp_path: Path) -> None:
    audit = WriteAudit(tmp_path, CLOCK)
    with audit.path.open("ab") as file:
        long = {"path": "x" * 3 * TAIL_BYTES, "before": NOTHING}
        file.write(json.dumps(long).encode() + b"\n")
    audit.note({"a": 1})
    audit.close()
    assert first_fault(audit.path) is None


def test_a_line_that_the_disk_takes_a_part_of_leaves_nothing(tmp_path: Path) -> None:
    audit = WriteAudit(tmp_path, CLOCK)
    audit.note({"a": 1})
    before = audit.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(DiskFull, match="make room"):
            audit.note({"a": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert audit.path.read_bytes() == before
    audit.note({"a": 3})
    audit.close()
    assert first_fault(audit.path) is None
