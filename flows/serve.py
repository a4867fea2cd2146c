"""The process that stays: bars minute by minute, the watch, and every flow on its schedule.

    python -m flows.serve HOME [pool]

Bars and the watch over promises begin at once and need no Prefect. Where PREFECT_API_URL names a
server, the schedules follow as soon as it answers, and the hours of the bars are runs of a flow
there. With `pool` the schedules are those of flows/prefect.yaml, deployed to a work pool, whose
worker runs them.
"""

from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import httpx
import psycopg
from prefect import serve, tags
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Interval
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType

from flows.dead_runs import keep_buried
from flows.lineage_to_endpoint import Endpoint, send
from flows.missed import keep_made_up
from flows.place import place_of, settings_of
from flows.pool import POOL_PREFIX, POOL_WORD, deploy
from flows.resident import RETRY_S
from flows.scheduled.bars import BARS, keep_bars_hourly, run_bars
from flows.scheduled.schedule import TAG
from flows.scheduled.schedules import SCHEDULES
from flows.watch import keep_watch
from lake.clock import SystemClock
from lake.errors import TicklakeError

ANSWER_S_MAX = 2.0
LOOK_S = 1.0
SEND_S = 2.0
RUNS_AT_ONCE_MAX = 4
"""Long flows (retention, audits, training) hold two at most, by the clock of their schedules, and
one more while missed runs are made up for."""

ONE_AT_A_TIME = ConcurrencyLimitConfig(
    limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
)
"""Flows are safe at once, by the turn of their tables; a second would only wait."""


def main() -> None:
    """Run until a signal comes."""
    home = Path(sys.argv[1])
    stop = threading.Event()
    thread = threading.Thread(target=stay, args=(home, stop), daemon=True)
    thread.start()
    threading.Thread(target=keep_watch, args=(home, SystemClock(), stop), daemon=True).start()
    threading.Thread(target=send_lineage, args=(home, stop), daemon=True).start()
    buries = (SystemClock(), stop, answers)
    threading.Thread(target=keep_buried, args=buries, daemon=True).start()
    try:
        if sys.argv[2:] == [POOL_WORD]:
            while not answers():
                stop.wait(LOOK_S)
            deploy(stop, unneeded(home))
            make_up_beside(home, stop, POOL_PREFIX)
            stop.wait()
        make_up_beside(home, stop)
        keep_schedules(stop, answers, lambda: serve_all(home))
    except KeyboardInterrupt:  # a signal as good as the other
        pass
    finally:
        stop.set()
        thread.join(RETRY_S)


def make_up_beside(home: Path, stop: threading.Event, prefix: str = "") -> None:
    """Make up for missed runs in a thread of its own; prefix: of the deployments' names."""
    threading.Thread(
        target=keep_made_up,
        args=(home, SystemClock(), stop, answers),
        kwargs={"prefix": prefix, "unneeded": unneeded(home)},
        daemon=True,
    ).start()


def keep_schedules(
    stop: threading.Event, is_there: Callable[[], bool], serve_them: Callable[[], None]
) -> None:
    """Serve the schedules whenever Prefect's server is there, until a signal ends it or stopped.

    Prefect gives up after a few questions without an answer; the schedules follow it back.
    """
    while not stop.is_set():
        if not is_there():
            stop.wait(LOOK_S)
            continue
        try:
            serve_them()
        except Exception as error:  # Prefect's own, of many kinds, when its server goes away
            words = f"schedules: {_cause(error)}: they go on when Prefect's server answers again"
            print(words, file=sys.stderr, flush=True)
            stop.wait(RETRY_S)
        else:
            return  # a signal came


def _cause(error: BaseException) -> str:
    """Return the first fault of a group of faults, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def serve_all(home: Path) -> None:
    """Run every flow on its schedule; returns when a signal comes."""
    serve(*deployments(home), limit=RUNS_AT_ONCE_MAX, print_starting_message=False)


def stay(home: Path, stop: threading.Event) -> None:
    """Make bars until stopped, whatever becomes of Prefect's server and of ours."""
    while not stop.is_set():
        try:
            if answers():
                with tags(TAG, BARS.name):
                    keep_bars_hourly(home)
            else:
                run_bars(home, 1, stop, report=False)
        except TicklakeError as error:
            print(f"bars: {error}", file=sys.stderr, flush=True)
            stop.wait(RETRY_S)
        except Exception as error:  # Prefect's own, of many kinds, when its server goes away
            print(f"bars: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            stop.wait(RETRY_S)


def send_lineage(home: Path, stop: threading.Event) -> None:
    """Post events of lineage to the receiver that `up` was told of, until stopped."""
    fault = ""
    while not stop.wait(SEND_S):
        try:
            place = place_of(home)
            if not place.lineage.url:
                continue
            found = send(place.dsn, Endpoint(place.lineage.url, place.lineage.api_key))
            now = found.line() if found.fault else ""
        except (TicklakeError, psycopg.Error) as error:
            now = f"{error}".strip()
        if now and not fault:
            print(f"lineage: {now}", file=sys.stderr, flush=True)
        fault = now


def answers() -> bool:
    """Tell whether Prefect's server is there."""
    api = get_current_settings().api
    if not api.url:
        return False
    trusting = ssl.create_default_context(cafile=api.ssl_cert_file) if api.ssl_cert_file else True
    try:
        answer = httpx.get(f"{api.url}/health", timeout=ANSWER_S_MAX, verify=trusting)
        return answer.status_code == HTTPStatus.OK
    except httpx.HTTPError:
        return False


def unneeded(home: Path) -> frozenset[str]:
    """Return the names of the schedules that a home has no need of, by its settings."""
    settings = settings_of(home)
    return frozenset(each.name for each in SCHEDULES if not each.is_needed(settings))


def deployments(home: Path) -> list[RunnerDeployment]:
    """Return every flow with its schedule, for a home; paused where the home has no need of it."""
    paused = unneeded(home)
    parameters = {"home": str(home)}
    made = [
        each.flow.to_deployment(
            each.name,
            schedule=Interval(each.every, anchor_date=each.anchor),
            parameters=parameters,
            tags=[TAG, each.name],
            concurrency_limit=ONE_AT_A_TIME,
            paused=each.name in paused,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for each in SCHEDULES
    ]
    return [each for each in made if isinstance(each, RunnerDeployment)]


if __name__ == "__main__":
    main()
