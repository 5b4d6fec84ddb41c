"""Several processes that are one run: how they find each other, agree, and who of them writes.

Every process goes through the same program with the same input; rows are split over the devices
of all (`jaxedit.sharding`). The first process alone writes. Files that a decision depends on are
looked at by the first one for all, so that no process takes another turn because it looked a
moment later.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import jax
import numpy as np
from jax._src import distributed  # what it knows is not public
from jax.experimental import multihost_utils

from jaxedit.errors import UserError
from jaxedit.rollcall import meet

TASKS = "SLURM_STEP_NUM_TASKS"  # set in what srun starts, not in the script around it
NODE_TASKS = "SLURM_STEP_TASKS_PER_NODE"
GPUS = "CUDA_VISIBLE_DEVICES"
NODE_GPUS = "SLURM_GPUS_ON_NODE"  # of all the step's tasks there
PORTS = range(61_440, 65_536)  # above those that systems give to whoever asks for any
SECONDS = 300  # that processes wait for each other at the start
LEAVE_SECONDS = 30  # and at an end that is none


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
    joined = hosts if hosts.coordinator else of_slurm(hosts, environment)
    coordinator, processes, process = joined.coordinator, joined.processes, joined.process
    if coordinator is None or processes is None or process is None or processes == 1:
        if joined.devices is not None:
            jax.config.update("jax_cuda_visible_devices", ",".join(map(str, joined.devices)))
        return
    meet(coordinator, processes, process, SECONDS)
    jax.distributed.initialize(
        coordinator,
        processes,
        process,
        local_device_ids=joined.devices,
        cluster_detection_method="deactivate",  # all that it would find is given
        initialization_timeout=SECONDS,
    )


def of_slurm(hosts: Hosts, environment: Mapping[str, str]) -> Hosts:
    """What Slurm says to one of several tasks that srun started; else as it was.

    The port is one that both this job and this step of it are unlikely to share with others.
    """
    if not in_slurm(environment):
        return hosts
    job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
    port = PORTS[(job * 31 + step) % len(PORTS)]
    return Hosts(
        f"{_first_node(environment['SLURM_STEP_NODELIST'])}:{port}",
        int(environment[TASKS]),
        int(environment["SLURM_PROCID"]),
        hosts.devices if hosts.devices is not None else slurm_devices(environment),
    )


def in_slurm(environment: Mapping[str, str]) -> bool:
    """Whether this is one of several tasks that srun started."""
    return int(environment.get(TASKS, "1")) > 1


def slurm_devices(environment: Mapping[str, str]) -> tuple[int, ...] | None:
    """Numbers of a task's GPUs among those that it sees; None: all.

    Slurm shows a task either its own GPUs, fewer than the step has on the node, or without binding
    those of the whole step, as a list or by saying nothing; the tasks of a node then share them
    out in order.

    Raises:
        UserError: they do not go round.
    """
    visible = [name for name in environment.get(GPUS, "").split(",") if name]
    given = int(environment.get(NODE_GPUS, len(visible)))
    seen = len(visible) or given
    tasks = _tasks_here(environment)
    here = int(environment.get("SLURM_LOCALID", "0"))
    if not seen:  # none, or none that Slurm counts
        return None if tasks == 1 else (here,)
    if tasks == 1 or seen < max(given, tasks):
        return tuple(range(seen))
    if seen % tasks:
        raise UserError(
            f"{seen} GPUs cannot be shared out among the {tasks} tasks of a node; ask "
            "srun for --gpus-per-task, or for another number of tasks"
        )
    each = seen // tasks
    return tuple(range(here * each, (here + 1) * each))


def _first_node(nodes: str) -> str:
    """Of a text such as "gpu[007-015,020],login2"."""
    found = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    assert found is not None
    return "".join(part or "" for part in found.groups())


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
    return index() == 0


def index() -> int:
    """Which process this is; unlike JAX's own answer it starts no device."""
    return distributed.global_state.process_id if many() else 0


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
    """Ends this process, and with it the run: of the others, those in the midst of something, too.

    Others that are about to leave for a reason of their own get the time to say so; an orderly
    exit would wait minutes for those that are not, which JAX ends soon after.
    """
    client = distributed.global_state.client
    if client is None:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(RuntimeError):  # they do not come, or have ended
        client.wait_at_barrier("leave", LEAVE_SECONDS * 1000)
    os._exit(code)
