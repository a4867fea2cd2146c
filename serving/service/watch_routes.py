"""Routes about the service itself: health, lag, alerts, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from anyio import to_thread
from fastapi import APIRouter
from starlette.responses import Response

from lake.errors import Unavailable
from serving.desk.said import Row
from serving.service.answers import Json
from serving.service.models import Health, Lag, Some
from serving.service.parts import Parts, Reader, there

SILENT_S_MAX = 5.0
"""A Redis that did not answer for so long is away."""


def watch_routes(parts: Parts) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["service"])

    @routes.get("/health", response_model=Health, responses={503: {"model": Health}})
    async def health() -> Json:
        """Say whether the service can do its work; 503 while Redis is away.

        A process beside it that hangs or was killed is wrong, too, and a champion that has said
        nothing for minutes; they keep nobody from asking.
        """
        silent_s = parts.source.silent_s()
        is_away = silent_s is None or silent_s > SILENT_S_MAX
        wrong = ["redis does not answer"] if is_away else []
        given = parts.given
        processes = await to_thread.run_sync(given.processes)
        wrong += [f"{name} says nothing" for name, speaks in processes.items() if not speaks]
        wrong += await to_thread.run_sync(given.faults)
        there_are = {
            "orders": given.desk is not None and given.book is not None,
            "models": given.predictor is not None,
            "history": given.history is not None,
            "watch": given.watch is not None,
        }
        said = {"status": "degraded" if wrong else "ok", "wrong": wrong, "parts": there_are}
        more = {"processes": processes, "version": version("ticklake")}
        return Json({**said, **more}, 503 if is_away else 200)

    @routes.get("/lag", response_model=Lag)
    def lag(_: Reader) -> Json:
        """Say how old everything is."""
        return Json(lag_of(parts))

    @routes.get("/alerts", response_model=Some)
    def alerts(_: Reader) -> Json:
        """Return what is wrong now, by the lake's own checks."""
        return Json({"rows": there(parts.given.watch, "alerts").alerts()})

    @routes.get("/metrics", response_class=Response)
    async def metrics(_: Reader) -> Response:
        """Return what the service counts, in Prometheus' format."""
        return Response(parts.counts.text(), media_type="text/plain; version=0.0.4")

    return routes


def lag_of(parts: Parts) -> dict[str, Any]:
    """Return the ages of everything; those of the lake are left out while its watch is away."""
    board, watch = parts.board, parts.given.watch
    freshness: Sequence[Row] = []
    if watch is not None:
        with suppress(Unavailable):
            freshness = watch.freshness()
    heard = board.received_us
    tick_s = max(0.0, (parts.clock.now_us() - heard) / 1e6) if heard else None
    return {
        "tick_s": tick_s,
        "redis_s": parts.source.silent_s(),
        "dropped": board.dropped,
        "instruments": len(board),
        "clients": len(parts.hub),
        "freshness": freshness,
    }
