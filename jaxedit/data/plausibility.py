"""20Q and PEP3k as edits (Gupta et al. 2023): is a sentence of everyday life plausible?

A statement is asked for as "<sentence>:", to be completed with True or False.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from jaxedit.data.fact import Case, Fact, Question, template
from jaxedit.data.files import kind, read_records, text_of, texts_of
from jaxedit.data.records import Noted, Parser
from jaxedit.errors import UserError

LABELS = ("True", "False")
AFFECTED = (
    "affected_neighborhood_subject",
    "affected_neighborhood_verb",
    "affected_neighborhood_object",
)
REASONING = "affected_reasoning"
UNAFFECTED = ("unaffected_neighborhood_subject", "unaffected_neighborhood_object")
REPEATED = "a question is the edited statement itself: left out"

Word = Literal["subject", "verb", "object"]


def read_statements(path: str | Path) -> tuple[Question, ...]:
    """All statements of a file of any of the splits, for the F1 over a whole split.

    Raises:
        UserError: the file is missing or broken; ``file: record N`` (from 0) if one is.
    """
    questions = []
    for index, record in enumerate(read_records(path)):
        try:
            if not isinstance(record, dict):
                raise UserError(f"is {kind(record)}, not an object")
            question = Question(_ask(text_of(record, "prompt")), _label(record), choices=LABELS)
            if reason := question.defect():
                raise UserError(reason)
        except UserError as error:
            raise UserError(f"{path}: record {index}: {error}") from None
        questions.append(question)
    return tuple(questions)


def parser(word: Word) -> Parser:
    """The parser of an annotated statement whose slot is its subject, verb or object.

    A record of the probe set also has its questions: "paraphrases" get the statement's label; so
    do the portability questions of the three affected neighbourhoods, while both sentences of
    the affected reasoning are always true. What is expected of the neighbours, the unaffected
    statements, the source does not say: they stand with the label that the statement had before
    (the published models' wrong prediction), and only agreement with the unedited model means
    anything for them.
    """

    def parse(record: dict[str, Any], name: str) -> Noted:
        sentence, label = text_of(record, "prompt"), _label(record)
        chosen = record.get(word)
        if not isinstance(chosen, str) or not chosen.strip():
            raise UserError(f"no {word} is annotated")
        before = LABELS[1 - LABELS.index(label)]
        portability = _questions(record, AFFECTED, label) + _questions(record, (REASONING,), "True")
        asked = [question for question in portability if question.prompt != _ask(sentence)]
        fact = Fact(
            prompt=template(_ask(sentence), chosen.strip()),
            subject=chosen.strip(),
            target=label,
            previous=before,
            paraphrases=tuple(_ask(text) for text in texts_of(record, "affected_paraphrase")),
            neighbours=tuple(_questions(record, UNAFFECTED, before)),
            portability=tuple(asked),
            id=name,
            choices=LABELS,
        )
        return Noted(Case.of(fact), (REPEATED,) * (len(portability) - len(asked)))

    return parse


def _ask(sentence: str) -> str:
    return f"{sentence}:"


def _questions(record: dict[str, Any], keys: tuple[str, ...], label: str) -> list[Question]:
    return [
        Question(_ask(sentence), label, choices=LABELS, group=key)
        for key in keys
        for sentence in texts_of(record, key)
    ]


def _label(record: dict[str, Any]) -> str:
    """1 and 0 in the edit sets, text with a leading space in the probe sets."""
    label = record.get("label")
    if isinstance(label, str) and label.strip() in LABELS:
        return label.strip()
    if label not in (0, 1) or isinstance(label, float):
        raise UserError(f'"label" is {label!r}; it must be 1, 0, "True" or "False"')
    return "True" if label else "False"
