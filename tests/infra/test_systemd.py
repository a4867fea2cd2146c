"""infra/systemd, read by all that can be without it: commands are ours, secrets in a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.command.main import ticklake
from lake.settings import PREFIX
from tests.test_readme import parsed

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "systemd"
UNITS = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.service"))}
PROGRAM = "/opt/ticklake/bin/ticklake "


def values(text: str, name: str) -> list[str]:
    """Return what a unit says of a name, in order."""
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("name", UNITS)
def test_each_runs_a_verb_of_ours_as_nobody_in_particular(name: str) -> None:
    unit = UNITS[name]
    assert re.findall(r"^\[(\w+)\]$", unit, re.MULTILINE) == ["Unit", "Service", "Install"]
    for words in (*values(unit, "ExecStart"), *values(unit, "ExecStop")):
        assert words.startswith(PROGRAM)
        given = words.removeprefix(PROGRAM).replace("$FEEDS", "coinbase")
        given = given.replace("$LIVE_ARGS", "--strategy buy-and-hold:size=0.1")
        parsed(ticklake, given.split())
    assert values(unit, "User") == ["ticklake"]
    assert values(unit, "NoNewPrivileges") == ["yes"]
    assert values(unit, "EnvironmentFile") == ["/etc/ticklake/ticklake.env"]
    assert values(unit, "Environment") == []
    assert PREFIX not in "".join(values(unit, "ExecStart"))


@pytest.mark.parametrize("name", [name for name in UNITS if name != "ticklake.service"])
def test_what_needs_the_servers_waits_for_them_and_is_started_again(name: str) -> None:
    unit = UNITS[name]
    assert values(unit, "Requires") == values(unit, "After") == ["ticklake.service"]
    assert values(unit, "Restart") == ["always"]
    assert int(values(unit, "TimeoutStopSec")[0]) >= 15


def test_ingest_has_time_to_drain() -> None:
    assert int(values(UNITS["ticklake-ingest.service"], "TimeoutStopSec")[0]) >= 120
