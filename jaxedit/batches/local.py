"""Jobs in processes of their own on this machine, one a slot."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from jaxedit.batches.attempt import (
    Busy,
    Command,
    begun,
    environment,
    held,
    last_line,
    over,
    run_command,
)
from jaxedit.batches.batch import DONE, Job
from jaxedit.batches.pool import Ended, Event, Running
from jaxedit.batches.slots import Slot, hold_gpus, pinned

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0  # between asking a process to end and ending it


@dataclass(frozen=True)
class _Process:
    """What runs in a slot."""

    slot: Slot
    popen: subprocess.Popen[bytes]


@dataclass(frozen=True)
class Local:
    """An `Engine`: a pool of slots.

    Attributes:
        slots: at most one process each.
        command: what is executed for a job.
    """

    slots: Sequence[Slot]
    command: Command = run_command
    seconds: float = POLL_SECONDS

    @property
    def width(self) -> int:
        """As many as there are slots."""
        return len(self.slots)

    def start(self, waiting: Sequence[Job], running: Sequence[Running]) -> list[Running | Event]:
        """Fills the slots that are free, and whose GPUs no other launch uses."""
        taken = {one.handle.slot for one in running}
        found: list[Running | Event] = []
        blocked: list[Running | Event] = []
        jobs = iter(waiting)
        for slot in self.slots:
            if slot in taken:
                continue
            with ExitStack() as opened:
                locks = hold_gpus(slot, opened)
                if locks is None:
                    blocked = [Event("blocked", waiting[0], reason=f"others use {slot}")]
                    continue
                for job in jobs:
                    found.append(_begin(job, slot, self.command, locks))
                    if isinstance(found[-1], Running):
                        break
        return found if found or running else blocked

    def look(self, running: Sequence[Running]) -> list[Running | Ended]:
        """Which processes have ended, and how."""
        return [one if _alive(one) else _ended(one) for one in running]

    def stop(self, running: Sequence[Running], interruptions: Callable[[], int]) -> None:
        """Asks every process group to end, and ends those that have not in time."""
        for one in running:
            _signal(one, signal.SIGTERM)
        deadline, asked = time.monotonic() + GRACE_SECONDS, interruptions()
        while any(_alive(one) for one in running):
            if time.monotonic() > deadline or interruptions() > asked:
                for one in running:
                    _signal(one, signal.SIGKILL)
            time.sleep(POLL_SECONDS)


def _begin(job: Job, slot: Slot, command: Command, locks: Sequence[int]) -> Running | Event:
    if job.state() == DONE:
        return Event("skipped", job)
    try:
        with held(job) as log:
            if job.state() == DONE:  # meanwhile, by another launch
                return Event("skipped", job)
            return _start(job, slot, list(command(job)), log, locks)
    except Busy as busy:
        return Event("busy", job, reason=str(busy))


def _start(
    job: Job, slot: Slot, command: list[str], log: BinaryIO, locks: Sequence[int]
) -> Running:
    output = begun(job, command, log)
    with pinned(slot.cores):
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment(), **slot.environment},
            start_new_session=True,  # a terminal's Ctrl-C comes to us alone; we pass it on
            pass_fds=locks,  # so that the GPUs stay taken as long as it lives
        )
    return Running(job, str(slot), _Process(slot, popen), output, time.monotonic())


def _alive(one: Running) -> bool:
    """Whether its process goes on; when it has ended, what it used is written down."""
    popen = one.handle.popen
    if popen.returncode is not None:
        return False
    number, status, usage = os.wait4(popen.pid, os.WNOHANG)  # poll() would lose the usage
    if not number:
        return True
    popen.returncode = os.waitstatus_to_exitcode(status)
    over(one.job, popen.returncode, usage.ru_utime + usage.ru_stime)
    return False


def _ended(one: Running) -> Ended:
    code = one.handle.popen.returncode
    said = last_line(one.job.log, one.output) or "it printed nothing"
    if code < 0:
        hint = ", memory may have run out" if -code == signal.SIGKILL else ""
        said = f"killed by {signal.Signals(-code).name}{hint}; {said}"
    return Ended(code, said)


def _signal(one: Running, number: signal.Signals) -> None:
    if _alive(one):
        os.killpg(one.handle.popen.pid, number)
