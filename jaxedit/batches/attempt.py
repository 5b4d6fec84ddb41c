"""One attempt at a job: what is executed, its log, and how long it took.

The log is also the job's lock: the process of a run has it as its output and holds a lock on it.
The kernel keeps that as long as the process lives, whatever becomes of the one that started it, so
a job is never run twice at a time.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jaxedit.batches.batch import Job
from jaxedit.config import to_dict
from jaxedit.errors import UserError
from jaxedit.ledger import Ledger, refuse_if_busy, write_json

Command = Callable[[Job], Sequence[str]]
TAIL_BYTES = 10_000


class Busy(Exception):
    """Another process runs the job; says which."""


def run_command(job: Job) -> list[str]:
    """The entry point of a run."""
    files = [f"--config={job.config_file}", f"--workdir={job.workdir}"]
    return [sys.executable, "-m", "jaxedit.run", *files]


@contextmanager
def held(job: Job) -> Iterator[BinaryIO]:
    """The job's log, locked until the block and all who inherited the log have ended.

    Raises:
        Busy: another process holds it, or the run's directory.
    """
    with open(job.log, "ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            refuse_if_busy(job.workdir)
        except BlockingIOError:
            raise Busy("another launch runs it") from None
        except UserError as error:
            raise Busy(str(error)) from None
        yield log


def begun(job: Job, command: Sequence[str], log: BinaryIO) -> int:
    """Writes the config and the command; returns where in the log the output will begin."""
    attempts(job.out, job.hash).append({"began": time.time()})
    write_json(job.config_file, to_dict(job.config))
    log.write(f"$ {shlex.join(command)}\n".encode())
    log.flush()
    return log.tell()


def over(job: Job, code: int, processor: float) -> None:
    """Writes down that an attempt is over.

    Args:
        job: whose.
        code: its exit code.
        processor: seconds that its process and all of its children used of the processors.
    """
    record = {"ended": time.time(), "code": code, "processor": processor}
    attempts(job.out, job.hash).append(record)


def attempts(out: Path, key: str) -> Ledger:
    """When attempts at a run began and were over; of one that we were killed in, the start alone.

    Args:
        out: directory that holds all runs.
        key: the hash of the run's config.
    """
    return Ledger(out / f"{key}.attempts.jsonl")


def environment() -> dict[str, str]:
    """Of a run's process: ours, and its output at once in the log."""
    return {"PYTHONUNBUFFERED": "1", **os.environ}


def last_line(path: Path, start: int = 0) -> str:
    """The last line of a log from a place on that is not empty; "" if there is none."""
    try:
        with open(path, "rb") as log:
            log.seek(max(start, os.fstat(log.fileno()).st_size - TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
