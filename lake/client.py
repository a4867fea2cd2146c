"""Query a lakehouse from Python: `connect(home)` gives DuckDB over the fresh union view.

>>> with lake.client.connect(".ticklake") as client:
...     client.sql("SELECT ticker, max(price) FROM crypto_trades GROUP BY 1").show()
"""

from __future__ import annotations

import os
from pathlib import Path

from lake.roles import role_dsn
from lake.views.client import Client, query_error
from lake.warehouse import Warehouse, warehouse_of

__all__ = ["Client", "connect", "query_error"]


def connect(
    home: str | os.PathLike[str] = ".ticklake",
    *,
    dsn: str | None = None,
    warehouse: Warehouse | None = None,
    role: str = "analyst",
    release: str | None = None,
) -> Client:
    """Open the lakehouse of a home whose servers run; dsn (libpq) and warehouse go before its own.

    role: as whom, one of lake.roles.ROLES; by default as one who may read and no more;
    release: show this release, and nothing else. Raises
    Unavailable when the servers are not up.
    """
    client = Client(
        dsn or role_dsn(Path(home), role),
        warehouse or (None if dsn else warehouse_of(Path(home), role)),
        release=release,
    )
    try:
        client.refresh()
    except BaseException:
        client.close()
        raise
    return client
