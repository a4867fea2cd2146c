"""Where the parts of a lineage graph stand in its picture: datasets as boxes, columns as rows.

Boxes stand in layers from left (made of nothing of ours) to right; a box is as high as the columns
that take part. Units are those of the picture, 1 is a pixel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lake.lineage.graph import Edge, dataset_of

ROW_HEIGHT = 22
HEAD_HEIGHT = 30
BOX_GAP = 26
LAYER_GAP = 96
MARGIN = 24
CHARACTER_WIDTH = 7.4
"""Of the widest character that names here have, at the pictures' 13 pixels."""

SWEEPS = 4
"""Passes in which boxes are put beside what they are connected with."""


@dataclass(frozen=True, slots=True)
class Box:
    """A dataset: left upper corner, size, and the columns in it from top to bottom."""

    dataset: str
    x: float
    y: float
    width: float
    height: float
    columns: tuple[str, ...]

    def row_y(self, column: str) -> float:
        """Return the middle of a column's row."""
        return self.y + HEAD_HEIGHT + (self.columns.index(column) + 0.5) * ROW_HEIGHT


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture: its size, its boxes by dataset, its edges."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    edges: tuple[Edge, ...]


def layout(edges: Sequence[Edge], columns: Sequence[str]) -> Layout:
    """Lay out these edges, and these columns even where no edge touches them."""
    names: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for column in [*columns, *(end for edge in edges for end in (edge.source, edge.target))]:
        names[dataset_of(column)][column.rpartition(".")[2]] = None
    links = {
        (dataset_of(edge.source), dataset_of(edge.target))
        for edge in edges
        if dataset_of(edge.source) != dataset_of(edge.target)
    }
    layers = _ordered(_layers(set(names), links), links)
    boxes: dict[str, Box] = {}
    heights = [_height(layer, names) for layer in layers]
    x, tallest = float(MARGIN), max(heights)
    for layer, height in zip(layers, heights, strict=True):
        width = max(_width(dataset, names[dataset]) for dataset in layer)
        y = MARGIN + (tallest - height) / 2
        for dataset in layer:
            tall = HEAD_HEIGHT + ROW_HEIGHT * len(names[dataset]) + 6
            boxes[dataset] = Box(dataset, x, y, width, tall, tuple(names[dataset]))
            y += tall + BOX_GAP
        x += width + LAYER_GAP
    return Layout(x - LAYER_GAP + MARGIN, tallest + 2 * MARGIN, boxes, tuple(edges))


def _layers(datasets: set[str], links: set[tuple[str, str]]) -> list[list[str]]:
    """Return the datasets by the longest way that leads to them."""
    depth = dict.fromkeys(datasets, 0)
    for _ in datasets:
        for source, target in links:
            depth[target] = max(depth[target], depth[source] + 1)
    found: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for dataset in sorted(datasets):
        found[depth[dataset]].append(dataset)
    return [layer for layer in found if layer]


def _ordered(layers: list[list[str]], links: set[tuple[str, str]]) -> list[list[str]]:
    """Return the layers with each box near the mean place of what it is connected with."""
    beside: defaultdict[str, list[str]] = defaultdict(list)
    for source, target in links:
        beside[source].append(target)
        beside[target].append(source)
    for _ in range(SWEEPS):
        place = {
            dataset: (at + 0.5) / len(layer) for layer in layers for at, dataset in enumerate(layer)
        }
        mean = {
            name: sum(place[each] for each in beside[name]) / len(beside[name])
            if beside[name]
            else place[name]
            for name in place
        }
        layers = [sorted(layer, key=lambda name: (mean[name], name)) for layer in layers]
    return layers


def _height(layer: Sequence[str], names: Mapping[str, Mapping[str, None]]) -> float:
    rows = sum(HEAD_HEIGHT + 6 + ROW_HEIGHT * len(names[dataset]) for dataset in layer)
    return rows + BOX_GAP * (len(layer) - 1)


def _width(dataset: str, columns: Mapping[str, None]) -> float:
    longest = max([len(dataset) + 1, *map(len, columns)])
    return 28 + CHARACTER_WIDTH * longest
