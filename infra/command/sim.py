"""ticklake sim."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from infra.command.answer import Answer
from infra.command.units import Count, Duration
from infra.command.verb import note, verb
from infra.exchange.options import Burst, ExchangeOptions, Silence
from infra.exchange.poison import POISON_KINDS
from infra.exchange.serve import run
from lake.settings import Settings

DEFAULTS = ExchangeOptions()
F = TypeVar("F", bound=Callable[..., Any])


class BurstType(click.ParamType[Burst]):
    """RATE@AT+FOR."""

    name = "burst"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Burst:
        """Return the burst."""
        found = re.fullmatch(r"(.+)@(.+)\+(.+)", str(value))
        if found is None:
            self.fail(f"{value!r} is no burst: write RATE@AT+FOR, as 300k@10s+5s", param, ctx)
        rate = Count().convert(found[1], param, ctx)
        at_s, for_s = (Duration().convert(found[n], param, ctx) for n in (2, 3))
        return Burst(rate, at_s, for_s)


class SilenceType(click.ParamType[Silence]):
    """FOR@AT."""

    name = "silence"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Silence:
        """Return the silence."""
        found = re.fullmatch(r"(.+)@(.+)", str(value))
        if found is None:
            self.fail(f"{value!r} is no silence: write FOR@AT, as 5s@10s", param, ctx)
        for_s, at_s = (Duration().convert(found[n], param, ctx) for n in (1, 2))
        return Silence(for_s, at_s)


def option(*flags: str, type: Any, help: str, **more: Any) -> Callable[[F], F]:
    """Return an option of ExchangeOptions' field of the same name, with its default."""
    name = next((flag for flag in flags if not flag.startswith("-")), flags[0][2:])
    default = getattr(DEFAULTS, name.replace("-", "_"))
    return click.option(
        *flags, type=type, default=default, show_default=bool(default), help=help, **more
    )


@click.command()
@option("--host", type=str, help="Address to listen on.")
@option("--port", type=int, help="Port to listen on; 0 takes a free one.")
@option("--key", type=str, help="The API key that passes; default any.")
@option("--seed", type=Count(), help="Same seed, same events.")
@option("--tickers", type=Count(), help="Number of pairs.")
@option("--rate", type=Count(), help="Trades and quotes per second, up to 300k and a little.")
@option("--skew", type=float, help="Share of events on the first ticker (0.8; 1 for one ticker).")
@option("--trade-share", type=float, help="Trades among trades and quotes.")
@option("--seconds-bars", is_flag=True, type=bool, help="Also send second bars.")
@option("--events-per-frame", type=Count(), help="Most events in one frame.")
@option("--events", type=Count(), help="Send so many trades and quotes, then only stay up.")
@option("--for", "for_s", type=Duration(), help="End after this time; default never.")
@option("--base-us", type=Count(), help="Time of the first event, UTC microseconds; default now.")
@option("--first-id", type=Count(), help="First trade id; default by the base time.")
@option("--start-when-subscribed", is_flag=True, type=bool, help="Wait for a first listener.")
@option(
    "--burst",
    "bursts",
    type=BurstType(),
    multiple=True,
    metavar="RATE@AT+FOR",
    help="Another rate for a while, as 300k@10s+5s; may be repeated.",
)
@option("--cut-every", "cut_every_s", type=Duration(), help="Mean time until a connection is cut.")
@option("--duplicates", type=float, help="Chance per frame that old trades are sent again.")
@option("--late", type=float, help="Share of events held back.")
@option("--late-by", "late_s", type=Duration(), help="The longest that an event is held back.")
@option("--poison", type=float, help="Chance per frame of a bad event or frame.")
@click.option(
    "--poison-kinds",
    default="all",
    show_default=True,
    metavar="A,B,...",
    callback=lambda _, __, text: kinds(text),
    help=f"Kinds of bad ones, of: {', '.join(POISON_KINDS)}.",
)
@option(
    "--silence",
    "silences",
    type=SilenceType(),
    multiple=True,
    metavar="FOR@AT",
    help="A time without data, as 5s@10s; may be repeated.",
)
@option("--slow-start", "slow_start_s", type=Duration(), help="Delay of each first answer.")
@option("--max-connections", type=Count(), help="Connections at once; default any number.")
@option("--auth-timeout", "auth_timeout_s", type=Duration(), help="Time to authenticate.")
@option("--slow-reader-bytes", type=Count(), help="Unread bytes that cut a reader off.")
@option("--truth", type=click.Path(), help="File to log every event sent to.")
@verb
def sim(settings: Settings, **options: Any) -> Answer:
    """Run a simulated exchange that speaks Massive's protocol, with faults by option."""
    status = run(
        ExchangeOptions(**options),
        home=settings.home,
        ready=lambda url: note(f"listening on {url}, for `ticklake ingest sim`; Ctrl-C ends it"),
    )
    return Answer(dict(status), [f"{status['events_sent']:,.0f} events sent"])


def kinds(text: str) -> tuple[str, ...]:
    """Return kinds written with commas; all: every kind."""
    return POISON_KINDS if text == "all" else tuple(filter(None, text.split(",")))
