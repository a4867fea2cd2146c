"""What a service is made of, and who asks it what."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from redis import Redis
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from lake.clock import Clock
from lake.errors import Unavailable
from serving.risk.kill_switch import KillSwitch
from serving.search.search import Search
from serving.service.api_keys import KeyBook, Role
from serving.service.board import Board
from serving.service.counts import Counts
from serving.service.gate import Caller, Doors
from serving.service.hub import Hub
from serving.service.limits import Limits
from serving.service.ports import History, OrderBook, OrderDesk, Predictor, Watch
from serving.service.source import Source
from serving.service.write_audit import WriteAudit

T = TypeVar("T")
KEY = HTTPBearer(
    auto_error=False,  # the gate has looked
    scheme_name="key",
    description="Of `ticklake keys add`. Reads from this machine may need none.",
)
LOG = logging.getLogger("ticklake.service")


class Stop:
    """The kill switch, for several threads."""

    def __init__(self, switch: KillSwitch) -> None:
        self._switch = switch
        self._lock = threading.Lock()

    def throw(self, by: str, reason: str) -> tuple[dict[str, Any], str]:
        """Stop trading; return the word that holds, and why its file can't be written, or ""."""
        with self._lock:
            try:
                return asdict(self._switch.throw(by, reason)), ""
            except OSError as error:  # it holds from memory, and by Redis
                LOG.error("the stop of %s is not on the disk: %s", by, error)
                fault = f"its file can't be written ({error.strerror}); a restart may lose it"
                return asdict(self._switch.state()), fault

    def release(self, by: str, reason: str, at_us: int) -> dict[str, Any]:
        """End the word of a time; Refused where another holds, Unavailable where other machines
        can't be told.
        """
        with self._lock:
            try:
                return asdict(self._switch.release(by, reason, at_us))
            except RedisError as error:
                fault, remedy = "can't be told that trading goes on", "start it: ticklake up"
                raise Unavailable("redis", fault, remedy) from error

    def state(self) -> dict[str, Any]:
        """Return the word that holds."""
        with self._lock:
            return asdict(self._switch.state())


@dataclass
class Given:
    """What others bring; None: not there, and its routes say so with 501.

    processes: those beside the service, and whether each says that it works; faults: what they say
    is wrong with their work.
    """

    desk: OrderDesk | None = None
    book: OrderBook | None = None
    predictor: Predictor | None = None
    history: History | None = None
    watch: Watch | None = None
    search: Search | None = None
    processes: Callable[[], Mapping[str, bool]] = dict
    faults: Callable[[], Sequence[str]] = list


@dataclass
class Parts:
    """One service's. client: Redis for what is asked once; redis_url: for the reader of updates."""

    clock: Clock
    keys: KeyBook
    audit: WriteAudit
    kill: KillSwitch
    client: Redis
    redis_url: str
    limits: Limits = field(default_factory=Limits)
    hosts: tuple[str, ...] = ()
    given: Given = field(default_factory=Given)

    def __post_init__(self) -> None:
        self.counts = Counts()
        self.stop = Stop(self.kill)
        self.board = Board(self.clock)
        self.hub = Hub(self.clock, self.counts)
        self.counts.subscriptions.set_function(lambda: self.hub.subscriptions(len(self.board)))
        self.source = Source(self.redis_url, self.board, self.hub, self.counts, self.clock)
        self.doors = Doors(self.keys, self.limits, self.clock, self.hosts)
        self.tasks: set[asyncio.Task[None]] = set()


def caller_of(request: Request) -> Caller:
    """Return who asks; the gate let them in."""
    found: Caller = request.state.caller
    return found


def needs(role: Role) -> Callable[..., Awaitable[Caller]]:
    """Return what refuses a caller that may not do what needs a role."""

    async def checked(request: Request, _: Annotated[Any, Security(KEY)]) -> Caller:  # no thread
        caller = caller_of(request)
        if not caller.may(role):
            raise HTTPException(403, f"needs a key of role {role} or above")
        return caller

    return checked


Reader = Annotated[Caller, Depends(needs("read"))]
Trader = Annotated[Caller, Depends(needs("trade"))]
Admin = Annotated[Caller, Depends(needs("admin"))]


def there(part: T | None, name: str) -> T:
    """Return a part; 501 where the service has none."""
    if part is None:
        raise HTTPException(501, f"this service has no {name}")
    return part
