"""Issue 5, part 4: who is told what is wrong, once, over real HTTP and SMTP."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flows.alerts_to_receivers import tell
from flows.away import AWAY_S_MIN, Away
from flows.receivers import SEND_S_MAX, LogReceiver, Receiver, receivers_of
from infra.servers.ports import choose
from lake.clock import ManualClock
from lake.errors import BadInput, Unavailable
from lake.hot.alerts import clear_alert, raise_alert
from lake.hot.incidents import (
    BACKOFF_S_MAX,
    NOTICES_MAX,
    QUIET_S,
    TRIES_MAX,
    Notice,
    waiting,
)
from lake.settings import Settings
from tests.alerts.receiving import (
    SECRET,
    USER,
    Mailbox,
    Webhook,
    mailbox,
    silent_server,
    webhook,
)

STALE = ("freshness of crypto_trades", "no event for more than 5 min", "is its ingest running?")
ROUND_S = 30
BUSY_S_MAX = 30.0
"""What a machine that does other things may add; who says nothing would be waited for for ever."""


@dataclass
class Desk:
    """Whoever raises alerts and tells receivers, as the process that stays does."""

    dsn: str
    clock: ManualClock
    connection: psycopg.Connection
    receivers: list[Receiver] = field(default_factory=lambda: [LogReceiver()])

    def say(self, thing: str = STALE[0]) -> None:
        raise_alert(self.connection, self.clock, thing, *STALE[1:])

    def unsay(self, thing: str = STALE[0]) -> None:
        clear_alert(self.connection, thing)

    def rounds(self, count: int = 1, pause_s: float = ROUND_S) -> None:
        """Tell again and again; a process that was started anew does just the same."""
        for _ in range(count):
            tell(self.dsn, self.clock, self.receivers)
            self.clock.sleep(pause_s)


@pytest.fixture
def desk(migrated_dsn: str) -> Iterator[Desk]:
    with psycopg.connect(migrated_dsn, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield Desk(migrated_dsn, ManualClock(), connection)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture
def post() -> Iterator[Mailbox]:
    with mailbox(login=True) as found:
        yield found


def to(**addresses: str) -> list[Receiver]:
    return receivers_of(Settings(**{f"alert_{k}": v for k, v in addresses.items()}), {})


def everybody(hook: Webhook, post: Mailbox) -> list[Receiver]:
    login = f"{USER}:{SECRET}@"
    return to(webhook_url=hook.url, smtp_url=post.url(login), email_to="ops@example.com")


def test_an_incident_and_its_end_are_told_once_by_every_way(
    desk: Desk, hook: Webhook, post: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    desk.receivers = everybody(hook, post)
    desk.say()
    desk.rounds(10)
    for texts in ([each["text"] for each in hook.posts], post.texts()):
        (text,) = texts
        assert text.strip().startswith(f"ALERT {STALE[0]}: {STALE[1]}: {STALE[2]} (since ")
    (mail,) = post.mails
    assert mail["Subject"] == f"ticklake: ALERT {STALE[0]}"
    assert mail["To"] == mail["From"] == "ops@example.com"
    desk.unsay()
    desk.rounds(10)
    assert len(hook.posts) == len(post.mails) == 2
    assert hook.posts[1]["text"] == f"OVER {STALE[0]}: {STALE[1]} (it took 5 min)"
    ours = [each for each in caplog.records if each.name == "ticklake.alerts"]
    lines = [each.message for each in ours if each.levelno == logging.WARNING]
    assert [line.split()[0] for line in lines] == ["ALERT", "OVER"]


def test_an_alert_that_is_back_soon_is_the_same_incident(desk: Desk, hook: Webhook) -> None:
    desk.receivers = to(webhook_url=hook.url)
    for _ in range(5):
        desk.say()
        desk.rounds()
        desk.unsay()
        desk.rounds(int(QUIET_S / ROUND_S) - 1)
    assert len(hook.posts) == 1
    desk.rounds(3)
    desk.say()
    desk.rounds()
    assert [each["text"].split()[0] for each in hook.posts] == ["ALERT", "OVER", "ALERT"]


def test_two_who_tell_at_once_tell_once(desk: Desk, hook: Webhook) -> None:
    desk.receivers = to(webhook_url=hook.url)
    desk.say()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: tell(desk.dsn, desk.clock, desk.receivers), range(4)))
    assert len(hook.posts) == 1


def test_a_storm_is_one_message_and_text_is_not_markup(desk: Desk, hook: Webhook) -> None:
    desk.receivers = to(webhook_url=hook.url)
    for number in range(NOTICES_MAX + 1):
        desk.say(f"<day> & {number:02d}")
    desk.rounds(2)
    first, second = (each["text"].splitlines() for each in hook.posts)
    assert (len(first), len(second)) == (NOTICES_MAX, 1)
    assert first[0].startswith("ALERT &lt;day&gt; &amp; 00: ")


def test_a_receiver_that_is_away_delays_nobody_and_hears_later(desk: Desk, post: Mailbox) -> None:
    port = choose(None)
    with silent_server() as silent:
        desk.receivers = [
            *to(webhook_url=f"http://127.0.0.1:{silent}/x"),
            *to(smtp_url=post.url(f"{USER}:{SECRET}@"), email_to="ops@example.com")[1:],
        ]
        desk.say()
        begun = time.monotonic()
        desk.rounds()
        assert time.monotonic() - begun < SEND_S_MAX + BUSY_S_MAX
    assert len(post.mails) == 1
    (late,) = waiting(desk.connection)
    assert (late.receiver, late.waiting, late.given_up) == ("webhook", 1, 0)
    assert "no answer within 5 s" in late.fault
    desk.receivers = to(webhook_url=f"http://127.0.0.1:{port}/x")
    desk.rounds()
    assert "ConnectError" in waiting(desk.connection)[0].fault
    with webhook() as hook:
        desk.receivers = to(webhook_url=hook.url)
        desk.unsay()
        desk.rounds(20)
        assert [each["text"].split()[0] for each in hook.posts] == ["ALERT", "OVER"]
    assert waiting(desk.connection) == []


def test_a_mail_server_that_hangs_is_cut_off(desk: Desk) -> None:
    with silent_server() as port:
        desk.receivers = to(smtp_url=f"smtp://127.0.0.1:{port}", email_to="ops@example.com")
        desk.say()
        begun = time.monotonic()
        desk.rounds()
        assert time.monotonic() - begun < SEND_S_MAX + BUSY_S_MAX
    assert waiting(desk.connection)[0].receiver == "email"


@pytest.mark.parametrize("status", [302, 500])
def test_one_that_refuses_is_tried_less_and_less_and_given_up(
    desk: Desk, hook: Webhook, status: int
) -> None:
    hook.status = status
    desk.receivers = to(webhook_url=hook.url)
    desk.say()
    desk.rounds(20)  # ten minutes
    assert hook.tries == 5
    desk.rounds(TRIES_MAX, pause_s=BACKOFF_S_MAX)
    assert hook.tries == TRIES_MAX
    (given_up,) = waiting(desk.connection)
    assert (given_up.waiting, given_up.given_up) == (0, 1)
    assert f"answered HTTP {status}" in given_up.fault
    hook.status = 200
    desk.unsay()
    desk.rounds(10)
    assert hook.posts == []  # no end of what it never heard of
    assert waiting(desk.connection) == []


def test_one_that_was_killed_while_it_told_tells_again(desk: Desk) -> None:
    heard: list[str] = []

    class Killed:
        name = "webhook"

        def send(self, notices: Sequence[Notice]) -> None:
            heard.extend(each.line() for each in notices)
            if len(heard) == 1:
                raise KeyboardInterrupt

    desk.receivers = [Killed()]
    desk.say()
    with pytest.raises(KeyboardInterrupt):
        desk.rounds()
    desk.rounds(5)
    assert len(heard) == 2


def test_a_password_is_not_sent_beyond_loopback_in_the_clear(desk: Desk) -> None:
    with mailbox(login=True, host="127.0.0.2") as post:  # any other name than loopback's own
        url = post.url(f"{USER}:{SECRET}@")
        desk.receivers = to(smtp_url=url, email_to="ops@example.com")
        desk.say()
        desk.rounds()
        assert "offers no TLS" in waiting(desk.connection)[0].fault
        assert post.mails == []


def test_a_wrong_password_is_said_without_it(desk: Desk, post: Mailbox) -> None:
    desk.receivers = to(smtp_url=post.url(f"{USER}:x{SECRET}@"), email_to="ops@example.com")
    desk.say()
    desk.rounds()
    fault = waiting(desk.connection)[0].fault
    assert "refuses the login" in fault
    assert SECRET not in fault


def test_secrets_are_in_no_log_no_error_and_no_table(
    desk: Desk, hook: Webhook, post: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    desk.receivers = everybody(hook, post)
    desk.say()
    desk.rounds()
    hook.status = 500
    desk.say("another")
    desk.rounds()
    assert len(hook.posts) == 1
    assert SECRET not in caplog.text
    assert SECRET not in repr(desk.receivers)
    assert SECRET not in repr(Settings(alert_webhook_url=hook.url, alert_smtp_url=f"x{SECRET}"))
    dumped = desk.connection.execute("SELECT n::text FROM market.notices AS n").fetchall()
    assert dumped
    assert not [row for row in dumped if SECRET in row[0] or "127.0.0.1" in row[0]]
    for wrong in (f"ftp://x/{SECRET}", f"http://[{SECRET}", f"https://x:{SECRET}/", SECRET):
        with pytest.raises(BadInput) as refused:
            to(webhook_url=wrong)
        assert SECRET not in str(refused.value)


def test_receivers_are_as_at_the_last_up_and_off_unsets_them() -> None:
    state = {"alerts": {"webhook_url": "https://example.com/x", "smtp_url": ""}}
    assert [each.name for each in receivers_of(Settings(), state)] == ["log", "webhook"]
    assert [each.name for each in receivers_of(Settings(alert_webhook_url="off"), state)] == ["log"]
    with pytest.raises(BadInput, match="ALERT_EMAIL_TO"):
        receivers_of(Settings(alert_smtp_url="smtp://localhost"), {})


def test_a_hot_tier_that_is_away_is_told_once_over_restarts(tmp_path: Path, hook: Webhook) -> None:
    clock = ManualClock()
    for _ in range(5):
        Away(tmp_path).seen(clock, lambda: to(webhook_url=hook.url))
        clock.sleep(AWAY_S_MIN / 2)
    assert len(hook.posts) == 1
    assert hook.posts[0]["text"].startswith("ALERT hot tier: PostgreSQL does not answer: ")
    for _ in range(2):
        Away(tmp_path).over(clock, lambda: to(webhook_url=hook.url))
    assert [each["text"].split()[0] for each in hook.posts] == ["ALERT", "OVER"]


STEPS = st.lists(st.sampled_from(("raise", "clear", "tell", "refuse")), min_size=5, max_size=25)

AWAY_OVER_TWO = [
    *("refuse", *["raise"] * 3, "refuse", "refuse", *["clear"] * 3, "tell"),
    *(*["refuse"] * 4, "raise"),
]
"""A receiver that hears of an incident again when the thing's next one is there, too."""


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
@example(steps=AWAY_OVER_TWO)
def test_whatever_happens_an_incident_opens_and_ends_once(desk: Desk, steps: list[str]) -> None:
    """The words that arrive alternate, a refused message comes again, and none is lost."""
    heard: list[str] = []

    class Moody:
        name = "webhook"
        refuses = False

        def send(self, notices: Sequence[Notice]) -> None:
            if self.refuses:
                raise Unavailable("webhook", "is moody")
            heard.extend(each.word for each in notices)

    receiver = Moody()
    desk.receivers = [receiver]
    for step in [*steps, "raise", "tell", "clear"]:
        if step in ("raise", "clear"):
            {"raise": desk.say, "clear": desk.unsay}[step]()
        else:
            receiver.refuses = step == "refuse"
            desk.rounds()
    receiver.refuses = False
    desk.rounds(20, pause_s=BACKOFF_S_MAX)
    assert heard == ["opened", "over"] * (len(heard) // 2)
    row = desk.connection.execute("SELECT count(*) FROM market.incidents").fetchone()
    assert row == (len(heard) // 2,)
    desk.connection.execute("DELETE FROM market.incidents")
