"""The route of the search over datasets, columns, features, models and statements."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from serving.search.entry import Kind
from serving.search.index import QUESTION_CHARACTERS_MAX
from serving.search.search import found_row
from serving.service.answers import Json
from serving.service.parts import Parts, Reader, there

FOUND_MAX = 50
Question = Annotated[
    str,
    Query(min_length=1, max_length=QUESTION_CHARACTERS_MAX, description="In words, as people ask."),
]
Kinds = Annotated[list[Kind] | None, Query(description="Only these; several.")]
Most = Annotated[int, Query(ge=1, le=FOUND_MAX, description="Rows at most.")]


class FoundRow(BaseModel):
    """A thing of the catalog. where: datasets that have it; score: the higher, the nearer."""

    kind: Kind
    name: str
    meaning: str
    unit: str
    where: list[str]
    score: float


class FoundRows(BaseModel):
    """What was found, the best first. lacking: why models are not among it, "" where they are."""

    rows: list[FoundRow]
    lacking: str


def search_route(parts: Parts) -> APIRouter:
    """Return the route."""
    routes = APIRouter(prefix="/v1", tags=["catalog"])

    @routes.get("/search", response_model=FoundRows)
    def search(_: Reader, q: Question, kind: Kinds = None, limit: Most = 10) -> Json:
        """Find datasets, columns, features, models and statements by what they mean."""
        found = there(parts.given.search, "search").ask(q, limit, kind or ())
        return Json({"rows": [found_row(each) for each in found.found], "lacking": found.lacking})

    return routes
