"""Read a shard's stream as one of a consumer group: every entry has its effects once.

An entry stays pending in the group until its effects are written; effects in Redis, the mark of the
last entry applied, and the acknowledgement are one transaction, which Redis refuses once the turn
is another's. So whoever takes over claims what
is pending, and what was done is not done again. An effect elsewhere (an order) is to be idempotent
by itself: it is made before the acknowledgement, and perhaps twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ResponseError

from lake.clock import Clock
from lake.errors import Damaged
from serving.streams import entry, keys, owner
from serving.streams.entry import Entry
from serving.streams.keys import Place, place_of
from serving.streams.watch import Watch, pairs_of

DELIVERIES_MAX = 5
"""Times an entry is tried; then it is set aside, and what it held counts as dropped."""

ASIDE_MAX = 1_000
CLAIM_AT_ONCE = 100
START = Place(0, 0)

Effects = Callable[[Pipeline], None]


@dataclass(frozen=True, slots=True)
class Delivered:
    """An entry, where it stands, and how many entries before it were lost to trimming."""

    place: Place
    entry: Entry
    lost: int = 0


@dataclass
class ReadCounts:
    """What a reader has met: entries applied, claimed of others, lost to trimming, set aside."""

    applied: int = 0
    claimed: int = 0
    lost: int = 0
    aside: int = 0


class ShardReader:
    """The one reader of a shard for a group, for as long as its turn lasts.

    Raises redis.RedisError where Redis is away, and Fenced once another has the turn: then whatever
    state was built is to be thrown away.
    """

    def __init__(
        self, client: Redis, group: str, shard: int, turn: owner.Owner, clock: Clock
    ) -> None:
        self._client = client
        self.group = group
        self.shard = shard
        self._turn = turn
        self._clock = clock
        self._stream = keys.frames(shard)
        self._name = f"token-{turn.token}"
        self._renewed_us = clock.monotonic_us()
        self._claiming = "0-0"
        self._watch = Watch(client, turn.key, str(turn.token).encode())
        self._expected: tuple[int, int] | None = None
        self._known: int | None = None
        self.counts = ReadCounts()
        self._make_group()
        self.applied = self._read_applied()
        """The last entry whose effects are there."""

    def take(self, entries_max: int, wait_ms: int) -> list[Delivered]:
        """Return what comes next, in its order: first what others left, then what is new."""
        self.renew_if_due()
        if self._claiming:
            found = self._claim()
            if found:
                return found
        wait = ("BLOCK", wait_ms) if wait_ms else ()
        of = "XREADGROUP", "GROUP", self.group, self._name, "COUNT", entries_max, *wait
        try:
            answer = self._watch.begin((*of, "STREAMS", self._stream, ">"))
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._make_group()  # Redis was emptied
            return []
        return self._delivered(pairs_of(answer[0][1])) if answer else []

    def begin(self, through: int) -> Place:
        """Take it that frames through this one are known; return the place to read since() from.

        It is before the entry that holds that frame, since an id says an entry's first frame alone.
        What the stream lacks beyond the frame counts as lost before the next entry that is given.
        """
        self._known, self._expected = through, None
        starts = _starts(self._client, self.shard)
        held = [epoch for epoch, first in starts.items() if first <= through + 1]
        at = Place(max(held, default=self.applied.epoch), through)
        answer: Any = self._client.xrevrange(self._stream, at.id, "-", count=1)
        if not answer:
            return at
        last = place_of(answer[0][0])
        if last.epoch != at.epoch:
            return at  # frames of an epoch before, beyond where this one begins, are void
        return Place(last.epoch, max(0, last.frame - 1))

    def since(self, after: Place, entries_max: int) -> list[Delivered]:
        """Return entries beyond a place up to the last that is applied: to build state again."""
        if self.applied <= after:
            return []
        low, high = f"({after.id}", self.applied.id
        answer: Any = self._client.xrange(self._stream, low, high, count=entries_max)
        return [self._numbered(place_of(found), self._loaded(found, raw)) for found, raw in answer]

    def done(self, delivered: Sequence[Delivered], effects: Effects | None = None) -> None:
        """Write effects, once, and acknowledge the entries they come from.

        effects: adds commands to the transaction; it may be of no entry, as time alone closes bars.
        """
        if not delivered and effects is None:
            return
        self.renew_if_due()  # it may be long since, on a busy machine
        last = delivered[-1].place if delivered else self.applied
        mark = keys.applied(self.group, self.shard)
        pipe = self._client.pipeline()
        if effects is not None:
            effects(pipe)
        if delivered:
            pipe.set(mark, last.id)
            pipe.xack(self._stream, self.group, *(each.place.id for each in delivered))
        if not self._watch.commit([args for args, _ in pipe.command_stack]):
            raise owner.fenced(self._turn.key)
        self.applied = last
        self.counts.applied += len(delivered)

    def closed(self) -> tuple[int, int]:
        """Return the time before which the group has given out every bar, and the last frame that
        it knew by then; zeros before the first.
        """
        found: Any = self._client.get(keys.closed(self.group, self.shard))
        closed_us, _, frame = (found or b"0 0").partition(b" ")
        return int(closed_us), int(frame)

    def renew_if_due(self) -> None:
        """Keep the turn; whoever works long between two calls of take() calls this meanwhile."""
        now_us = self._clock.monotonic_us()
        if now_us - self._renewed_us >= owner.TURN_MS * 1_000 / 3:
            self._turn.renew()
            self._watch.moved()
            self._renewed_us = now_us

    def _claim(self) -> list[Delivered]:
        """Take over what earlier owners had and did not finish; the turn is ours, so none does."""
        answer: Any = self._client.xautoclaim(
            *(self._stream, self.group, self._name),
            min_idle_time=0,
            start_id=self._claiming,
            count=CLAIM_AT_ONCE,
        )
        following, found = keys.place_of(answer[0]), answer[1]
        self._claiming = following.id if following != START else ""
        if not found:
            return []
        self.counts.claimed += len(found)
        return self._delivered(self._not_poisoned(found))

    def _not_poisoned(self, found: list[Any]) -> list[Any]:
        """Set aside entries that were tried too often."""
        waiting: Any = self._client.xpending_range(
            *(self._stream, self.group, found[0][0], found[-1][0]), len(found), self._name
        )
        often = {each["message_id"] for each in waiting if each["times_delivered"] > DELIVERIES_MAX}
        for entry_id, fields in found:
            if entry_id in often:
                self._set_aside(entry_id, fields)
        return [each for each in found if each[0] not in often]

    def _set_aside(self, entry_id: bytes, fields: Any) -> None:
        pipe = self._client.pipeline()
        kept = {**fields, b"id": entry_id}
        pipe.xadd(keys.aside(self.shard), kept, maxlen=ASIDE_MAX, approximate=True)
        pipe.xack(self._stream, self.group, entry_id)
        pipe.execute()
        self.counts.aside += 1

    def _delivered(self, found: list[Any]) -> list[Delivered]:
        """Load entries; those that are applied already are acknowledged and left out."""
        known = [entry_id for entry_id, _ in found if place_of(entry_id) <= self.applied]
        if known:
            self._client.xack(self._stream, self.group, *known)
        out = []
        for entry_id, fields in found:
            place = place_of(entry_id)
            if place <= self.applied or not fields:
                continue
            try:
                one = self._loaded(entry_id, fields)
            except Damaged:
                self._set_aside(entry_id, fields)
                continue
            out.append(self._numbered(place, one))
        return out

    def _numbered(self, place: Place, one: Entry) -> Delivered:
        """Return an entry with how many of its epoch are missing before it."""
        expected, epoch = self._expected, place.epoch
        self._expected = epoch, one.number + 1
        if expected is None:
            lost = self._lost_before(place, one.number)
        else:
            lost = one.number - expected[1] if expected[0] == epoch else one.number
        self.counts.lost += max(0, lost)
        return Delivered(place, one, max(0, lost))

    def _lost_before(self, place: Place, number: int) -> int:
        """Return how many entries may be lost between what is known and the first entry read."""
        known = self._known
        if known is None or trimmed_through(self._client, self.shard, known) < place.frame - 1:
            return 0  # whoever reads knows by itself; or what comes before it is kept
        hole = place.frame - 1 - known
        return max(1, min(number, hole)) if hole > 0 else 0

    def _loaded(self, entry_id: bytes, fields: Any) -> Entry:
        return entry.load(fields.get(b"b", b""), f"entry {entry_id.decode()} of {self._stream}")

    def _make_group(self) -> None:
        """Make the group where it is not there; it begins with the oldest entry kept."""
        try:
            self._client.xgroup_create(self._stream, self.group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _read_applied(self) -> Place:
        found: Any = self._client.get(keys.applied(self.group, self.shard))
        return place_of(found) if found else START


def opened(client: Redis, group: str, shard: int, clock: Clock) -> ShardReader | None:
    """Take the turn at a shard and return its reader; None while another has it."""
    turn = owner.take(client, group, shard)
    return ShardReader(client, group, shard, turn, clock) if turn else None


def trimmed_through(client: Redis, shard: int, known: int) -> int:
    """Return the last frame before all that a stream keeps; 0 where it lacks nothing beyond known.

    known: a frame. Numbers that no entry has before the first of an epoch that began by then are
    no loss: recordings and ingest's own records have frames that never come here.
    """
    answer: Any = client.xrange(keys.frames(shard), count=1)
    if not answer:
        return 0
    found, fields = answer[0]
    place = place_of(found)
    if place.frame <= known + 1:
        return 0
    with suppress(Damaged):
        is_first = entry.load(fields.get(b"b", b""), f"entry {found.decode()}").number == 0
        start = _starts(client, shard).get(place.epoch)
        if is_first and start is not None and start <= known + 1:
            return 0
    return place.frame - 1


def _starts(client: Redis, shard: int) -> dict[int, int]:
    """Return the first frame of each epoch."""
    found: Any = client.hgetall(keys.starts(shard))
    return {int(epoch): int(first) for epoch, first in found.items()}


def last_frames(delivered: Sequence[Delivered]) -> tuple[Place, ...]:
    """Return the last frame of each epoch; an entry's id says its first."""
    last: dict[int, int] = {}
    for each in delivered:
        if len(each.entry.numbers):
            epoch = each.place.epoch
            last[epoch] = max(last.get(epoch, 0), int(each.entry.numbers.max()))
    return tuple(Place(*each) for each in last.items())
