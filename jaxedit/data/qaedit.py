"""QAEdit (The Mirage of Model Editing, Yang et al. 2025): NQ, TriviaQA and SimpleQA."""

from __future__ import annotations

from typing import Any

from jaxedit.data.fact import SLOT, Case, Fact, Question, template
from jaxedit.data.files import objects_of, text_of
from jaxedit.data.records import Noted

DEBRIS = 'the target ends with " *": cut'
WHOLE = "the subject is not in the question: the whole question stands for it"


def parse(record: dict[str, Any], name: str) -> Noted:
    """One record as a fact, called ``name``; its five unrelated questions are its neighbours.

    Raises:
        UserError: what is wrong with the record.
    """
    question, subject = text_of(record, "prompt"), text_of(record, "subject")
    target = text_of(record, "target")
    clean = target.removesuffix(" *").rstrip()
    whole = not subject or subject not in question
    fact = Fact(
        prompt=SLOT if whole else template(question, subject),
        subject=question if whole else subject,
        target=clean,
        paraphrases=(text_of(record, "rephrase"),),
        neighbours=tuple(
            Question(text_of(entry, "loc"), text_of(entry, "loc_ans"))
            for entry in objects_of(record, "locality")
        ),
        id=name,
        group=text_of(record, "source"),
    )
    return Noted(Case.of(fact), (DEBRIS,) * (clean != target) + (WHOLE,) * whole)
