"""Entry points in processes of their own: one, or several that are one run."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# What several devices need, and programs that are compiled fast; no test runs one often.
FLAGS = "--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"


def environment(devices: int, **more: str) -> dict[str, str]:
    """For a process with so many simulated devices."""
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": FLAGS.format(devices=devices),
        **more,
    }


def start(
    arguments: Sequence[str],
    *,
    processes: int = 1,
    devices: int = 2,
    port: int | None = None,
    module: str = "run",
) -> list[subprocess.Popen[str]]:
    """Starts an entry point as so many processes with so many devices each."""
    port = port or free_port()
    together = [f"--coordinator=localhost:{port}", f"--processes={processes}"]
    command = [sys.executable, "-m", f"jaxedit.{module}", *arguments]
    return [
        subprocess.Popen(
            command if processes == 1 else [*command, *together, f"--process={number}"],
            env=environment(devices),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]


def finish(started: Sequence[subprocess.Popen[str]], seconds: float = 300) -> list[tuple[int, str]]:
    """Exit code and stderr of each, all of which end in time."""
    try:
        errors = [process.communicate(timeout=seconds)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, error) for process, error in zip(started, errors, strict=True)]


def free_port() -> int:
    """Of this machine."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def arguments(config: Path, workdir: Path, *more: str) -> list[str]:
    """What says which run, and where."""
    return [f"--config={config}", f"--workdir={workdir}", *more]
