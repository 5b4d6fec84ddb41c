"""From raw answers to scores: pure, so that every score reappears from the raw file alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from jaxedit.errors import UserError
from jaxedit.metrics import generation, teacher_forced
from jaxedit.metrics.measure import Measure
from jaxedit.metrics.records import Answer, Setting
from jaxedit.metrics.score import Score, mean_score

MEASURES = teacher_forced.MEASURES + generation.MEASURES


def named(*metrics: str, decoding: str | None = None) -> tuple[Measure, ...]:
    """The measures of these metrics, all of their readings, of one decoding or both."""
    return tuple(m for m in MEASURES if m.metric in metrics and decoding in (None, m.decoding))


def scores(
    answers: Sequence[Answer],
    before: Sequence[Answer] | None = None,
    *,
    seed: int = 0,
    measures: Iterable[Measure] = MEASURES,
) -> list[Score]:
    """All scores of these answers, in the order of ``measures``.

    A fact's value is the mean over its questions of the measure's role, a score the mean over
    facts; measures that no fact has an answer for are left out.

    Args:
        answers: of one setting; at most one to each question.
        before: the unedited model's answers, for the measures against it.
        seed: of the bootstrap intervals.
        measures: which ones.

    Raises:
        UserError: if the answers are of several settings, or answer a question twice.
    """
    if not answers:
        return []
    setting = one_setting(answers)
    found = []
    for measure in measures:
        values = fact_values(answers, before, measure)
        if values:
            found.append(_score(measure, setting, answers, values, seed))
    return found


def fact_values(
    answers: Sequence[Answer], before: Sequence[Answer] | None, measure: Measure
) -> dict[int, float]:
    """One measure of every fact that has answers for it, by the fact's place.

    What is measured against the unedited model has no value before any edit.
    """
    unedited = _by_key(before or ())
    values: dict[int, list[float]] = defaultdict(list)
    for answer in _by_key(answers).values():
        if answer.asked.role != measure.role:
            continue
        if measure.against == "unedited" and answer.setting.when == "before":
            continue
        value = measure.value(answer, unedited.get(answer.key))
        if value is not None:
            values[answer.asked.fact].append(value)
    return {fact: sum(v) / len(v) for fact, v in sorted(values.items())}


def _score(
    measure: Measure,
    setting: Setting,
    answers: Sequence[Answer],
    values: dict[int, float],
    seed: int,
) -> Score:
    edits = [a.edits for a in answers if a.asked.fact in values]
    return mean_score(
        np.array(list(values.values()), dtype=np.float64),  # [facts]
        setting,
        (min(edits), max(edits)),
        metric=measure.metric,
        decoding=measure.decoding,
        reading=measure.reading,
        against=measure.against,
        seed=seed,
    )


def one_setting(answers: Sequence[Answer]) -> Setting:
    """The setting that all these answers share.

    Raises:
        UserError: if they do not share one.
    """
    settings = {answer.setting for answer in answers}
    if len(settings) > 1:
        kinds = ", ".join(sorted({s.when for s in settings}))
        raise UserError(
            f"answers of {len(settings)} settings ({kinds}) cannot be one score; reduce each apart"
        )
    return answers[0].setting


def _by_key(answers: Iterable[Answer]) -> dict[tuple, Answer]:
    found: dict[tuple, Answer] = {}
    for answer in answers:
        if found.setdefault(answer.key, answer) is not answer:
            fact, role, index = answer.key
            raise UserError(
                f"two answers to {role} {index} of fact {fact} (at {found[answer.key].edits} and "
                f"{answer.edits} edits); reduce each point of the run apart"
            )
    return found
