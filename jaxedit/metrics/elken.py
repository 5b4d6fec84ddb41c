"""ELKEN: a model that was told of an event is asked for its facts and its tendencies.

Peng et al. 2024, "Event-level knowledge editing". An event's questions share the place of the fact
that completes it (`Asked.fact`). By the published rules an answer is its first line in lower case
without one full stop at its end; it is right if it equals the answer or an alias, and where the
answer cannot be known, if it contains "unknown". The letter of a tendency is what stands in the
first line's only brackets, else before its first full stop. Beside that: containment as everywhere
here, and the likeliest letter. An event counts where all of its questions are answered right.

Open questions on tendencies (those without choices) need a judge; five of five points count.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from jaxedit.metrics import generation, teacher_forced
from jaxedit.metrics.measure import Measure
from jaxedit.metrics.records import Answer, one_setting
from jaxedit.metrics.score import Score, mean_score

UNKNOWN = "unknown"
FULL = 1.0  # a judge's five of five
_LETTER = re.compile(r"\(([A-Z])\)")


def fact_right(answer: Answer, _: Answer | None = None) -> float | None:
    """1 if the answer is right by ELKEN's rule, else 0."""
    if answer.generated is None:
        return None
    said = _first_line(answer.generated)
    if cannot_be_known(answer):
        return float(UNKNOWN in said)
    return float(said in _names(answer))


def fact_same(answer: Answer, before: Answer | None) -> float | None:
    """1 if the answer is the unedited model's, aliases of the true one being one answer, else 0."""
    if answer.generated is None or before is None or before.generated is None:
        return None
    return float(_canonical(answer) == _canonical(before))


def letter(text: str) -> str:
    """The choice that a generated text names (see the module)."""
    line = _line(text)
    marked = _LETTER.findall(line)
    return marked[0] if len(marked) == 1 else line.split(".")[0].strip()


def letter_right(answer: Answer, _: Answer | None = None) -> float | None:
    """1 if the letter that was generated is the right one, else 0."""
    if answer.generated is None or not answer.asked.choices:
        return None
    return float(letter(answer.generated) == answer.asked.target)


def letter_same(answer: Answer, before: Answer | None) -> float | None:
    """1 if what is read as the letter is what was read before the edit, else 0."""
    if answer.generated is None or before is None or before.generated is None:
        return None
    if not answer.asked.choices:
        return None
    return float(letter(answer.generated) == letter(before.generated))


def cannot_be_known(answer: Answer) -> bool:
    """Whether the event leaves the question open, so that the answer should say so."""
    return answer.asked.target.strip().lower() == UNKNOWN


def _line(text: str) -> str:
    return text.strip().split("\n")[0].strip()


def _first_line(text: str) -> str:
    return _line(text).lower().removesuffix(".")


def _names(answer: Answer) -> list[str]:
    return [name.strip().lower() for name in generation.expected(answer)]


def _canonical(answer: Answer) -> str:
    said = _first_line(answer.generated or "")
    if UNKNOWN in said:
        return UNKNOWN
    names = _names(answer)
    return names[0] if said in names else said


_G, _T = "generation", "teacher_forced"
MEASURES = (
    Measure("fact_reliability", _G, "exact", "target", "event_fact", fact_right),
    Measure("fact_reliability", _G, "contains", "target", "event_fact", generation.contains),
    Measure("fact_locality", _G, "exact", "unedited", "event_local", fact_same),
    Measure("tendency_reliability", _G, "exact", "target", "tendency", letter_right),
    Measure("tendency_reliability", _T, "choice", "target", "tendency", teacher_forced.choice),
    Measure("tendency_locality", _G, "exact", "unedited", "tendency_local", letter_same),
    Measure(
        "tendency_locality", _T, "choice", "unedited", "tendency_local", teacher_forced.same_choice
    ),
)
_OPEN = Measure("open_tendency_reliability", _G, "judge", "target", "tendency", lambda *_: None)
_OVERALL = Measure("overall", _G, "judge", "target", "tendency", lambda *_: None)

Values = Mapping[tuple, float]  # by the answer's key


