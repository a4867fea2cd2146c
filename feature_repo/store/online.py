"""Feast's online store on the home's own Redis or Valkey: no address or password to configure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feast import RepoConfig
from feast.infra.online_stores.helpers import _redis_key
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.utils import make_tzaware

from feature_repo.store.place import home_of
from feature_repo.store.served import FAULTS, connect, expire, fault_of
from feature_repo.store.wire import SECOND_US
from lake.clock import Clock, SystemClock
from lake.state import valkey_url


class HomeOnlineStoreConfig(RedisOnlineStoreConfig):
    """home: the lakehouse; without, TICKLAKE_HOME or the one beside the definitions.

    url: of its online store; without, what `ticklake up` left in the home.
    """

    type: Any = "feature_repo.store.online.HomeOnlineStore"
    home: str = ""
    url: str = ""


class HomeOnlineStore(RedisOnlineStore):
    """Feast's store for Redis, with the address that `ticklake up` left in the home.

    A server that is not there is one sentence, Unavailable. clock: says how old a value is.
    """

    clock: Clock = SystemClock()
    _url = ""
    _client: Any = None

    def _get_client(self, online_store_config: Any) -> Any:
        if not self._client:
            given = online_store_config
            self._url = given.url or valkey_url(home_of(None, given.home))
            self._client = connect(self._url)
        return self._client

    def _read_hash_fields(self, config: RepoConfig, commands: Any) -> Any:
        try:
            return super()._read_hash_fields(config, commands)
        except FAULTS as error:
            raise fault_of(self._url, error) from error

    def online_write_batch(self, config: RepoConfig, table: Any, data: Any, progress: Any) -> None:
        """Write pushed values, but for those that are older than what is there.

        They leave as those of ours do: when they are older than their view's ttl.
        """
        try:
            super().online_write_batch(config, table, data, progress)
            self._expire(config, table, data)
        except FAULTS as error:
            raise fault_of(self._url, error) from error

    def _expire(self, config: RepoConfig, table: Any, data: Any) -> None:
        if not table.ttl:
            return
        written = [
            (
                _redis_key(config.project, key, config.entity_key_serialization_version),
                round(make_tzaware(at).timestamp() * SECOND_US),
            )
            for key, _, at, _ in data
        ]
        columns = [each.name for each in table.features]
        client = self._get_client(config.online_store)
        expire(client, written, table.name, columns, table.ttl, self.clock.now_us())

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Delete what views that are gone have left; asks no server where none is."""
        if tables_to_delete:
            super().update(
                config,
                tables_to_delete,
                tables_to_keep,
                entities_to_delete,
                entities_to_keep,
                partial,
            )
