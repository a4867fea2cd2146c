"""Every setting, in one frozen value; the environment is read once, here.

A field `journal_bytes_max` is set by TICKLAKE_JOURNAL_BYTES_MAX. Options of the command go before
the environment, the environment before the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lake.errors import BadInput
from lake.near_home import HOME, near
from lake.variables import PREFIX, is_ours, names, parsed, variable

OF_ONE_PROCESS = ("home", "profile", "fault_plan")
"""Settings that a home knows by itself, or that no other process is to have."""

OFF = "off"
AUTO = "auto"
STREAMS = (AUTO, "live", "all", OFF)
PROFILES = ("embedded", "stack", "given")
MEBIBYTE = 2**20
GIBIBYTE = 2**30


def setting(default: Any, meaning: str, low: int = 0, high: int = 2**62, **kwargs: Any) -> Any:
    """Declare a setting: its default, what it means with its unit, its bounds (inclusive)."""
    metadata = {"meaning": meaning, "low": low, "high": high}
    return field(default=default, metadata=metadata, **kwargs)


@dataclass(frozen=True)
class Settings:
    """What may be set. BadInput when a value is out of its bounds."""

    home: Path = setting(HOME, "folder that holds everything of one lake, here or above")
    profile: str = setting(
        "", f"servers to run on: {', '.join(PROFILES)}; none: the home's, embedded for a new one"
    )
    stack_software: Path = setting(
        Path("/var/tmp/ticklake-stack"), "folder of the stack profile's software"
    )
    data: Path | None = setting(None, "folder of recorded market data; none: what needs it is left")
    massive_api_key: str = setting("", "key for Massive's streams; none: they refuse", repr=False)
    massive_url: str = setting(
        "wss://socket.massive.com/crypto", "address of Massive's crypto stream"
    )
    binance_api_key: str = setting(
        "", "key for Binance's history of trades, where it asks for one", repr=False
    )
    old_dsn: str = setting(
        "",
        "libpq address of an earlier database that is imported; none: given by --old",
        repr=False,
    )
    old_write: str = setting(
        "off", "whether rows of our own feeds are written to that database too: on or off"
    )
    silence_ms_max: int = setting(
        10_000,
        "longest time without an event on a Massive feed, which has no heartbeat, before it is"
        " connected anew, in milliseconds",
        500,
        3_600_000,
    )
    journal_bytes_max: int = setting(
        20 * GIBIBYTE, "disk budget of the journal, in bytes; intake stops above it", MEBIBYTE
    )
    journal_segment_bytes_max: int = setting(
        64 * MEBIBYTE, "size at which a journal segment is closed, in bytes", MEBIBYTE, GIBIBYTE
    )
    flush_ms_max: int = setting(
        50, "longest wait of a received frame for the journal's fsync, in milliseconds", 1, 100
    )
    journal_keep_hours: int = setting(
        24,
        "age at which a proven journal segment is sealed and deleted, in hours; sooner where the "
        "budget is nearly used up",
        0,
        87_600,
    )
    hot_batch_ms: int = setting(
        150, "time between two writes to the hot tier, in milliseconds", 1, 60_000
    )
    lake_commit_ms: int = setting(
        2_000, "time between two commits to the lake, in milliseconds", 50, 3_600_000
    )
    hot_chunk_hours: int = setting(
        24, "length of new chunks where the hot tier has hypertables, in hours; divides 24", 1, 24
    )
    hot_pinned_tickers: str = setting(
        "", "tickers with a slot of their own in new days of the hot tier, joined by commas"
    )
    metrics_host: str = setting("127.0.0.1", "address that an ingest's own metrics are served on")
    metrics_tls: str = setting(
        "", "folder with the server.crt and server.key that metrics are served by; none: plain"
    )
    metrics_port: int = setting(
        0,
        "port that an ingest's own metrics are served on for Prometheus; 0: not at all",
        0,
        65_535,
    )
    backup: str = setting(
        "",
        "place of backups, a folder or s3://bucket/folder, or `off`; `others` where who runs the"
        " servers takes them; none: as at the last `up`; at first they are off",
    )
    audit_key: Path | None = setting(
        None,
        "file of the private key that audits are signed with; none: `keys/audit.pem` of the home,"
        " made at the first audit",
    )
    ledger_key: Path | None = setting(
        None,
        "file of the private key that anchors of the orders' ledger are signed with; none:"
        " `keys/ledger.pem` of the home, made at the first anchor",
    )
    ledger_place: str = setting(
        "",
        "second place of the ledger's anchors and sealed events, a folder or s3://bucket/folder of"
        " the home's store, whose bucket has object lock; none: the folder `ledger` of the home",
    )
    archive: str = setting(
        "",
        "place of what left the lake by age, a folder or s3://bucket/folder of the home's store;"
        " none: the folder `archive` of the home",
    )
    recovery_hours: int = setting(
        24,
        "how far back a restore must reach where backups are on, in hours; the journal and what the"
        " lake let go of are kept as long",
        1,
        8_784,
    )
    bars_grace_ms: int = setting(
        1_000,
        "time after its end at which a minute's bars are made, in milliseconds; what comes later"
        " changes them",
        0,
        60_000,
    )
    lineage_url: str = setting(
        "",
        "address that OpenLineage events are posted to, as Marquez' http://host:5000/api/v1/lineage;"
        " `off`: they are in the table lineage_events alone; none: as at the last `up`",
    )
    lineage_api_key: str = setting(
        "", "key that goes with them as a bearer token; none: without", repr=False
    )
    lineage_namespace: str = setting(
        "",
        "namespace of our jobs and data in these events; none: as at the last `up`, else ticklake",
    )
    schema_registry_url: str = setting(
        "", "address of the schema registry that `contracts publish` registers Avro schemas at"
    )
    schema_registry_key: str = setting(
        "", "key that goes to it as a bearer token; none: without", repr=False
    )
    listen: str = setting(
        "",
        "IPv4 address that the stack's servers listen on; beyond loopback they"
        " need TICKLAKE_TLS; none: as at the last `up`, at first 127.0.0.1",
    )
    tls: str = setting(
        "",
        "certificates of the stack's servers: `made` here, a folder with ca.crt, server.crt and"
        " server.key, or `off`; none: as at the last `up`, at first off",
    )
    s3_bucket: str = setting(
        "",
        "bucket of the stack's store for the lake's files; none: the home's, at first `lake`; where"
        " others run the store it is S3_BUCKET",
    )
    s3_models_bucket: str = setting(
        "", "bucket of that store for MLflow's artefacts; none: the home's, at first `models`"
    )
    s3_encrypt: str = setting(
        "off",
        "on: the stack's store encrypts what it writes from now on (SSE-KMS), with the home's"
        " keys/store.key; once there, it is used whatever is said",
    )
    streams: str = setting(
        AUTO,
        "which frames an ingest sends to Redis Streams beside the journal: `auto`, those of live"
        " sockets while a `ticklake live` reads them; `live`, those of sockets whoever reads;"
        " `all`, of recordings too; or `off`",
    )
    service_host: str = setting(
        "127.0.0.1", "address that `live` listens on; beyond loopback it needs TICKLAKE_SERVICE_TLS"
    )
    service_port: int = setting(8765, "port of `live`; 0: any", 0, 65_535)
    service_tls: str = setting(
        "",
        "certificate of `live`: `made` here, a folder with server.crt and server.key, or `off`;"
        " none: the stack's servers', where they have TLS",
    )
    service_names: str = setting(
        "", "names by which `live` is reached by other machines, joined by spaces or commas"
    )
    limits: str = setting(
        "", "limits of `live`'s orders where others than the defaults hold: daily_loss=5000,..."
    )
    slippage_bp: str = setting("0", "slippage of `live`'s trades on paper, in basis points")
    flows: str = setting("on", "whether `up` starts Prefect and the flows: on or off")
    alert_webhook_url: str = setting(
        "",
        "address that alerts are posted to as Slack's JSON, https://...; it is a secret; none: as"
        " at the last `up`, `off`: no more",
        repr=False,
    )
    alert_smtp_url: str = setting(
        "",
        "mail server for alerts, smtp://user:password@host:587 or smtps://...; none: as at the last"
        " `up`, `off`: no more",
        repr=False,
    )
    alert_email_to: str = setting("", "mailbox that alerts are sent to")
    alert_email_from: str = setting("", "mailbox that alerts come from; none: the one they go to")
    completeness_permille_min: int = setting(
        990, "least part of the last hour, in thousandths, that a feed's gaps must leave", 0, 1_000
    )
    quality_percent_min: int = setting(
        95, "least quality score of a dataset, in hundredths", 0, 100
    )
    torch_device: str = setting(
        "cpu", "where sequence models are trained and predict, by torch's name: cpu, cuda, cuda:1"
    )
    fault_plan: str = setting("", "faults at named steps, for fault runs only; see lake.steps")

    def __post_init__(self) -> None:
        if self.profile and self.profile not in PROFILES:
            raise BadInput(variable("profile"), f"{self.profile!r} is unknown", names(PROFILES))
        words = {
            "flows": ("on", "off"),
            "old_write": ("on", "off"),
            "s3_encrypt": ("on", "off"),
            "streams": STREAMS,
        }
        for name, known in words.items():
            if getattr(self, name) not in known:
                fault = f"{getattr(self, name)!r} is unknown"
                raise BadInput(variable(name), fault, " or ".join(known))
        for each in fields(self):
            value = getattr(self, each.name)
            low, high = each.metadata["low"], each.metadata["high"]
            if isinstance(value, int) and not low <= value <= high:
                raise BadInput(
                    variable(each.name),
                    f"{value} is out of bounds",
                    f"at least {low}, at most {high}",
                )

    def __repr__(self) -> str:
        shown = [f"{each.name}={self._shown(each.name, each.repr)}" for each in fields(self)]
        return f"Settings({', '.join(shown)})"

    def _shown(self, name: str, whole: bool) -> str:
        value = getattr(self, name)
        return repr(value) if whole or not value else "'***'"

    def variables(self) -> dict[str, str]:
        """Return what is set, as variables: what a process started later is to go by too."""
        return {
            variable(each.name): str(value)
            for each in fields(self)
            if each.name not in OF_ONE_PROCESS
            and (value := getattr(self, each.name)) != each.default
        }

    @property
    def pinned(self) -> tuple[str, ...]:
        """Return the pinned tickers."""
        return tuple(filter(None, (each.strip() for each in self.hot_pinned_tickers.split(","))))

    @property
    def journal(self) -> Path:
        """Return the folder of the journals, one below it per shard."""
        return self.home / "journal"

    @property
    def warehouse(self) -> Path:
        """Return the folder of the lake's files."""
        return self.home / "warehouse"

    @property
    def log(self) -> Path:
        """Return the folder of logs."""
        return self.home / "log"


def from_env(
    environ: Mapping[str, str], *, kept: Mapping[str, str] | None = None, **given: object
) -> Settings:
    """Read settings; `given` (not None) goes first. BadInput for an unknown or unfit one.

    kept: variables that hold where the environment is silent. No home: the nearest of this folder.
    """
    environ = {**(kept or {}), **environ}
    values: dict[str, Any] = {}
    for each in fields(Settings):
        if given.get(each.name) is not None:
            values[each.name] = given[each.name]
        elif environ.get(variable(each.name)):
            values[each.name] = parsed(each.name, str(each.type), environ[variable(each.name)])
    known = {variable(each.name) for each in fields(Settings)}
    unknown = sorted(k for k in environ if is_ours(k) and k not in known)
    if unknown:
        raise BadInput(unknown[0], "no such setting", names(sorted(known)))
    return Settings(**{"home": near(Path.cwd()), **values})


__all__ = ["AUTO", "GIBIBYTE", "HOME", "MEBIBYTE", "OFF", "PREFIX", "PROFILES", "Settings"]
__all__ += ["from_env", "variable"]
