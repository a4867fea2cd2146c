"""The service of a home: its parts, from what the home has, and its server."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn

from feature_repo.trading.costs import Costs
from lake.clock import Clock
from lake.errors import BadInput, WrongUse
from lake.roles import role_dsn
from lake.state import valkey_url
from serving.broker.given_costs import COSTS
from serving.live.report import faults_of, processes_of
from serving.risk.given_limits import DEFAULTS
from serving.risk.kill_switch import KILLED, KillSwitch
from serving.risk.limits import RiskLimits
from serving.search.search import Search
from serving.service.api_keys import KeyBook
from serving.service.app import app_of
from serving.service.lake_facts import HotWatch, LakeHistory
from serving.service.limits import Limits
from serving.service.paper import paper_desk
from serving.service.parts import Given, Parts
from serving.service.report import reported
from serving.service.server import server_of
from serving.service.write_audit import WriteAudit
from serving.signals.predictor import predictor_of
from serving.streams.connect import connected

CERTIFICATE, KEY = "server.crt", "server.key"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service listens. tls: folder of its certificate, None without; names: by which it is
    reached beside its own and localhost.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    tls: Path | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.is_here and self.tls is None:
            fault = "would be reached from other machines without TLS"
            raise WrongUse(f"service at {self.host}", fault, "name a folder of certificates: --tls")
        for name in (CERTIFICATE, KEY) if self.tls else ():
            if not (self.tls / name).is_file():  # type: ignore[operator]
                raise BadInput(f"certificates {self.tls}", f"lacks {name}", "make it, or copy it")

    @property
    def is_here(self) -> bool:
        """Tell whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def url(self) -> str:
        """Return where its page is."""
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}/"


@contextmanager
def service_of(
    home: Path,
    address: Address,
    clock: Clock,
    risk: RiskLimits = DEFAULTS,
    costs: Costs = COSTS,
) -> Iterator[uvicorn.Server]:
    """Give the server of a home (absolute path), not started, and close its parts at the end.

    risk: limits of orders by hand; costs: of their trades. Reads need a key as soon as other
    machines reach it. Raises Unavailable before `up`.
    """
    url = valkey_url(home)
    with ExitStack() as stack:
        client = connected(url)
        stack.callback(client.close)
        audit = WriteAudit(home, clock)
        stack.callback(audit.close)
        parts = Parts(
            clock,
            KeyBook(home, clock),
            audit,
            KillSwitch(home / KILLED, client, clock),
            client,
            url,
            Limits(open_reads=address.is_here),
            (address.host, *address.names),
        )
        desk, book = stack.enter_context(paper_desk(role_dsn(home, "service"), parts, risk, costs))
        history, watch = LakeHistory(home), HotWatch(home)
        stack.callback(history.close)
        stack.callback(watch.close)
        predictor = stack.enter_context(predictor_of(home, client, clock))
        parts.given = Given(desk, book, predictor, history, watch, Search(home, clock))
        parts.given.processes = partial(processes_of, home, clock)
        parts.given.faults = partial(faults_of, home, clock)
        stack.enter_context(reported(home, parts, clock))
        tls = address.tls
        certificate = None if tls is None else (str(tls / CERTIFICATE), str(tls / KEY))
        yield server_of(app_of(parts), address.host, address.port, certificate=certificate)
