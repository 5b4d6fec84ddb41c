"""Places on this machine where a run's process can be: GPUs of its own, or a group of cores each.

Who runs on a GPU holds a lock on a file that is named by it, in the directory for temporary files,
so that no two launches put processes on one.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from jaxedit.errors import UserError

CORES_A_SLOT = 2
PROBE = "import jax; print(sum(device.platform == 'gpu' for device in jax.local_devices()))"


@dataclass(frozen=True)
class Slot:
    """Room for one process.

    Attributes:
        number: from 0.
        cores: those that its process may use; empty where the system cannot say.
        gpus: those that it sees, as CUDA_VISIBLE_DEVICES names them.
    """

    number: int
    cores: tuple[int, ...]
    gpus: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """Variables of its process."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}

    def __str__(self) -> str:
        """For people."""
        if self.gpus:
            return f"GPU {','.join(self.gpus)}"
        return f"cores {','.join(map(str, self.cores))}" if self.cores else f"slot {self.number}"


def local_slots(
    count: int | None, cores: Sequence[int], gpus: Sequence[str], each: int = 1
) -> tuple[Slot, ...]:
    """Slots over the machine's GPUs, or over its cores where it has none.

    Args:
        count: how many; None takes as many as the GPUs suffice for, or one for every two cores.
        cores: that may be used, shared out evenly; a core serves several slots if they are few.
        gpus: that may be used.
        each: GPUs that a run takes, whole ones; none if 0.

    Raises:
        UserError: fewer than one slot, or more GPUs than there are.
    """
    if count is not None and count < 1:
        raise UserError(f"--slots={count}: must be at least 1")
    most = len(gpus) // each if gpus and each else 0
    if gpus and each > len(gpus):
        raise UserError(f"--gpus={each}: this machine shows {len(gpus)}")
    if most and count is not None and count > most:
        takes = "a whole GPU" if each == 1 else f"{each} whole GPUs"
        raise UserError(f"--slots={count}: a run takes {takes}, and this machine shows {len(gpus)}")
    number = count or most or max(1, len(cores) // CORES_A_SLOT)
    own = [tuple(gpus[i * each : (i + 1) * each]) if most else () for i in range(number)]
    return tuple(Slot(i, _share(cores, i, number), own[i]) for i in range(number))


def hold_gpus(slot: Slot, opened: ExitStack) -> list[int] | None:
    """Takes the slot's GPUs until all who inherit the descriptors have ended.

    Args:
        slot: whose.
        opened: closes this process's own copies.

    Returns:
        Descriptors to pass on; None if another launch's process uses one of the GPUs.
    """
    descriptors = []
    for gpu in slot.gpus:
        descriptor = _lock_file(gpu)
        opened.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        descriptors.append(descriptor)
    return descriptors


def _lock_file(gpu: str) -> int:
    """Of all users: opened, and made if need be."""
    directory = Path(tempfile.gettempdir()) / "jaxedit-gpus"
    if not directory.exists():
        with suppress(FileExistsError):
            directory.mkdir()
            directory.chmod(0o1777)
    path = directory / gpu.replace("/", "-")
    with suppress(FileNotFoundError):  # in such a directory others' files open only without O_CREAT
        return os.open(path, os.O_RDONLY)
    return os.open(path, os.O_RDONLY | os.O_CREAT, 0o444)


def _share(cores: Sequence[int], place: int, number: int) -> tuple[int, ...]:
    if not cores:
        return ()
    own = cores[place * len(cores) // number : (place + 1) * len(cores) // number]
    return tuple(own) or (cores[place % len(cores)],)


def usable_cores() -> tuple[int, ...]:
    """Those that this process may use; empty where the system cannot say."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(os.sched_getaffinity(0)))


def visible_gpus() -> tuple[str, ...]:
    """What a process of its own says that JAX sees; this one must not hold GPUs its runs need.

    Raises:
        UserError: JAX does not start.
    """
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu", "rocm"} & set(platforms.split(",")):
        return ()
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-c", PROBE]
    probe = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if probe.returncode:
        said = (probe.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"JAX does not start on this machine ({said}); try JAX_PLATFORMS=cpu")
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    count = int(probe.stdout.split()[-1])
    return tuple(named[:count]) if named else tuple(map(str, range(count)))


@contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Processes started meanwhile may use these cores alone; XLA makes as many threads."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
