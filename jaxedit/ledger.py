"""A run's directory: its lock, its append-only records and its whole files.

Records are JSON lines that carry the number of edits done when they were written (``step``).
A run that goes on after a kill cuts every record file back to the step of the checkpoint that it
restored, so that what follows is written once.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxedit import hosts
from jaxedit.errors import UserError

LOCK_NAME = ".lock"


@dataclass(frozen=True)
class Ledger:
    """A file of JSON lines, each with a ``step``; lines are added at the end and never changed."""

    path: Path

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line; a kill leaves at most one torn last line.

        Raises:
            OSError: with errno ENOSPC when the disk is full.
        """
        line = json.dumps(plain(record), ensure_ascii=False, allow_nan=False) + "\n"
        if not hosts.first():
            return
        try:
            with open(self.path, "ab") as file:
                file.write(line.encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; a torn last line, which a kill leaves, is not one.

        Raises:
            UserError: a line in the middle is no JSON object.
        """
        if not self.path.exists():
            return []
        records = []
        lines = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], 1):
            try:
                records.append(json.loads(line))
            except ValueError:
                raise UserError(
                    f"{self.path}:{number}: not a JSON record; restore the file or start "
                    "the run again in an empty --workdir"
                ) from None
        return records

    def cut(self, step: int) -> None:
        """Keep the records up to ``step`` edits, and drop a torn line."""
        if not hosts.first():
            return
        kept = [record for record in self.read() if record["step"] <= step]
        if self.path.exists():
            text = "".join(
                json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in kept
            )
            _write_whole(self.path, text)


def plain(value: Any) -> Any:
    """``value`` in JSON's own types; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the new one, whenever we are killed.

    Of several processes the first one writes it, and the others go on when it is there.
    """
    if hosts.first():
        _write_whole(path, text)
    hosts.wait(str(path))


def _write_whole(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.tmp")
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """``write_whole`` of ``value`` as indented JSON."""
    text = json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in ``path``.

    Raises:
        UserError: the file is missing or broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is this the --workdir of a run?") from None
    except ValueError as error:
        raise UserError(f"{path}: broken JSON ({error}); restore it from a copy") from None


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold the run directory for this process; it is made if need be.

    The kernel drops the lock with the process, however that ends, so none is ever stale. Of several
    processes of one run the first holds it for all.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    if not hosts.first():
        _with_the_first(workdir)
        yield
        return
    with _told_the_others():
        descriptor = _hold(workdir)
    try:
        yield
    finally:
        os.close(descriptor)


def _hold(workdir: Path) -> int:
    """The descriptor of the lock, taken."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(workdir / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: cannot write there ({error.strerror})") from None
    try:
        _take(descriptor, workdir)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _told_the_others() -> Iterator[None]:
    """The other processes go on if the block does, and stop if it does not."""
    try:
        yield
    except BaseException:
        hosts.agreed(False)
        raise
    hosts.agreed(True)


def _with_the_first(workdir: Path) -> None:
    if not hosts.agreed(True):
        raise UserError(f"--workdir={workdir}: the first process cannot have it, and says why")


def refuse_if_busy(workdir: Path) -> None:
    """Say early, and without writing anything, that another run goes on in ``workdir``.

    Raises:
        UserError: another process holds the directory's lock.
    """
    if not hosts.first():
        _with_the_first(workdir)
        return
    with _told_the_others():
        _refuse_if_held(workdir)


def _refuse_if_held(workdir: Path) -> None:
    try:
        descriptor = os.open(workdir / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(_busy(descriptor, workdir)) from None
    finally:
        os.close(descriptor)


def _take(descriptor: int, workdir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(_busy(descriptor, workdir)) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _busy(descriptor: int, workdir: Path) -> str:
    holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
    return (
        f"--workdir={workdir}: process {holder} runs there; wait for it or give another directory"
    )
