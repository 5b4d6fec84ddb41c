"""Goes through the jobs of a batch on an engine: this machine, or Slurm.

An engine starts jobs where there is room, looks how they are, and stops them. What is done, tried
again or left is decided here, for every engine alike.
"""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from jaxedit.batches.batch import DONE, Job
from jaxedit.cli import BAD_INPUT

ASIDE_SECONDS = 1.0  # between looks at a job that another process has
Kind = Literal[
    "skipped", "busy", "blocked", "queued", "started", "done", "again", "failed", "stopped"
]


@dataclass(frozen=True)
class Event:
    """What became of a job.

    Attributes:
        kind: "skipped": done before; "busy": another process has it, so it is waited for;
            "blocked": others use all places; "queued": the engine starts it later; "again":
            failed, and tried once more; "stopped": by a signal.
        job: which.
        seconds: since it was started.
        reason: why it failed or is busy; where it was started.
    """

    kind: Kind
    job: Job
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Running:
    """A job that an engine has taken.

    Attributes:
        job: which.
        where: for people.
        handle: the engine's own.
        output: where in the job's log this attempt's output begins.
        begun: by the monotonic clock; None while it is in a queue.
    """

    job: Job
    where: str
    handle: Any
    output: int
    begun: float | None = None

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return 0.0 if self.begun is None else time.monotonic() - self.begun


@dataclass(frozen=True)
class Ended:
    """How a job's process ended: its exit code, None if unknown, and its last words."""

    code: int | None
    said: str


class Engine(Protocol):
    """Where jobs run; what runs there is passed in and returned."""

    @property
    def width(self) -> int:
        """How many jobs can run at a time."""
        ...

    @property
    def seconds(self) -> float:
        """Between two looks."""
        ...

    def start(self, waiting: Sequence[Job], running: Sequence[Running]) -> list[Running | Event]:
        """Takes as many of the first waiting jobs as it has room for, in their order.

        Of one that it does not take it says why: "skipped", "busy", or "blocked" if it is to be
        asked again.
        """
        ...

    def look(self, running: Sequence[Running]) -> list[Running | Ended]:
        """Each of them as it is now."""
        ...

    def stop(self, running: Sequence[Running], interruptions: Callable[[], int]) -> None:
        """Ends all of them, without patience if one more interruption comes."""
        ...


def work(
    jobs: Sequence[Job],
    engine: Engine,
    *,
    retries: int = 1,
    interruptions: Callable[[], int] = lambda: 0,
    pause: Callable[[float], None] = time.sleep,
) -> Generator[Event, None, None]:
    """Goes through the jobs; no failure stops another job.

    Args:
        jobs: different configurations, of one output directory.
        engine: where they run; a job is done when its result is there.
        retries: how often a job that failed is tried again, after all others; one that says that
            its input is wrong is not.
        interruptions: how many signals to stop have come; the first asks all processes to end,
            any further one ends them.
        pause: waits for so many seconds, or less.

    Yields:
        What happened, as it happens. However this ends, no process is left behind.
    """
    waiting, aside = deque(jobs), list[Job]()
    running: list[Running] = []
    failures, told = Counter[str](), set[tuple[str, str]]()
    looked = time.monotonic()
    try:
        while (waiting or running or aside) and not interruptions():
            events = _changes(running, engine, failures, retries)
            waiting.extend(event.job for event in events if event.kind == "again")
            if aside and time.monotonic() - looked > ASIDE_SECONDS:
                waiting.extend(aside)
                aside, looked = [], time.monotonic()
            started = engine.start(tuple(waiting), running) if waiting else []
            running += [one for one in started if isinstance(one, Running)]
            for one in started:
                event = _started(one) if isinstance(one, Running) else one
                if event.kind != "blocked":
                    waiting.popleft()
                if event.kind == "busy":
                    aside.append(event.job)
                said = event.job.hash, event.reason
                if event.kind not in ("busy", "blocked") or said not in told:
                    events.append(event)
                    told.add(said)
            yield from events
            if not events:
                pause(engine.seconds)
    finally:
        engine.stop(running, interruptions)
    for one in running:
        yield Event("stopped", one.job, one.seconds)


def _changes(
    running: list[Running], engine: Engine, failures: Counter[str], retries: int
) -> list[Event]:
    """What happened to the running jobs; those that have ended leave the list."""
    events, still = [], []
    for before, now in zip(running, engine.look(running), strict=True):
        if isinstance(now, Running):
            still.append(now)
            if before.begun is None and now.where != before.where:
                events.append(_started(now))
            continue
        event = _ended(before, now)
        if event.kind == "failed" and now.code != BAD_INPUT and failures[event.job.hash] < retries:
            failures[event.job.hash] += 1
            event = replace(event, kind="again")
        events.append(event)
    running[:] = still
    return events


def _started(one: Running) -> Event:
    return Event("queued" if one.begun is None else "started", one.job, reason=one.where)


def _ended(one: Running, end: Ended) -> Event:
    if not end.code and one.job.state() == DONE:
        return Event("done", one.job, one.seconds)
    said = end.said or "it printed nothing"
    if end.code == 0:
        said = f"it ended without a whole result.json; {said}"
    return Event("failed", one.job, one.seconds, said)


@contextmanager
def counted_signals() -> Iterator[Callable[[], int]]:
    """Counts the signals that ask us to stop, in place of dying of them in the wrong moment."""
    seen: list[int] = []
    asked = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    # One that is ignored stays so: nohup and background jobs mean it.
    before = {n: signal.getsignal(n) for n in asked if signal.getsignal(n) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda number, frame: seen.append(number))
    try:
        yield lambda: len(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
