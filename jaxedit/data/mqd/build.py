"""MQD, the multi-question data set (D4S section 3.2): one knowledge in three forms.

The published data set is not public; this one is drawn anew from ATOMIC with phrases of our own.
What the paper leaves open is decided here so that it can be counted on: letters and truths are
balanced in every beginning of the data set, so that its first n facts are balanced too.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.data.mqd.atomic import Triple
from jaxedit.data.mqd.cleaning import MAX_WORDS, clean
from jaxedit.data.mqd.distractors import WrongTails
from jaxedit.data.mqd.forms import FORMS, LETTERS, Form, Item
from jaxedit.errors import UserError

T = TypeVar("T")

COUNT = 4000  # of each form, as the paper has it


@dataclass(frozen=True)
class Mqd:
    """The three forms of the same triples, in the order drawn.

    Attributes:
        generation: the target is the tail.
        choice: the target is the letter of the right one of four options.
        statement: the target is "yes" or "no".
        skipped: number of the source's triples that could not be used, by reason.
        read: number of triples in the source.
        questions: number of different questions, event and relation, that could be drawn from;
            of the tails of one question only one is drawn, as one prompt has one target.
        seed: of the draw.
    """

    generation: tuple[Fact, ...]
    choice: tuple[Fact, ...]
    statement: tuple[Fact, ...]
    skipped: Mapping[str, int]
    read: int
    questions: int
    seed: int

    def form(self, name: Form) -> tuple[Fact, ...]:
        """The facts of one form."""
        return {
            "generation": self.generation,
            "choice": self.choice,
            "statement": self.statement,
        }[name]


def build(
    triples: Sequence[Triple], count: int = COUNT, seed: int = 0, *, max_words: int = MAX_WORDS
) -> Mqd:
    """The three forms of triples drawn with a seed, as many as there are up to ``count``.

    With the same source and seed a smaller count gives the beginning of a larger one.

    Args:
        triples: as they were read, uncleaned.
        count: of each form.
        seed: of all that is drawn.
        max_words: a triple with a longer tail is not used.

    Raises:
        UserError: the count is below one, or no triple can be used.
    """
    if count < 1:
        raise UserError(f"count is {count}; ask for at least one record of each form")
    cleaned = clean(triples, max_words)
    tails = WrongTails.of(cleaned.triples)
    good = [triple for triple in cleaned.triples if tails.are_enough(triple)]
    skipped = dict(cleaned.skipped)
    if few := len(cleaned.triples) - len(good):
        skipped["too few wrong tails of other relations"] = few
    if not good:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in skipped.items())
        raise UserError(f"none of {len(triples)} triples can be used ({reasons or 'no triples'})")
    drawn = _draw(good, seed)
    letters, truths = _blocks(LETTERS, seed, 1), _blocks((True, False), seed, 2)
    items = [
        Item(triple, tails.draw(triple, seed), letter, truth)
        for triple, letter, truth in zip(drawn[:count], letters, truths, strict=False)
    ]
    forms = {form: tuple(item.fact(form) for item in items) for form in FORMS}
    return Mqd(**forms, skipped=skipped, read=len(triples), questions=len(drawn), seed=seed)


def _draw(triples: Sequence[Triple], seed: int) -> list[Triple]:
    """One tail of each question, the questions shuffled: a question with many counts once."""
    by_question: dict[tuple[str, str], list[Triple]] = defaultdict(list)
    for triple in triples:
        by_question[triple.head.lower(), triple.relation].append(triple)
    rng = np.random.default_rng([seed, 0])
    groups = list(by_question.values())
    shuffled = [groups[i] for i in rng.permutation(len(groups))]
    return [group[rng.integers(len(group))] for group in shuffled]


def _blocks(values: Sequence[T], seed: int, stream: int) -> Iterator[T]:
    """Without end, all values in each block of as many, in an order drawn for the block."""
    rng = np.random.default_rng([seed, stream])
    for _ in itertools.count():
        yield from (values[i] for i in rng.permutation(len(values)))
