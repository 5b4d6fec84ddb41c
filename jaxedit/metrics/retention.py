"""How long edits last: scores along a run and by the age of the edits.

D4S figure 4 (a), (c) and figure 8: at every checkpoint, all facts edited so far ("overall
evaluation"); figure 4 (b): at one checkpoint, blocks of facts in the order of editing ("degree
of forgetting"). Figure 7 sets the usual evaluation, each fact right after its own edit, against
the evaluation after a sequence: that is ``when`` "immediate" against "checkpoint".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jaxedit.errors import UserError
from jaxedit.metrics.measure import Measure
from jaxedit.metrics.records import Answer
from jaxedit.metrics.reduce import named, scores
from jaxedit.metrics.score import Score

EFFICACY = tuple(m for m in named("efficacy") if m.reading == "exact")


@dataclass(frozen=True)
class Point:
    """The score of one block of facts at one moment of a run.

    Attributes:
        edits: edits made when it was taken.
        first, last: places of the block's first and last fact in the order of editing.
        score: with its protocol.
    """

    edits: int
    first: int
    last: int
    score: Score

    @property
    def age(self) -> int:
        """Edits made since the block's last fact was edited."""
        return self.edits - self.last - 1


def overall(
    answers: Sequence[Answer],
    before: Sequence[Answer] | None = None,
    *,
    measures: Iterable[Measure] = EFFICACY,
    seed: int = 0,
) -> list[Point]:
    """At each moment, every fact edited so far (D4S figure 4 "overall", figure 8).

    Args:
        answers: taken at several moments, told apart by ``edits``; a fact counts from the
            moment at which it had been edited.
        before: the unedited model's answers.
        measures: which ones; efficacy by exact argmax and by exact generation by default.
        seed: of the bootstrap.
    """
    measures = tuple(measures)
    points = []
    for edits in sorted({a.edits for a in answers}):
        points += _points(answers, edits, 0, edits, before, measures, seed)
    return points


def forgetting(
    answers: Sequence[Answer],
    before: Sequence[Answer] | None = None,
    *,
    block: int = 100,
    measures: Iterable[Measure] = EFFICACY,
    seed: int = 0,
) -> list[Point]:
    """At each moment, each block of earlier edits, oldest first (D4S figure 4 "degree").

    Args:
        block: facts in a block; the last one may hold fewer.
        answers, before, measures, seed: as for :func:`overall`.

    Raises:
        UserError: if ``block`` is below one.
    """
    if block < 1:
        raise UserError(f"retention block is {block}; it holds at least one fact")
    measures = tuple(measures)
    points = []
    for edits in sorted({a.edits for a in answers}):
        for first in range(0, edits, block):
            stop = min(first + block, edits)
            points += _points(answers, edits, first, stop, before, measures, seed)
    return points


def _points(
    answers: Sequence[Answer],
    edits: int,
    first: int,
    stop: int,
    before: Sequence[Answer] | None,
    measures: tuple[Measure, ...],
    seed: int,
) -> list[Point]:
    chosen = [a for a in answers if a.edits == edits and first <= a.asked.fact < stop]
    if not chosen:
        return []
    last = max(a.asked.fact for a in chosen)
    start = min(a.asked.fact for a in chosen)
    found = scores(chosen, before, seed=seed, measures=measures)
    return [Point(edits, start, last, score) for score in found]
