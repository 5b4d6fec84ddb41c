"""What Slurm says and is told, without one; tests/slurm has the engine on a real one."""

import os
from pathlib import Path

import pytest

from jaxedit.batches import slurm
from jaxedit.batches.batch import Job, jobs
from jaxedit.batches.pool import Ended, Running
from jaxedit.batches.slurm import Slurm, State, Task, check_slurm, queued
from jaxedit.errors import UserError
from jaxedit.launch import slurm_options
from tests.jobs import batch, player, story

ASKED = {"partition": "gpu", "gpus": 2, "time": 60, "nodes": 1, "tasks": 2}
NOTHING = {"cpus": None, "memory": None}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    [job] = jobs(batch("a"), tmp_path)
    return job


def fake(directory: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


def seen(monkeypatch: pytest.MonkeyPatch, job: Job, state: State | None) -> Running | Ended:
    """How a job that has been submitted is found if Slurm says this of it."""
    monkeypatch.setattr(slurm, "queued", lambda: {} if state is None else {"7_0": state})
    [found] = Slurm(job.out, 1).look([Running(job, "Slurm job 7_0", "7_0", 0)])
    return found


def test_the_queue_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lines = "7_0  RUNNING  0  None  gpu007\\n7_1  PENDING  0  Priority\\n8  FAILED  512  NonZero  a"
    fake(tmp_path, "squeue", f"printf '{lines}\\n'", monkeypatch)
    assert queued() == {
        "7_0": State("RUNNING", 0, "None", "gpu007"),
        "7_1": State("PENDING", 0, "Priority", ""),
        "8": State("FAILED", 512, "NonZero", "a"),
    }
    fake(tmp_path, "squeue", "exit 1", monkeypatch)
    assert queued() is None


def test_what_slurm_says_of_a_job(job: Job, monkeypatch: pytest.MonkeyPatch):
    def look(*state: str | int) -> Running | Ended:
        return seen(monkeypatch, job, State(*state) if state else None)  # type: ignore[arg-type]

    waiting = look("PENDING", 0, "Priority", "")
    assert isinstance(waiting, Running) and waiting.begun is None
    held = look("PENDING", 0, "PartitionConfig", "")
    assert isinstance(held, Running) and held.where == "Slurm job 7_0 waits: PartitionConfig"
    running = look("RUNNING", 0, "None", "gpu007")
    assert isinstance(running, Running) and running.where == "Slurm job 7_0 on gpu007"
    assert running.begun is not None
    assert isinstance(look("COMPLETING", 0, "None", "gpu007"), Running)
    assert look("COMPLETED", 0, "None", "a") == Ended(0, "it printed nothing")
    job.log.write_text("far\nnear\n")
    assert look("FAILED", 2 << 8, "NonZeroExitCode", "a") == Ended(2, "near")
    assert look("TIMEOUT", 0, "TimeLimit", "a") == Ended(None, "Slurm says TIMEOUT; near")
    assert look() == Ended(None, "near")  # Slurm has forgotten it
    monkeypatch.setattr(slurm, "queued", lambda: None)  # its controller is away
    assert Slurm(job.out, 1).look([running]) == [running]


def test_what_a_task_executes(job: Job):
    Task(job, tuple(player({})(job)))()
    assert job.state() == "done" and story(job.out)[0] == "begin a"
    with pytest.raises(SystemExit) as ended:
        Task(job, tuple(player({"a": "mistake"})(job)))()
    assert ended.value.code == 2 and "the input is wrong" in job.log.read_text()
    with pytest.raises(SystemExit) as ended:
        Task(job, tuple(player({"a": "die"})(job)))()
    assert ended.value.code == 128 + 9


def test_what_sbatch_is_asked_for():
    options = slurm_options({**ASKED, **NOTHING}, ["account=me", "constraint=a=b"])
    assert options == {
        "slurm_partition": "gpu",
        "gpus_per_node": 2,
        "timeout_min": 60,
        "nodes": 1,
        "tasks_per_node": 2,
        "slurm_additional_parameters": {"account": "me", "constraint": "a=b"},
        "slurm_srun_args": ["--kill-on-bad-exit=1"],
    }
    more = slurm_options({**ASKED, "gpus": 0, "cpus": 4, "memory": 32}, [])
    assert "gpus_per_node" not in more and "slurm_additional_parameters" not in more
    assert more["slurm_srun_args"][-1] == "--cpus-per-task=4" and more["mem_gb"] == 32
    with pytest.raises(UserError, match=r"--sbatch=exclusive: give options with values"):
        slurm_options({**ASKED, **NOTHING}, ["exclusive"])


def test_where_nothing_can_be_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"--engine=slurm: (needs submitit|squeue does not answer)"):
        check_slurm()
