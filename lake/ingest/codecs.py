"""The codec of every feed, by the name that its frames bear in the journal."""

from __future__ import annotations

from collections.abc import Mapping

from lake.feeds.codec import Codec
from lake.feeds.massive_columns import MassiveColumns


def codecs() -> Mapping[str, Codec]:
    """Return feed -> codec."""
    every: list[Codec] = [MassiveColumns("massive"), MassiveColumns("sim")]
    return {codec.feed: codec for codec in every}
