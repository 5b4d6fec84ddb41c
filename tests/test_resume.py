"""kill -9 at a random moment, the same command again, the same numbers bit for bit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxedit.ledger import Ledger
from tests.processes import environment
from tests.test_run import numbers
from tests.tiny_run import raw_config, write_config, write_inputs

EVERY = {"every": 3, "max_new_tokens": 2, "generate": ("after_all",)}


def start(config: Path, workdir: Path) -> subprocess.Popen:
    """The entry point in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "jaxedit.run", f"--config={config}", f"--workdir={workdir}"],
        env=environment(1),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(process: subprocess.Popen, happened: Callable[[], bool]) -> None:
    while not happened():
        if process.poll() is not None:
            assert process.stdout is not None
            pytest.fail(f"the run ended too early:\n{process.stdout.read()}")
        time.sleep(0.01)


def finish(process: subprocess.Popen) -> None:
    try:
        output, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, output


def kill(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = write_inputs(tmp_path_factory.mktemp("inputs"))
    return write_config(inputs, raw_config(inputs, eval=EVERY))


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    finish(start(config, workdir))
    return workdir


def third_update_of_the_first_arm(workdir: Path) -> bool:
    records = Ledger(workdir / "memit" / "metrics.jsonl").read()
    return any(record["step"] == 3 for record in records)


def last_checkpoint_but_one_of_the_second_arm(workdir: Path) -> bool:
    return any(path.name.startswith("4") for path in (workdir / "d4s" / "checkpoints").glob("*"))


@pytest.mark.parametrize(
    "moment",
    [
        last_checkpoint_but_one_of_the_second_arm,
        pytest.param(third_update_of_the_first_arm, marks=pytest.mark.slow),
    ],
)
def test_kill_9_and_go_on(config: Path, whole: Path, tmp_path: Path, moment: Callable):
    killed = tmp_path / "killed"
    process = start(config, killed)
    wait_for(process, lambda: moment(killed))
    kill(process)
    assert not (killed / "result.json").exists()
    finish(start(config, killed))
    assert numbers(killed) == numbers(whole)
