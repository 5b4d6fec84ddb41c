"""20Q and PEP3k: is a statement of common sense plausible? The model answers True or False.

Gupta et al. 2023, "Editing common sense in transformers". The text "statement:" is followed by the
label. Two readings: as published, the likeliest token of the whole vocabulary, where anything that
is neither label is the prediction "None" (reading "exact"); and the likelier of the two labels, for
models that were not trained to say either (reading "choice").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from jaxedit.data.fact import Question
from jaxedit.metrics import teacher_forced
from jaxedit.metrics.asking import Advance, answer
from jaxedit.metrics.records import Answer, Asked, Setting, one_setting
from jaxedit.metrics.score import RESAMPLES, Score, mean_score

if TYPE_CHECKING:
    from jaxedit.models.protocol import LanguageModel

STATEMENTS = "statements"
LABELS = ("True", "False")
NEITHER = "None"
Reading = Literal["exact", "choice"]
Labels = Mapping[tuple, str]  # predictions, by the answer's key


def ask(
    lm: LanguageModel,
    statements: Sequence[Question],
    setting: Setting,
    *,
    edits: int,
    advance: Advance | None = None,
) -> list[Answer]:
    """The model's answers to a whole split, teacher-forced; the place is the statement's.

    Args:
        lm: any language model.
        statements: with their labels as answers and choices.
        setting: how other answers are taken; these are of the protocol "statements".
        edits: number of edits the model has received.
        advance: called with the number of rows done.
    """
    asked = [
        Asked(i, "edit", 0, q.prompt, q.answer, None, q.aliases, q.choices or LABELS, q.group)
        for i, q in enumerate(statements)
    ]
    setting = replace(setting, protocol=STATEMENTS)
    return answer(lm, asked, setting, edits=edits, generation=False, advance=advance)


def predictions(answers: Sequence[Answer], reading: Reading) -> Labels:
    """What is predicted for each: a label, or "None" if the likeliest token is none of them.

    What a label's first token is, is learnt from the answers that expect the label, so "exact"
    predicts nothing unless every label is expected somewhere among the answers; labels of one
    token each, as True and False are, make it the published rule. "choice" predicts where there
    are choices.
    """
    if reading == "choice":
        likelier = {a.key: teacher_forced.chosen(a) for a in answers}
        return {key: label for key, label in likelier.items() if label is not None}
    first = {a.target_ids[0]: a.asked.target for a in answers if a.target_ids}
    known = set(first.values())
    if any(not known.issuperset(a.asked.choices or LABELS) for a in answers):
        return {}
    return {a.key: first.get(a.predicted_ids[0], NEITHER) for a in answers if a.predicted_ids}


def weighted_f1(truth: Sequence[str], said: Sequence[str]) -> float:
    """Mean over the labels and "None" of their F1, weighted by how often each is true.

    scikit-learn's ``f1_score`` with average "weighted" and zero_division 1, for at least one
    statement; a label that is neither true nor said anywhere has F1 1 and weight 0.
    """
    return float(_f1(_confusion(truth, said).astype(np.float64)[None])[0])


def _confusion(truth: Sequence[str], said: Sequence[str]) -> np.ndarray:
    """[true, said] counts over labels and "None"."""
    classes = {label: i for i, label in enumerate((*LABELS, NEITHER))}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for true, one in zip(truth, said, strict=True):
        counts[classes[true], classes[one]] += 1
    return counts


def _f1(counts: np.ndarray) -> np.ndarray:
    """[R, true, said] -> [R]."""
    hits = np.diagonal(counts, axis1=1, axis2=2)  # [R, 3]
    true, said = counts.sum(axis=2), counts.sum(axis=1)
    both = true + said
    f1 = np.where(both > 0, 2 * hits / np.maximum(both, 1), 1.0)
    return (f1 * true).sum(axis=1) / true.sum(axis=1)


def split_scores(
    answers: Sequence[Answer], before: Sequence[Answer] | None = None, *, seed: int = 0
) -> list[Score]:
    """Of a whole split, in both readings: F1, accuracy; and what the edits mended and spoilt.

    "f1"; "accuracy"; "efficacy": of the statements that the unedited model got wrong, the share
    that are right now; "relapse": of those it got right, the share that are wrong now.

    Args:
        answers: of one setting, labels True and False.
        before: the unedited model's to the same statements.
        seed: of the bootstrap intervals.

    Raises:
        UserError: if the answers are of several settings.
    """
    found = []
    for reading in ("exact", "choice"):
        said = predictions(answers, reading)
        chosen = [a for a in answers if a.key in said]
        if not chosen:
            continue
        right = {a.key: float(said[a.key] == a.asked.target) for a in chosen}
        found += [_f1_score(chosen, said, right, reading, seed)]
        found += _means("accuracy", chosen, right, reading, "truth", seed)
        if before is None or chosen[0].setting.when == "before":
            continue
        old = predictions(before, reading)
        was = {a.key: old[a.key] == a.asked.target for a in before if a.key in old}
        mended = {key: value for key, value in right.items() if was.get(key) is False}
        spoilt = {key: 1 - value for key, value in right.items() if was.get(key) is True}
        found += _means("efficacy", chosen, mended, reading, "truth", seed)
        found += _means("relapse", chosen, spoilt, reading, "truth", seed)
    return found


def probe_scores(
    answers: Sequence[Answer], before: Sequence[Answer] | None = None, *, seed: int = 0
) -> list[Score]:
    """Of the probe set, in both readings.

    "efficacy" of the corrected statements, "affected" statements by group (against the corrected
    label, or the one their source expects), "unaffected" statements by group: the share with the
    unedited model's prediction, "None" being one too.

    Args:
        answers: of one setting: roles edit, paraphrase, portability (affected) and neighbour
            (unaffected).
        before: the unedited model's, for the unaffected ones.
        seed: of the bootstrap intervals.

    Raises:
        UserError: if the answers are of several settings.
    """
    found = []
    for reading in ("exact", "choice"):
        said = predictions(answers, reading)
        old = predictions(before or (), reading)
        parts: dict[tuple[str, str, str], dict[tuple, float]] = defaultdict(dict)
        for a in answers:
            if a.key not in said:
                continue
            if a.asked.role == "neighbour":
                if a.key in old and a.setting.when != "before":
                    same = float(said[a.key] == old[a.key])
                    parts["unaffected", a.asked.group, "unedited"][a.key] = same
            elif metric := _PROBE.get(a.asked.role):
                right = float(said[a.key] == a.asked.target)
                group = a.asked.group or ("paraphrase" if a.asked.role == "paraphrase" else "")
                parts[metric, group, "target"][a.key] = right
        for (metric, group, against), values in parts.items():
            found += _means(metric, answers, values, reading, against, seed, group)
    return found


_PROBE = {"edit": "efficacy", "paraphrase": "affected", "portability": "affected"}


def _means(
    metric: str,
    answers: Sequence[Answer],
    values: Mapping[tuple, float],
    reading: Reading,
    against: str,
    seed: int,
    group: str = "",
) -> list[Score]:
    """Mean over facts of the mean over a fact's statements."""
    if not values:
        return []
    by_fact: dict[int, list[float]] = defaultdict(list)
    for (_, fact, _, _), value in sorted(values.items()):
        by_fact[fact].append(value)
    edits = [a.edits for a in answers if a.key in values]
    return [
        mean_score(
            np.array([np.mean(own) for own in by_fact.values()]),  # [facts]
            one_setting(answers),
            (min(edits), max(edits)),
            metric=metric,
            decoding="teacher_forced",
            reading=reading,
            against=against,
            group=group,
            seed=seed,
        )
    ]


def _f1_score(
    answers: Sequence[Answer],
    said: Labels,
    right: Mapping[tuple, float],
    reading: Reading,
    seed: int,
) -> Score:
    """F1 with the interval over resampled statements."""
    counts = _confusion([a.asked.target for a in answers], [said[a.key] for a in answers])
    # Drawing n statements with replacement draws the cells of their table in its proportions.
    rng = np.random.default_rng(seed)
    n = counts.sum()
    drawn = rng.multinomial(n, counts.reshape(-1) / n, size=RESAMPLES)  # [R, 9]
    low, high = np.quantile(_f1(drawn.reshape(-1, *counts.shape)), (0.025, 0.975))
    (mean,) = _means("f1", answers, right, reading, "truth", seed)
    value = float(_f1(counts[None])[0])
    return replace(mean, value=value, interval=(float(low), float(high)))
