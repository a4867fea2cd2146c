"""What it proves that the S3 store is up: it knows our keys and has our bucket."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from infra.watch.probes import probe_all
from infra.watch.signature import signed
from lake.clock import SystemClock
from tests.infra.test_given import store


def health_of(status: int, **more: object):
    with store(status) as address:
        keys = {"access_key": "ticklake", "secret_key": "secret", "region": "us-east-1"}
        state = {"s3": {"endpoint": address, "bucket": "lake", **keys}, **more}
        return probe_all(state, SystemClock())["s3"]


def test_a_signature_is_that_of_amazon_s_own_example():
    """Of "Signature Calculations for the Authorization Header", GET Bucket Lifecycle."""
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    headers = signed(
        "https://examplebucket.s3.amazonaws.com/?lifecycle=",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "us-east-1",
        int(moment.timestamp()) * 1_000_000,
    )
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
        "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


@pytest.mark.parametrize(
    ("status", "fault", "remedy"),
    [
        (403, "refuses our keys (403)", "run/state.json"),
        (404, "has no bucket lake", "make it: ticklake up"),
        (503, "answers 503", "ticklake up"),
    ],
)
def test_a_store_that_does_not_let_us_work_is_not_up(status, fault, remedy):
    found = health_of(status)
    assert not found.up
    assert found.fault.startswith(fault)
    assert remedy in found.remedy


def test_a_store_that_does_is_up():
    assert health_of(200).up
