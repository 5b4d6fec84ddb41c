"""How a batch is going: a line at each change, or on a terminal a table that is drawn again."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TextIO

from absl import logging

from jaxedit.batches.attempt import last_line
from jaxedit.batches.batch import Job
from jaxedit.batches.pool import Event

REDRAW_SECONDS = 1.0
Kind = Literal[
    "waiting",
    "queued",
    "started",
    "busy",
    "blocked",
    "again",
    "failed",
    "stopped",
    "skipped",
    "done",
]
# As the table names and orders them.
WORDS: Mapping[Kind, str] = {
    "started": "running",
    "queued": "queued",
    "busy": "busy",
    "blocked": "waiting",
    "failed": "failed",
    "stopped": "stopped",
    "again": "again",
    "waiting": "waiting",
    "done": "done",
    "skipped": "done",
}


@dataclass(frozen=True)
class Row:
    """Where a job stands: the last of its events, and when that was by the monotonic clock."""

    job: Job
    kind: Kind = "waiting"
    reason: str = ""
    seconds: float = 0.0
    when: float = 0.0


@dataclass(frozen=True)
class Board:
    """Where all jobs stand.

    Attributes:
        rows: by hash, in the batch's order.
        width: how many can run at a time.
        took: seconds that jobs took that were done or failed, in this order.
    """

    rows: Mapping[str, Row]
    width: int
    took: Mapping[str, tuple[float, ...]] = field(
        default_factory=lambda: {"done": (), "failed": ()}
    )

    @property
    def counts(self) -> Counter[Kind]:
        """Jobs by kind."""
        return Counter(row.kind for row in self.rows.values())


def begin(jobs: Sequence[Job], width: int) -> Board:
    """Nothing has happened yet."""
    return Board({job.hash: Row(job) for job in jobs}, width)


def after(board: Board, event: Event, now: float) -> Board:
    """The board with one event more."""
    row = Row(event.job, event.kind, event.reason, event.seconds, now)
    took = dict(board.took)
    if event.kind in ("done", "failed"):
        took[event.kind] = (*took[event.kind], event.seconds)
    return replace(board, rows={**board.rows, event.job.hash: row}, took=took)


def left(board: Board) -> str:
    """How many were tried, and a guess at the time for the others: as long as those done took."""
    counts = board.counts
    total = len(board.rows) - counts["skipped"]
    tried = counts["done"] + counts["failed"]
    timed = board.took["done"] or board.took["failed"]
    if tried >= total or not timed:
        return f"{tried} of {total}"
    guess = sum(timed) / len(timed) * (total - tried) / min(board.width, total - tried)
    return f"{tried} of {total}, about {duration(guess)} left"


def summary(board: Board) -> list[str]:
    """How it went, and what failed."""
    counts = board.counts
    names: dict[Kind, str] = {"done": "done now", "skipped": "done before", "failed": "failed"}
    told = [f"{counts[kind]} {words}" for kind, words in names.items() if counts[kind]]
    lines = [f"{len(board.rows)} runs: {', '.join(told)}"]
    for row in board.rows.values():
        if row.kind == "failed":
            lines.append(f"  failed: {row.job.label}: {row.reason} (see {row.job.log})")
    return lines


def line(event: Event, board: Board) -> str:
    """What is said of a change, the board being that after it."""
    words = f"{event.kind:8}{event.job.label}"
    if event.kind in ("started", "queued"):
        return f"{words} ({event.job.hash}, {event.reason})"
    if event.kind == "skipped":
        return f"{words} is done already"
    if event.kind in ("busy", "blocked"):
        return f"{words} waits: {event.reason}"
    if event.kind == "stopped":
        return words
    why = f": {event.reason}" if event.reason else ""
    if event.kind == "again":
        return f"{words} after {duration(event.seconds)}{why}"
    return f"{words} in {duration(event.seconds)}{why}; {left(board)}"


def table(board: Board, now: float, columns: int, lines: int) -> list[str]:
    """The board for a terminal of so many columns and lines; what does not fit is counted.

    A running job is shown with the last line of its log.
    """
    order = list(WORDS)
    rows = sorted(board.rows.values(), key=lambda row: order.index(row.kind))
    most = max(1, lines - 3)
    shown, rest = rows[:most], Counter(WORDS[row.kind] for row in rows[most:])
    names = min(max((len(row.job.label) for row in shown), default=0), columns // 3)
    places = max((len(row.reason) for row in shown if row.kind == "started"), default=0)
    text = [f"{left(board)}; {_counted(Counter(WORDS[row.kind] for row in rows))}"]
    text += [_row(row, now, names, places) for row in shown]
    if rest:
        text.append(f"and {_counted(rest)}")
    return [_cut(one, columns - 1) for one in text]


def _row(row: Row, now: float, names: int, places: int) -> str:
    start = f"  {WORDS[row.kind]:8} {_cut(row.job.label, names):{names}}"
    if row.kind == "started":
        ran = duration(now - row.when)
        return f"{start}  {row.reason:{places}}  {ran:>6}  {last_line(row.job.log)}".rstrip()
    if row.kind == "done":
        return f"{start}  in {duration(row.seconds)}"
    return f"{start}  {row.reason}".rstrip()


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 3, 0)]}..."


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Teller(Protocol):
    """Shows how it is going."""

    def __call__(self, event: Event | None, board: Board) -> None:
        """Something has happened, or None: some time has passed."""
        ...


def lines(event: Event | None, board: Board) -> None:
    """A `Teller`: a log line at each change."""
    if event is not None:
        logging.info("%s", line(event, board))


class Screen:
    """A `Teller`: the table, drawn over itself on a terminal."""

    def __init__(self, terminal: TextIO):
        """Nothing is drawn yet."""
        self._terminal, self._lines, self._drawn = terminal, 0, 0.0

    def __call__(self, event: Event | None, board: Board) -> None:
        """Draws it, once a second if nothing happens."""
        now = time.monotonic()
        if event is None and now - self._drawn < REDRAW_SECONDS:
            return
        size = shutil.get_terminal_size()
        text = table(board, now, size.columns, size.lines)
        over = f"\x1b[{self._lines}F\x1b[J" if self._lines else ""
        self._terminal.write(over + "".join(f"{one}\n" for one in text))
        self._terminal.flush()
        self._lines, self._drawn = len(text), now
