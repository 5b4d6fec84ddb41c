"""Several processes that are one run: how they find each other, agree, and who of them writes.

Every process goes through the same program with the same input; rows are split over the devices
of all (`jaxedit.sharding`). The first process alone writes. Files that a decision depends on are
looked at by the first one for all, so that no process takes another turn because it looked a
moment later.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxedit.errors import UserError

TASKS = "SLURM_STEP_NUM_TASKS"  # set in what srun starts, not in the script around it
NODE_TASKS = "SLURM_STEP_TASKS_PER_NODE"
GPUS = "CUDA_VISIBLE_DEVICES"
SECONDS = 300  # that processes wait for each other at the start


@dataclass(frozen=True)
class Hosts:
    """How a process joins the others; None: as Slurm says, where it does.

    Attributes:
        coordinator: address of the first process, host:port.
        processes: how many there are.
        process: which of them this one is, from 0.
        devices: numbers of its GPUs among those of its machine.
    """

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    devices: tuple[int, ...] | None = None


def start(hosts: Hosts, environment: Mapping[str, str] = os.environ) -> None:
    """Joins the other processes, if there are any; before anything is asked of JAX.

    Raises:
        UserError: flags that belong together are not all given, or the others do not come.
    """
    given = hosts.coordinator, hosts.processes, hosts.process
    if None in given and given != (None, None, None):
        raise UserError(
            "--coordinator, --processes and --process belong together; give all three, or start "
            "the processes with Slurm's srun"
        )
    if hosts.coordinator is None and not in_slurm(environment):
        return
    if hosts.processes == 1:
        return
    devices = hosts.devices if hosts.devices is not None else slurm_devices(environment)
    try:
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.processes,
            hosts.process,
            local_device_ids=None if devices is None else list(devices),
            initialization_timeout=SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--coordinator: the processes did not find each other ({_first_line(error)}); check "
            "the address, and that as many were started as --processes says"
        ) from None


def in_slurm(environment: Mapping[str, str]) -> bool:
    """Whether this is one of several tasks that srun started."""
    return int(environment.get(TASKS, "1")) > 1


def slurm_devices(environment: Mapping[str, str]) -> tuple[int, ...] | None:
    """Numbers of a task's GPUs among those that it sees; None leaves it to JAX (no GPUs).

    Slurm shows a task either its own GPUs or, without binding, those of the whole node; the tasks
    of a node then share them out in order.
    """
    visible = [name for name in environment.get(GPUS, "").split(",") if name]
    if not visible or not in_slurm(environment):
        return None
    tasks = _tasks_here(environment)
    here = int(environment.get("SLURM_LOCALID", "0"))
    if tasks == 1 or len(visible) < tasks:
        return tuple(range(len(visible)))
    if len(visible) % tasks:
        raise UserError(
            f"{len(visible)} GPUs cannot be shared out among the {tasks} tasks of a node; ask "
            "srun for --gpus-per-task, or for another number of tasks"
        )
    each = len(visible) // tasks
    return tuple(range(here * each, (here + 1) * each))


def _tasks_here(environment: Mapping[str, str]) -> int:
    """Tasks on this node, of a text such as "2(x3),1": two on each of three, then one."""
    counts: list[int] = []
    for part in environment.get(NODE_TASKS, "1").split(","):
        count, _, times = part.removesuffix(")").partition("(x")
        counts += [int(count)] * int(times or 1)
    return counts[min(int(environment.get("SLURM_NODEID", "0")), len(counts) - 1)]


def many() -> bool:
    """Whether this is one of several processes."""
    return jax.distributed.is_initialized()


def first() -> bool:
    """Whether this process writes; a run of one process has no other."""
    return not many() or jax.process_index() == 0


def agree(values: Sequence[int]) -> list[int]:
    """What the first process found, on every process."""
    if not many():
        return list(values)
    return np.asarray(multihost_utils.broadcast_one_to_all(np.asarray(values, np.int32))).tolist()


def agreed(value: bool) -> bool:
    """What the first process found to be so, on every process."""
    return bool(agree([value])[0])


def wait(name: str) -> None:
    """Until every process is here."""
    if many():
        multihost_utils.sync_global_devices(name)


def leave(code: int) -> NoReturn:
    """Ends this process; the others, which wait for it somewhere, are ended by JAX soon after.

    An orderly exit would first wait minutes for them to come to their ends.
    """
    if many():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
