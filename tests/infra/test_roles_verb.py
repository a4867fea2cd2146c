"""`ticklake roles` says how to connect, for whatever client, and shows no secret unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.command.main import run
from lake.state import write_state


@pytest.mark.parametrize(
    ("scheme", "more"), [("http", ""), ("https", "?SSL=true&SSLTrustStorePath=/of%20mine/ca.crt")]
)
def test_an_analyst_is_told_trino_s_url_and_what_jdbc_and_sqlalchemy_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scheme: str, more: str
) -> None:
    url = f"{scheme}://127.0.0.1:8080"
    ways = {"dsn": "postgresql://a:hush@127.0.0.1/x", "trino": {"user": "analyst"}}
    trino = {"url": url, "user": "ticklake", **({"ca": "/of mine/ca.crt"} if more else {})}
    write_state(tmp_path, {"trino": trino, "roles": {"analyst": ways}})

    assert run(["roles", "analyst", "--home", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["roles"]["analyst"]
    assert found["url"] == url
    assert found["jdbc"] == f"jdbc:trino://127.0.0.1:8080/ticklake/market{more}"
    assert found["python"] == "trino://analyst@127.0.0.1:8080/ticklake/market"

    assert run(["roles", "analyst", "--home", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"url    {url}\n" in shown
    assert f"jdbc   {found['jdbc']}\n" in shown
    assert "hush" not in shown
