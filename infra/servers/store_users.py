"""Users of the S3 store, one a role and MLflow's, each with a policy of infra/servers/policies."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from string import Template
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError as PoolError

from infra.servers.buckets import Buckets
from lake.errors import Unavailable

ATTACHED = "XMinioAdminPolicyChangeAlreadyApplied"
HEALTH = "/minio/health/live"
ANSWER_S_MAX = 5.0
POLICIES = Path(__file__).parent / "policies"

MLFLOW = "mlflow"
"""The user of a server that has files of its own, and no business with the lake's."""

POLICY_OF = {
    "ingest": "reader",  # looks keys up in the lake, of which it may have taken an event before
    "verifier": "reader",
    "analyst": "analyst",  # a reader but for the loss ledger
    "service": "analyst",
    "lake_writer": "lake_writer",
    "researcher": "researcher",
    "operator": "operator",
    MLFLOW: "models",
}


def is_minio(endpoint: str, ca: str | None = None, answer_s_max: float = ANSWER_S_MAX) -> bool:
    """Tell whether the store is MinIO, whose users we can make; ca: as of lake.warehouse.Bucket.

    Another store answers that it has no such thing. Raises Unavailable for one that does not
    answer, or only that it can't now: it may be either.
    """
    trusting = ssl.create_default_context(cafile=ca or None)
    try:
        with urlopen(f"{endpoint}{HEALTH}", timeout=answer_s_max, context=trusting) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except HTTPError as error:
        with error:
            if error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return False
            fault = f"answers {error.code} {error.reason}"
    except OSError as error:  # of which a URL's errors are
        late = isinstance(getattr(error, "reason", error), TimeoutError)
        fault = f"no answer in {answer_s_max:g} s" if late else str(error)
    raise Unavailable(f"S3 store {endpoint}", fault, "try again: ticklake up")


def key_names() -> list[str]:
    """Return the names of the users' secret keys among a home's passwords."""
    return [key_name(name) for name in POLICY_OF]


def key_name(user: str) -> str:
    """Return the name of a user's secret key among them."""
    return f"s3_{user}"


def policy_of(name: str, buckets: Buckets) -> dict[str, Any]:
    """Return a policy of infra/servers/policies for these buckets."""
    text = Template((POLICIES / f"{name}.json").read_text())
    words = {"S3_BUCKET": buckets.lake, "S3_MODELS_BUCKET": buckets.models}
    found: dict[str, Any] = json.loads(text.substitute(words))
    return found


def give_keys(s3: Mapping[str, str], passwords: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Make every user, its key and its policy on its bucket; return user -> its keys.

    s3: the state's entry, with the store's own key and secret. passwords: by the names of
    key_names; a user without one is left out. Safe to call again. Raises Unavailable when the store
    does not answer.
    """
    place = urlsplit(s3["endpoint"])
    buckets = Buckets(s3["bucket"], s3["models_bucket"])
    secrets = {name: passwords[key_name(name)] for name in POLICY_OF if key_name(name) in passwords}
    admin = MinioAdmin(
        endpoint=place.netloc,
        credentials=StaticProvider(s3["access_key"], s3["secret_key"]),
        secure=place.scheme == "https",
        http_client=_trusting(s3.get("ca")),
    )
    try:
        for policy in sorted({POLICY_OF[name] for name in secrets}):
            admin.policy_add(policy, policy=policy_of(policy, buckets))
        for name, secret in secrets.items():
            admin.user_add(name, secret)
            _attach(admin, POLICY_OF[name], name)
    except (MinioAdminException, PoolError) as error:
        raise Unavailable("S3 store", f"makes no users ({error})", "try again") from error
    return {name: {"access_key": name, "secret_key": secrets[name]} for name in secrets}


def _trusting(ca: str | None) -> PoolManager | None:
    """Return a client that trusts these certificates; None for the library's own."""
    if not ca:
        return None
    timeout = Timeout(connect=ANSWER_S_MAX, read=ANSWER_S_MAX)
    return PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=ca, timeout=timeout)


def _attach(admin: MinioAdmin, policy: str, name: str) -> None:
    """Give a user its policy; the store calls it a fault when it has it."""
    try:
        admin.attach_policy([policy], user=name)
    except MinioAdminException as error:
        if ATTACHED not in str(error):
            raise
