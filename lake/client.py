"""Query a lakehouse from Python: `connect(home)` gives DuckDB over the fresh union view.

>>> with lake.client.connect(".ticklake") as client:
...     client.sql("SELECT ticker, max(price) FROM crypto_trades GROUP BY 1").show()
"""

from __future__ import annotations

import os
from pathlib import Path

from lake import state
from lake.views.client import Client, query_error

__all__ = ["Client", "connect", "query_error"]


def connect(home: str | os.PathLike[str] = ".ticklake", *, dsn: str | None = None) -> Client:
    """Open the lakehouse of a home whose servers run; dsn (libpq) goes before the home's own.

    Raises Unavailable when the servers are not up.
    """
    client = Client(dsn or state.postgres_dsn(Path(home)))
    try:
        client.refresh()
    except BaseException:
        client.close()
        raise
    return client