def scores(
    answers: Sequence[Answer],
    before: Sequence[Answer] | None = None,
    verdicts: Mapping[tuple, float | None] | None = None,
    *,
    seed: int = 0,
) -> list[Score]:
    """All of ELKEN's numbers that these answers allow.

    Each measure's mean over questions, as published; that of facts also over the groups "known",
    "unknown", "type 0" (stated by the event) and "type 1" (to be inferred), the last two of known
    answers; then as "event_<metric>" the share of events with all questions right. Either's
    interval is over events.

    Args:
        answers: of one setting; other roles are passed over.
        before: the unedited model's answers, for locality.
        verdicts: by an answer's key: a judge's, 0 to 1, of open answers on tendencies; None
            where it gave none, which leaves the question out and fails the event.
        seed: of the bootstrap intervals.

    Raises:
        UserError: if the answers are of several settings.
    """
    unedited = {answer.key: answer for answer in before or ()}
    found = []
    for measure in MEASURES:
        asked = [a for a in answers if a.asked.role == measure.role]
        values = _values(measure, asked, unedited)
        found += _over_questions(measure, asked, values, seed)
        if measure.role == "event_fact":
            for kind in ("known", UNKNOWN, "type 0", "type 1"):
                part = {a.key: values[a.key] for a in asked if a.key in values and _is(kind, a)}
                found += _over_questions(measure, asked, part, seed, kind)
        found += _over_events(measure, asked, values, seed)
    return found + _judged(answers, verdicts or {}, seed)


def _is(kind: str, answer: Answer) -> bool:
    if kind == UNKNOWN or cannot_be_known(answer):
        return kind == UNKNOWN and cannot_be_known(answer)
    return kind in ("known", answer.asked.group)


def _values(
    measure: Measure, answers: Iterable[Answer], unedited: Mapping[tuple, Answer]
) -> dict[tuple, float]:
    """What is compared with the unedited model has no value before any edit."""
    found = {}
    for answer in answers:
        if measure.against == "unedited" and answer.setting.when == "before":
            continue
        value = measure.value(answer, unedited.get(answer.key))
        if value is not None:
            found[answer.key] = value
    return found


def _over_questions(
    measure: Measure, answers: Sequence[Answer], values: Values, seed: int, group: str = ""
) -> list[Score]:
    """The mean over questions, those of an event resampled together."""
    events = _by_event(values)
    means = np.array([np.mean(own) for own in events])  # [events]
    counts = np.array([len(own) for own in events], dtype=np.float64)
    return _score(measure, measure.metric, answers, values, means, counts, seed, group)


def _over_events(
    measure: Measure, answers: Sequence[Answer], values: Values, seed: int
) -> list[Score]:
    """The share of events with every question at 1."""
    whole = np.array([float(min(own) >= FULL) for own in _by_event(values)])  # [events]
    return _score(measure, f"event_{measure.metric}", answers, values, whole, None, seed)


def _by_event(values: Values) -> list[list[float]]:
    events: dict[int, list[float]] = defaultdict(list)
    for (_, event, _, _), value in sorted(values.items()):
        events[event].append(value)
    return list(events.values())


def _score(
    measure: Measure,
    metric: str,
    answers: Sequence[Answer],
    values: Values,
    of_events: np.ndarray,
    weights: np.ndarray | None,
    seed: int,
    group: str = "",
) -> list[Score]:
    if not values:
        return []
    edits = [answer.edits for answer in answers if answer.key in values]
    return [
        mean_score(
            of_events,
            one_setting(answers),
            (min(edits), max(edits)),
            metric=metric,
            decoding=measure.decoding,
            reading=measure.reading,
            against=measure.against,
            weights=weights,
            group=group,
            seed=seed,
        )
    ]


def _judged(
    answers: Sequence[Answer], verdicts: Mapping[tuple, float | None], seed: int
) -> list[Score]:
    """Open tendencies, and events with all facts right and all open tendencies in full."""
    asked = [a for a in answers if a.asked.role == "tendency" and a.key in verdicts]
    given = {a.key: verdict for a in asked if (verdict := verdicts[a.key]) is not None}
    full = {key: float(verdict >= FULL) for key, verdict in given.items()}
    strict = {a.key: full.get(a.key, 0.0) for a in asked}
    events = {a.asked.fact for a in asked}
    facts = [a for a in answers if a.asked.role == "event_fact" and a.asked.fact in events]
    right = _values(MEASURES[0], facts, {})
    return [
        *_over_questions(_OPEN, asked, full, seed),
        *_over_events(_OPEN, asked, strict, seed),
        *_over_events(_OVERALL, [*facts, *asked], {**right, **strict}, seed),
    ]
