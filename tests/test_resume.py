"""kill -9 at a random moment, the same command again, the same numbers bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxedit.ledger import Ledger
from tests.test_run import numbers
from tests.tiny_run import raw_config, write_config, write_inputs


def start(config: Path, workdir: Path, cache: Path) -> subprocess.Popen:
    """The entry point in its own process; compiled programs are shared to save time."""
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_FLAGS": "",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "jaxedit.run", f"--config={config}", f"--workdir={workdir}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(process: subprocess.Popen, happened) -> None:
    while not happened():
        if process.poll() is not None:
            assert process.stdout is not None
            pytest.fail(f"the run ended too early:\n{process.stdout.read()}")
        time.sleep(0.01)


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def kill(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_kill_9_and_go_on(tmp_path: Path):
    inputs = write_inputs(tmp_path / "inputs")
    config = write_config(inputs, raw_config(inputs))
    whole, killed, cache = tmp_path / "whole", tmp_path / "killed", tmp_path / "compiled"
    finish(start(config, whole, cache))

    process = start(config, killed, cache)
    memit = Ledger(killed / "memit" / "metrics.jsonl")
    wait_for(process, lambda: any(record["step"] == 3 for record in memit.read()))
    kill(process)
    assert not (killed / "memit" / "result.json").exists()

    process = start(config, killed, cache)
    checkpoints = killed / "d4s" / "checkpoints"
    wait_for(process, lambda: any(path.name.startswith("4") for path in checkpoints.glob("*")))
    kill(process)
    assert not (killed / "result.json").exists()

    finish(start(config, killed, cache))
    assert numbers(killed) == numbers(whole)
