"""Servers that others run: where they are, from the environment that compose and Kubernetes set.

The names are those of infra/config/trino and infra/compose.yaml; they are no settings of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from infra.servers import store_users
from infra.servers.buckets import LAKE, MODELS, Buckets
from lake.errors import BadInput
from lake.roles import ROLES, database_role
from lake.state import with_user

DEFAULTS = {
    "POSTGRES_PORT": "5432",
    "POSTGRES_DB": "ticklake",
    "POSTGRES_USER": "ticklake",
    "REDIS_PORT": "6379",
    "S3_REGION": "us-east-1",
    "S3_BUCKET": LAKE,
    "S3_MODELS_BUCKET": MODELS,
}
REQUIRED = (
    "POSTGRES_HOST",
    "POSTGRES_PASSWORD",
    "REDIS_HOST",
    "REDIS_PASSWORD",
    "S3_ENDPOINT",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
)
OPTIONAL = {
    "trino": "TRINO_URL",
    "prefect": "PREFECT_API_URL",
    "mlflow": "MLFLOW_TRACKING_URI",
}
"""Servers that may be missing, and the variable of each one's address."""

CLIENT_WAYS = {
    "prefect": {"ca": "PREFECT_API_SSL_CERT_FILE", "login": "PREFECT_API_AUTH_STRING"},
    "mlflow": {
        "ca": "MLFLOW_TRACKING_SERVER_CERT_PATH",
        "user": "MLFLOW_TRACKING_USERNAME",
        "password": "MLFLOW_TRACKING_PASSWORD",
    },
}
"""What their own clients read of whom to trust, and of a login; it is in the state, too."""


READS_MODELS = "service"
"""The role that MLflow knows (infra.native.model_users)."""


def from_env(environ: Mapping[str, str], role: str = "") -> dict[str, Any]:
    """Return the state (lake.state) that these variables say; BadInput names one that is missing.

    Passwords may hold any character. A role with a password, ANALYST_PASSWORD and so on, has it in
    the database; its keys in the store are ANALYST_S3_ACCESS_KEY and ANALYST_S3_SECRET_KEY, without
    which `up` makes some where it can (infra.servers.given); MLFLOW_PASSWORD is MLflow's secret key
    there, unless it has one of its own. One comes into Prefect and MLflow by the variables of their
    own clients (PREFECT_API_AUTH_STRING; MLFLOW_TRACKING_USERNAME and _PASSWORD; the service alone
    comes in as itself, where neither is said and MLFLOW_TRACKING_SERVER_CERT_PATH is). TLS_CA is a
    file of certificates: the stores are then reached by TLS alone, Trino by the roles' passwords
    too, TRINO_PASSWORD the owner's. TRINO_CA is one for Trino alone, REDIS_CA for Redis alone,
    where the others are reached as they are.
    role: the state is of that role alone, whose password stands in the place of the
    owner's; nobody else's is asked for, or kept.
    """
    if role:
        environ = _of_role(environ, role)
    found = {name: environ.get(name) or DEFAULTS.get(name, "") for name in (*REQUIRED, *DEFAULTS)}
    for name in REQUIRED:
        if not found[name]:
            raise BadInput(name, "is not set", "the given profile learns its servers from it")
    postgres = f"{found['POSTGRES_HOST']}:{found['POSTGRES_PORT']}/{found['POSTGRES_DB']}"
    user, password = (quote(found[f"POSTGRES_{part}"], safe="") for part in ("USER", "PASSWORD"))
    redis = f"{found['REDIS_HOST']}:{found['REDIS_PORT']}/0"
    buckets = Buckets(found["S3_BUCKET"], found["S3_MODELS_BUCKET"])
    state: dict[str, Any] = {
        "postgres": {"dsn": f"postgresql://{user}:{password}@{postgres}"},
        "valkey": {"url": f"redis://:{quote(found['REDIS_PASSWORD'], safe='')}@{redis}"},
        "s3": {
            "endpoint": found["S3_ENDPOINT"],
            "region": found["S3_REGION"],
            "bucket": buckets.lake,
            "models_bucket": buckets.models,
            "access_key": found["S3_ACCESS_KEY"],
            "secret_key": found["S3_SECRET_KEY"],
        },
        "warehouse": {"location": f"s3://{buckets.lake}/warehouse"},
    }
    roles = {name: environ.get(f"{name.upper()}_PASSWORD") for name in ROLES}
    found_roles = {
        name: {
            "dsn": with_user(state["postgres"]["dsn"], database_role(name), word),
            **_keys(name, environ),
            **({"trino": {"user": name}} if ROLES[name].asks_trino else {}),
        }
        for name, word in roles.items()
        if word
    }
    state |= {"roles": found_roles} if found_roles else {}
    mlflow = store_users.MLFLOW.upper()
    if environ.get(f"{mlflow}_PASSWORD") and not environ.get(f"{mlflow}_S3_ACCESS_KEY"):
        state["models"] = {"secret_key": environ[f"{mlflow}_PASSWORD"]}
    for server, name in OPTIONAL.items():
        if environ.get(name):
            state[server] = {"url": environ[name], **_ways_in(server, environ)}
    if "trino" in state:
        state["trino"]["user"] = environ.get("TRINO_USER") or "ticklake"
        if environ.get("TRINO_PASSWORD"):
            state["trino"]["password"] = environ["TRINO_PASSWORD"]
    ca = environ.get("TLS_CA") or ""
    trusting(state, ca, environ.get("REDIS_CA") or ca)
    return by_password(state, environ.get("TRINO_CA") or ca, roles)


