"""What an order by hand rests on, as the ledger keeps it."""

from __future__ import annotations

from feature_repo.ledger.commands import BY_HAND, NONE
from serving.desk.market import Rest


def origin_of(rest: Rest | None, by: str, code: str) -> dict[str, str]:
    """Return the origin of an order that somebody asked for at a price of these frames.

    code: version of the code that asks the limits.
    """
    return {
        "ticks": rest.words if rest is not None and rest.frames else NONE,
        "features": NONE,
        "model": f"{BY_HAND}{by}",
        "code": code,
    }
