"""Quantities as people write them."""

from __future__ import annotations

import click
import pytest

from infra.command.units import Count, Duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("90", 90), ("1.5m", 90), ("500ms", 0.5), ("2h", 7200)]
)
def test_a_time_is_read_in_seconds(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(("text", "number"), [("1000", 1000), ("300k", 300_000), ("2M", 2_000_000)])
def test_a_count_may_be_shortened(text: str, number: int) -> None:
    assert Count().convert(text, None, None) == number


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5 s", "1e3", "nan"])
def test_what_is_neither_is_refused(text: str) -> None:
    for kind in (Duration(), Count()):
        with pytest.raises(click.BadParameter):
            kind.convert(text, None, None)