def _ways_in(server: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return how one comes into Prefect or MLflow, by the variables of their own clients."""
    ways = CLIENT_WAYS.get(server, {})
    return {way: environ[name] for way, name in ways.items() if environ.get(name)}


def _of_role(environ: Mapping[str, str], role: str) -> dict[str, str]:
    """Return an environment in which the owner is a role; without keys of its own, it has those
    that MinIO gave it.
    """
    if role not in ROLES:
        raise BadInput(f"role {role}", "there is none", f"of {', '.join(ROLES)}")
    password = environ.get(f"{role.upper()}_PASSWORD") or ""
    if not password:
        fault = f"the home is of the role {role} alone"
        raise BadInput(f"{role.upper()}_PASSWORD", "is not set", fault)
    keys = _keys(role, environ).get("s3", {"access_key": role, "secret_key": password})
    others = {f"{name.upper()}_PASSWORD" for name in (*ROLES, store_users.MLFLOW, "trino")}
    others.add("PREFECT_API_AUTH_STRING")  # who comes in there runs what he likes
    trino = {"TRINO_USER": role} if ROLES[role].asks_trino else {"TRINO_URL": ""}
    if environ.get("TLS_CA") or environ.get("TRINO_CA"):  # else it believes the name
        trino["TRINO_PASSWORD"] = password
    ways, models = CLIENT_WAYS["mlflow"], {}
    asked = [environ.get(ways[way]) for way in ("user", "password")]
    if role == READS_MODELS and environ.get(ways["ca"]) and not any(asked):
        models = {ways["user"]: role, ways["password"]: password}
    return {
        **{name: value for name, value in environ.items() if name not in others},
        **models,
        **trino,
        "POSTGRES_USER": database_role(role),
        "POSTGRES_PASSWORD": password,
        "S3_ACCESS_KEY": keys["access_key"],
        "S3_SECRET_KEY": keys["secret_key"],
    }


def _keys(role: str, environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return a role's own keys in the store, where it is said to have some."""
    names = {key: f"{role.upper()}_S3_{key.upper()}" for key in ("access_key", "secret_key")}
    found = {key: environ.get(name) or "" for key, name in names.items()}
    if not any(found.values()):
        return {}
    for key, name in names.items():
        if not found[key]:
            raise BadInput(name, "is not set", "a role's keys are two, or leave both out")
    return {"s3": found}


def trusting(state: dict[str, Any], ca: str, redis_ca: str) -> None:
    """Have the stores reached by TLS, vouched for by these files; "": as they are.

    S3 is by its own scheme.
    """
    if redis_ca:
        url = state["valkey"]["url"].replace("redis://", "rediss://", 1)
        state["valkey"]["url"] = f"{url}?ssl_ca_certs={quote(redis_ca, safe='')}"
    if not ca:
        return
    libpq = f"?sslmode=verify-full&sslrootcert={quote(ca, safe='')}"
    state["postgres"]["dsn"] += libpq
    if state["s3"]["endpoint"].startswith("https://"):
        state["s3"]["ca"] = ca
    for each in state.get("roles", {}).values():
        each["dsn"] += libpq


def by_password(
    state: dict[str, Any], ca: str, passwords: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the state with Trino vouched for by this file, where it is reached by TLS; each role
    has its password there then too.

    passwords: by role.
    """
    if ca and state.get("trino", {}).get("url", "").startswith("https://"):
        state["trino"]["ca"] = ca
        for name, each in state.get("roles", {}).items():
            if "trino" in each:
                each["trino"]["password"] = passwords[name]
    return state
