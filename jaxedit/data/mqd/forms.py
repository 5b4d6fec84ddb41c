"""The three forms of one piece of knowledge (D4S section 3.2 and table 1).

They have the subject, the event, in common, the right tail and the wrong ones; what differs is
what a model is to say: the tail itself, the letter of an option, or yes or no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxedit.data.fact import SLOT, Fact
from jaxedit.data.mqd.atomic import Triple
from jaxedit.data.mqd.relations import RELATIONS

Form = Literal["generation", "choice", "statement"]
FORMS: tuple[Form, ...] = ("generation", "choice", "statement")
LETTERS = ("a", "b", "c", "d")
YES, NO = "yes", "no"


@dataclass(frozen=True)
class Item:
    """A triple that was drawn, and what was drawn with it.

    Attributes:
        triple: cleaned; its tail follows one of its relation's phrases.
        wrong: three tails of relations of other categories, none of them right for the event.
        letter: of the right option.
        truth: whether the statement is the right one.
    """

    triple: Triple
    wrong: tuple[str, str, str]
    letter: str
    truth: bool

    def fact(self, form: Form) -> Fact:
        """What is edited in this form."""
        return {"generation": _generation, "choice": _choice, "statement": _statement}[form](self)


def stem(triple: Triple, tail: str) -> str:
    """The template up to ``tail``: the event's slot and a phrase that the tail can follow.

    A wrong tail of a shape that the relation has no phrase for follows the right tail's phrase.
    """
    relation = RELATIONS[triple.relation]
    lead = relation.lead(triple.head, tail) or relation.lead(triple.head, triple.tail)
    return f"{SLOT}, {lead}"


def _generation(item: Item) -> Fact:
    return _fact(item, stem(item.triple, item.triple.tail), item.triple.tail)


def _choice(item: Item) -> Fact:
    """The right option stands at its letter, the wrong ones at the others in their order."""
    tails = list(item.wrong)
    tails.insert(LETTERS.index(item.letter), item.triple.tail)
    options = "; ".join(f"({letter}) {tail}" for letter, tail in zip(LETTERS, tails, strict=True))
    prompt = f"{stem(item.triple, item.triple.tail)} ... Four options: {options}. The right one is"
    return _fact(item, prompt, item.letter, choices=LETTERS)


def _statement(item: Item) -> Fact:
    """A wrong statement has the first of the wrong tails."""
    tail = item.triple.tail if item.truth else item.wrong[0]
    sentence = f"{stem(item.triple, tail)} {tail}"
    target, other = (YES, NO) if item.truth else (NO, YES)
    prompt = f"{sentence}. Does this make sense? Say yes or no. A:"
    return _fact(item, prompt, target, previous=other, choices=(YES, NO))


def _fact(
    item: Item,
    prompt: str,
    target: str,
    previous: str | None = None,
    choices: Sequence[str] = (),
) -> Fact:
    return Fact(
        prompt=prompt,
        subject=item.triple.head,
        target=target,
        previous=previous,
        id=f"mqd-{item.triple.number}",
        choices=tuple(choices),
        group=item.triple.relation,
    )
