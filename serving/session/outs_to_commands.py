"""What a session says, as commands of the ledger: the same each time, so done once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from feature_repo.ledger.commands import NONE, PREDICTION, Change, ChangeType, Command, Place
from feature_repo.trading.order import Ended, Fill
from feature_repo.trading.simulation import Arrived
from serving.risk.refusals import COMMAND
from serving.session.orders import prefix_of
from serving.session.plan import Start
from serving.session.session import Decided, Out

ENDS: dict[str, ChangeType] = {"cancelled": "cancelled", "rejected": "rejected"}


class Commands:
    """Of one run of a session: it counts the fills of each order."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._prefix = prefix_of(start.session)
        self._fills: defaultdict[tuple[str, str], int] = defaultdict(int)

    def of(self, out: Out) -> list[Command]:
        """Return the commands of something said."""
        said, account = out.said, out.account
        if isinstance(said, Decided):
            return self._placed(out, said)
        name = self._prefix + said.client_id
        if isinstance(said, Fill):
            self._fills[account, name] += 1
            number = f"fill-{self._fills[account, name]}"
            amounts = said.price, said.size, said.fee
            liquidity = "maker" if said.maker else "taker"
            return [Change(account, name, "filled", number, said.time_us, *amounts, liquidity)]  # type: ignore[arg-type]
        if isinstance(said, Ended):
            kind = ENDS[said.state]
            return [Change(account, name, kind, kind, said.time_us, reason=said.reason)]
        assert isinstance(said, Arrived)
        return [Change(account, name, "accepted", "accepted", said.time_us)]

    def _placed(self, out: Out, said: Decided) -> list[Command]:
        start, name = self._start, self._prefix + said.order.client_id
        origin = {
            "ticks": f"{start.shard}:{start.first_frame}-{max(out.frame, start.first_frame)}",
            "features": said.features or NONE,
            "model": said.model or NONE,
            "code": start.code,
        }
        if said.prediction:
            origin[PREDICTION] = said.prediction
        order = replace(said.order, client_id=name)
        found: list[Command] = [Place(out.account, order, said.placed_us, origin)]
        if said.refusal:
            reason, at_us = said.refusal, said.placed_us
            found.append(Change(out.account, name, "rejected", COMMAND, at_us, reason=reason))
        return found
