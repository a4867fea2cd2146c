"""Routes, where they are kept: tags of the model in the registry, one more for each change.

None is changed or taken away, so the tags are the log of who set what and when; the newest holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from feature_repo.models.registry import EXTRA_TAG, Registry
from lake.errors import BadInput
from serving.signals.loaded import unfit
from serving.signals.route import CHALLENGER, CHAMPION, Route, route_of

TAG = f"{EXTRA_TAG}route."
DIGITS = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A route, since when (UTC microseconds), set by whom."""

    at_us: int
    by: str
    route: Route


def entry_of(key: str, value: str) -> Entry:
    """Return what a tag says; BadInput for what we did not write."""
    try:
        document = json.loads(value)
        at_us, by, text = int(key.removeprefix(TAG)), str(document["by"]), str(document["route"])
    except (ValueError, KeyError, TypeError) as error:
        fault = f"can't be read ({error})"
        raise BadInput(f"tag {key}", fault, "set it anew: ticklake models route") from error
    return Entry(at_us, by, route_of(text))


def entries(tags: Mapping[str, str]) -> list[Entry]:
    """Return every route of a model's tags, the oldest first. Raises as entry_of."""
    return [entry_of(key, tags[key]) for key in sorted(tags) if key.startswith(TAG)]


def newest(tags: Mapping[str, str]) -> Route:
    """Return the route that holds; without any, all goes to the champion. Raises as entry_of."""
    last = max((key for key in tags if key.startswith(TAG)), default=None)
    return Route() if last is None else entry_of(last, tags[last]).route


def keep(registry: Registry, model: str, entry: Entry) -> None:
    """Let a route hold from now on; WrongUse for a model that is not there.

    Raises BadInput where it sends rows to a challenger that the speed layer has none for.
    """
    if entry.route.kind != CHAMPION:
        _require_live(registry, model)
    value = json.dumps({"by": entry.by, "route": entry.route.text()}, sort_keys=True)
    registry.set_tag(model, f"{TAG}{entry.at_us:0{DIGITS}}", value)


def _require_live(registry: Registry, model: str) -> None:
    roles = {each.name: each.roles for each in registry.standings()}.get(model, {})
    if CHALLENGER not in roles:
        return
    found = registry.version(model, roles[CHALLENGER])
    if fault := unfit(registry.stored(found)[1]):
        remedy = "train another challenger (ticklake train), or leave all to the champion"
        raise BadInput(f"challenger {model} {found.version}", fault, remedy)
