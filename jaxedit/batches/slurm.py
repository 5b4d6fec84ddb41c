"""Jobs as an array of Slurm, through submitit.

What Slurm knows of a job is asked of squeue, so no accounting is needed. The number of a job in
Slurm is kept beside its log: a launch that was killed leaves its jobs in Slurm, and the same
command follows them.
"""

from __future__ import annotations

import getpass
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

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
from jaxedit.errors import UserError
from jaxedit.ledger import read_json, write_json

LOOK_SECONDS = 5.0  # between questions to Slurm's controller, which many ask
GRACE_SECONDS = 60.0  # for jobs that are cancelled to end
MOST = 1000  # jobs of an array; what Slurm allows unless told otherwise
TIMEOUTS = 100  # a run that reaches its time limit goes on from its last checkpoint
OVER = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY")
) | {"PREEMPTED", "TIMEOUT"}
COLUMNS = "JobArrayID:40,State:30,exit_code:12,Reason:40,NodeList:60"
# Why a job is in the queue; any other reason may keep it there for ever, and is told.
USUAL = frozenset(("None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime"))


@dataclass(frozen=True)
class Task:
    """What a task of a Slurm job executes: a run's command, with the job's log as its output."""

    job: Job
    command: tuple[str, ...]

    def __call__(self) -> None:
        """Ends as the command does."""
        with ExitStack() as opened:
            first = os.environ.get("SLURM_PROCID", "0") == "0"
            if first:
                try:
                    log = opened.enter_context(held(self.job))
                except Busy as busy:
                    sys.exit(f"error: {busy}")
            else:  # of a run of several processes
                log = opened.enter_context(open(self.job.log, "ab"))
            code = _run(self.command, environment(), log)
            if first:
                used = resource.getrusage(resource.RUSAGE_CHILDREN)  # this process had no other
                over(self.job, code, used.ru_utime + used.ru_stime)
        if code:
            sys.exit(code if code > 0 else 128 - code)

    def checkpoint(self) -> Any:
        """What Slurm is to do when the time limit is near: the same, which goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _run(command: Sequence[str], environment: Mapping[str, str], log: Any) -> int:
    # The signal before the time limit is for us; a run that knows nothing of it would die.
    handler = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
    )
    signal.signal(signal.SIGUSR2, handler)
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()


class State(NamedTuple):
    """What Slurm says of a job."""

    state: str
    code: int
    reason: str
    nodes: str


@dataclass(frozen=True)
class Slurm:
    """An `Engine`: an array of jobs, and a further one for those that are tried again.

    Attributes:
        folder: for submitit's files; all nodes have to see it, and the runs.
        width: how many jobs may run at a time.
        options: of submitit, such as ``{"slurm_partition": "gpu", "timeout_min": 240}``.
        command: what is executed for a job.
        seconds: between two looks.
    """

    folder: Path
    width: int
    options: Mapping[str, Any] = field(default_factory=dict)
    command: Command = run_command
    seconds: float = LOOK_SECONDS

    def start(self, waiting: Sequence[Job], running: Sequence[Running]) -> list[Running | Event]:
        """Submits all of them, but for those that are in Slurm already or elsewhere.

        Raises:
            UserError: Slurm does not take them, and says why.
        """
        queue = queued() or {}
        found = {job.hash: _looked_at(job, queue) for job in waiting}
        new = [job for job in waiting if found[job.hash] is None]
        for start in range(0, len(new), MOST):
            part = new[start : start + MOST]
            found |= dict(zip([job.hash for job in part], self._submit(part), strict=True))
        return [one for job in waiting if (one := found[job.hash]) is not None]

    def look(self, running: Sequence[Running]) -> list[Running | Ended]:
        """What Slurm says of them; as they were if it says nothing."""
        queue = queued() if running else {}
        return [one if queue is None else _seen(one, queue, self.folder) for one in running]

    def stop(self, running: Sequence[Running], interruptions: Callable[[], int]) -> None:
        """Cancels all of them, and waits until they have ended."""
        numbers = [one.handle for one in running]
        if not numbers:
            return
        asked = interruptions()
        subprocess.run(["scancel", *numbers], check=False)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and interruptions() == asked:
            queue = queued()
            if queue is not None and not any(_alive(number, queue) for number in numbers):
                return
            time.sleep(1.0)

    def _submit(self, jobs: Sequence[Job]) -> list[Running]:
        executor = _executor(self.folder, {"slurm_array_parallelism": self.width, **self.options})
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        outputs, tasks = [], []
        for job in jobs:
            tasks.append(Task(job, tuple(self.command(job))))
            with open(job.log, "ab") as log:
                outputs.append(begun(job, tasks[-1].command, log))
        try:
            with executor.batch():
                submitted = [executor.submit(task) for task in tasks]
        except (FailedJobError, FailedSubmissionError) as error:
            lines = [line for line in str(error).splitlines() if "error" in line.lower()]
            raise UserError(f"--engine=slurm: {(lines or ['sbatch failed'])[0].strip()}") from None
        found = []
        for job, number, output in zip(jobs, submitted, outputs, strict=True):
            write_json(_note(job), {"job": number.job_id, "output": output})
            found.append(Running(job, f"Slurm job {number.job_id}", number.job_id, output))
        return found


def check_slurm() -> None:
    """Refuses to start where nothing can be submitted.

    Raises:
        UserError: submitit or Slurm is missing.
    """
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError(
            '--engine=slurm: needs submitit; pip install "jaxedit[slurm]", or --engine=local'
        ) from None
    if queued() is None:
        raise UserError(
            "--engine=slurm: squeue does not answer; start this on a machine of the cluster, "
            "or give --engine=local"
        )


def queued() -> dict[str, State] | None:
    """This user's jobs, those that ended minutes ago included; None if Slurm does not answer."""
    command = ["squeue", "--noheader", "--array", "--states=all", f"--user={getpass.getuser()}"]
    try:
        said = subprocess.run(
            [*command, f"--Format={COLUMNS}"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    if said.returncode:
        return None
    found = {}
    for line in said.stdout.splitlines():
        number, state, code, reason, nodes = [*line.split(), "", ""][:5]
        found[number] = State(state, int(code), reason, nodes)
    return found


def _executor(folder: Path, options: Mapping[str, Any]) -> Any:
    import submitit

    folder.mkdir(parents=True, exist_ok=True)
    executor = submitit.AutoExecutor(
        folder=folder.resolve(), cluster="slurm", slurm_max_num_timeout=TIMEOUTS
    )
    try:
        executor.update_parameters(name="jaxedit", **options)
    except (TypeError, ValueError, NameError) as error:
        raise UserError(f"--sbatch: {' '.join(str(error).split())}") from None
    return executor


def _looked_at(job: Job, queue: Mapping[str, State]) -> Running | Event | None:
    """The job where it is in Slurm, done or busy; None if it is to be submitted."""
    if job.state() == DONE:
        return Event("skipped", job)
    if _note(job).exists():
        note = read_json(_note(job))
        if _alive(note["job"], queue):
            return Running(job, f"Slurm job {note['job']}", note["job"], note["output"])
    try:
        with held(job):
            return None
    except Busy as busy:
        return Event("busy", job, reason=str(busy))


def _note(job: Job) -> Path:
    """Where a job's number in Slurm is kept."""
    return job.out / f"{job.hash}.slurm.json"


def _alive(number: str, queue: Mapping[str, State]) -> bool:
    return number in queue and queue[number].state not in OVER


def _seen(one: Running, queue: Mapping[str, State], folder: Path) -> Running | Ended:
    if not _alive(one.handle, queue):
        return _ended(one, queue.get(one.handle), folder)
    state = queue[one.handle]
    place = f"Slurm job {one.handle}"
    if state.state == "RUNNING" and one.begun is None:
        return replace(one, where=f"{place} on {state.nodes}", begun=time.monotonic())
    if state.state == "PENDING" and state.reason not in USUAL:
        return replace(one, where=f"{place} waits: {state.reason}")
    return one


def _ended(one: Running, last: State | None, folder: Path) -> Ended:
    """Its last words are those of the run; else, if it did not come to run, those of the job."""
    said = last_line(one.job.log, one.output)
    said = said or last_line(folder / f"{one.handle}_0_log.err") or "it printed nothing"
    if last is None:
        return Ended(None, said)
    if last.state not in ("COMPLETED", "FAILED"):
        said = f"Slurm says {last.state}; {said}"
    code = last.code >> 8 if last.code > 255 else last.code
    return Ended(code or None if last.state != "COMPLETED" else 0, said)
