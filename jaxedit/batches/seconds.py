"""How long the runs of batches take: measured ones by the hash of their config, and an estimate.

    python -m jaxedit.batches.seconds --out=out/tables

adds the runs of OUT that are done to seconds.json, which every estimate begins with: processor
seconds of the whole process, compilation included, of the embedded models on one core.
"""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags, logging

from jaxedit import cli
from jaxedit.batches.attempt import attempts
from jaxedit.batches.batch import DONE, PARTIAL, Job
from jaxedit.batches.board import duration
from jaxedit.errors import UserError
from jaxedit.ledger import read_json, write_json

FILE = Path(__file__).with_name("seconds.json")
SUFFIX = ".attempts.jsonl"


class Ahead(NamedTuple):
    """What is left of a work list.

    Attributes:
        runs: in the list.
        shared: of these in more than one batch.
        done, begun: of these.
        seconds: until all are done; None if nothing is known of any.
        guessed: runs whose length is not known; they count as others do, an arm as an arm.
        slots: that work on them.
    """

    runs: int
    shared: int
    done: int
    begun: int
    seconds: float | None
    guessed: int
    slots: int

    def __str__(self) -> str:
        """In one line."""
        also = f" ({self.shared} of them in several batches)" if self.shared else ""
        begun = f", {self.begun} begun" if self.begun else ""
        text = f"{self.runs} runs{also}, {self.done} done{begun}"
        if self.done == self.runs:
            return text
        if self.seconds is None:
            return f"{text}; how long they take is not known"
        slots = f"{self.slots} slot{'s' * (self.slots != 1)}"
        guess = f" ({self.guessed} of unknown length taken as the others are)" * bool(self.guessed)
        return f"{text}; about {duration(self.seconds)} on {slots}{guess}"


def ahead(
    work_list: Sequence[Job], slots: int, shared: int = 0, known: Mapping[str, float] | None = None
) -> Ahead:
    """What is left of a work list, each run on one slot; one that has begun counts whole.

    Args:
        work_list: in the order in which runs start.
        slots: that work at a time.
        shared: runs that more than one batch names.
        known: seconds by the hash of a config; None takes those of the package.
    """
    known = read_seconds() if known is None else known
    states = [job.state() for job in work_list]
    left = [job for job, state in zip(work_list, states, strict=True) if state != DONE]
    measured = [known[j.hash] / len(j.config.arms) for j in work_list if j.hash in known]
    each = statistics.median(measured) if measured else None
    seconds = None
    if each is not None:
        took = [known.get(job.hash, each * len(job.config.arms)) for job in left]
        seconds = _until_done(took, slots)
    guessed = sum(job.hash not in known for job in left)
    counts = states.count(DONE), states.count(PARTIAL)
    return Ahead(len(work_list), shared, *counts, seconds, guessed, slots)


def _until_done(took: Sequence[float], slots: int) -> float:
    """When the last of these is over, each begun in this order as soon as a slot is free."""
    free = [0.0] * max(1, min(slots, len(took)))
    for one in took:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def measured(out: Path) -> dict[str, float]:
    """Processor seconds of the runs that are done, by hash; all attempts at each together.

    One of which an attempt is not known to its end is left out.

    Args:
        out: directory that holds the runs.

    Raises:
        UserError: a record there is broken.
    """
    found = {}
    for path in sorted(out.glob(f"*{SUFFIX}")):
        key = path.name.removesuffix(SUFFIX)
        records = attempts(out, key).read()
        ended = [record for record in records if "ended" in record]
        if ended and ended[-1]["code"] == 0 and 2 * len(ended) == len(records):
            found[key] = round(sum(record["processor"] for record in ended), 1)
    return found


def read_seconds(path: Path = FILE) -> dict[str, float]:
    """Seconds by the hash of a config.

    Raises:
        UserError: the file is broken.
    """
    return read_json(path) if path.exists() else {}


def add_seconds(out: Path, path: Path = FILE) -> tuple[int, int]:
    """Adds what was measured below ``out`` to a file of seconds.

    Returns:
        How many runs were added or measured again; how many there are now.

    Raises:
        UserError: there is no such directory, or nothing in it.
    """
    if not out.is_dir():
        raise UserError(f"--out={out}: no such directory; give the one that jaxedit.launch had")
    new = measured(out)
    if not new:
        raise UserError(f"--out={out}: no run there is done with all of its attempts timed")
    both = {**read_seconds(path), **new}
    write_json(path, dict(sorted(both.items())))
    return len(new), len(both)


if __name__ == "__main__":
    _OUT = flags.DEFINE_string("out", None, "the directory of finished runs")
    _TO = flags.DEFINE_string("to", str(FILE), "the file that they are added to")

    def _main() -> None:
        count, total = add_seconds(Path(cli.required(_OUT, "out/tables")), Path(_TO.value))
        logging.info("%s: %d runs measured, %d in all", _TO.value, count, total)

    cli.run(_main)
