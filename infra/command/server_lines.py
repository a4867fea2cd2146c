"""Servers, a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lake.settings import MEBIBYTE


def server_lines(servers: Mapping[str, Mapping[str, Any]], words: Mapping[str, str]) -> list[str]:
    """Return a line per server: name, version, what happened, where, memory, since, log."""
    lines, wide = [], max((len(each["version"]) for each in servers.values()), default=0)
    for name, each in servers.items():
        parts = [f"{name:10}", f"{each['version']:{wide}}", f"{words[name]:11}"]
        if each["running"] and each["pid"] is None:
            parts += [each["address"]]
        elif each["running"]:
            memory = f"{each['memory_bytes'] / MEBIBYTE:,.0f} MiB"
            parts += [f"{each['address']:15}", f"pid {each['pid']}", f"{memory:>9}"]
            parts += [f"since {each['since']}"]
        lines.append("  ".join([*parts, f"log {each['log']}"]))
    return lines
