"""On a real Slurm of one node: a run of two tasks, and the Slurm engine of ``launch``.

Run only if asked for: ``make test-slurm``, or JAXEDIT_SLURM=1 in the environment.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jaxedit.batches.batch import Job, jobs, load_batch
from jaxedit.batches.pool import Event, work
from jaxedit.batches.slurm import Slurm, check_slurm, queued
from jaxedit.config import run_config
from jaxedit.errors import UserError
from jaxedit.hosts import slurm_devices
from jaxedit.launch import launch, slurm_options
from jaxedit.run import run
from tests.batches.test_pool import begun, kinds, until
from tests.jobs import batch, player, story
from tests.processes import arguments, environment
from tests.slurm.cluster import cluster, missing
from tests.test_hosts import assert_equal, one_arm
from tests.tiny_run import write_config, write_inputs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("JAXEDIT_SLURM" not in os.environ, reason="JAXEDIT_SLURM=1 asks for it"),
]
GPUS = 4


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """The cluster, found by the commands of this process and of those that it starts."""
    if missing():
        pytest.fail(f"no Slurm here, without {', '.join(missing())}; see BUILD.md")
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="slurm", dir="/tmp") as directory:
        with cluster(Path(directory) / "c", GPUS) as found:
            os.environ.update({**found, "JAX_PLATFORMS": "cpu"})
            yield
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def out(slurm: None, tmp_path: Path) -> Path:
    return tmp_path / "out"


def engine(out: Path, *, width: int = 4, gpus: int = 0, tasks: int = 1, **told: str) -> Slurm:
    """The cluster, and what its runs are told to do."""
    pytest.importorskip("submitit")
    out.mkdir(exist_ok=True)
    asked = {"partition": "trial", "gpus": gpus, "time": 5, "nodes": 1, "tasks": tasks}
    options = slurm_options({**asked, "cpus": None, "memory": None}, [])
    return Slurm(out / ".slurm", width, options, player(told), seconds=0.3)


def srun(*command: str, **more: str) -> list[str]:
    """What the tasks say, in the order of their last words."""
    done = subprocess.run(
        ["srun", *command], env={**os.environ, **more}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("flags", "devices"),
    [
        (("-n1", f"--gpus-per-node={GPUS}"), [(0, 1, 2, 3)]),
        (("-n2", f"--gpus-per-node={GPUS}"), [(0, 1), (2, 3)]),
        (("-n4", "--gpus-per-task=1"), [(0,)] * 4),
        (("-n2", "--gpus-per-task=2"), [(0, 1)] * 2),
        (("-n2", "--gpus-per-task=2", "--gpu-bind=none"), [(0, 1), (2, 3)]),
    ],
)
def test_a_task_finds_its_own_gpus(slurm: None, flags: tuple[str, ...], devices: list):
    said = srun(*flags, "env", "-0")[0].split("\0")
    tasks: list[dict[str, str]] = []
    for name, _, value in (text.partition("=") for text in said if text):
        if not tasks or name in tasks[-1]:
            tasks.append({})
        tasks[-1][name] = value
    assert sorted(filter(None, map(slurm_devices, tasks))) == sorted(devices)


def test_two_tasks_are_one_run(slurm: None, tmp_path: Path):
    inputs = write_inputs(tmp_path / "inputs", 3)
    raw = one_arm(inputs, eval={"every": 2, "generate": ()})
    config, both = write_config(inputs, raw), tmp_path / "both"
    srun("-n2", sys.executable, "-m", "jaxedit.run", *arguments(config, both), **environment(2))
    run(run_config({**raw, "mesh": {"data": 1}}), tmp_path / "alone")
    assert '"devices": "4 x ' in (both / "setup.json").read_text()
    assert_equal(both, tmp_path / "alone")


def test_wrong_input_ends_all_tasks(slurm: None, tmp_path: Path):
    inputs = write_inputs(tmp_path / "inputs", 3)
    more = arguments(write_config(inputs, one_arm(inputs)), tmp_path / "x", "--config.layers=(7,)")
    command = ["srun", "-n2", sys.executable, "-m", "jaxedit.run", *more]
    done = subprocess.run(
        command, env=environment(1), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: --config.layers")]
    assert len(lines) == 1, done.stderr


def test_a_batch_through_an_array(out: Path):
    todo = jobs(batch("a", "bad", "b", "once", "wrong"), out)
    told = {"bad": "fail", "once": "die once", "wrong": "mistake"}
    events = list(work(todo, engine(out, **told)))
    assert [kind for kind, _ in kinds(events)][:5] == ["queued"] * 5
    ends = {event.job.label: event for event in events}
    assert {name for name, event in ends.items() if event.kind == "done"} == {"a", "b", "once"}
    assert {name for name, event in ends.items() if event.kind == "failed"} == {"bad", "wrong"}
    assert ends["bad"].reason == "error: bad cannot"
    assert ends["wrong"].reason == "error: the input is wrong"
    assert kinds(events).count(("again", "bad")) == kinds(events).count(("again", "once")) == 1
    assert sorted(begun(out)) == ["a", "b", "bad", "bad", "once", "once", "wrong"]
    assert [event.kind for event in work(todo[:1], engine(out))] == ["skipped"]


def test_never_two_jobs_on_one_gpu(out: Path):
    todo = jobs(batch("a", "b", "c"), out)
    gate = out / "gate"
    each = engine(out, gpus=2, a=f"after {gate}", b=f"after {gate}", c=f"after {gate}")
    events = work(todo, each)
    started: list[Event] = []
    while len(started) < 2:
        event = next(events)
        started += [event] if event.kind == "started" else []
    for _ in range(5):  # looks, and the third one still waits: the node has four GPUs
        time.sleep(0.3)
        waiting = [state for state in (queued() or {}).values() if state.state == "PENDING"]
        assert len(waiting) == 1
    gate.touch()
    assert [event.kind for event in events].count("done") == 3
    assert len(begun(out)) == 3


def test_interrupted_and_given_again(out: Path):
    todo = jobs(batch("a", "b"), out)

    def interrupt() -> None:
        for job in todo:
            until(job.workdir / "half")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        launch(todo, engine(out, a="wait", b="wait"))
    thread.join()
    assert not any(state.state in ("RUNNING", "PENDING") for state in (queued() or {}).values())
    assert launch(todo, engine(out, a="wait", b="wait"))
    assert sorted(line.split(" [")[0] for line in story(out)) == [
        *("begin a", "begin a", "begin b", "begin b", "end a", "end b")
    ]


LAUNCHER = """
import sys
from pathlib import Path
from jaxedit.batches.batch import jobs
from jaxedit.launch import launch
from tests.jobs import batch
from tests.slurm.test_slurm import engine

