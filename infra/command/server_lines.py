"""Servers, a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def server_lines(servers: Mapping[str, Mapping[str, Any]], words: Mapping[str, str]) -> list[str]:
    """Return a line per server: name, version, what happened, where, since when, its log."""
    lines = []
    for name, each in servers.items():
        where = f"{each['address']}  pid {each['pid']}" if each["running"] else "-"
        lines.append(
            f"{name:10}  {each['version']:6}  {words[name]:12}  {where}  log {each['log']}"
        )
    return lines
