"""A schema registry over HTTP, by the API that Confluent's, Karapace, Apicurio and Redpanda speak.

Subjects are `ticklake.market.<dataset>-value`. A subject is put to FULL_TRANSITIVE compatibility,
which additive contracts hold, so that the registry itself refuses a break. Registering a schema
that is there gives its id again: the same call twice changes nothing.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from lake.contracts.avro_schema import NAMESPACE, avro_schema
from lake.contracts.contract import Contract
from lake.errors import BadInput, Refused, Unavailable

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
COMPATIBILITY = "FULL_TRANSITIVE"
ANSWER_S_MAX = 10.0
ANSWER_BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Registered:
    """A released contract at the registry: its subject, and the id that messages carry."""

    subject: str
    version: str
    id: int

    def line(self) -> str:
        """Return it in words."""
        return f"{self.subject:44} {self.version:8} id {self.id}"


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry: its address, and the key that goes along as a bearer token, "" for none.

    Raises BadInput where it is no http address.
    """

    url: str
    api_key: str = ""

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise BadInput(
                "TICKLAKE_SCHEMA_REGISTRY_URL", "is no http address", "as http://host:8081"
            )

    def publish(self, contracts: Iterable[Contract]) -> list[Registered]:
        """Register these contracts, each after the versions before it; return their ids.

        Raises Refused where the registry says no, Unavailable where it does not answer.
        """
        found = []
        asked: set[str] = set()
        for contract in contracts:
            subject = f"{NAMESPACE}.{contract.name}-value"
            if subject not in asked:
                asked.add(subject)
                level = {"compatibility": COMPATIBILITY}
                self._call("PUT", f"config/{quote(subject, safe='')}", level, subject)
            schema = {"schema": json.dumps(avro_schema(contract)), "schemaType": "AVRO"}
            path = f"subjects/{quote(subject, safe='')}/versions"
            answer = self._call("POST", path, schema, f"{subject} {contract.version}")
            if not isinstance(answer.get("id"), int):
                raise Refused(subject, "the registry answers without an id", "is it one?")
            found.append(Registered(subject, contract.version, answer["id"]))
        return found

    def _call(self, method: str, path: str, body: object, thing: str) -> dict[str, Any]:
        headers = {"Content-Type": CONTENT_TYPE, "Accept": CONTENT_TYPE}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        address = f"{self.url.rstrip('/')}/{path}"
        request = urllib.request.Request(address, json.dumps(body).encode(), headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S_MAX) as answer:
                found = json.loads(answer.read(ANSWER_BYTES_MAX))
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(ANSWER_BYTES_MAX).decode(errors="replace")
            raise _fault(thing, error.code, said) from error
        except json.JSONDecodeError as error:
            raise Refused(thing, "the registry answers no JSON", "is it one?") from error
        except (OSError, http.client.HTTPException) as error:
            fault = f"the registry does not answer: {getattr(error, 'reason', error)}"
            raise Unavailable(thing, fault, "try again") from error
        return found if isinstance(found, dict) else {}


def _fault(thing: str, status: int, said: str) -> Refused | Unavailable:
    try:
        message = str(json.loads(said).get("message", ""))
    except (json.JSONDecodeError, AttributeError):
        message = ""
    words = f"the registry answers {status}{f': {message}' if message else ''}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return Unavailable(thing, words, "try again")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Refused(thing, words, "set TICKLAKE_SCHEMA_REGISTRY_KEY")
    return Refused(thing, words, "see: ticklake contracts check")