out = Path(sys.argv[1])
launch(jobs(batch("a", "b"), out), engine(out, width=1, a=f"after {out / 'gate'}"))
"""


def test_the_jobs_of_a_launch_that_is_killed_are_followed(out: Path):
    todo: tuple[Job, ...] = jobs(batch("a", "b"), out)
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(out)])
    until(todo[0].workdir / "config.json")
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    events = work(todo, engine(out))
    seen = [next(events)]
    (out / "gate").touch()
    seen += list(events)
    assert kinds(seen).count(("done", "a")) == kinds(seen).count(("done", "b")) == 1
    assert begun(out) == ["a", "b"]


def test_near_its_time_limit_a_run_is_queued_again_and_goes_on(out: Path):
    [job] = jobs(batch("a"), out)
    events = work([job], engine(out, a="wait"), retries=0)
    number = next(events).reason.removeprefix("Slurm job ")
    until(job.workdir / "half")
    subprocess.run(["scancel", "--signal=USR2", number], check=True)
    deadline = time.monotonic() + 60
    while (state := (queued() or {})[number].state) == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert state in ("COMPLETING", "PENDING")
    while (queued() or {})[number].state != "PENDING":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    # Slurm would let it wait for two minutes.
    subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now"], check=True)
    assert list(events)[-1].kind == "done"
    assert begun(out) == ["a", "a"]


def test_what_slurm_does_not_take(out: Path):
    check_slurm()
    [job] = jobs(batch("a"), out)
    given = engine(out)
    wrong = replace(given, options={**given.options, "slurm_partition": "nope"})
    with pytest.raises(UserError, match=r"--engine=slurm: .*invalid partition"):
        list(work([job], wrong))
    long = replace(given, options={**given.options, "timeout_min": 1000})
    events = work([job], long)
    next(events)
    assert " waits: Partition" in next(events).reason
    events.close()
    assert not any(state.state == "PENDING" for state in (queued() or {}).values())


def test_the_entry_point_with_two_processes_a_run(slurm: None, tmp_path: Path):
    pytest.importorskip("submitit")
    inputs, out = write_inputs(tmp_path / "inputs", 3), tmp_path / "out"
    raw = one_arm(inputs, eval={"every": 2, "generate": ()}, seed=0)
    config = write_config(inputs, raw)
    command = [
        *(sys.executable, "-m", "jaxedit.launch", f"--config={config}", f"--out={out}"),
        *("--engine=slurm", "--partition=trial", "--tasks=2", "--gpus=2", "--cpus=1", "--time=30"),
        *("--sweep", "config.seed=0", "--sbatch=comment=trial"),
    ]
    done = subprocess.run(
        command, env=environment(2), capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "1 runs: 1 done now" in done.stderr
    run(run_config({**raw, "mesh": {"data": 1}}), tmp_path / "alone")
    [first] = jobs(load_batch(str(out / "config-seed.json")), out)
    assert '"devices": "4 x ' in (first.workdir / "setup.json").read_text()
    assert_equal(first.workdir, tmp_path / "alone")
