"""Runs a batch: one process a run, over the GPUs or the cores of this machine, or through Slurm.

    python -m jaxedit.launch --batch=runs/methods.py --out=out/runs
    python -m jaxedit.launch --batch=runs/methods.py --out=out/runs --only='memit*' --slots=2
    python -m jaxedit.launch --batch='runs/d4s_*.py' --batch=runs/protocols.py --out=out/runs \\
        --seeds=0,1,2
    python -m jaxedit.launch --batch=runs/methods.py --out=out/runs --dry_run
    python -m jaxedit.launch --batch=runs/methods.py --out=out/runs \\
        --engine=slurm --partition=gpu --time=240
    python -m jaxedit.launch --config=configs/quickstart.py --out=out/runs \\
        --sweep config.arms.d4s.moment_weight=5,20 --sweep config.facts.seed=0,1

A run is kept in OUT/<hash of its config>, its output in OUT/<hash>.log, and OUT/<batch>.json says
which name has which hash; it is a batch file, too. Several batches are one work list; a run that
more than one of them has is made once. Finished runs are skipped, begun ones go on: after Ctrl-C, a
failure or a restart of the machine the same command does what is left. How long it will take is
said first, from what runs took that were measured (jaxedit/batches/seconds.py); with --dry_run,
what models that are not embedded will need, too: memory, devices, GPU hours.
`python -m jaxedit.report --batch=...` makes the tables.
"""

from __future__ import annotations

import fcntl
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from absl import flags, logging
from ml_collections import config_flags

from jaxedit import cli
from jaxedit.batches import board as boards
from jaxedit.batches.batch import (
    SCALE,
    SEEDS,
    Batch,
    Job,
    in_several,
    jobs,
    jobs_of_all,
    load_batches,
    read_seeds,
)
from jaxedit.batches.board import Screen, Teller
from jaxedit.batches.local import Local
from jaxedit.batches.needs import needs
from jaxedit.batches.pool import Engine, counted_signals, work
from jaxedit.batches.seconds import ahead
from jaxedit.batches.slots import CORES_A_SLOT, local_slots, usable_cores, visible_gpus
from jaxedit.batches.slurm import Slurm, check_slurm
from jaxedit.batches.sweep import sweep_name, swept
from jaxedit.config import to_dict
from jaxedit.errors import UserError
from jaxedit.ledger import write_json

SLICE_SECONDS = 0.1  # of a pause, so that a signal ends it


