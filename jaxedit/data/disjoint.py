"""Records that say nothing of what is asked about others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from jaxedit.data.fact import Fact, Question


def asked_prompts(facts: Sequence[Fact]) -> set[str]:
    """Every prompt that edits are scored by."""

    def prompts(questions: Iterable[Question]) -> list[str]:
        return [question.prompt for question in questions]

    return {
        prompt
        for fact in facts
        for prompt in (
            fact.question,
            *fact.paraphrases,
            *prompts((*fact.neighbours, *fact.portability, *fact.negations)),
        )
    }


def disjoint(records: Iterable[Fact], edits: Sequence[Fact]) -> tuple[Fact, ...]:
    """Those records that no edit is asked about in any words, without the neighbours that are."""
    asked = asked_prompts(edits)
    found = []
    for fact in records:
        if asked.isdisjoint((fact.question, *fact.paraphrases)):
            near = tuple(question for question in fact.neighbours if question.prompt not in asked)
            found.append(dataclasses.replace(fact, neighbours=near))
    return tuple(found)
