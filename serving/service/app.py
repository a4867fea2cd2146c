"""The service, put together: routes behind the gate, the page, and what runs beside them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from serving.service.answers import answer_errors
from serving.service.gate import Gate
from serving.service.market_routes import MarketRoutes, prediction_row, sentiment_rows
from serving.service.models import Refusal
from serving.service.order_routes import OrderRoutes, kill_routes
from serving.service.parts import Parts
from serving.service.search_route import search_route
from serving.service.source import Asked, watch_slow
from serving.service.stream_route import stream_route
from serving.service.watch_routes import lag_of, watch_routes

LOG = logging.getLogger("ticklake.service")
PAGE = Path(__file__).parent / "page"
END_S, END_TRIES_MAX = 0.25, 40
ROWS_SHOWN = 50
OFTEN_S = 0.25
SELDOM_S = 5.0
SENTIMENT_S = 10.0
"""Between two looks at what clients hear of as topics."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal} for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 501, 503)
}


def app_of(parts: Parts) -> FastAPI:
    """Return the service as an ASGI app; its tasks run while it does."""

    @asynccontextmanager
    async def beside(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(each) for each in _tasks(parts)]
        try:
            yield
        finally:
            await _end(tasks)

    app = FastAPI(
        title="ticklake",
        version="1",
        description="Live prices, bars, features, predictions and orders of a ticklake home.",
        docs_url=None,  # they come from a CDN
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=beside,
        responses=REFUSALS,
    )
    app.state.counts = parts.counts
    answer_errors(app)
    app.include_router(MarketRoutes(parts).router())
    app.include_router(OrderRoutes(parts).router())
    for routes in (kill_routes, search_route, watch_routes, stream_route):
        app.include_router(routes(parts))

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": POLICY})

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    app.add_middleware(
        Gate, doors=parts.doors, audit=parts.audit, counts=parts.counts, clock=parts.clock
    )
    return app


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they end: a client of Redis may take a cancel for a timeout of its own."""
    pending = set(tasks)
    for _ in range(END_TRIES_MAX):
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=END_S)
        if not pending:
            return
    LOG.warning("%d tasks do not end", len(pending))


def _tasks(parts: Parts) -> Iterator[Any]:
    """Yield what runs beside the routes."""
    yield parts.source.run()
    yield parts.hub.run()
    yield watch_slow(parts.hub)
    for name, (ask, every_s) in _topics(parts).items():
        yield Asked(parts.hub, name, ask, every_s).run()


def _topics(parts: Parts) -> dict[str, tuple[Callable[[], Any], float]]:
    """Return what is told of besides the market: how it is asked for, and how often."""
    given = parts.given
    found: dict[str, tuple[Callable[[], Any], float]] = {
        "kill": (parts.stop.state, OFTEN_S),
        "lag": (lambda: lag_of(parts), SELDOM_S),
        "sentiment": (lambda: sentiment_rows(parts), SENTIMENT_S),
    }
    if given.book is not None:
        book = given.book
        found |= {
            "orders": (lambda: book.orders("", ROWS_SHOWN), OFTEN_S),
            "events": (lambda: book.events("", ROWS_SHOWN), OFTEN_S),
            "positions": (lambda: book.positions(""), OFTEN_S),
            "pnl": (lambda: book.pnl(""), OFTEN_S),
            "breaches": (lambda: book.breaches(ROWS_SHOWN), OFTEN_S),
        }
    if given.predictor is not None:
        predictor = given.predictor
        found["signals"] = (
            lambda: [prediction_row(each) for each in predictor.signals(ROWS_SHOWN)],
            OFTEN_S,
        )
    if given.watch is not None:
        found["alerts"] = (given.watch.alerts, SELDOM_S)
    return found
