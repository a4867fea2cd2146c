"""Names of everything that the speed layer keeps in Redis; all begin with PREFIX.

Entry ids are EPOCH-FRAME: the epoch of the shard's lease, and a frame's number. So an entry that is
sent twice is refused the second time, and so is one of an ingest whose shard has another owner.
"""

from __future__ import annotations

from typing import NamedTuple

PREFIX = "ticklake:"


class Place(NamedTuple):
    """Where a frame stands: in the order of these, whoever owned the shard."""

    epoch: int
    frame: int

    @property
    def id(self) -> str:
        """Return it as the id of an entry."""
        return f"{self.epoch}-{self.frame}"


def place_of(entry_id: bytes | str) -> Place:
    """Return the place that an entry's id says."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    epoch, _, frame = text.partition("-")
    return Place(int(epoch), int(frame))


def frames(shard: int) -> str:
    """Return the stream of a shard's frames."""
    return f"{PREFIX}frames:{shard}"


def durable(shard: int) -> str:
    """Return the stream of a shard's durable frames: its last entry is what holds."""
    return f"{PREFIX}durable:{shard}"


def wanted(shard: int, epoch: int) -> str:
    """Return the key of a frame of an epoch that somebody waits for to be on the disk."""
    return f"{PREFIX}wanted:{shard}:{epoch}"


def starts(shard: int) -> str:
    """Return the hash of epoch -> first frame of that epoch."""
    return f"{PREFIX}starts:{shard}"


def whole_from(shard: int) -> str:
    """Return the key of the first frame that was sent after some had passed by unheard."""
    return f"{PREFIX}whole:{shard}"


def aside(shard: int) -> str:
    """Return the stream of entries that nobody could work on."""
    return f"{PREFIX}aside:{shard}"


def owner(group: str, shard: int) -> str:
    """Return the key of who reads a shard for a group."""
    return f"{PREFIX}owner:{group}:{shard}"


def tokens(group: str, shard: int) -> str:
    """Return the counter that gives each owner a number."""
    return f"{PREFIX}tokens:{group}:{shard}"


def applied(group: str, shard: int) -> str:
    """Return the key of the last entry whose effects are there."""
    return f"{PREFIX}applied:{group}:{shard}"


def closed(group: str, shard: int) -> str:
    """Return the key of when a group gave out bars last: `CLOSED_US FRAME`.

    The time before which it has given out every bar, and the last frame that it knew by then.
    """
    return f"{PREFIX}closed:{group}:{shard}"


def price(exchange: str, market: str, ticker: str) -> str:
    """Return the key of an instrument's latest price."""
    return f"{PREFIX}price:{exchange}:{market}:{ticker}"


def sentiment(source: str, asset: str) -> str:
    """Return the key of an asset's latest sentiment."""
    return f"{PREFIX}sentiment:{source}:{asset}"


def updates(shard: int) -> str:
    """Return the stream of what a shard's worker tells whoever shows it."""
    return f"{PREFIX}updates:{shard}"


def minutes(shard: int) -> str:
    """Return the stream of features as minutes close, and ahead of that, for who waits for no more
    of a worker's updates than these.
    """
    return f"{PREFIX}minutes:{shard}"


def bars(exchange: str, market: str, ticker: str, interval: str) -> str:
    """Return the sorted set of an instrument's newest bars, by their time."""
    return f"{PREFIX}bars:{interval}:{exchange}:{market}:{ticker}"


def features(exchange: str, market: str, ticker: str) -> str:
    """Return the key of an instrument's newest features."""
    return f"{PREFIX}features:{exchange}:{market}:{ticker}"


SIGNALS = f"{PREFIX}signals"
"""The stream of what models in use say as minutes close."""

OUTCOMES = f"{PREFIX}outcomes"
"""How often each version in use was right of late."""

SHARDS = f"{PREFIX}shards"
"""The set of shards that have had a worker."""

LISTENS = f"{PREFIX}listens"
"""Is there while somebody reads frames."""

KILLED = f"{PREFIX}killed"
"""Says who stopped trading, when, and why; no key: it is not stopped here."""
