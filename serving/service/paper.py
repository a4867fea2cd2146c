"""Orders by hand on paper: the account, its money, costs and limits, and its desk on the ledger."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from feature_repo.trading.costs import Costs
from feature_repo.trading.money import UNIT
from lake.receipts.code_version import PACKAGES, code_hash
from serving.broker.given_costs import COSTS
from serving.desk.book import LedgerBook
from serving.desk.desk import LedgerDesk
from serving.desk.lead import DeskParts, DeskRules
from serving.desk.rests import FrameRests
from serving.desk.venue import PaperVenue
from serving.risk.given_limits import DEFAULTS
from serving.risk.limits import RiskLimits
from serving.service.parts import Parts

ACCOUNT = "paper"
CASH = 100_000 * UNIT


@contextmanager
def paper_desk(
    dsn: str, parts: Parts, limits: RiskLimits = DEFAULTS, costs: Costs = COSTS
) -> Iterator[tuple[LedgerDesk, LedgerBook]]:
    """Run the desk of orders by hand; give it with the book of all accounts.

    dsn: of a role that may add to the ledger. It leads, or waits for who leads to end.
    """
    board, clock, client = parts.board, parts.clock, parts.client
    seen = FrameRests(client, clock)
    desk = LedgerDesk(
        DeskParts(
            dsn,
            clock,
            board,
            FrameRests(client, clock),
            lambda: bool(parts.stop.state()["killed"]),
            lambda: PaperVenue(costs, board, seen, limits.spike),
            code_hash((*PACKAGES, "serving")),
        ),
        DeskRules(ACCOUNT, CASH, limits),
    )
    book = LedgerBook(dsn, clock, board)
    thread = threading.Thread(target=desk.run, name="desk", daemon=True)
    thread.start()
    try:
        yield desk, book
    finally:
        desk.ended.set()
        thread.join()
        book.close()
