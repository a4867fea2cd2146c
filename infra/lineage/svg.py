"""A lineage graph as SVG: no script, no font, no picture of others; light and dark."""

from __future__ import annotations

from collections.abc import Callable, Collection
from html import escape

from infra.lineage.layout import HEAD_HEIGHT, ROW_HEIGHT, Box, Layout

STYLE = """
.l-box { fill: #ffffff; stroke: #c9d0da; }
.l-head { fill: #eef2f7; stroke: #c9d0da; }
.l-name { font: 600 13px ui-monospace, "DejaVu Sans Mono", monospace; fill: #1c2330; }
.l-column { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; fill: #3d4757; }
.l-asked { fill: #0f6bd0; font-weight: 700; }
.l-edge { fill: none; stroke: #8ba3c0; stroke-width: 1.4; }
.l-back { fill: #f7f9fb; }
@media (prefers-color-scheme: dark) {
  .l-box { fill: #1b212b; stroke: #3a4453; }
  .l-head { fill: #252d39; stroke: #3a4453; }
  .l-name { fill: #e8ecf2; }
  .l-column { fill: #b9c3d1; }
  .l-asked { fill: #6cb2ff; }
  .l-edge { stroke: #5d7694; }
  .l-back { fill: #12161c; }
}
"""


def svg(
    picture: Layout,
    asked: Collection[str] = (),
    *,
    link: Callable[[str], str] | None = None,
    title: str = "Lineage",
) -> str:
    """Return the picture; asked: columns to mark; link: address of a dataset's page, "" for none.

    Every text in it is escaped: names come from contracts and files, not from us.
    """
    size = f'viewBox="0 0 {picture.width:.0f} {picture.height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} width="{picture.width:.0f}"'
        f' height="{picture.height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        '<rect class="l-back" width="100%" height="100%"/>',
        *_edges(picture),
        *(part for box in picture.boxes.values() for part in _box(box, asked, link)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _edges(picture: Layout) -> list[str]:
    lines = []
    for edge in picture.edges:
        (source, start), (target, end) = edge.source.rsplit(".", 1), edge.target.rsplit(".", 1)
        a, b = picture.boxes[source], picture.boxes[target]
        y0, y1 = a.row_y(start), b.row_y(end)
        if source == target:  # within a box: a bow on its right
            x = a.x + a.width
            way = f"M{x:.1f},{y0:.1f} C{x + 34:.1f},{y0:.1f} {x + 34:.1f},{y1:.1f} {x:.1f},{y1:.1f}"
        else:
            x0, x1 = a.x + a.width, b.x
            middle = (x0 + x1) / 2
            way = (
                f"M{x0:.1f},{y0:.1f} C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"
            )
        said = f"{edge.source} → {edge.target}{f': {edge.how}' if edge.how else ''}"
        lines.append(f'<path class="l-edge" d="{way}"><title>{escape(said)}</title></path>')
    return lines


def _box(box: Box, asked: Collection[str], link: Callable[[str], str] | None) -> list[str]:
    place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}"'
    at = f'x="{box.x + 12:.1f}" y="{box.y + 20:.1f}"'
    name = f'<text class="l-name" {at}>{escape(box.dataset)}</text>'
    address = link(box.dataset) if link else ""
    rows = [
        f'<text class="l-column{" l-asked" if f"{box.dataset}.{column}" in asked else ""}"'
        f' x="{box.x + 12:.1f}" y="{box.row_y(column) + 4:.1f}">{escape(column)}</text>'
        for column in box.columns
    ]
    return [
        f'<rect class="l-box" {place} height="{box.height:.1f}" rx="6"/>',
        f'<rect class="l-head" {place} height="{HEAD_HEIGHT - ROW_HEIGHT // 8:.1f}" rx="6"/>',
        f'<a href="{escape(address)}">{name}</a>' if address else name,
        *rows,
    ]
