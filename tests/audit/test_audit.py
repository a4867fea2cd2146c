"""Issue 5, part 11: a byte that flips, a file that goes, a result that is edited: each is found."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from lake.audit.audit import AUDIT_LOCK
from lake.audit.results import kept_results
from lake.audit.signing import public_key_at, public_path, signer_at
from lake.errors import BadInput, Unavailable
from lake.hot.alerts import open_alerts
from tests.audit.house import Audited


@pytest.fixture
def lakehouse(migrated_dsn: str, tmp_path: Path) -> Iterator[Audited]:
    lakehouse = Audited(migrated_dsn, tmp_path / "warehouse")
    lakehouse.write()
    lakehouse.commit()
    yield lakehouse
    lakehouse.close()


def flip(path: Path, at: int) -> None:
    """Flip a bit, and leave size and time as they were."""
    before = path.stat()
    bytes_of = bytearray(path.read_bytes())
    bytes_of[at] ^= 1
    path.write_bytes(bytes_of)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_whole_lake_holds_and_its_result_can_be_checked_by_openssl(lakehouse: Audited) -> None:
    first, second = lakehouse.audit(), lakehouse.audit()
    assert first.holds
    assert second.holds
    said = second.document
    assert said["previous"] == first.digest
    assert said["tables"]["crypto_trades"]["totals"]["rows"] == "30"
    assert said["tables"]["crypto_trades"]["files"] >= 3  # data, manifest, list
    assert len(said["sampled"]) == 3
    assert lakehouse.faults_of_results() == []
    public = public_path(lakehouse.folder / "keys" / "audit.pem")
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    words += ["-in", str(lakehouse.results / "000002.json")]
    words += ["-sigfile", str(lakehouse.results / "000002.sig")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Verified Successfully" in done.stdout, done.stderr


def test_a_flipped_byte_of_a_data_file_is_found_wherever_it_is(lakehouse: Audited) -> None:
    lakehouse.audit()
    (path,) = lakehouse.files()
    for at in (9, path.stat().st_size // 2, path.stat().st_size - 20):
        flip(path, at)
        faults = lakehouse.faults()
        assert any(str(path) in fault and "bytes have changed" in fault for fault in faults)
        flip(path, at)
    assert lakehouse.faults() == []


def test_a_removed_file_is_found_and_is_an_alert_until_it_is_back(lakehouse: Audited) -> None:
    lakehouse.audit()
    (path,) = lakehouse.files()
    path.rename(path.with_suffix(".away"))
    faults = lakehouse.faults()
    assert any(f"{path}: missing" in fault for fault in faults)
    with psycopg.connect(lakehouse.dsn) as connection:
        assert {"audit"} <= {each.thing for each in open_alerts(connection)}
    path.with_suffix(".away").rename(path)
    assert lakehouse.faults() == []
    with psycopg.connect(lakehouse.dsn) as connection:
        assert open_alerts(connection) == []


def test_a_manifest_whose_bytes_change_is_found(lakehouse: Audited) -> None:
    lakehouse.audit()
    head = lakehouse.table().current_snapshot()
    assert head is not None
    manifest = Path(head.manifests(lakehouse.table().io)[0].manifest_path.removeprefix("file://"))
    flip(manifest, manifest.stat().st_size - 3)  # in the closing mark of the last block
    assert any(str(manifest) in fault for fault in lakehouse.faults())


def test_an_edited_removed_or_replaced_result_is_found(lakehouse: Audited) -> None:
    for _ in range(3):
        lakehouse.audit()
    path = lakehouse.results / "000002.json"
    text = path.read_text()
    path.write_text(text.replace('"lost":0', '"lost":1'))
    assert lakehouse.faults_of_results() == ["000002.json: is not what the database has"]
    path.unlink()
    assert "000002.json: is gone" in lakehouse.faults_of_results()[0]
    path.write_text(text)
    lakehouse.edit(
        "UPDATE market.audits SET result = replace(result, '\"lost\":0', '\"lost\":1')"
        " WHERE number = 2"
    )
    assert "audit 2: its signature is not of this text" in lakehouse.faults_of_results()[0]


def test_a_result_that_was_taken_out_of_the_database_is_missed(lakehouse: Audited) -> None:
    for _ in range(3):
        lakehouse.audit()
    lakehouse.edit("DELETE FROM market.audits WHERE number = 3")
    assert lakehouse.faults_of_results() == [
        "000003.json: is in the folder and not in the database"
    ]
    lakehouse.edit("DELETE FROM market.audits WHERE number = 1")
    assert "result 1 is missing" in lakehouse.faults_of_results()[0]


def test_the_database_refuses_to_change_a_result(lakehouse: Audited) -> None:
    lakehouse.audit()
    for statement in ("UPDATE market.audits SET holds = false", "DELETE FROM market.audits"):
        with pytest.raises(psycopg.errors.RaiseException, match="appended to only"):
            lakehouse.sql(statement)
    with psycopg.connect(lakehouse.dsn) as connection:
        assert len(kept_results(connection)) == 1


def test_a_key_is_made_once_for_its_owner_alone_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "audit.pem"
    one, again = signer_at(path), signer_at(path)
    assert one.public.id == again.public.id == public_key_at(public_path(path)).id
    assert path.stat().st_mode & 0o077 == 0
    assert one.public.is_signed("a text", one.sign("a text"))
    assert not one.public.is_signed("another", one.sign("a text"))
    path.write_text("no key")
    with pytest.raises(BadInput, match="no private key"):
        signer_at(path)


def test_a_second_audit_waits_and_then_says_so_in_a_sentence(lakehouse: Audited) -> None:
    with psycopg.connect(lakehouse.dsn, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (AUDIT_LOCK,))
        with pytest.raises(Unavailable, match="audit: another one is at work"):
            lakehouse.audit(wait_s=0.2)
    shown: list[float] = []
    assert lakehouse.audit(show=shown.append).holds
    assert len(shown) > 5
    assert shown == sorted(shown)
    assert 0 < shown[0] < shown[-1] < 1


def test_two_audits_at_once_are_two_results_of_one_chain(lakehouse: Audited) -> None:
    with ThreadPoolExecutor(2) as pool:
        kept = [each.result(600) for each in [pool.submit(lakehouse.audit) for _ in range(2)]]
    assert sorted(each.number for each in kept) == [1, 2]
    assert all(each.holds for each in kept)
    assert lakehouse.faults_of_results() == []