def launch(
    work_list: Sequence[Job], engine: Engine, *, retries: int = 1, tell: Teller = boards.lines
) -> bool:
    """Runs jobs and tells how they go.

    Args:
        work_list: what to run, of one output directory.
        engine: where.
        retries: how often a run that failed is tried again.
        tell: shows every change.

    Returns:
        Whether every job is done now.

    Raises:
        KeyboardInterrupt: a signal asked to stop; all processes have ended.
    """
    board = boards.begin(work_list, engine.width)
    with counted_signals() as interruptions:

        def pause(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until and not interruptions():
                tell(None, board)
                time.sleep(min(seconds, SLICE_SECONDS))

        going = work(work_list, engine, retries=retries, interruptions=interruptions, pause=pause)
        with closing(going) as events:
            for event in events:
                board = boards.after(board, event, time.monotonic())
                tell(event, board)
        if interruptions():
            raise KeyboardInterrupt
    for line in boards.summary(board):
        logging.info("%s", line)
    return all(row.kind in ("done", "skipped") for row in board.rows.values())


def write_names(batch: Batch, out: Path, name: str) -> None:
    """Writes OUT/<batch>.json: which run of the batch is kept where; and the runs' configs.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with open(out / ".names.lock", "a") as lock:  # another launch may write it, too
            fcntl.flock(lock, fcntl.LOCK_EX)
            hashes = {run: config.hash for run, config in batch.configs.items()}
            for job in jobs(batch, out):
                if not job.config_file.exists():
                    write_json(job.config_file, to_dict(job.config))
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


def slurm_options(asked: Mapping[str, Any], sbatch: Sequence[str]) -> dict[str, Any]:
    """What submitit is told.

    Args:
        asked: by flag: partition, gpus, time, nodes, tasks, cpus, memory; None where not given.
        sbatch: further options of sbatch, such as "account=me".

    Raises:
        UserError: one of these is no option with a value.
    """
    wrong = [text for text in sbatch if "=" not in text.strip("=")]
    if wrong:
        raise UserError(f"--sbatch={wrong[0]}: give options with values, such as account=me")
    srun = ["--kill-on-bad-exit=1"]  # a run of several processes ends as a whole
    if asked["cpus"]:
        srun.append(f"--cpus-per-task={asked['cpus']}")  # which it does not take from sbatch
    options = {
        "slurm_partition": asked["partition"],
        "gpus_per_node": asked["gpus"] or None,
        "timeout_min": asked["time"],
        "nodes": asked["nodes"],
        "tasks_per_node": asked["tasks"],
        "cpus_per_task": asked["cpus"],
        "mem_gb": asked["memory"],
        "slurm_additional_parameters": dict(text.split("=", 1) for text in sbatch) or None,
        "slurm_srun_args": srun,
    }
    return {name: value for name, value in options.items() if value is not None}


if __name__ == "__main__":
    _BATCH = flags.DEFINE_multi_string(
        "batch", None, "a batch file, such as runs/methods.py, or a glob; several are one work list"
    )
    _CONFIG = cli.config_flag()
    _SWEEP = flags.DEFINE_multi_string(
        "sweep", [], "with --config: a setting and its values, such as config.seed=0,1"
    )
    _OUT = flags.DEFINE_string("out", None, "directory of all runs; made if need be")
    _SCALE = flags.DEFINE_string("scale", SCALE, "passed to the batch file: tiny, paper, ...")
    _SEEDS = flags.DEFINE_list("seeds", ["0"], "passed to the batch files, such as 0,1,2")
    _SLOTS = flags.DEFINE_integer(
        "slots", None, "runs at a time; default: as many as the GPUs or cores suffice for"
    )
    _ONLY = flags.DEFINE_string("only", None, "only runs whose name this glob matches")
    _DRY_RUN = flags.DEFINE_bool("dry_run", False, "list the runs and their state, and stop")
    _RETRIES = flags.DEFINE_integer(
        "retries", 1, "how often a run that failed is tried again", lower_bound=0
    )
    _ENGINE = flags.DEFINE_enum("engine", "local", ["local", "slurm"], "where the runs are made")
    _GPUS = flags.DEFINE_integer(
        "gpus", 1, "GPUs of a run, on each of its nodes; 0 for none", lower_bound=0
    )
    _PARTITION = flags.DEFINE_string("partition", None, "Slurm: where to queue")
    _TIME = flags.DEFINE_integer(
        "time", 240, "Slurm: minutes until a run is queued again, to go on", lower_bound=1
    )
    _NODES = flags.DEFINE_integer("nodes", 1, "Slurm: nodes of a run", lower_bound=1)
    _TASKS = flags.DEFINE_integer("tasks", 1, "Slurm: processes a node", lower_bound=1)
    _CPUS = flags.DEFINE_integer("cpus", None, "Slurm: cores a process", lower_bound=1)
    _MEMORY = flags.DEFINE_integer("memory", None, "Slurm: GB a node", lower_bound=1)
    _SBATCH = flags.DEFINE_list("sbatch", [], "Slurm: more options, such as account=me,qos=long")

    def _batches() -> dict[str, Batch]:
        """What the flags name, by the names of its files."""
        seeds = read_seeds(_SEEDS.value)
        if _BATCH.value and _CONFIG.value:
            raise UserError("--batch, --config: give one of them")
        if _CONFIG.value:
            if seeds != SEEDS:
                raise UserError("--seeds: needs --batch; give --sweep config.seed=0,1")
            source = config_flags.get_config_filename(flags.FLAGS["config"])
            name = sweep_name(source, _SWEEP.value)
            return {name: swept(_CONFIG.value, source, _SWEEP.value)}
        if _SWEEP.value:
            raise UserError("--sweep: needs --config=FILE; a batch file says itself what varies")
        paths = _BATCH.value or [cli.required(_BATCH, "runs/methods.py")]
        return load_batches(paths, _SCALE.value, seeds)

    def _engine(out: Path) -> Engine:
        if _ENGINE.value == "local":
            gpus = visible_gpus() if _GPUS.value else ()
            return Local(local_slots(_SLOTS.value, usable_cores(), gpus, _GPUS.value))
        check_slurm()
        named = (_PARTITION, _GPUS, _TIME, _NODES, _TASKS, _CPUS, _MEMORY)
        asked = {holder.name: holder.value for holder in named}
        return Slurm(out / ".slurm", _SLOTS.value or 256, slurm_options(asked, _SBATCH.value))

    def _main() -> None:
        batches = _batches()
        out = Path(cli.required(_OUT, "out/runs"))
        work_list = jobs_of_all(batches, out, _ONLY.value)
        shared = sum(job.hash in in_several(batches) for job in work_list)
        if _DRY_RUN.value:
            slots = _SLOTS.value or max(1, len(usable_cores()) // CORES_A_SLOT)
            print(
                "\n".join(
                    [*plan(work_list), *needs(work_list), str(ahead(work_list, slots, shared))]
                )
            )
            return
        engine = _engine(out)
        for name, batch in batches.items():
            write_names(batch, out, name)
        logging.info("%s", ahead(work_list, engine.width, shared))
        tell = Screen(sys.stderr) if sys.stderr.isatty() else boards.lines
        if not launch(work_list, engine, retries=_RETRIES.value, tell=tell):
            sys.exit(1)

    cli.run(_main)
