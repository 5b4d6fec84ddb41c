"""Places on this machine where a run's process can be: a GPU each, or a group of cores each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from jaxedit.errors import UserError

CORES_A_SLOT = 2
PROBE = "import jax; print(sum(device.platform == 'gpu' for device in jax.local_devices()))"


@dataclass(frozen=True)
class Slot:
    """Room for one process.

    Attributes:
        number: from 0.
        cores: those that its process may use; empty where the system cannot say.
        gpu: the one that it sees, as CUDA_VISIBLE_DEVICES names it; None without GPUs.
    """

    number: int
    cores: tuple[int, ...]
    gpu: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Variables of its process."""
        return {} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": self.gpu}

    def __str__(self) -> str:
        """For people."""
        if self.gpu is not None:
            return f"GPU {self.gpu}"
        return f"cores {','.join(map(str, self.cores))}" if self.cores else f"slot {self.number}"


def local_slots(count: int | None, cores: Sequence[int], gpus: Sequence[str]) -> tuple[Slot, ...]:
    """Slots over the machine's GPUs, or over its cores where it has none.

    Args:
        count: how many; None takes one a GPU, or one for every two cores.
        cores: that may be used, shared out evenly; a core serves several slots if they are few.
        gpus: that may be used; a run takes a whole one.

    Raises:
        UserError: fewer than one slot, or more than there are GPUs.
    """
    if count is not None and count < 1:
        raise UserError(f"--slots={count}: must be at least 1")
    if gpus and count is not None and count > len(gpus):
        raise UserError(
            f"--slots={count}: a run takes a whole GPU, and this machine shows {len(gpus)}"
        )
    number = count or len(gpus) or max(1, len(cores) // CORES_A_SLOT)
    return tuple(
        Slot(i, _share(cores, i, number), gpus[i] if gpus else None) for i in range(number)
    )


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
