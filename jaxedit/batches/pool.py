"""Runs jobs in processes of their own, as many at a time as there are slots.

A job's process holds a lock on the job's log, which is its output: the kernel keeps the lock as
long as the process lives, whatever becomes of this one, so two pools never run one job twice.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal

from jaxedit.batches.batch import DONE, Job
from jaxedit.batches.slots import Slot, pinned
from jaxedit.config import to_dict
from jaxedit.errors import UserError
from jaxedit.ledger import refuse_if_busy, write_json

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0  # between asking a process to end and ending it
Kind = Literal["skipped", "busy", "started", "done", "failed", "stopped"]
Command = Callable[[Job], Sequence[str]]


@dataclass(frozen=True)
class Event:
    """What became of a job.

    Attributes:
        kind: "skipped": done before; "busy": another process has it; "stopped": by a signal.
        job: which.
        seconds: since it was started.
        reason: why it failed or is busy; where it was started.
    """

    kind: Kind
    job: Job
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class _Process:
    """A running job."""

    job: Job
    slot: Slot
    popen: subprocess.Popen[bytes]
    begun: float
    output: int  # where in the log this attempt's output begins

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun


def run_command(job: Job) -> list[str]:
    """The entry point of a run."""
    files = [f"--config={job.config_file}", f"--workdir={job.workdir}"]
    return [sys.executable, "-m", "jaxedit.run", *files]


def work(
    jobs: Sequence[Job],
    slots: Sequence[Slot],
    command: Command = run_command,
    interruptions: Callable[[], int] = lambda: 0,
) -> Generator[Event, None, None]:
    """Goes through the jobs; no failure stops another job.

    A job that another process has is looked at again when all else is done.

    Args:
        jobs: different configurations, of one output directory.
        slots: at most one process each.
        command: what is executed for a job; it is done when the job's result is there.
        interruptions: how many signals to stop have come; the first asks all processes to end,
            any further one ends them.

    Yields:
        What happened, as it happens. However this ends, no process is left behind.
    """
    waiting, aside = deque(jobs), deque[Job]()
    running: list[_Process] = []
    again = False
    try:
        while (waiting or running or aside) and not interruptions():
            for process in [process for process in running if process.popen.poll() is not None]:
                running.remove(process)
                yield _ended(process)
            while waiting and len(running) < len(slots) and not interruptions():
                taken = {process.slot for process in running}
                slot = next(slot for slot in slots if slot not in taken)
                begun = _begin(waiting.popleft(), slot, command)
                if isinstance(begun, _Process):
                    running.append(begun)
                    yield Event("started", begun.job, reason=str(slot))
                elif begun.kind == "busy" and not again:
                    aside.append(begun.job)
                else:
                    yield begun
            if not waiting and not running and aside:
                waiting, aside, again = aside, waiting, True
            elif running:
                time.sleep(POLL_SECONDS)
    finally:
        _stop(running, interruptions)
    for process in running:
        yield Event("stopped", process.job, process.seconds)


@contextmanager
def counted_signals() -> Iterator[Callable[[], int]]:
    """Counts the signals that ask us to stop, in place of dying of them in the wrong moment."""
    seen: list[int] = []
    asked = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    # One that is ignored stays so: nohup and background jobs mean it.
    before = {n: signal.getsignal(n) for n in asked if signal.getsignal(n) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda number, frame: seen.append(number))
    try:
        yield lambda: len(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _begin(job: Job, slot: Slot, command: Command) -> _Process | Event:
    if job.state() == DONE:
        return Event("skipped", job)
    with open(job.log, "ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            refuse_if_busy(job.workdir)
        except BlockingIOError:
            return Event("busy", job, reason="another launch runs it")
        except UserError as error:
            return Event("busy", job, reason=str(error))
        if job.state() == DONE:  # meanwhile, by another launch
            return Event("skipped", job)
        write_json(job.config_file, to_dict(job.config))
        return _start(job, slot, list(command(job)), log)


def _start(job: Job, slot: Slot, command: list[str], log: BinaryIO) -> _Process:
    log.write(f"$ {shlex.join(command)}\n".encode())
    log.flush()
    begun, output = time.monotonic(), log.tell()
    with pinned(slot.cores):
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**_defaults(job), **os.environ, **slot.environment},
            start_new_session=True,  # a terminal's Ctrl-C comes to us alone; we pass it on
        )
    return _Process(job, slot, popen, begun, output)


def _defaults(job: Job) -> dict[str, str]:
    """Variables where the user has set none: what one run has compiled, the next need not."""
    return {
        "PYTHONUNBUFFERED": "1",
        "JAX_COMPILATION_CACHE_DIR": str((job.out / ".compiled").resolve()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def _ended(process: _Process) -> Event:
    code, job = process.popen.returncode, process.job
    if code == 0 and job.state() == DONE:
        return Event("done", job, process.seconds)
    with open(job.log, "rb") as log:
        log.seek(process.output)
        lines = log.read().decode(errors="replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    if code == 0:
        said = f"it ended without a whole result.json; {said}"
    elif code < 0:
        hint = ", memory may have run out" if -code == signal.SIGKILL else ""
        said = f"killed by {signal.Signals(-code).name}{hint}; {said}"
    return Event("failed", job, process.seconds, said)


def _stop(running: Sequence[_Process], interruptions: Callable[[], int]) -> None:
    """Asks every process group to end, and ends those that have not in time."""
    for process in running:
        _signal(process, signal.SIGTERM)
    deadline, asked = time.monotonic() + GRACE_SECONDS, interruptions()
    while any(process.popen.poll() is None for process in running):
        if time.monotonic() > deadline or interruptions() > asked:
            for process in running:
                _signal(process, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def _signal(process: _Process, number: signal.Signals) -> None:
    if process.popen.poll() is None:
        os.killpg(process.popen.pid, number)
