"""ticklake metrics."""

from __future__ import annotations

import threading

import click

from infra.command.answer import Answer
from infra.command.units import Duration
from infra.command.verb import note, verb
from lake.clock import SystemClock
from lake.settings import Settings

PORT = 9464


@click.command()
@click.option("--serve", is_flag=True, help="Serve them over HTTP until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=PORT,
    show_default=True,
    help="Port to serve on; 0: any.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
@click.option("--for", "for_s", type=Duration(), help="End after this time (90s, 5m, 2h).")
@click.option("--list", "names_only", is_flag=True, help="Say what there is, as Markdown.")
@verb
def metrics(
    settings: Settings, serve: bool, port: int, host: str, for_s: float | None, names_only: bool
) -> Answer:
    """Give what is measured of servers, ingests, hot tier and lake, in Prometheus' format.

    Prints it once, or serves it at http://HOST:PORT/metrics; an ingest serves its own with
    --metrics-port. Looks only: it changes nothing, and works while servers are down.
    """
    from infra.servers.flow_servers import look_at_flows
    from infra.watch.exporter import Watcher, home_collector, home_text, serving, watching
    from infra.watch.metrics import BY_NAME, markdown

    if names_only:
        document = {name: {"kind": each.kind, "labels": each.labels, "meaning": each.meaning}
                    for name, each in BY_NAME.items()}  # fmt: skip
        return Answer(document, list(markdown()))
    clock, home = SystemClock(), settings.home.resolve()
    watcher = Watcher(settings, clock, lambda: look_at_flows(home, clock))
    if not serve:
        shown = home_text(watcher)
        return Answer({"metrics": samples(shown)}, shown.splitlines())
    with (
        serving(home_collector(watcher), host, port, settings.metrics_tls) as taken,
        watching(watcher),
    ):
        scheme = "https" if settings.metrics_tls else "http"
        address = f"{scheme}://{host}:{taken}/metrics"
        note(f"metrics of {settings.home.resolve()} at {address}; Ctrl-C ends it")
        try:
            threading.Event().wait(for_s)
        except KeyboardInterrupt:
            note("stopped")
    return Answer({"address": address}, [])


def samples(shown: str) -> dict[str, float]:
    """Return name and labels -> value, from the text format."""
    lines = [line for line in shown.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
