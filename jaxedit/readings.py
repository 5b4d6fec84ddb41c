"""One edited model by every protocol: how much a number depends on how it was asked for.

Each line is one way to read "the edit took", "its paraphrases follow" and "the rest stayed". They
are of the same model and questions; only the first asks what a user would see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxedit.findings import pick
from jaxedit.metrics import easyedit, wild
from jaxedit.metrics.records import OURS

ROLES = ("edit", "paraphrase", "neighbours")
_EXACT = ("efficacy", "paraphrase", "specificity")
_TOKENS = ("reliability", "generality", "locality")


@dataclass(frozen=True)
class Reading:
    """One line of the table.

    Attributes:
        title: what it is.
        user: who scores so.
        protocol, decoding, reading: of its scores.
        metrics: those of the edit, its paraphrases and its neighbours.
        against: what the neighbours' answers are compared with.
    """

    title: str
    user: str
    protocol: str
    decoding: str
    reading: str
    metrics: tuple[str, str, str] = _EXACT
    against: str = "truth"

    def scores(self, found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any] | None]:
        """Its three scores among those of an arm, or None where there is none."""
        shared = {"protocol": self.protocol, "decoding": self.decoding, "reading": self.reading}
        target = "previous" if self.reading == "new_over_old" else "target"
        by_ids = self.protocol == wild.WILD and self.against == "unedited"
        reading = "ids" if by_ids else self.reading
        return [
            pick(found, self.metrics[0], **shared, against=target),
            pick(found, self.metrics[1], **shared, against=target),
            pick(found, self.metrics[2], **{**shared, "reading": reading}, against=self.against),
        ]


_FORCED, _FREE = "teacher_forced", "generation"
READINGS = (
    Reading("free generation, exact", "jaxedit", OURS, _FREE, "exact"),
    Reading("free generation, contained", "jaxedit", OURS, _FREE, "contains"),
    Reading("50 tokens, normalised, exact", "WILD without judge", wild.WILD, _FREE, "exact"),
    Reading(
        "the same, neighbours' ids as before",
        "WILD without judge",
        wild.WILD,
        _FREE,
        "exact",
        against="unedited",
    ),
    Reading("teacher-forced, exact", "D4S, equations 14 to 16", OURS, _FORCED, "exact"),
    Reading(
        "teacher-forced, exact, neighbours as before",
        "D4S, the other reading",
        OURS,
        _FORCED,
        "exact",
        against="unedited",
    ),
    Reading("P(new) > P(old)", "ROME, MEMIT on CounterFact", OURS, _FORCED, "new_over_old"),
    Reading(
        "teacher-forced tokens, neighbours true",
        "MEMIT on zsRE",
        OURS,
        _FORCED,
        "token_accuracy",
        ("reliability", "generality", "specificity"),
    ),
    Reading(
        "teacher-forced tokens",
        "EasyEdit, OnceEdit",
        easyedit.TEACHER_FORCED,
        _FORCED,
        "token_accuracy",
        _TOKENS,
        "unedited",
    ),
    Reading(
        "generated tokens in place",
        "EasyEdit, OnceEdit",
        easyedit.GENERATION,
        _FREE,
        "token_accuracy",
        _TOKENS,
        "unedited",
    ),
    Reading(
        "the same, target without its space",
        "EasyEdit to the letter",
        easyedit.GENERATION_LITERAL,
        _FREE,
        "token_accuracy",
        _TOKENS,
        "unedited",
    ),
)


def lines(scores: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The table of one arm at one moment: title, user and three scores or None a line.

    Readings of which nothing was taken are left out.
    """
    found = []
    for reading in READINGS:
        cells = reading.scores(scores)
        if any(cells):
            found.append({"title": reading.title, "user": reading.user, "cells": cells})
    return found


def overstatement(scores: Sequence[Mapping[str, Any]]) -> str | None:
    """A sentence: teacher forcing against what is generated, on the edits and paraphrases."""
    parts = []
    for metric, name in (("efficacy", "edits"), ("paraphrase", "paraphrases")):
        free = pick(scores, metric, decoding=_FREE, against="target")
        forced = pick(scores, metric, against="target")
        tokens = pick(
            scores,
            "reliability" if metric == "efficacy" else "generality",
            reading="token_accuracy",
        )
        if free and forced and tokens:
            parts.append(
                f"of the {name} {100 * tokens['value']:.1f} % by teacher-forced tokens, "
                f"{100 * forced['value']:.1f} % by teacher-forced whole targets and "
                f"{100 * free['value']:.1f} % by what is generated"
            )
    return f"O{'; '.join(parts)[1:]}." if parts else None


def markdown(title: str, scores: Sequence[Mapping[str, Any]]) -> str:
    """The table as Markdown: % with 95 % intervals."""
    rows = [f"| {title} | who scores so | {' | '.join(ROLES)} |", "|---|---|---|---|---|"]
    for line in lines(scores):
        cells = " | ".join(_cell(score) for score in line["cells"])
        rows.append(f"| {line['title']} | {line['user']} | {cells} |")
    return "\n".join(rows) + "\n"


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "-"
    low, high = score["interval"]
    return f"{100 * score['value']:.1f} [{100 * low:.0f}, {100 * high:.0f}]"
