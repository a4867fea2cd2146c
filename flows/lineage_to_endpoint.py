"""Events of lineage go to a receiver of OpenLineage over HTTP: Marquez, DataHub, any.

Nobody who writes an event waits for a receiver: events are in the hot tier's book, and this posts
them from there, in order, each at least once. The queue is the book: while a receiver is away the
newest WAITING_MAX events wait for it, older ones are dropped for it, and counted. What it refuses
(a 4xx answer) is counted and passed by.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import psycopg

from lake.errors import BadInput
from lake.lineage.book import events_after, last_no

WAITING_MAX = 10_000
"""Events that wait for a receiver that is away."""

EVENTS_MAX = 200
"""Events of one call: then whoever calls may look whether to stop."""

ANSWER_S_MAX = 5.0
PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
"""4xx answers that mean: later."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A receiver: the address to post to, and the key that goes along.

    Raises BadInput where it is no http address.
    """

    url: str
    api_key: str = ""

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https"):
            # it may hold a password, so it is not said
            raise BadInput("TICKLAKE_LINEAGE_URL", "is no http address", "as http://host:5000/...")

    @property
    def name(self) -> str:
        """Return the address without what may be secret in it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@dataclass(frozen=True, slots=True)
class Sent:
    """How a receiver stands: through which event it is dealt with, and counts since ever.

    waiting: events that it has not got yet; fault: what went wrong last, "" when nothing did.
    """

    endpoint: str
    through: int
    sent: int
    dropped: int
    refused: int
    waiting: int
    fault: str

    def line(self) -> str:
        """Return it in words."""
        fault = f"; {self.fault}" if self.fault else ""
        return (
            f"{self.endpoint}: {self.sent:,} sent, {self.waiting:,} waiting,"
            f" {self.dropped:,} dropped, {self.refused:,} refused{fault}"
        )


def send(dsn: str, endpoint: Endpoint, *, waiting_max: int = WAITING_MAX) -> Sent:
    """Post what a receiver has not got, EVENTS_MAX at most; note how far it is.

    One call at a time gets to post; another one returns how things stand. A receiver that does not
    answer is a fault in what is returned, not an error.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(_LOCK, (f"lineage {endpoint.name}",)).fetchone()
        before = standing(connection, endpoint)
        if row is None or not row[0]:
            return before
        first = max(before.through, last_no(connection) - waiting_max)
        dropped = first - before.through
        through, refused, sent, fault = first, 0, 0, ""
        for number, event in events_after(connection, first, events_max=EVENTS_MAX):
            status, fault = _post(endpoint, event)
            if status == "later":
                break
            through = number
            sent += status == "taken"
            refused += status == "refused"
        connection.execute(_NOTE, (endpoint.name, through, sent, dropped, refused, fault or None))
        return standing(connection, endpoint)


def standing(connection: psycopg.Connection, endpoint: Endpoint) -> Sent:
    """Return how a receiver stands; one that never got anything starts with the first event."""
    found = connection.execute(_STANDING, (endpoint.name,)).fetchone() or (0, 0, 0, 0, None)
    through, sent, dropped, refused, fault = found
    waiting = last_no(connection) - through
    return Sent(endpoint.name, through, sent, dropped, refused, waiting, fault or "")


def _post(endpoint: Endpoint, event: str) -> tuple[str, str]:
    """Return taken, refused or later, and the fault."""
    headers = {"Content-Type": "application/json"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    request = urllib.request.Request(endpoint.url, event.encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S_MAX):
            return "taken", ""
    except urllib.error.HTTPError as error:
        refused = error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in PASSING
        error.close()
        return "refused" if refused else "later", f"answers {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return "later", f"does not answer: {reason}"


_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_STANDING = (
    "SELECT through, sent, dropped, refused, fault FROM market.lineage_sent WHERE endpoint = %s"
)
_NOTE = """
INSERT INTO market.lineage_sent AS s (endpoint, through, sent, dropped, refused, fault, at)
VALUES (%s, %s, %s, %s, %s, %s, clock_timestamp())
ON CONFLICT (endpoint) DO UPDATE SET through = excluded.through, sent = s.sent + excluded.sent,
  dropped = s.dropped + excluded.dropped, refused = s.refused + excluded.refused,
  fault = excluded.fault, at = excluded.at
"""
