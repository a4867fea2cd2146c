"""Reading served features: 20 of 1 ticker and of 200, beside Feast's own client; and writing them.

    python benchmarks/online.py [--reads N] [--no-feast] [--json]

A Valkey of the wheel's runs on this machine. Ours is feature_repo.store.served; Feast's is
`get_online_features` of its Redis store over the same keys, with its registry in memory. The bound
is a p99 of 2 ms for one ticker and of 10 ms for 200.
"""

from __future__ import annotations

import argparse
import json
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from feast import FeatureStore, RepoConfig

from feature_repo import definitions as ours
from feature_repo.store.served import Served
from feature_repo.store.views import MARKET_V1, SERIES
from infra.servers.valkey_server import ValkeyServer, url
from lake.clock import SystemClock

TICKERS = 200
FEATURES = 20
WARM_READS = 50
SEED = 3


def rows(now_us: int) -> pa.Table:
    """Return a row of features of each ticker, of now."""
    random = np.random.default_rng(SEED)
    made = {
        "ticker": [f"X:T{n:03}USD" for n in range(TICKERS)],
        "exchange": ["sim"] * TICKERS,
        "market": ["spot"] * TICKERS,
        "interval": ["1m"] * TICKERS,
        "event_time": pa.array([now_us] * TICKERS).cast(pa.timestamp("us", tz="UTC")),
    }
    return pa.table(made | {name: random.normal(size=TICKERS) for name in MARKET_V1.columns})


def quantiles_ms(read: Callable[[], object], reads: int) -> dict[str, float]:
    """Return p50, p99 and the longest of so many reads, in milliseconds."""
    for _ in range(WARM_READS):
        read()
    taken = np.empty(reads)
    for n in range(reads):
        start = time.perf_counter()
        read()
        taken[n] = (time.perf_counter() - start) * 1e3
    p50, p99 = np.quantile(taken, [0.5, 0.99])
    return {"p50_ms": float(p50), "p99_ms": float(p99), "max_ms": float(taken.max())}


def feast_reads(
    address: str, folder: Path, series: list[tuple[str, ...]]
) -> Callable[[int], object]:
    """Return what reads so many tickers by Feast's own client."""
    place, _, at = address.removeprefix("redis://:").partition("@")
    store = FeatureStore(
        config=RepoConfig(
            project="ticklake",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={"type": "feature_repo.store.offline.LakeOfflineStore"},
            online_store={
                "type": "redis",
                "connection_string": f"{at.removesuffix('/0')},password={place}",
            },
            entity_key_serialization_version=3,
        )
    )
    store.apply([*ours.KEYS, ours.market_v1_push, ours.market_v1])
    names = [f"market_v1:{each}" for each in MARKET_V1.columns[:FEATURES]]
    entities = [dict(zip(SERIES, each, strict=True)) for each in series]
    return lambda count: store.get_online_features(names, entities[:count]).to_dict()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=2_000)
    parser.add_argument("--no-feast", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="ticklake-online-") as name:
        home = Path(name)
        (home / "log").mkdir()
        clock = SystemClock()
        password = secrets.token_hex(16)
        server = ValkeyServer(home, clock)
        try:
            address = url(server.up(None, password), password)
            table = rows(clock.now_us())
            series = list(zip(*(table[each].to_pylist() for each in SERIES), strict=True))
            with Served(address) as served:
                start = time.perf_counter()
                served.write(table, MARKET_V1, clock.now_us())
                figures["write 200 rows of 21, ms"] = (time.perf_counter() - start) * 1e3
                names = MARKET_V1.columns[:FEATURES]
                for count in (1, TICKERS):
                    figures[f"ours, {FEATURES} features x {count}"] = quantiles_ms(
                        lambda count=count: served.read(series[:count], MARKET_V1, names),
                        options.reads,
                    )
            if not options.no_feast:
                read = feast_reads(address, home, series)
                for count in (1, TICKERS):
                    figures[f"Feast, {FEATURES} features x {count}"] = quantiles_ms(
                        lambda count=count: read(count), max(1, options.reads // 10)
                    )
        finally:
            server.down()
    if options.json:
        print(json.dumps(figures))
        return
    for what, found in figures.items():
        words = found if isinstance(found, dict) else {"": found}
        print(f"{what:28}", "  ".join(f"{key} {value:.2f}" for key, value in words.items()))


if __name__ == "__main__":
    main()
