"""How far a run is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from absl import logging
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from jaxedit import hosts

SECONDS_BETWEEN_LINES = 10.0


class Advance(Protocol):
    """Called with the number of edits made since the last call, and a few words."""

    def __call__(self, edits: int, note: str = "") -> None:
        """Moves on."""
        ...


@contextmanager
def progress(title: str, total: int, done: int = 0, *, unit: str = "edits") -> Iterator[Advance]:
    """Shows edits done, edits a second and the time left.

    Args:
        title: what is being done.
        total: edits in the whole run.
        done: edits made by an earlier process.
        unit: what is counted, if not edits.
    """
    if sys.stderr.isatty() and hosts.first():
        with (
            logging_redirect_tqdm(),
            tqdm(total=total, initial=done, desc=title, unit=f" {unit}") as bar,
        ):
            yield lambda edits, note="": _move(bar, edits, note)
    else:
        yield _Lines(title, total, done, unit)


def _move(bar: tqdm, edits: int, note: str) -> None:
    bar.set_postfix_str(note, refresh=False)
    bar.update(edits)


class _Lines:
    """Logs a line at the end, and in between when some seconds have passed."""

    def __init__(self, title: str, total: int, done: int, unit: str):
        self._title, self._total, self._done, self._unit = title, total, done, unit
        self._said, self._done_then = time.monotonic(), done

    def __call__(self, edits: int, note: str = "") -> None:
        self._done += edits
        now = time.monotonic()
        if self._done < self._total and now - self._said < SECONDS_BETWEEN_LINES:
            return
        rate = (self._done - self._done_then) / max(now - self._said, 1e-9)
        self._said, self._done_then = now, self._done
        left = (self._total - self._done) / max(rate, 1e-9)
        logging.info(
            "%s: %d of %d %s, %.2f %s/s, %.0f s left %s",
            self._title,
            self._done,
            self._total,
            self._unit,
            rate,
            self._unit,
            left,
            note,
        )
