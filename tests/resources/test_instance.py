"""The Dagster instance: racing first starts do not harm it, and dead runs give their slots back."""

import itertools
import os
import subprocess
import sys
import threading
import time

import dagster as dg
import psutil
import pytest

from resources.instance import (
    LOOK,
    POOL,
    WANTS,
    describe_instance,
    free_dead_slots,
    is_alive,
    name_process,
    open_instance,
    prepare_instance,
    take_turn,
)
from resources.settings import ROOT


@pytest.fixture(autouse=True)
def keep_dagster_home(monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")


def test_first_starts_at_once_leave_a_sound_instance(tmp_path):
    code = "from pathlib import Path; from resources.instance import prepare_instance; "
    code += f"prepare_instance(Path({str(tmp_path)!r}))"
    starts = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [start.wait(120) for start in starts] == [0, 0, 0]
    with open_instance(tmp_path) as instance:
        assert instance.get_runs_count() == 0


def test_the_configuration_is_rewritten_if_it_is_lost(tmp_path):
    prepare_instance(tmp_path)
    (tmp_path / "dagster" / "dagster.yaml").unlink()
    prepare_instance(tmp_path)
    assert "free_slots_after_run_end_seconds" in (tmp_path / "dagster" / "dagster.yaml").read_text()


def test_a_process_is_named_by_pid_and_start():
    assert is_alive(name_process())
    assert not is_alive(f"{os.getpid()}-1")
    assert not is_alive("999999999-1")


def test_runs_of_dead_processes_are_failed_and_others_left(tmp_path):
    with open_instance(tmp_path) as instance:
        dead = instance.create_run_for_job(job(), tags={"falx/process": "999999999-1"})
        alive = instance.create_run_for_job(job(), tags={"falx/process": name_process()})
        for run in (dead, alive):
            start(instance, run)
        assert free_dead_slots(instance) == [dead.run_id]
        assert instance.get_run_by_id(dead.run_id).status is dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(alive.run_id).status is dg.DagsterRunStatus.STARTED


def hold_slot(instance: dg.DagsterInstance, process: str) -> dg.DagsterRun:
    tags = {"falx/process": process, "falx/command": "make train", "dagster/partition": "patient|cnn3"}
    run = instance.create_run_for_job(job(), tags=tags)
    start(instance, run)
    instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    claimed = instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "model")
    assert claimed.is_claimed
    return run


def pass_by(instance: dg.DagsterInstance, told: list[str]) -> None:
    with take_turn(instance, told.append):
        pass


def test_a_command_that_waits_for_its_turn_says_for_whom_and_sleeps(tmp_path, monkeypatch):
    told = []
    with open_instance(tmp_path) as instance:
        pass_by(instance, told)
        run = hold_slot(instance, name_process())
        looks = []

        def sleep(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)

        monkeypatch.setattr("resources.instance.time.sleep", sleep)
        pass_by(instance, told)
    assert looks == [LOOK] * 3
    assert told == [
        f"waiting for make train patient|cnn3 (run {run.run_id[:8]}, process {os.getpid()}): "
        "1 at a time, as FALX_TRAININGS says; goes on by itself"
    ]


def test_a_slot_of_a_dead_process_is_not_waited_for(tmp_path):
    told = []
    with open_instance(tmp_path) as instance:
        hold_slot(instance, "999999999-1")
        pass_by(instance, told)
        assert not told and not instance.event_log_storage.get_concurrency_info(POOL).active_slot_count


def test_a_command_between_two_of_its_steps_is_waited_for_though_it_holds_no_slot(tmp_path, monkeypatch):
    told = []
    with open_instance(tmp_path) as instance:
        tags = {"falx/process": name_process(), "falx/command": "make folds", WANTS: POOL}
        run = instance.create_run_for_job(job(), tags=tags)
        start(instance, run)
        instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
        monkeypatch.setattr("resources.instance.time.sleep", lambda _: instance.report_run_failed(run))
        pass_by(instance, told)
    assert told == [
        f"waiting for make folds (run {run.run_id[:8]}, process {os.getpid()}): "
        "1 at a time, as FALX_TRAININGS says; goes on by itself"
    ]


def test_with_more_trainings_at_once_a_held_slot_is_not_waited_for(tmp_path):
    told = []
    with open_instance(tmp_path) as instance:
        hold_slot(instance, name_process())
    with open_instance(tmp_path, at_once=2) as instance:
        pass_by(instance, told)
    assert not told


WAITER = """
import sys, time
from pathlib import Path
from resources.instance import open_instance, take_turn
home, log, at_once = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with open_instance(home, at_once=at_once) as instance, take_turn(instance, lambda _: None):
    with log.open("a") as lines:
        lines.write("+")
    time.sleep(0.4)
    with log.open("a") as lines:
        lines.write("-")
"""


@pytest.mark.parametrize("at_once", [1, 2])
def test_of_several_that_wait_no_more_pass_than_may(tmp_path, at_once):
    with open_instance(tmp_path, at_once=at_once) as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    log = tmp_path / "log"
    command = [sys.executable, "-c", WAITER, str(tmp_path), str(log), str(at_once)]
    waiters = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [waiter.wait(120) for waiter in waiters] == [0] * 4
    inside = list(itertools.accumulate(1 if sign == "+" else -1 for sign in log.read_text()))
    assert len(inside) == 8 and inside[-1] == 0
    assert max(inside) <= at_once


def test_the_place_of_a_killed_command_is_free(tmp_path):
    told = []
    with open_instance(tmp_path) as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
        log = tmp_path / "log"
        code = WAITER.replace("time.sleep(0.4)", "time.sleep(600)")
        holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(log), "1"], cwd=ROOT)
        while not log.is_file():
            assert holder.poll() is None
            time.sleep(0.05)
        killer = threading.Timer(1.5, holder.kill)
        killer.start()
        begun = time.monotonic()
        pass_by(instance, told)
        assert time.monotonic() - begun > 1
        holder.wait(60)
        killer.join()
    assert told == ["waiting for a command: 1 at a time, as FALX_TRAININGS says; goes on by itself"]


def start(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    instance.report_dagster_event(
        dg.DagsterEvent("PIPELINE_START", job_name=run.job_name, message="started"), run_id=run.run_id
    )


def job() -> dg.JobDefinition:
    @dg.op
    def nothing():
        return None

    @dg.job(name="nothing_job")
    def nothing_job():
        nothing()

    return nothing_job


def test_an_older_configuration_is_replaced_at_the_next_start(tmp_path):
    prepare_instance(tmp_path)
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: true}\n")
    prepare_instance(tmp_path)
    assert (tmp_path / "dagster" / "dagster.yaml").read_text() == describe_instance(1)


def test_the_pool_holds_as_many_trainings_as_the_settings_say(tmp_path):
    with open_instance(tmp_path, at_once=3) as instance:
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 3
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 4
    with open_instance(tmp_path) as instance:
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1


def test_a_clock_that_was_set_kills_nobody():
    pid, started = name_process().split("-")
    assert is_alive(f"{pid}-{int(started) + 1}")
    assert is_alive(f"{pid}-{int(started) - 1}")
    assert not is_alive(f"{pid}-{int(started) - 60}")


def test_a_process_that_ended_and_waits_to_be_reaped_is_dead():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        started = int(psutil.Process(process.pid).create_time())
        deadline = time.monotonic() + 20
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not is_alive(f"{process.pid}-{started}")
