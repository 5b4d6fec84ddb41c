"""How processes find each other, and that several are one run."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxedit import hosts
from jaxedit.config import run_config
from jaxedit.errors import UserError
from jaxedit.hosts import Hosts, of_slurm, slurm_devices
from jaxedit.ledger import locked, read_json
from jaxedit.metrics import Answer
from jaxedit.run import run
from tests.processes import arguments, finish, start
from tests.tiny_run import raw_config, write_config, write_inputs

STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "gpu[007-008]",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
}

MEASURED = ("magnitude", "probability", "per_target", "pooled")  # readings that count nothing


def step(**more: str) -> dict[str, str]:
    """The environment of a task as srun sets it, with some variables changed."""
    names = {"local": "SLURM_LOCALID", "node": "SLURM_NODEID", "tasks": "SLURM_STEP_NUM_TASKS"}
    names |= {"here": "SLURM_STEP_TASKS_PER_NODE", "gpus": "SLURM_GPUS_ON_NODE"}
    names |= {"visible": "CUDA_VISIBLE_DEVICES", "nodes": "SLURM_STEP_NODELIST"}
    return STEP | {names[name]: value for name, value in more.items()}


def test_slurm_says_who_is_who():
    found = of_slurm(Hosts(), step())
    assert (found.processes, found.process) == (2, 1)
    host, _, port = (found.coordinator or "").partition(":")
    assert host == "gpu007" and 61_440 <= int(port) < 65_536
    assert of_slurm(Hosts(), step() | {"SLURM_PROCID": "0"}).coordinator == found.coordinator
    other_step = of_slurm(Hosts(), step() | {"SLURM_STEP_ID": "1"})
    assert other_step.coordinator != found.coordinator
    assert of_slurm(Hosts(devices=(3,)), step()).devices == (3,)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node001", "node001"),
        ("node001,host2", "node001"),
        ("node[001-0015],host2", "node001"),
        ("node[003,007-015],host2", "node003"),
        ("rack[2-3]-gpu,host2", "rack2-gpu"),
        ("a-b-1,a-b-2", "a-b-1"),
    ],
)
def test_the_first_of_the_nodes(nodes: str, first: str):
    assert (of_slurm(Hosts(), step(nodes=nodes)).coordinator or "").startswith(f"{first}:")


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        # As a real Slurm 22.05 sets them.
        (step(visible="0,1,2,3", gpus="4"), (0, 1, 2, 3)),  # one task a node with all of its GPUs
        (step(visible="3", gpus="4", here="4", local="3", node="0"), (0,)),  # one GPU a task
        (step(visible="2,3", gpus="4", here="2", local="1", node="0"), (0, 1)),  # two a task
        (step(visible="0,1,2,3", gpus="4", here="2", local="1", node="0"), (2, 3)),  # not bound
        (step(gpus="4", here="2", local="1", node="0"), (2, 3)),  # --gpu-bind=none
        (step(visible="0,1,2,3", gpus="4", here="2(x3),1", local="0", node="3"), (0, 1, 2, 3)),
        (step(visible="0,1,2,3", gpus="4", here="2(x3),1", local="1", node="2"), (2, 3)),
        # Where Slurm does not count GPUs.
        (step(visible="0,1", here="2", local="1", node="0"), (1,)),
        (step(), None),
        (step(here="2", local="1", node="0"), (1,)),
    ],
)
def test_which_gpus_are_a_tasks_own(environment: dict[str, str], devices: Any):
    assert slurm_devices(environment) == devices


def test_gpus_that_do_not_go_round():
    with pytest.raises(UserError, match=r"4 GPUs cannot be shared out among the 3 tasks"):
        slurm_devices(step(visible="0,1,2,3", gpus="4", here="3", node="0"))


@pytest.mark.parametrize("environment", [{}, step(tasks="1"), {"SLURM_JOB_ID": "7"}])
def test_one_process_stays_alone(environment: dict[str, str]):
    hosts.start(Hosts(), environment)
    assert not hosts.many() and hosts.first() and hosts.agree([3, 4]) == [3, 4]
    hosts.wait("for nobody")
    hosts.start(Hosts("localhost:1", 1, 0), environment)
    assert not hosts.many()
    with pytest.raises(SystemExit) as ended:
        hosts.leave(2)
    assert ended.value.code == 2


def test_flags_that_belong_together():
    for some in (Hosts("a:1"), Hosts("a:1", 2), Hosts(None, 2, 0), Hosts(None, None, 1)):
        with pytest.raises(UserError, match=r"--coordinator, --processes and --process belong"):
            hosts.start(some, {})
    with pytest.raises(UserError, match=r"--process=2: must be less than --processes=2"):
        hosts.start(Hosts("localhost:1", 2, 2), {})


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return write_inputs(tmp_path / "inputs", 3)


def one_arm(inputs: Path, **changes: Any) -> dict[str, Any]:
    """A run of one method on all devices that there are."""
    whole = raw_config(inputs, mesh={}, **changes)
    return {**whole, "arms": {"d4s": whole["arms"]["d4s"]}}


def scores(workdir: Path) -> list[dict[str, Any]]:
    """Every score of the run, right after each edit, along the way and after all of them."""
    [arm] = read_json(workdir / "result.json")["arms"]
    along = [score for point in arm["along"] for score in point["scores"]]
    return [*arm["immediate"], *along, *arm["after_all"]]


def logprobs(workdir: Path) -> np.ndarray:
    lines = (workdir / "d4s" / "after_all.jsonl").read_text().splitlines()
    answers = [Answer.from_dict(json.loads(line)) for line in lines]
    return np.concatenate([np.asarray(answer.logprobs) for answer in answers if answer.logprobs])


def assert_equal(workdir: Path, other: Path) -> None:
    """What is counted is the same, what is measured is so in float32."""
    found, expected = scores(workdir), scores(other)
    assert len(found) == len(expected) > 10
    for ours, theirs in zip(found, expected, strict=True):
        if ours["reading"] in MEASURED:
            for score in (ours, theirs):
                score.update(numbers=[score.pop("value"), *score.pop("interval")])
            near = pytest.approx(theirs.pop("numbers"), rel=1e-4, abs=1e-6)
            assert ours.pop("numbers") == near
        assert ours == theirs
    np.testing.assert_allclose(logprobs(workdir), logprobs(other), atol=1e-5)


def test_two_processes_are_one_run(inputs: Path, tmp_path: Path):
    raw = one_arm(inputs, eval={"every": 2, "generate": ()})
    config, both = write_config(inputs, raw), tmp_path / "both"
    together = start(arguments(config, both), processes=2)
    run(run_config({**raw, "mesh": {"data": 1}}), tmp_path / "alone")
    (first, said), second = finish(together)
    assert first == 0 and "report: " in said, said
    assert second == (0, "")  # only the first one talks
    assert read_json(both / "setup.json")["devices"].startswith("4 x ")
    assert_equal(both, tmp_path / "alone")


@pytest.mark.slow
def test_what_two_processes_began_one_ends(inputs: Path, tmp_path: Path):
    config, workdir = write_config(inputs, one_arm(inputs)), tmp_path / "run"
    together = start(arguments(config, workdir), processes=2)
    deadline = time.monotonic() + 240
    while not list((workdir / "d4s" / "checkpoints").glob("2")) and time.monotonic() < deadline:
        time.sleep(0.01)
    begun = time.monotonic()
    together[1].send_signal(signal.SIGKILL)
    (code, _), _ = finish(together)
    assert code != 0 and time.monotonic() - begun < 240  # it does not wait for ever
    assert not (workdir / "result.json").exists()
    [(code, said)] = finish(start(arguments(config, workdir), devices=1))
    assert code == 0 and "D4S: going on from the checkpoint at 2 edits" in said, said
    run(run_config(one_arm(inputs)), tmp_path / "alone")
    assert_equal(workdir, tmp_path / "alone")


@pytest.mark.slow
def test_bad_input_ends_all_with_a_line_each(inputs: Path, tmp_path: Path):
    config = write_config(inputs, one_arm(inputs))

    def said(workdir: Path, *more: str) -> list[str]:
        ended = finish(start(arguments(config, workdir, *more), processes=2), seconds=120)
        assert [code for code, _ in ended] == [2, 2], ended
        lines = [[line for line in error.splitlines() if "error" in line] for _, error in ended]
        assert all(len(own) == 1 for own in lines), ended
        assert lines[1][0].startswith("error: process 1: ")
        return [own[0] for own in lines]

    layer = "--config.layers: layer 7 does not exist"
    for line in said(tmp_path / "run", "--config.layers=(7,)"):
        assert layer in line
    assert not (tmp_path / "run").exists()
    with locked(tmp_path / "busy"):
        first, second = said(tmp_path / "busy")
    assert "runs there; wait for it" in first and "the first process cannot have it" in second
    (tmp_path / "file").touch()
    assert "cannot write there (File exists)" in said(tmp_path / "file")[0]
