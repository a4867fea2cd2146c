"""What an operator sees of a flow before it runs: meaning, types, limits, schedule."""

from __future__ import annotations

import inspect
import pkgutil
import re
import threading
from datetime import timedelta
from importlib import import_module
from itertools import accumulate
from pathlib import Path

import pytest
import yaml
from prefect import Flow, Task
from prefect.client.schemas.schedules import IntervalSchedule

import flows.scheduled
from flows.missed import MADE_UP_MAX
from flows.pool import FILE, POOL_PREFIX, with_pauses
from flows.scheduled.schedule import ANCHOR
from flows.scheduled.schedules import SCHEDULES
from flows.serve import RUNS_AT_ONCE_MAX, deployments, keep_schedules, unneeded
from infra.native import plans

NAMES = [f"flows.scheduled.{each.name}" for each in pkgutil.iter_modules(flows.scheduled.__path__)]


class Stop(threading.Event):
    """An event that nobody waits for."""

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once."""
        return False


THINGS = [
    each
    for name in NAMES
    for each in vars(import_module(name)).values()
    if isinstance(each, Flow | Task)
]
FLOWS = [each for each in THINGS if isinstance(each, Flow)]
TASKS = [each for each in THINGS if isinstance(each, Task)]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_a_flow_says_what_it_does_and_ends_in_time(flow: Flow) -> None:
    assert flow.description
    assert flow.timeout_seconds
    parameters = inspect.signature(flow.fn).parameters.values()
    assert all(each.annotation is not each.empty for each in parameters)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_a_flow_shows_how_far_it_is_and_what_it_did(flow: Flow) -> None:
    text = inspect.getsource(flow.fn)
    assert re.search(r"\b(Progress|in_one|run_bars)\(", text)
    assert re.search(r"\b(create_(markdown|table)_artifact|run_bars)\(", text)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_waits_longer_from_try_to_try(task: Task) -> None:
    assert task.description
    assert task.retries
    waits = task.retry_delay_seconds
    assert isinstance(waits, list)
    assert len(waits) == task.retries
    assert waits == sorted(set(waits))


def test_every_deployment_has_tags_a_schedule_and_a_limit() -> None:
    made = deployments(Path("a home"))
    assert {each.name for each in made} == {each.name for each in SCHEDULES}
    assert len(made) == len(SCHEDULES)
    for each in made:
        assert "ticklake" in each.tags
        assert each.schedules
        assert each.concurrency_limit == 1
        assert each.parameters == {"home": "a home"}


def test_the_pool_s_file_names_flows_that_there_are() -> None:
    document = yaml.safe_load(FILE.read_text())
    entries = [each["entrypoint"].rpartition(".") for each in document["deployments"]]
    found = [getattr(import_module(module), name) for module, _, name in entries]
    assert all(isinstance(each, Flow) for each in found)
    assert {each.name for each in found} == {each.flow_name for each in deployments(Path("."))}


def test_the_pool_s_flows_run_when_those_of_the_process_that_stays_do() -> None:
    """As often, and at the same times, which no new start of the process moves."""
    document = yaml.safe_load(FILE.read_text())
    found = {
        each["name"].removeprefix(POOL_PREFIX): (
            each["schedules"][0]["interval"],
            each["schedules"][0]["anchor_date"],
        )
        for each in document["deployments"]
    }
    assert found == {
        each.name: (each.every.total_seconds(), each.anchor.isoformat()) for each in SCHEDULES
    }
    served = {each.name: each.schedules[0].schedule for each in deployments(Path("a home"))}
    assert {
        name: (one.interval, one.anchor_date)
        for name, one in served.items()
        if isinstance(one, IntervalSchedule)
    } == {each.name: (each.every, each.anchor) for each in SCHEDULES}


def test_no_two_flows_of_a_day_start_at_once() -> None:
    starts = [each.anchor.time() for each in SCHEDULES if each.every >= timedelta(days=1)]
    assert len(set(starts)) == len(starts)


def test_long_flows_leave_a_run_to_the_others_even_when_each_takes_all_its_time() -> None:
    """Over a quarter, with a missed one made up for, and by the same limit however they run."""
    assert RUNS_AT_ONCE_MAX == plans.RUNS_AT_ONCE_MAX
    hour, end = timedelta(hours=1), ANCHOR + timedelta(days=92)
    moves = []
    for each in SCHEDULES:
        took = timedelta(seconds=float(each.flow.timeout_seconds or 0))
        if took > hour:
            start = each.anchor
            while start < end:
                moves += [(start, 1), (start + took, -1)]
                start += each.every
    by_the_clock = max(accumulate(change for _, change in sorted(moves)))
    assert by_the_clock + MADE_UP_MAX < RUNS_AT_ONCE_MAX


def test_schedules_wait_for_a_server_that_goes_away_and_end_with_a_signal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = iter([False, True, False, True])
    served = iter([ExceptionGroup("loops", [RuntimeError("Service exceeded error threshold.")])])

    def serve_them() -> None:
        if (fault := next(served, None)) is not None:
            raise fault

    keep_schedules(Stop(), lambda: next(there), serve_them)
    assert list(there) == []
    said = capsys.readouterr().err
    assert "schedules: RuntimeError: Service exceeded" in said
    assert "they go on when Prefect's server answers again" in said


@pytest.mark.parametrize("old", ["", "postgresql://reader@old/rrr"])
def test_what_a_home_has_no_need_of_is_paused_in_the_pool_as_in_the_process_that_stays(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKLAKE_OLD_DSN", old)
    document = yaml.safe_load(with_pauses(FILE.read_text(), unneeded(tmp_path)))
    pool = {
        each["name"].removeprefix(POOL_PREFIX): each["paused"] for each in document["deployments"]
    }
    assert pool == {each.name: bool(each.paused) for each in deployments(tmp_path)}
    assert [name for name, paused in pool.items() if paused] == ([] if old else ["follow"])
