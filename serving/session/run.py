"""The process of a home's strategies: a session for each shard, taken up again whenever it ends.

    python -m serving.session.run HOME STRATEGY[:PARAM=VALUE,...] ... [beside]

Limits of orders are those of TICKLAKE_LIMITS, slippage is TICKLAKE_SLIPPAGE_BP. beside: it ends
where its standard input does, so with whoever started it; sessions are then ended in order. A shard
whose turn another process has is tried again; so is one whose Redis or database is away.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from feature_repo.trading.money import MILLION
from lake.client import connect
from lake.clock import Clock, SystemClock
from lake.errors import TicklakeError
from lake.receipts.code_version import PACKAGES, code_hash
from lake.roles import role_dsn
from lake.settings import from_env
from lake.state import valkey_url
from lake.views.client import Client
from serving.broker.given_costs import costs_given
from serving.live.process import AGAIN_S, BESIDE, each_shard, stops_when_told
from serving.live.report import FAULTS, SESSIONS, saying
from serving.risk.given_limits import limits_given
from serving.risk.kill_switch import KILLED, KillSwitch
from serving.session.model_choice import models_of
from serving.session.models import ModelGone
from serving.session.parts import Follow, Parts
from serving.session.plan import Plan, plan_of_words
from serving.session.turns import run_session
from serving.signals import models as in_use
from serving.signals.silence import OF_SESSIONS, Silences, said_of
from serving.signals.silence_to_alerts import SilenceAlerts, telling
from serving.streams.connect import connected

LOG = logging.getLogger("ticklake.session")
END_S_MAX = 15.0
GONE_S_MAX = 60.0
"""How long a model that a session's log names may be away; then the session is given up."""


class Sessions:
    """All shards of a home (absolute path), a thread each; ends when `stop` is set."""

    def __init__(self, home: Path, plan: Plan, clock: Clock) -> None:
        self._home = home
        self._plan = plan
        self._clock = clock
        self._in_use = in_use.Models(home)
        self.silences = Silences(clock)
        self._code = code_hash((*PACKAGES, "serving"))
        self._share = MILLION
        """What each shard's session has of its accounts: as much as any other's."""
        self.stop = threading.Event()

    def run(self) -> None:
        """Start a thread for each shard there is, until stopped; then end their sessions."""
        if self._plan.wants_rows:
            self._in_use.look()
            threading.Thread(target=self._in_use.run, daemon=True).start()
        each_shard(
            self._home, self._keep, self.stop, end_s_max=END_S_MAX, log=LOG, among=self._among
        )
        self._in_use.stop.set()

    def _among(self, shards: int) -> None:
        self._share = MILLION // shards

    def _keep(self, shard: int) -> None:
        """Run sessions of a shard for as long as nobody stops it, whatever happens meanwhile."""
        follow: Follow | None = None
        gone_us, forsake = None, ""
        while not self.stop.is_set():
            client = connected(valkey_url(self._home))
            try:
                LOG.info("shard %d: opening", shard)
                parts = self._parts(client, shard)
                stops = partial(self._stops, parts.plan.share)
                follow = run_session(parts, follow, stops, forsake)
                gone_us, forsake = None, ""
            except ModelGone as error:
                LOG.warning("shard %d: %s", shard, error)
                now_us = self._clock.monotonic_us()
                gone_us = now_us if gone_us is None else gone_us
                forsake = str(error) if now_us - gone_us > GONE_S_MAX * 1e6 else ""
                self.stop.wait(AGAIN_S)
            except (TicklakeError, RedisError, psycopg.Error, OSError) as error:
                LOG.warning("shard %d: %s", shard, " ".join(str(error).split()))
                self.stop.wait(AGAIN_S)
            except Exception:  # whatever it is, the next try begins anew
                LOG.exception("shard %d", shard)
                self.stop.wait(AGAIN_S)
            finally:
                client.close()

    def _stops(self, share: int) -> bool:
        """Tell whether a session is to end: stopped, or a shard has come that has a share, too."""
        return self.stop.is_set() or share != self._share

    def _parts(self, client: Redis, shard: int) -> Parts:
        dsn = role_dsn(self._home, "service")
        kill = KillSwitch(self._home / KILLED, client, self._clock)
        models = models_of(self._plan, self._in_use, self._clock, client)
        plan = replace(self._plan, share=self._share)
        names = self._home, shard, plan, dsn, client, kill, self._clock, models
        silence = self.silences.of(f"{OF_SESSIONS}shard {shard}")
        return Parts(*names, self._code, self._lake, silence=silence)

    def said(self) -> Mapping[str, Any]:
        """Return what the process says of itself."""
        return {"strategies": list(self._plan.strategies), FAULTS: said_of(self.silences)}

    def _lake(self) -> Client:
        return connect(self._home, role="service")


def main() -> None:
    """Run until a signal comes."""
    home, *words = sys.argv[1:]
    is_beside = words[-1:] == [BESIDE]
    settings = from_env(os.environ)
    costs, limits = costs_given(settings.slippage_bp), limits_given(settings.limits)
    strategies = plan_of_words(tuple(words[:-1] if is_beside else words))
    plan = Plan(strategies, costs=costs, limits=limits)
    folder, clock = Path(home).resolve(), SystemClock()
    sessions = Sessions(folder, plan, clock)
    stops_when_told(sessions.stop, is_beside=is_beside)
    alerts = SilenceAlerts(role_dsn(folder, "service"), clock, sessions.silences, OF_SESSIONS)
    with saying(folder, SESSIONS, clock, sessions.said), telling(alerts):
        sessions.run()


if __name__ == "__main__":
    main()
