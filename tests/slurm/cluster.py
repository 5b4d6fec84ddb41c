"""A real Slurm for the length of a block: munge, its controller and one node, all on this machine.

Everything it writes is in one directory, and every process that it started ends with the block.
Debian: ``apt-get install slurm-wlm munge``; to be run as root, as Slurm starts processes for users.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scancel", "sinfo")
START_SECONDS = 60.0
CONF = """\
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
{gres}NodeName={host} NodeAddr=127.0.0.1 CPUs=4 {node}State=UNKNOWN
PartitionName=trial Nodes={host} Default=YES MaxTime=60 State=UP
"""


def missing() -> list[str]:
    """What a cluster needs and this machine has not."""
    absent = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    return absent if os.geteuid() == 0 else [*absent, "the rights of root"]


@contextmanager
def cluster(directory: Path, gpus: int = 0) -> Iterator[dict[str, str]]:
    """Runs one node with four CPUs; the temporary directory is to have a short name (a socket's).

    Args:
        directory: for everything that it writes.
        gpus: how many the node says it has; they are files.

    Yields:
        The environment in which Slurm's commands find it.
    """
    for name in ("state", "spool", "key"):
        (directory / name).mkdir(parents=True)
    directory.chmod(0o755)
    (directory / "key").chmod(0o700)
    conf = _configure(directory, gpus)
    environment = {**os.environ, "SLURM_CONF": str(conf), "PATH": _path()}
    with ExitStack() as started:
        _start(started, directory, environment, _munged(directory))
        _until(lambda: (directory / "munge.socket").exists(), directory / "munged.log")
        _start(started, directory, environment, ["slurmctld", "-D", "-f", str(conf)])
        _start(started, directory, environment, ["slurmd", "-D", "-f", str(conf)])
        _until(lambda: "idle" in _said(environment, "sinfo", "-h", "-o", "%t"), directory)
        started.callback(_cancel_all, environment)
        yield environment


def _configure(directory: Path, gpus: int) -> Path:
    """Writes key and configuration; returns the latter's path."""
    key = directory / "key" / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    gres = "GresTypes=gpu\n" if gpus else ""
    node = f"Gres=gpu:{gpus} " if gpus else ""
    host = socket.gethostname().split(".")[0]
    text = CONF.format(host=host, ports=_ports(2), directory=directory, gres=gres, node=node)
    (directory / "slurm.conf").write_text(text)
    (directory / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    files = [directory / f"gpu{i}" for i in range(gpus)]
    for file in files:  # devices like /dev/null
        os.mknod(file, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (directory / "gres.conf").write_text("".join(f"Name=gpu File={file}\n" for file in files))
    return directory / "slurm.conf"


def _munged(directory: Path) -> list[str]:
    files = {
        "socket": "munge.socket",
        "key-file": "key/munge.key",
        "log-file": "munged.log",
        "pid-file": "munged.pid",
        "seed-file": "munged.seed",
    }
    options = [f"--{name}={directory / file}" for name, file in files.items()]
    return ["munged", "--foreground", "--force", *options]  # force: /tmp is everybody's


def _start(
    started: ExitStack, directory: Path, environment: dict[str, str], command: Sequence[str]
) -> None:
    """Starts a daemon, to be ended with the block."""
    with open(directory / f"{command[0]}.out", "wb") as output:
        daemon = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=directory
        )
    started.callback(_end, daemon)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _cancel_all(environment: dict[str, str]) -> None:
    """Ends every job, with its processes, while there is still a node that can."""
    numbers = _said(environment, "squeue", "-h", "-o", "%A").split()
    if numbers:
        subprocess.run(["scancel", *numbers], env=environment, check=False)
    deadline = time.monotonic() + START_SECONDS
    while _said(environment, "squeue", "-h") and time.monotonic() < deadline:
        time.sleep(0.2)


def _said(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _until(happened, where: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Slurm does not start; see {where}")
        time.sleep(0.1)


def _ports(count: int) -> list[int]:
    """Free ones."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _path() -> str:
    """Where daemons lie, too."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
