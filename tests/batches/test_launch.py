"""Many runs at once: none twice, none lost, and no failure stops another."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxedit import launch as launch_module
from jaxedit.batches import board
from jaxedit.batches.batch import jobs
from jaxedit.batches.slots import local_slots, usable_cores
from jaxedit.errors import UserError
from jaxedit.launch import launch, plan, write_names
from jaxedit.ledger import locked, read_json
from tests.batches.test_pool import ONE, on
from tests.jobs import batch, story
from tests.tiny_run import raw_config, write_inputs


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    for module in (launch_module, board):
        monkeypatch.setattr(module.logging, "info", lambda text, line: lines.append(text % line))
    return lines


def once(happened: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    """Does something as soon as something has happened."""

    def watch() -> None:
        deadline = time.monotonic() + 30
        while not happened() and time.monotonic() < deadline:
            time.sleep(0.01)
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def interrupt(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def test_a_failure_stops_nothing_and_is_told(tmp_path: Path, said: list[str]):
    todo = jobs(batch("a", "bad", "worse", "empty", "b"), tmp_path)
    engine = on(ONE, bad="fail", worse="die", empty="nothing")
    assert not launch(todo, engine, retries=0)
    assert [job.state() for job in todo] == ["done", "partial", "partial", "partial", "done"]
    assert said[-4] == "5 runs: 2 done now, 3 failed"
    assert f"failed: bad: error: bad cannot (see {todo[1].log})" in said[-3]
    assert "failed: worse: killed by SIGKILL, memory may have run out; it printed" in said[-2]
    assert "failed: empty: it ended without a whole result.json" in said[-1]
    assert "deep in the log\n" in todo[1].log.read_text()
    assert any(line.startswith("failed  bad in 0 s") and "2 of 5, about" in line for line in said)

    assert launch(todo, on(ONE))
    assert said[-1] == "5 runs: 3 done now, 2 done before"
    assert story(tmp_path).count("begin a") == 1
    assert todo[1].log.read_text().count("$ ") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_given_again(tmp_path: Path, said: list[str], number: int):
    todo, engine = jobs(batch("a", "b", "c"), tmp_path), on(ONE, b="wait")
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    thread = once(lambda: (todo[1].workdir / "half").exists(), interrupt(number))
    with pytest.raises(KeyboardInterrupt):
        launch(todo, engine)
    thread.join()
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert said[-1] == "stopped b"
    with locked(todo[1].workdir):  # nobody is left there
        assert [job.state() for job in todo] == ["done", "partial", "todo"]
    assert launch(todo, engine)
    assert [line.split(" [")[0] for line in story(tmp_path)] == [
        *("begin a", "end a", "begin b", "begin b", "end b", "begin c", "end c")
    ]


def test_a_run_that_does_not_listen_is_ended_by_a_second_signal(tmp_path: Path):
    [job] = jobs(batch("a"), tmp_path)
    begun = time.monotonic()

    def twice() -> None:
        interrupt(signal.SIGINT)()
        time.sleep(0.3)
        interrupt(signal.SIGINT)()

    thread = once(lambda: (job.workdir / "half").exists(), twice)
    with pytest.raises(KeyboardInterrupt):
        launch([job], on(ONE, a="stubborn"))
    thread.join()
    with locked(job.workdir):
        assert time.monotonic() - begun < 30


def test_slots_share_the_cores_out():
    cores = tuple(range(4, 10))
    assert [slot.cores for slot in local_slots(None, cores, ())] == [(4, 5), (6, 7), (8, 9)]
    assert [slot.cores for slot in local_slots(4, cores, ())] == [(4,), (5, 6), (7,), (8, 9)]
    assert [slot.cores for slot in local_slots(3, (0, 1), ())] == [(0,), (0,), (1,)]
    assert [slot.cores for slot in local_slots(None, (0,), ())] == [(0,)]
    assert [slot.cores for slot in local_slots(None, (), ())] == [()]
    gpus = local_slots(None, cores, ("0", "MIG-7"))
    assert [str(slot) for slot in gpus] == ["GPU 0", "GPU MIG-7"]
    assert gpus[1].environment == {"CUDA_VISIBLE_DEVICES": "MIG-7"} and gpus[1].cores == (7, 8, 9)
    assert len(local_slots(1, cores, ("0", "1"))) == 1
    two = local_slots(None, cores, ("0", "1", "2", "3", "4"), each=2)
    assert [slot.gpus for slot in two] == [("0", "1"), ("2", "3")]
    assert two[1].environment == {"CUDA_VISIBLE_DEVICES": "2,3"}
    assert local_slots(2, cores, (), each=0)[0].environment == {"CUDA_VISIBLE_DEVICES": ""}
    with pytest.raises(UserError, match=r"--gpus=3: this machine shows 2"):
        local_slots(None, cores, ("0", "1"), each=3)
    with pytest.raises(UserError, match=r"--slots=3: a run takes a whole GPU, .* shows 2"):
        local_slots(3, cores, ("0", "1"))
    with pytest.raises(UserError, match=r"--slots=0: must be at least 1"):
        local_slots(0, cores, ())


def test_a_run_has_the_cores_of_its_slot(tmp_path: Path):
    ours = usable_cores()
    slots = local_slots(len(ours), ours, ())[-1:]
    assert launch(jobs(batch("a"), tmp_path), on(slots))
    assert story(tmp_path)[-1] == f"end a {[ours[-1]]}"
    assert usable_cores() == ours


def test_what_would_be_done(tmp_path: Path):
    trial = batch("a", "b")
    todo = jobs(trial, tmp_path)
    assert launch(todo[:1], on(ONE))
    first, second, counts = plan(todo)
    assert first == f"done    {todo[0].hash}  a  (d4s)" and second.startswith("todo ")
    assert counts == "1 done, 1 todo"
    write_names(trial, tmp_path, "trial")
    names = {"a": todo[0].hash, "b": todo[1].hash}
    assert read_json(tmp_path / "trial.json")["runs"] == names
    with pytest.raises(UserError, match=r"cannot write there"):
        write_names(trial, todo[0].log, "trial")


BATCH_FILE = """
from jaxedit.batches.batch import Batch

