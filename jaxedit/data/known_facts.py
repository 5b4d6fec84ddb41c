"""known_1000: facts that GPT-2 XL completes, published for causal tracing (Meng et al. 2022a).

A record has a prompt, a subject in it and the attribute that completes it, but no new answer. To
serve as edits as well, each gets what CounterFact's records have: another attribute of the same
relation as its target, and other facts of the relation as its neighbours.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from jaxedit.data.fact import SLOT, Fact, Question
from jaxedit.data.files import text_of
from jaxedit.data.records import Parser
from jaxedit.errors import UserError

NEIGHBOURS = 5


class Known(NamedTuple):
    """One record."""

    id: str
    prompt: str  # filled
    subject: str
    attribute: str
    relation: str


def reader(records: Sequence[Any]) -> Parser:
    """The parser of each record among these.

    A fact's ``previous`` is the attribute, its ``target`` another one of the relation; where the
    relation has no other, the attribute is the target and there is no ``previous``. The slot of
    its prompt is the subject's first occurrence, which is the one that causal tracing corrupts.
    A prompt that stands under two relations gets the target that it has under the first.
    """
    relations: dict[str, list[Known]] = defaultdict(list)
    first: dict[str, Known] = {}
    for index, record in enumerate(records):
        try:
            known = _known(record, str(index)) if isinstance(record, dict) else None
        except UserError:
            continue
        if known:
            relations[known.relation].append(known)
            first.setdefault(known.prompt, known)

    def parse(record: dict[str, Any], name: str) -> Fact:
        known = _known(record, name)
        chosen = first[known.prompt]
        return replace(_fact(chosen, relations[chosen.relation]), id=f"known-{known.id}")

    return parse


def _known(record: dict[str, Any], name: str) -> Known:
    keys = ("prompt", "subject", "attribute", "relation_id")
    prompt, subject, attribute, relation = (text_of(record, key) for key in keys)
    if not subject or subject not in prompt or not attribute:
        raise UserError(
            f"the subject {subject!r} is not in the prompt {prompt!r}, or there is no attribute"
        )
    return Known(str(record.get("known_id", name)), prompt, subject, attribute, relation)


def _fact(known: Known, relation: Sequence[Known]) -> Fact:
    rng = random.Random(f"known {known.id}")
    other = sorted({item.attribute for item in relation} - {known.attribute})
    beside = [item for item in relation if item.subject != known.subject]
    rng.shuffle(beside)
    beside.sort(key=lambda item: item.attribute != known.attribute)
    return Fact(
        prompt=known.prompt.replace(known.subject, SLOT, 1),
        subject=known.subject,
        target=rng.choice(other) if other else known.attribute,
        previous=known.attribute if other else None,
        neighbours=tuple(Question(item.prompt, item.attribute) for item in beside[:NEIGHBOURS]),
        group=known.relation,
    )
