"""What Feast's own client answers of served features: for who compares it with the lake.

Its registry is made of the definitions of this code, in a folder that goes with it, so the answers
are those of anybody who has applied them. Feast takes some seconds to import.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from feast import FeatureStore, FeatureView, RepoConfig

from feature_repo import definitions
from feature_repo.store.place import PROJECT
from feature_repo.store.served import Values
from feature_repo.store.views import SERIES, View
from lake.closes import Closes

DEFINED = {each.name: each for each in vars(definitions).values() if isinstance(each, FeatureView)}
KEY_VERSION = 3
"""Of Feast's entity keys, as feature_store.yaml has it."""


class FeastAnswers(Closes):
    """Feast's client of one online store; one thread uses it at a time. A context manager."""

    def __init__(self, url: str) -> None:
        self._open = ExitStack()
        folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="ticklake-feast-"))
        self._store = FeatureStore(
            config=RepoConfig(
                project=PROJECT,
                provider="local",
                registry=str(Path(folder) / "registry.db"),
                offline_store={"type": "feature_repo.store.offline.LakeOfflineStore"},
                online_store={"type": "feature_repo.store.online.HomeOnlineStore", "url": url},
                entity_key_serialization_version=KEY_VERSION,
            )
        )
        sources = {each.stream_source.name: each.stream_source for each in DEFINED.values()}
        self._store.apply([*definitions.KEYS, *sources.values(), *DEFINED.values()])

    def close(self) -> None:
        """Let the registry's folder go."""
        self._open.close()

    def read(self, series: Sequence[tuple[str, str, str, str]], view: View) -> Values:
        """Return what get_online_features answers of series, as Served.read returns it.

        Feast does not say when they were known. Raises Unavailable where the online store is away.
        """
        columns = view.columns
        if not series:
            none = np.empty((0, len(columns)), np.int64)
            nothing = np.empty(0, np.int64)
            return Values(columns, nothing, none, none.astype(bool), nothing)
        asked = [dict(zip(SERIES, each, strict=True)) for each in series]
        refs = [f"{view.name}:{each}" for each in columns]
        answer = self._store.get_online_features(refs, asked).proto
        by_name = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))
        vectors = [by_name[each] for each in columns]
        there = [[value.HasField("double_val") for value in each.values] for each in vectors]
        values = [[value.double_val for value in each.values] for each in vectors]
        times = [[time.ToMicroseconds() for time in each.event_timestamps] for each in vectors]
        event_us = np.array(times, np.int64).max(axis=0)
        event_us[event_us <= 0] = -1
        bits = np.array(values, np.float64).view(np.int64).T
        unsaid = np.full(len(series), -1, np.int64)
        return Values(columns, event_us, bits, np.array(there, np.bool_).T, unsaid)
