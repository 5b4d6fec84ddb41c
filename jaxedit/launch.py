"""Runs a batch: one process a run, over the GPUs or the cores of this machine.

    python -m jaxedit.launch --batch=runs/methods.py --out=out/runs
    python -m jaxedit.launch --batch=runs/methods.py --out=out/runs --only='memit*' --slots=2
    python -m jaxedit.launch --batch=runs/methods.py --out=out/runs --dry_run

A run is kept in OUT/<hash of its config>, its output in OUT/<hash>.log, and OUT/<batch>.json says
which name has which hash. Finished runs are skipped, begun ones go on: after Ctrl-C, a failure or
a restart of the machine the same command does what is left. `python -m jaxedit.report --batch=...`
makes the table.
"""

from __future__ import annotations

import fcntl
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from absl import flags, logging

from jaxedit import cli
from jaxedit.batches.batch import DONE, SCALE, Batch, Job, batch_name, jobs, load_batch
from jaxedit.batches.pool import Command, Event, counted_signals, run_command, work
from jaxedit.batches.slots import Slot, local_slots, usable_cores, visible_gpus
from jaxedit.errors import UserError
from jaxedit.ledger import write_json


def launch(work_list: Sequence[Job], slots: Sequence[Slot], command: Command = run_command) -> bool:
    """Runs jobs and tells how they go, a line a change.

    Args:
        work_list: what to run, of one output directory.
        slots: where.
        command: what is executed for a job.

    Returns:
        Whether every job is done now.

    Raises:
        KeyboardInterrupt: a signal asked to stop; all processes have ended.
    """
    ended: list[Event] = []
    total = sum(job.state() != DONE for job in work_list)
    with (
        counted_signals() as interruptions,
        closing(work(work_list, slots, command, interruptions)) as events,
    ):
        for event in events:
            if event.kind != "started":
                ended.append(event)
            logging.info("%s", _line(event, ended, total, len(slots)))
        if interruptions():
            raise KeyboardInterrupt
    for line in _summary(ended):
        logging.info("%s", line)
    return all(event.kind in ("done", "skipped") for event in ended)


def write_names(batch: Batch, out: Path, name: str) -> None:
    """Writes OUT/<batch>.json: which run of the batch is kept where.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with open(out / ".names.lock", "a") as lock:  # another launch may write it, too
            fcntl.flock(lock, fcntl.LOCK_EX)
            hashes = {run: config.hash for run, config in batch.configs.items()}
            write_json(
                out / f"{name}.json", {"title": batch.title, "about": batch.about, "runs": hashes}
            )
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--out={out}: cannot write there ({error.strerror})") from None


def plan(work_list: Sequence[Job]) -> list[str]:
    """What would be done, a line a job."""
    lines = []
    for job in work_list:
        arms = ", ".join(arm.name for arm in job.config.arms)
        lines.append(f"{job.state():8}{job.hash}  {job.label}  ({arms})")
    counts = Counter(job.state() for job in work_list)
    return [*lines, ", ".join(f"{count} {state}" for state, count in counts.items())]


def _line(event: Event, ended: Sequence[Event], total: int, slots: int) -> str:
    job, words = event.job, f"{event.kind:8}{event.job.label}"
    if event.kind == "started":
        return f"{words} ({job.hash}, {event.reason})"
    if event.kind == "skipped":
        return f"{words} is done already"
    if event.kind in ("busy", "stopped"):
        return f"{words} {event.reason}".rstrip()
    why = f": {event.reason}" if event.reason else ""
    return f"{words} in {_duration(event.seconds)}{why}; {_left(ended, total, slots)}"


def _left(ended: Sequence[Event], total: int, slots: int) -> str:
    tried = [event for event in ended if event.kind in ("done", "failed")]
    left = total - len(tried)
    if left <= 0:
        return f"{len(tried)} of {total}"
    # As long as the ones that were done; those under way count as not begun.
    timed = [event.seconds for event in tried if event.kind == "done"] or [tried[-1].seconds]
    guess = sum(timed) / len(timed) * left / min(slots, left)
    return f"{len(tried)} of {total}, about {_duration(guess)} left"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _summary(ended: Sequence[Event]) -> list[str]:
    counts = Counter(event.kind for event in ended)
    names = {"done": "done now", "skipped": "done before", "failed": "failed", "busy": "busy"}
    told = [f"{counts[kind]} {words}" for kind, words in names.items() if counts[kind]]
    lines = [f"{sum(counts.values())} runs: {', '.join(told)}"]
    for event in ended:
        if event.kind in ("failed", "busy"):
            seen = f" (see {event.job.log})" if event.kind == "failed" else ""
            lines.append(f"  {event.kind}: {event.job.label}: {event.reason}{seen}")
    return lines


if __name__ == "__main__":
    _BATCH = flags.DEFINE_string("batch", None, "a batch file, such as runs/methods.py")
    _OUT = flags.DEFINE_string("out", None, "directory of all runs; made if need be")
    _SCALE = flags.DEFINE_string("scale", SCALE, "passed to the batch file: tiny, paper, ...")
    _SLOTS = flags.DEFINE_integer(
        "slots", None, "runs at a time; default: one a GPU, or one for every two cores"
    )
    _ONLY = flags.DEFINE_string("only", None, "only runs whose name this glob matches")
    _DRY_RUN = flags.DEFINE_bool("dry_run", False, "list the runs and their state, and stop")

    def _main() -> None:
        path, out = cli.required(_BATCH, "runs/methods.py"), Path(cli.required(_OUT, "out/runs"))
        batch = load_batch(path, _SCALE.value)
        work_list = jobs(batch, out, _ONLY.value)
        if _DRY_RUN.value:
            print("\n".join(plan(work_list)))
            return
        slots = local_slots(_SLOTS.value, usable_cores(), visible_gpus())
        write_names(batch, out, batch_name(path, _SCALE.value))
        if not launch(work_list, slots):
            sys.exit(1)

    cli.run(_main)
