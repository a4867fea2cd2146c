"""What a run came to, as tables: orders, fills, equity, funding. Its digests are of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_repo.trading.market import Funding
from feature_repo.trading.money import Units, decimals_of
from feature_repo.trading.order import Fill, Order
from feature_repo.trading.simulation import Booked, Placed, Record

_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tables in the order in which things happened; times in UTC, amounts decimal(28, 10).

    orders: an order a row, with its state at the end. fills: a fill a row, with fee and what it
    realised before the fee. equity: cash and equity at moments. funding: what was paid.
    """

    orders: pa.Table
    fills: pa.Table
    equity: pa.Table
    funding: pa.Table

    def tables(self) -> dict[str, pa.Table]:
        """Return them by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def outcome_of(record: Record) -> Outcome:
    """Return a record as tables."""
    moments = np.array(record.moments, dtype=np.int64).reshape(-1, 3)
    times, cash, equity = moments[:, 0], moments[:, 1], moments[:, 2]
    return made_of(record.orders, record.fills, (times, cash, equity), record.paid)


def made_of(
    orders: Sequence[Placed],
    fills: Sequence[Booked],
    moments: tuple[Units, Units, Units],
    paid: Sequence[tuple[Funding, int]] = (),
) -> Outcome:
    """Return the tables; moments: times, cash and equity."""
    times, cash, equity = moments
    return Outcome(
        _orders(orders),
        _fills(fills),
        pa.table(
            {
                "event_time": pa.array(times, pa.int64()).cast(_TIME),
                "cash": decimals_of(cash),
                "equity": decimals_of(equity),
            }
        ),
        _funding(paid),
    )


def _orders(orders: Sequence[Placed]) -> pa.Table:
    wishes = [each.order for each in orders]
    return pa.table(
        {
            "client_id": pa.array([each.client_id for each in wishes], pa.string()),
            **_instruments(wishes),
            "placed_time": _times([each.placed_us for each in orders]),
            "side": pa.array([each.side for each in wishes], pa.string()),
            "kind": pa.array([each.kind for each in wishes], pa.string()),
            "size": _amounts([each.size for each in wishes]),
            "price": _amounts([each.price for each in wishes]),
            "ioc": pa.array([each.ioc for each in wishes], pa.bool_()),
            "post_only": pa.array([each.post_only for each in wishes], pa.bool_()),
            "state": pa.array([each.state for each in orders], pa.string()),
            "filled": _amounts([each.filled for each in orders]),
            "reason": pa.array([each.reason or None for each in orders], pa.string()),
        }
    )


def _fills(booked: Sequence[Booked]) -> pa.Table:
    fills = [each.fill for each in booked]
    return pa.table(
        {
            "client_id": pa.array([each.client_id for each in fills], pa.string()),
            **_instruments(fills),
            "event_time": _times([each.time_us for each in fills]),
            "side": pa.array([each.side for each in fills], pa.string()),
            "price": _amounts([each.price for each in fills]),
            "size": _amounts([each.size for each in fills]),
            "fee": _amounts([each.fee for each in fills]),
            "maker": pa.array([each.maker for each in fills], pa.bool_()),
            "realised": _amounts([each.realised for each in booked]),
        }
    )


def _funding(paid: Sequence[tuple[Funding, int]]) -> pa.Table:
    fundings = [each for each, _ in paid]
    return pa.table(
        {
            **_instruments(fundings),
            "event_time": _times([each.time_us for each in fundings]),
            "rate": _amounts([each.rate for each in fundings]),
            "paid": _amounts([amount for _, amount in paid]),
        }
    )


def _instruments(rows: Sequence[Order | Fill | Funding]) -> dict[str, pa.Array]:
    found = [each.instrument for each in rows]
    return {
        name: pa.array([getattr(each, name) for each in found], pa.string())
        for name in ("ticker", "exchange", "market")
    }


def _times(times_us: list[int]) -> pa.Array:
    return pa.array(times_us, pa.int64()).cast(_TIME)


def _amounts(amounts: Sequence[int | None]) -> pa.Array:
    known = decimals_of(np.array([each or 0 for each in amounts], dtype=np.int64))
    if None not in amounts:
        return known
    return pa.array(
        [None if each is None else one for each, one in zip(amounts, known, strict=True)],
        known.type,
    )
