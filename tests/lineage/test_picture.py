"""The picture of a lineage: every column and edge is in it, apart, whatever a name holds."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from infra.command.main import run
from infra.lineage.layout import layout
from infra.lineage.svg import svg
from lake.lineage.graph import Edge, graph
from lake.lineage.statements import statement_edges

SVG = "{http://www.w3.org/2000/svg}"
EDGES = [Edge("a.x", "b.y", "sum(x)"), Edge("a.x", "c.z"), Edge("b.y", "b.w"), Edge("b.w", "d.v")]


def test_boxes_stand_apart_and_to_the_right_of_what_they_are_made_of() -> None:
    found = graph(statement_edges())
    edges = found.walk(found.find("crypto_trades.price"), up=False)
    picture = layout(edges, ["crypto_trades.price"])
    boxes = list(picture.boxes.values())
    for n, one in enumerate(boxes):
        assert one.x >= 0
        assert one.y + one.height <= picture.height
        assert one.x + one.width <= picture.width
        for other in boxes[n + 1 :]:
            beside = one.x + one.width <= other.x or other.x + other.width <= one.x
            over = one.y + one.height <= other.y or other.y + other.height <= one.y
            assert beside or over
    for edge in edges:
        source, target = (end.rsplit(".", 1)[0] for end in (edge.source, edge.target))
        if source != target:
            assert picture.boxes[source].x < picture.boxes[target].x


def test_a_drawing_has_every_edge_and_column_and_is_well_formed() -> None:
    root = ElementTree.fromstring(svg(layout(EDGES, ["a.x"]), ["a.x"]))
    assert len(root.findall(f"{SVG}path")) == len(EDGES)
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert set(texts) == {*"abcd", *"xyzwv"}
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert "a.x → b.y: sum(x)" in titles


def test_a_name_that_is_markup_is_text() -> None:
    evil = '<script>alert("x")</script>'
    root = ElementTree.fromstring(svg(layout([Edge("a.x", f"b.{evil}", evil)], []), title=evil))
    assert not list(root.iter(f"{SVG}script"))
    assert evil in [each.text for each in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_verb_draws_a_picture(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"vwap.{ending}"
    assert run(["lineage", "market.bars.vwap", "--both", "-o", str(path)]) == 0
    assert path.read_bytes().startswith({"svg": b"<svg ", "png": b"\x89PNG"}[ending])
    assert str(path) in capsys.readouterr().err


def test_the_verb_says_it_to_people_and_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lineage", "market.bars.vwap", "--up"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "market.bars.vwap"
    assert any(line.startswith("    < crypto_trades.price") for line in lines)
    assert run(["lineage", "bars.vwap", "--down", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {e["target"] for e in document["down"]} >= {"crypto_agg_1m.vwap"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bars.vwapp"], "bars.vwapp: no such column"),
        (["bars.vwap", "-o", "x.gif"], "-o x.gif: is no picture: name it .png or .svg"),
        (["--up"], "lineage: no column is named"),
    ],
)
def test_wrong_use_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lineage", *words]) == 2
    assert capsys.readouterr().err.startswith(f"ticklake: {said}")
