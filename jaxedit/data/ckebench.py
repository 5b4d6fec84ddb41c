"""CKD, published as CKEBench (Huang et al. 2024): free-text commonsense about what follows events.

In every record the prompt already ends with its target, and so do the paraphrases and the
instances; all are cut. PersonX and PersonY stay as they are, and so does the blank "___" that a
quarter of the events have: the source counts these among its edits, and a blank reads as one.

``generation_prompts`` (the same event and target under randomly drawn other relations, "is this
logical?") are left out: for many of them either answer is right, and the source gives none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jaxedit.data.fact import SLOT, Case, Fact, Question
from jaxedit.data.files import object_of, text_of, texts_of
from jaxedit.data.records import Noted

CUT = "the prompt ends with its target: cut"
DOUBLED = '"to to" between prompt and target: mended'
REPEATED = "a paraphrase repeats another one: left out"
OWN = "a question on other events' logic has the record's own event: left out"
ODD = "an instance does not end with the target: left out"
BLANK = 'the event has a blank "___": kept'
PERSON = "PersonX"
YES_NO = ("yes", "no")


def parse(record: dict[str, Any], name: str) -> Noted:
    """One record as a fact, called ``name``.

    Portability questions of the group "instantiation" name somebody in PersonX's place, in the
    target as well. Neighbours, of the group "logic", put the target behind other events and ask
    whether that is logical: "no".

    Raises:
        UserError: what is wrong with the record.
    """
    rewrite = object_of(record, "requested_rewrite")
    subject, told = text_of(rewrite, "subject"), text_of(object_of(rewrite, "target_new"), "str")
    whole = text_of(rewrite, "prompt")
    stem = _stem(whole, told)
    doubled = _ends_with_to(stem) and told.startswith("to ")
    paraphrases = [_cut(text, told, doubled) for text in texts_of(record, "paraphrase_prompts")]
    questions = texts_of(record, "neighborhood_prompts")
    others = [text for text in questions if not _is_about(text, subject)]
    instances = tuple(_instances(record, subject, told, doubled))
    odd = len(texts_of(record, "sub-neighborhood_prompts")) - len(instances)
    fact = Fact(
        prompt=_cut(whole, told, doubled),
        subject=subject,
        target=_target(told, doubled),
        paraphrases=tuple(dict.fromkeys(paraphrases)),
        neighbours=tuple(_logic(text) for text in others),
        portability=tuple(dict.fromkeys(instances)),
        id=name,
        group=stem.replace(SLOT, "").removesuffix(" to").strip(" ,"),
    )
    notes = [CUT] * (stem != whole) + [DOUBLED] * doubled + [BLANK] * ("___" in subject)
    notes += [REPEATED] * (len(paraphrases) - len(fact.paraphrases))
    notes += [ODD] * odd
    notes += [OWN] * (len(questions) - len(others))
    return Noted(Case.of(fact), tuple(notes))


def _stem(text: str, told: str) -> str:
    """The text without the target at its end."""
    return text.removesuffix(told).strip() if told else text


def _ends_with_to(stem: str) -> bool:
    return stem.endswith(" to")


def _cut(text: str, told: str, doubled: bool) -> str:
    """The stem, with one "to" in all between it and the target."""
    stem = _stem(text, told)
    if told.startswith("to "):
        stem = stem.removesuffix(" to") + " to" * doubled
    return stem


def _target(told: str, doubled: bool) -> str:
    return told.removeprefix("to ").strip() if doubled else told


def _instances(
    record: dict[str, Any], subject: str, told: str, doubled: bool
) -> Iterator[Question]:
    """Whoever stands in PersonX's place in the event does so in the target, in either case."""
    before = subject.partition(PERSON)[0]
    for text in texts_of(record, "sub-neighborhood_prompts"):
        found = re.match(re.escape(before) + r"(\w+)", text)
        named = re.sub(PERSON, found[1], told, flags=re.IGNORECASE) if found else told
        for answer in (named, told):
            if text.endswith(answer):
                prompt, target = _cut(text, answer, doubled), _target(answer, doubled)
                yield Question(prompt, target, group="instantiation")
                break


def _is_about(question: str, subject: str) -> bool:
    return question.removeprefix(subject).lstrip().startswith(",") and question.startswith(subject)


def _logic(question: str) -> Question:
    return Question(question.replace(" to to ", " to "), "no", choices=YES_NO, group="logic")
