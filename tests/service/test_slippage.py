"""The slippage of a home's setting is what orders by hand pay."""

from __future__ import annotations

from pathlib import Path

from serving.broker.given_costs import costs_given
from tests.service.serving import served, until


def test_an_order_by_hand_pays_the_slippage_of_the_setting(
    tmp_path: Path, valkey_url: str, ledger_dsn: str
) -> None:
    costs = costs_given("100")
    with (
        served(valkey_url, tmp_path, dsn=ledger_dsn, costs=costs) as service,
        service.http("trade") as http,
    ):
        service.tell_fresh("X:BTCUSD", "50000")
        order = {"client_order_id": "a", "ticker": "X:BTCUSD", "side": "buy", "size": "0.01"}
        assert http.post("/v1/orders", json=order).status_code == 201

        def fills() -> list[str]:
            service.tell(("X:BTCUSD", "50000"))
            events = http.get("/v1/orders/a").json()["events"]
            return [each["price"] for each in events if each["event_type"] == "filled"]

        assert until(fills)
        assert fills() == ["50500.505"]  # a hundredth worse than the ask, 50000.5
