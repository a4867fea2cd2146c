"""What every history gives: pages of one dataset's rows, and how far they reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa

from lake.errors import BadFrame
from lake.feeds.history import note_of, row_schema


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for: one dataset of one instrument, [from_us, to_us) UTC microseconds."""

    dataset: str
    ticker: str
    market: str
    from_us: int
    to_us: int


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a dataset; all that the history has before through_us has been given by now."""

    dataset: str
    rows: pa.Table
    through_us: int
    refused: tuple[bytes, ...] = ()
    """Frames that have elements quarantined which are no rows."""


class VenueHistory(Protocol):
    """One venue's history; exchange: as crypto_trades names the venue; feed: of its claims."""

    exchange: str
    datasets: tuple[str, ...]

    def feed(self, market: str) -> str:
        """Return the feed under whose name a market's live ingest claims its tickers."""

    def pages(self, span: Span) -> Iterator[Page]:
        """Yield a span's rows, oldest first. Raises Refused, Unavailable, WrongUse."""

    def close(self) -> None:
        """Close the connections."""


Reader = Callable[[Any], Mapping[str, Any] | None]
"""One element of an answer -> a row without its instrument, times in UTC microseconds; None: it
is no row. Raises BadFrame."""


def page_of(
    span: Span,
    answer: Iterable[Any],
    read: Reader,
    shared: Mapping[str, Any],
    of: str,
) -> Page:
    """Return an answer's elements as a page that reaches to the span's end.

    An element that is no row is refused for itself, with the reason; the others are taken.
    """
    rows, refused = [], []
    for i, each in enumerate(answer):
        try:
            found = read(each)
        except BadFrame as error:
            detail = f"{of} [{i}] {error.thing}: {error.fault}"
            refused.append(note_of(error.remedy, detail, answer=each))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            detail = f"{of} [{i}] is not as the venue documents it: {error!r}"
            refused.append(note_of("unknown_event", detail, answer=each))
        else:
            if found is not None:
                rows.append({**shared, **found})
    table = pa.Table.from_pylist(rows, schema=row_schema(span.dataset))
    return Page(span.dataset, table, span.to_us, tuple(refused))


def last_us(page: Page) -> int | None:
    """Return the time of a page's last row; None if it has none."""
    return int(page.rows["event_time"][-1].value) if page.rows.num_rows else None


def within(page: Page, span: Span, through_us: int) -> Page:
    """Return the page with only the span's rows, reaching through_us."""
    times = page.rows["event_time"].cast(pa.int64()).to_numpy()
    rows = page.rows.filter(pa.array((times >= span.from_us) & (times < span.to_us)))
    return replace(page, rows=rows, through_us=min(span.to_us, through_us))
