"""Issue 7, part 3: a champion that says nothing for minutes is one alert, and is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from redis import Redis

from feature_repo.trading.market import Row
from flows.alerts_to_receivers import tell
from flows.receivers import receivers_of
from lake.clock import ManualClock, SystemClock
from lake.errors import Unavailable
from lake.hot.alerts import clear_alert, open_alerts, raise_alert
from lake.settings import Settings
from serving.live.report import FAULTS, SIGNALS, faults_of, write_report
from serving.session.answers import Answers
from serving.signals.choice import Shared
from serving.signals.models import InUse, Seat
from serving.signals.recorder import Recorder
from serving.signals.scorer import Scorer
from serving.signals.silence import (
    MINUTES_MAX,
    OF_SESSIONS,
    OF_SIGNALS,
    Silences,
    look_at_seats,
    said_of,
)
from serving.signals.silence_to_alerts import SilenceAlerts
from tests.alerts.receiving import webhook
from tests.service.serving import served
from tests.signals.in_use import START_US, Line, in_use, told, version

MINUTE_US = 60_000_000
THING = f"{OF_SIGNALS}direction"


class Minutes:
    """A model in use, whose minutes close one after the other."""

    def __init__(self, client: Redis, use: InUse) -> None:
        self.clock = ManualClock(START_US + 1_000_000)
        self.silences = Silences(self.clock)
        self.use = use
        recorder = Recorder("")
        self.scorer = Scorer(
            client, recorder, self.clock, lambda: {"direction": self.use}, dict, self.silences
        )

    def close(self, count: int = 1) -> None:
        for _ in range(count):
            now_us = self.clock.now_us()
            rows = [told(n, t_us=now_us - 1_000_000, known_us=now_us - 500_000) for n in (1, 2)]
            for row in rows:  # in two updates: it is one minute
                self.scorer.score([row])
            self.clock.sleep(60)


def faults_in(dsn: str) -> list[tuple[str, str]]:
    with psycopg.connect(dsn) as connection:
        return [(each.thing, each.fault) for each in open_alerts(connection)]


@pytest.mark.parametrize("how", ["fails", "is_hanging"])
def test_a_champion_that_fails_for_minutes_is_one_alert_and_its_end_is_told(
    migrated_dsn: str,
    service_dsn: str,
    client: Redis,
    valkey_url: str,
    tmp_path: Path,
    how: str,
) -> None:
    line = Line()
    champion, challenger = version(1, line), version(2)
    patient = in_use(champion=champion, challenger=challenger)
    # asked twice a minute: what hangs is not waited for as long as what is well
    hasty = in_use(champion=replace(champion, answer_ms_max=100.0), challenger=challenger)
    minutes = Minutes(client, patient)
    alerts = SilenceAlerts(service_dsn, minutes.clock, minutes.silences, OF_SIGNALS)
    real = SystemClock()
    with webhook() as hook, served(valkey_url, tmp_path) as service:
        service.parts.given.faults = partial(faults_of, tmp_path, real)
        receivers = receivers_of(Settings(alert_webhook_url=hook.url), {})

        def look() -> list[str]:
            alerts.tell()
            tell(migrated_dsn, minutes.clock, receivers)
            write_report(tmp_path, SIGNALS, {FAULTS: said_of(minutes.silences)}, real)
            with service.http() as http:
                answer = http.get("/v1/health")
            assert answer.status_code == 200
            return list(answer.json()["wrong"])

        minutes.close(2)
        setattr(line, how, True)
        minutes.use = hasty
        minutes.close(MINUTES_MAX - 1)
        assert look() == faults_in(migrated_dsn) == hook.posts == []
        minutes.close()
        (wrong,) = look()
        ((thing, fault),) = faults_in(migrated_dsn)
        assert wrong == f"{thing} {fault}"
        assert thing == THING
        assert f"for {MINUTES_MAX} minutes or more" in fault
        assert ("is out of order" in fault) == (how == "fails")
        minutes.close(3)
        look()
        setattr(line, how, False)
        line.hangs.set()
        minutes.use = patient
        assert len(hook.posts) == 1
        minutes.close()
        assert look() == faults_in(migrated_dsn) == []
        for _ in range(4):
            minutes.clock.sleep(60)
            look()
        assert [each["text"].split()[0] for each in hook.posts] == ["ALERT", "OVER"]


def test_a_champion_that_can_t_be_used_is_an_alert_until_it_has_spoken(
    migrated_dsn: str, service_dsn: str, client: Redis
) -> None:
    minutes = Minutes(client, in_use(champion=version(1)))
    alerts = SilenceAlerts(service_dsn, minutes.clock, minutes.silences, OF_SIGNALS)
    damaged = in_use(champion=Seat(2, version(1), fault="direction 2: is damaged"))

    def look(in_use: InUse | None) -> list[str]:
        look_at_seats(minutes.silences, {} if in_use is None else {"direction": in_use})
        alerts.tell()
        return [fault for _, fault in faults_in(migrated_dsn)]

    assert look(damaged) == []
    minutes.clock.sleep(MINUTES_MAX * 60)
    assert "is damaged" in look(damaged)[0]
    assert len(look(in_use(champion=version(3)))) == 1  # nobody knows yet
    minutes.close()
    assert look(in_use(champion=version(1))) == []
    look(damaged)
    minutes.clock.sleep(MINUTES_MAX * 60)
    assert len(look(damaged)) == 1
    assert look(None) == []  # it has no champion any more


def test_the_service_changes_no_alert_of_others(migrated_dsn: str, service_dsn: str) -> None:
    clock = ManualClock()
    silences = Silences(clock)
    with psycopg.connect(migrated_dsn, autocommit=True) as owner:
        raise_alert(owner, clock, "quality of bars", "7 of 9 rules hold", "look")
        raise_alert(owner, clock, f"{OF_SESSIONS}shard 0", "has said nothing", "look")
    with psycopg.connect(service_dsn, autocommit=True) as service:
        clear_alert(service, "quality of bars")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            raise_alert(service, clock, "another", "fault", "remedy")
    SilenceAlerts(service_dsn, clock, silences, OF_SESSIONS).end()
    assert [thing for thing, _ in faults_in(migrated_dsn)] == ["quality of bars"]


class Late:
    """Models that answer while they may."""

    def __init__(self) -> None:
        self.answers = True

    def newest(self) -> str:
        return "direction/1"

    def use(self, choice: str) -> None: ...

    def shared(self, features: pa.Table) -> Shared:
        return [(("direction/1",), features)]

    def say(self, version: str, features: pa.Table) -> Sequence[Row]:
        if not self.answers:
            raise Unavailable("direction 1", "did not answer in 200 ms")
        return ()


def test_a_session_s_model_that_is_late_for_minutes_is_said_too() -> None:
    silences, models = Silences(ManualClock()), Late()
    answers = Answers(models, (), silences.of(f"{OF_SESSIONS}shard 0"))
    answers.note = lambda version, minutes, why: None
    at = 0

    def close(count: int) -> list[str]:
        nonlocal at
        for _ in range(count):
            at += 1
            times = pa.array([at * MINUTE_US], pa.timestamp("us", "UTC"))
            where = {name: ["x"] for name in ("ticker", "exchange", "market")}
            answers.say(pa.table({**where, "event_time": times}))
        return said_of(silences)

    assert close(1) == []
    models.answers = False
    assert close(MINUTES_MAX - 1) == []
    (fault,) = close(1)
    assert fault.startswith("champion in sessions of shard 0 has said nothing for 5 minutes")
    models.answers = True
    assert close(1) == []
