"""Servers beyond loopback: what is refused, and which certificates will do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.command.main import run
from infra.native import plans
from infra.native.plans import Wiring
from infra.native.software import Software
from infra.native.stack import PASSWORDS
from infra.native.stack_state import prefect_state
from infra.servers.authority import Pair, make_ca, make_server
from infra.servers.buckets import Buckets
from infra.servers.certificates import FILES, FOLDER, set_door
from infra.servers.door import ENTRY, LOCAL, MADE, OFF, Door, door_of
from infra.servers.flow_servers import client_variables
from infra.servers.ports import LOOPBACK
from infra.servers.web_server import Web
from lake.clock import ManualClock, SystemClock
from lake.errors import BadInput
from lake.state import read_state

CLOCK = SystemClock()
NOW = datetime.now(UTC)
DAY_US = 86_400_000_000


def given(folder: Path, ca: Pair, server: Pair) -> str:
    """Write a folder as an operator gives it."""
    folder.mkdir()
    for name, text in zip(FILES, (ca.certificate, server.certificate, server.key), strict=True):
        (folder / name).write_bytes(text)
    return str(folder)


def test_a_home_begins_on_loopback_and_stays_as_it_was_left(tmp_path: Path) -> None:
    assert door_of(tmp_path) == LOCAL
    set_door(tmp_path, "", "", CLOCK)
    assert door_of(tmp_path) == LOCAL
    set_door(tmp_path, "0.0.0.0", MADE, CLOCK)
    opened = door_of(tmp_path)
    assert opened == Door("0.0.0.0", "127.0.0.1", tmp_path / FOLDER)
    set_door(tmp_path, "", "", CLOCK)
    assert (door_of(tmp_path), door_of(tmp_path).digest()) == (opened, opened.digest())
    set_door(tmp_path, "127.0.0.1", OFF, CLOCK)
    assert door_of(tmp_path) == LOCAL


@pytest.mark.parametrize("before", [(), ("127.0.0.1", MADE)])
def test_nothing_listens_beyond_loopback_without_tls(
    before: tuple[str, str], tmp_path: Path
) -> None:
    if before:
        set_door(tmp_path, *before, CLOCK)
    held = door_of(tmp_path)
    with pytest.raises(BadInput, match=r"0\.0\.0\.0 is not 127.* in the clear: set TICKLAKE_TLS="):
        set_door(tmp_path, "0.0.0.0", OFF, CLOCK)
    assert door_of(tmp_path) == held


def test_what_is_no_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'everywhere' is no IPv4 address"):
        set_door(tmp_path, "everywhere", MADE, CLOCK)


@pytest.mark.parametrize(
    "words",
    [["--listen", "0.0.0.0"], ["--tls", "made"], ["--listen", "0.0.0.0", "--tls", "made"]],
)
def test_the_embedded_profile_stays_on_loopback(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["up", "--home", str(tmp_path / "home"), *words]) == 1
    said = capsys.readouterr().err
    assert "without TLS" in said
    assert said.count("\n") == 1


def wiring(home: Path, door: Door) -> Wiring:
    passwords = {name: f"word of {name}" for name in PASSWORDS}
    buckets = Buckets("a-lake", "some-models")
    return Wiring(Software(home), home, 5432, 9000, passwords, buckets, door)


def test_without_tls_prefect_and_mlflow_ask_for_nothing_and_stay_on_loopback(
    tmp_path: Path,
) -> None:
    plain = wiring(tmp_path, LOCAL)
    for plan in (plans.prefect(plain)(4200), plans.mlflow(plain)(5000)):
        assert plan.words[plan.words.index("--host") + 1] == LOOPBACK
        assert "page" not in " ".join(plan.environment.values())
    entry = prefect_state(Web(1, 4200), plain)
    assert client_variables(entry) == {"PREFECT_API_URL": "http://127.0.0.1:4200/api"}


def test_prefect_and_mlflow_ask_for_a_password_behind_tls(tmp_path: Path) -> None:
    set_door(tmp_path, "0.0.0.0", MADE, CLOCK)
    wired = wiring(tmp_path, door_of(tmp_path))
    passwords = wired.passwords
    prefect, models = plans.prefect(wired)(4200), plans.mlflow(wired)(5000)
    for plan in (prefect, models):
        assert plan.words[plan.words.index("--host") + 1] == "0.0.0.0"
        assert str(wired.door.certificate) in " ".join(plan.words)
        assert not [word for word in passwords.values() if word in " ".join(plan.words)]
    login = f"ticklake:{passwords['prefect_page']}"
    assert prefect.environment["PREFECT_SERVER_API_AUTH_STRING"] == login
    assert models.environment["MLFLOW_AUTH_ADMIN_PASSWORD"] == passwords["mlflow_page"]
    entry = prefect_state(Web(1, 4200), wired)
    worker = plans.worker(wired, entry)(4201)
    assert worker.environment["PREFECT_API_AUTH_STRING"] == login
    before = worker.digest()
    (tmp_path / FOLDER / "ca.crt").write_text("of another")
    assert plans.worker(wired, entry)(4201).digest() != before
    assert worker.environment["PREFECT_API_SSL_CERT_FILE"] == str(wired.door.ca)
    assert worker.environment["PREFECT_WORKER_WEBSERVER_HOST"] == LOOPBACK
    for word in ("s3", "postgres", "valkey"):  # MLflow's own key is all that it comes with
        assert passwords[word] not in models.environment.values()
    assert models.environment["AWS_SECRET_ACCESS_KEY"] == passwords["s3_mlflow"]
    assert models.environment["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://some-models"


def test_the_authority_stays_when_the_servers_names_change(tmp_path: Path) -> None:
    set_door(tmp_path, "127.0.0.1", MADE, CLOCK)
    first = {name: (tmp_path / FOLDER / name).read_bytes() for name in FILES}
    set_door(tmp_path, "10.1.2.3", "", CLOCK)
    assert door_of(tmp_path).name == "10.1.2.3"
    then = {name: (tmp_path / FOLDER / name).read_bytes() for name in FILES}
    assert then["ca.crt"] == first["ca.crt"]
    assert then["server.crt"] != first["server.crt"]


def test_what_we_made_is_made_anew_before_it_expires(tmp_path: Path) -> None:
    clock = ManualClock(CLOCK.now_us())
    made = []
    for days in (0, 300, 90):
        clock.advance(days * DAY_US)
        set_door(tmp_path, "127.0.0.1", MADE, clock)
        made.append((tmp_path / FOLDER / "server.crt").read_bytes())
    assert made[0] == made[1] != made[2]


def test_keys_are_their_owner_s_alone(tmp_path: Path) -> None:
    set_door(tmp_path, "127.0.0.1", MADE, CLOCK)
    modes = {p.name: p.stat().st_mode & 0o77 for p in (tmp_path / FOLDER).rglob("*.*")}
    closed = {"ca.key", "server.key", "server.pem", "private.key"}
    assert {name for name, mode in modes.items() if not mode} == closed


def test_certificates_of_a_firm_are_taken_and_clients_use_their_name(tmp_path: Path) -> None:
    ca = make_ca("a firm", NOW)
    place = given(tmp_path / "firm", ca, make_server(ca, ["lake.example.org"], NOW))
    set_door(tmp_path, "0.0.0.0", place, CLOCK)
    assert door_of(tmp_path).name == "lake.example.org"
    assert read_state(tmp_path)[ENTRY]["source"] == place
    assert not (tmp_path / FOLDER / "ca.key").exists()


def test_certificates_of_no_use_are_refused_by_file(tmp_path: Path) -> None:
    ca, other = make_ca("one", NOW), make_ca("other", NOW)
    good = make_server(ca, ["127.0.0.1"], NOW)
    old = make_server(ca, ["127.0.0.1"], NOW - timedelta(days=400))
    nameless = make_server(ca, ["*.example.org"], NOW)
    cases = {
        "server.crt: is not signed by ca.crt": (other, good),
        "server.crt: expired on": (ca, old),
        "server.crt: is for none of the names": (ca, nameless),
        "server.key: is not server.crt's": (ca, Pair(good.certificate, old.key)),
        "server.key: is no PEM key": (ca, Pair(good.certificate, b"")),
        "ca.crt: is no PEM certificate": (Pair(b"x", b""), good),
    }
    for number, (said, pairs) in enumerate(cases.items()):
        place = given(tmp_path / str(number), *pairs)
        with pytest.raises(BadInput, match=said):
            set_door(tmp_path, "0.0.0.0", place, CLOCK)
    (tmp_path / "0" / "ca.crt").unlink()
    with pytest.raises(BadInput, match=r"ca\.crt: No such file"):
        set_door(tmp_path, "0.0.0.0", str(tmp_path / "0"), CLOCK)
    assert door_of(tmp_path) == LOCAL
