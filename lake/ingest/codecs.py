"""The codec of every feed, by the name that its frames bear in the journal."""

from __future__ import annotations

from collections.abc import Mapping

from lake.feeds.binance_columns import BinanceColumns
from lake.feeds.codec import Codec
from lake.feeds.coinbase import CoinbaseCodec
from lake.feeds.history import HistoryCodec
from lake.feeds.kraken import KrakenCodec
from lake.feeds.massive_columns import MassiveColumns
from lake.feeds.sentiment import SentimentCodec


def codecs() -> Mapping[str, Codec]:
    """Return feed -> codec."""
    every: list[Codec] = [
        MassiveColumns("massive"),
        MassiveColumns("sim"),
        BinanceColumns("spot"),
        BinanceColumns("usdm"),
        BinanceColumns("coinm"),
        CoinbaseCodec(),
        KrakenCodec(),
        SentimentCodec(),
        HistoryCodec(),
    ]
    return {codec.feed: codec for codec in every}
