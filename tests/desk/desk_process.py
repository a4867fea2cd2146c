"""A desk as a process: it places numbered orders, says each that it heard of, until it is ended.

python -m tests.desk.desk_process DSN ACCOUNT FIRST
"""

from __future__ import annotations

import sys
import threading

from lake.clock import SystemClock
from lake.errors import TicklakeError
from serving.desk.said import RiskRefused
from tests.desk.desks import UNIT, World, order


def main() -> None:
    """Run until killed."""
    dsn, account, first = sys.argv[1:]
    clock = SystemClock()
    world = World(dsn, clock, account)
    world.rests.upto = 10**12
    desk = world.desk()
    threading.Thread(target=desk.run, daemon=True).start()
    n = int(first)
    while True:
        world.prices.tell(100)
        # The first is asked for again by each process: it may be there already.
        kind, price = ("limit", 98) if n % 3 == 0 else ("market", None)
        try:
            placed = desk.place(account, order(f"p{n}", size=UNIT, kind=kind, price=price), "ann")  # type: ignore[arg-type]
            print(f"heard p{n} {placed.is_new}", flush=True)
            n += 1
        except RiskRefused as refused:
            print(f"refused p{n} {refused}", flush=True)
            n += 1
        except TicklakeError as error:
            print(f"not {error}", flush=True)
            clock.sleep(0.05)


if __name__ == "__main__":
    main()
