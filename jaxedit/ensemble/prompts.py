"""What a plug-in is trained on besides its edits: questions that no edit touches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jaxedit.data.disjoint import asked_prompts
from jaxedit.data.fact import SLOT, Fact
from jaxedit.errors import UserError
from jaxedit.metrics.formats import FORMATS


@dataclass(frozen=True)
class Unrelated:
    """A question that has nothing to do with the edits, and its answer (no leading space)."""

    prompt: str
    answer: str


def format_of(name: str) -> str:
    """A prompt format by its name in `FORMATS`, or itself.

    Raises:
        UserError: it has not exactly one place for the prompt.
    """
    form = FORMATS.get(name, name)
    if form.count(SLOT) != 1:
        known = ", ".join(FORMATS)
        raise UserError(f"prompt format {name!r} needs exactly one '{{}}', or is one of {known}")
    return form


def unrelated_neighbours(
    facts: Iterable[Fact], edits: Iterable[Fact] = ()
) -> tuple[Unrelated, ...]:
    """The neighbours of other facts than the edits, each once: the "loc" of a training split.

    What is asked of the edits is left out.
    """
    asked = asked_prompts(tuple(edits))
    found = {
        question.prompt: Unrelated(question.prompt, question.answer)
        for fact in facts
        for question in fact.neighbours
        if question.prompt not in asked
    }
    return tuple(found.values())


def unrelated_facts(facts: Iterable[Fact], edits: Iterable[Fact] = ()) -> tuple[Unrelated, ...]:
    """Other facts than the edits with the answers they have now: a world's other pools.

    Left out are facts whose answer is not known, and those that an edit asks for in any words:
    its own, and the ones among its neighbours (the same subject in the same relation).
    """
    asked = asked_prompts(tuple(edits))
    found = {}
    for fact in facts:
        own = (fact.question, *fact.paraphrases)
        if fact.previous and asked.isdisjoint(own):
            found[fact.question] = Unrelated(fact.question, fact.previous)
    return tuple(found.values())
