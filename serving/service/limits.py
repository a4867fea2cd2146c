"""What a caller may ask of the service: each a number with its unit."""

from __future__ import annotations

from dataclasses import dataclass

BODY_BYTES_MAX = 64 * 1024
MESSAGE_BYTES_MAX = 16 * 1024
"""Of a request's body; of a WebSocket message of a client's."""

HEAD_S_MAX = 5.0
BODY_S_MAX = 10.0
"""Time that a request's head may take from its connection's or its own beginning, and its body."""

UNREAD_S_MAX = 20.0
"""Time that a client may take none of what is sent to it, of an answer or a stream."""

ROWS_MAX = 1_000
"""Rows of one answer."""

NAME_CHARACTERS_MAX = 100
REASON_CHARACTERS_MAX = 200
TICKERS_MAX = 500
"""Tickers of one subscription."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9:._/@-]{0,99}$"
"""What tickers, venues, accounts and client order ids may look like."""

AMOUNT = r"^[0-9]{1,18}(\.[0-9]{1,10})?$"
"""Money and sizes, as text: what numeric(28,10) holds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests of one caller (a key, or an address without one), WebSocket clients of the process.

    burst: requests at once; per_s: requests a second in the long run. open_reads: whether reads
    need no key where the caller is on this machine; writes always do.
    """

    reads_burst: int = 200
    reads_per_s: float = 100.0
    writes_burst: int = 50
    writes_per_s: float = 20.0
    refused_burst: int = 20
    refused_per_s: float = 1.0
    clients_max: int = 2_000
    clients_of_one_max: int = 1_000
    open_reads: bool = True
