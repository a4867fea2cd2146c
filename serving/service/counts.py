"""What the service counts of itself, in Prometheus' format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Counts:
    """Of one process; in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        by = self._registry
        self._requests = Counter(
            "ticklake_service_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=by,
        )
        self._seconds = Histogram(
            "ticklake_service_request_seconds",
            "Time from a request to its answer.",
            ("route",),
            buckets=SECONDS,
            registry=by,
        )
        self.clients = Gauge("ticklake_service_clients", "WebSocket clients now.", registry=by)
        self.subscriptions = Gauge(
            "ticklake_service_subscriptions", "Instruments that they hear of.", registry=by
        )
        self.cut = Counter(
            "ticklake_service_clients_cut", "Clients cut for being slow.", registry=by
        )
        self.messages = Counter(
            "ticklake_service_messages", "Messages sent to clients.", registry=by
        )
        self.updates = Counter(
            "ticklake_service_updates", "Updates read of the speed layer.", registry=by
        )
        self.update_age = Gauge(
            "ticklake_service_update_age_seconds",
            "From a frame's receipt to the service, of the newest update.",
            registry=by,
        )
        self.faults = Counter(
            "ticklake_service_stream_faults", "Times that Redis was away.", registry=by
        )
        self.breaches = Counter(
            "ticklake_service_breaches",
            "Orders over HTTP that a limit refused, by rule.",
            ("rule",),
            registry=by,
        )
        self.killed = Gauge(
            "ticklake_service_killed", "1 while the kill switch stops trading.", registry=by
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; route: its pattern, so that labels stay few; "" for none."""
        self._requests.labels(method if route else "", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all of it."""
        return generate_latest(self._registry)
