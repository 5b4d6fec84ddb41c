"""From raw answers to scores: pure, so that every score reappears from the raw file alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from jaxedit.errors import UserError
from jaxedit.metrics import elken, mquake, plausibility
from jaxedit.metrics.measure import Measure
from jaxedit.metrics.protocols import PROTOCOLS
from jaxedit.metrics.records import OURS, Answer, Setting, one_setting
from jaxedit.metrics.score import Score, mean_score

MEASURES = PROTOCOLS[OURS].measures


def named(*metrics: str, decoding: str | None = None) -> tuple[Measure, ...]:
    """Our measures of these metrics, all of their readings, of one decoding or both."""
    return tuple(m for m in MEASURES if m.metric in metrics and decoding in (None, m.decoding))


def scores(
    answers: Sequence[Answer],
    before: Sequence[Answer] | None = None,
    *,
    seed: int = 0,
    measures: Iterable[Measure] | None = None,
) -> list[Score]:
    """All scores of these answers, protocol by protocol, in the order of the measures.

    A fact's value is taken over its questions of the measure's role, a score is the mean over
    facts; measures that no fact has an answer for are left out. Where the questions of a role are
    of several groups, each group's score follows that of all.

    Args:
        answers: of one setting a protocol; at most one to each question.
        before: the unedited model's answers, for the measures against it.
        seed: of the bootstrap intervals.
        measures: which ones of our protocol; all of the protocol's by default.

    Raises:
        UserError: if the answers are of several settings, or answer a question twice.
    """
    unedited = _by_key(before or ())
    found = []
    for protocol, own in _by_protocol(answers).items():
        setting = one_setting(own)
        asked = _by_role(_by_key(own).values())
        chosen = PROTOCOLS[protocol].measures if measures is None else tuple(measures)
        if measures is None and "multi_hop" in asked:
            chosen += mquake.MEASURES
        for measure in chosen:
            parts = [
                (group, members, values)
                for group, members in _groups(asked.get(measure.role, ()))
                if (values := _values(members, unedited, measure))
            ]
            for group, members, values in parts[: 1 if len(parts) < 3 else None]:
                found.append(_score(measure, setting, members, values, group, seed))
        if measures is None:
            labels = {score.label for score in found if score.protocol == protocol}
            more = _of_data_set(own, asked, before, seed)
            found += [score for score in more if score.label not in labels]
    return found


def _of_data_set(
    answers: Sequence[Answer],
    asked: Mapping[str, Sequence[Answer]],
    before: Sequence[Answer] | None,
    seed: int,
) -> list[Score]:
    """What data sets of events and of plausible statements define beyond single answers."""
    found = []
    if asked.keys() & {"event_fact", "event_local", "tendency", "tendency_local"}:
        found += elken.scores(answers, before, seed=seed)
    if any(answer.asked.choices == plausibility.LABELS for answer in asked.get("edit", ())):
        found += plausibility.probe_scores(answers, before, seed=seed)
    return found


def fact_values(
    answers: Sequence[Answer], before: Sequence[Answer] | None, measure: Measure
) -> dict[int, float]:
    """One measure of every fact that has answers for it, by the fact's place.

    What is measured against the unedited model has no value before any edit. Only answers by our
    own protocol count.
    """
    own = [a for a in answers if a.setting.protocol == OURS and a.asked.role == measure.role]
    return _values(list(_by_key(own).values()), _by_key(before or ()), measure)


def _values(
    answers: Sequence[Answer], unedited: Mapping[tuple, Answer], measure: Measure
) -> dict[int, float]:
    values: dict[int, list[float]] = defaultdict(list)
    for answer in answers:
        if measure.against == "unedited" and answer.setting.when == "before":
            continue
        value = measure.value(answer, unedited.get(answer.key))
        if value is not None:
            values[answer.asked.fact].append(value)
    return {fact: measure.of_fact(v) for fact, v in sorted(values.items())}


def _groups(answers: Sequence[Answer]) -> list[tuple[str, Sequence[Answer]]]:
    """All of them, and then each group if there are several."""
    names = sorted({answer.asked.group for answer in answers} - {""})
    parts = [(name, [a for a in answers if a.asked.group == name]) for name in names]
    return [("", answers), *(parts if len(parts) > 1 else [])]


def _score(
    measure: Measure,
    setting: Setting,
    answers: Sequence[Answer],
    values: dict[int, float],
    group: str,
    seed: int,
) -> Score:
    edits = [a.edits for a in answers if a.asked.fact in values]
    formats = sorted({a.asked.format or setting.prompt_format for a in answers})
    return mean_score(
        np.array(list(values.values()), dtype=np.float64),  # [facts]
        setting,
        (min(edits), max(edits)),
        metric=measure.metric,
        decoding=measure.decoding,
        reading=measure.reading,
        against=measure.against,
        group=group,
        prompt_format=" | ".join(formats),
        seed=seed,
    )


def _by_protocol(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        found[answer.setting.protocol].append(answer)
    return found


def _by_role(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        found[answer.asked.role].append(answer)
    return found


def _by_key(answers: Iterable[Answer]) -> dict[tuple, Answer]:
    found: dict[tuple, Answer] = {}
    for answer in answers:
        if found.setdefault(answer.key, answer) is not answer:
            _, fact, role, index = answer.key
            raise UserError(
                f"two answers to {role} {index} of fact {fact} (at {found[answer.key].edits} and "
                f"{answer.edits} edits); reduce each point of the run apart"
            )
    return found