def get_batch(scale="tiny"):
    whole = {raw!r}
    return Batch("Trial", "Two arms, and one of them alone.", {{
        "both": whole,
        "one": {{**whole, "arms": {{"memit": whole["arms"]["memit"]}}}},
        "broken": {{**whole, "layers": (7,)}},
    }})
"""


def call(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"jaxedit.{module}", *arguments]
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_looking_writes_nothing(tmp_path: Path):
    path, out = tmp_path / "trial.py", tmp_path / "out"
    path.write_text(BATCH_FILE.format(raw=raw_config(tmp_path)))
    other = tmp_path / "other.py"
    other.write_text(BATCH_FILE.format(raw=raw_config(tmp_path, seed=3)).replace("broken", "one!"))
    shown = call("launch", f"--batch={tmp_path}/*.py", f"--out={out}", "--only=b*", "--dry_run")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert [line.split("  ")[-2] for line in lines[:3]] == [
        *("other: both", "trial: both", "trial: broken"),
    ]
    assert "3 todo" in lines and "3 jobs of at most 0 devices" in shown.stdout
    assert lines[-1] == "3 runs, 0 done; how long they take is not known"
    assert not out.exists()


@pytest.mark.slow
def test_real_runs_and_their_table(tmp_path: Path):
    path, out = tmp_path / "trial.py", tmp_path / "out"
    path.write_text(BATCH_FILE.format(raw=raw_config(write_inputs(tmp_path / "inputs"))))
    flags = (f"--batch={path}", f"--out={out}")
    done = call("launch", *flags)
    assert done.returncode == 1, done.stderr
    assert "3 runs: 2 done now, 1 failed" in done.stderr
    assert "failed: broken: error: --config.layers: layer 7 does not exist" in done.stderr
    table = call("report", *flags)
    assert table.returncode == 0, table.stderr
    assert table.stdout == (out / "trial.md").read_text()
    assert "2 of 3 runs are done." in table.stdout and "Efficacy by number of" in table.stdout
    again = call("launch", *flags, "--only=[bo]*[he]")
    assert again.returncode == 0 and "2 runs: 2 done before" in again.stderr
