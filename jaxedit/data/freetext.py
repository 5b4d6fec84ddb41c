"""Edits whose target is free text: UnKE, EditEverything, ConceptEdit.

A question that is no sentence about a subject stands as a whole where the subject goes: an
editor that locates the subject then takes its key at the question's last token, as UnKE and
AnyEdit do.
"""

from __future__ import annotations

import re
from typing import Any

from jaxedit.data.fact import SLOT, Case, Fact, Question, template
from jaxedit.data.files import text_of, texts_of
from jaxedit.data.records import Noted
from jaxedit.errors import UserError

OPTIONS = re.compile(r"\nA: (?P<A>.*?)\nB: (?P<B>.*)$", re.DOTALL)
LETTERS = ("A", "B")
ALIKE = "both options of the choice are the same text: the choice is left out"


def unke(record: dict[str, Any], name: str) -> Fact:
    """A long answer (Deng et al. 2024), with questions about its parts (group "sub_question").

    Raises:
        UserError: what is wrong with the record.
    """
    questions, answers = texts_of(record, "sub_question"), texts_of(record, "sub_answer")
    if len(questions) != len(answers):
        raise UserError(f"{len(questions)} sub-questions have {len(answers)} answers")
    return Fact(
        prompt=SLOT,
        subject=text_of(record, "question"),
        target=text_of(record, "answer"),
        paraphrases=(text_of(record, "para_question"),),
        portability=tuple(
            Question(question, answer, group="sub_question")
            for question, answer in zip(questions, answers, strict=True)
        ),
        id=name,
    )


def edit_everything(record: dict[str, Any], name: str) -> Fact:
    """A task and its solution (AnyEdit, Jiang et al. 2025): mathematics, code, news, poems.

    Raises:
        UserError: what is wrong with the record.
    """
    return Fact(
        prompt=SLOT,
        subject=text_of(record, "question").replace("\r\n", "\n"),
        target=text_of(record, "answer").replace("\r\n", "\n"),
        id=name,
        group=text_of(record, "category"),
    )


def concept(record: dict[str, Any], name: str) -> Noted:
    """A concept's new definition (Wang et al. 2024) and the choice between it and another one.

    Raises:
        UserError: what is wrong with the record.
    """
    subject = text_of(record, "subject")
    question, letter = text_of(record, "question"), text_of(record, "answer")
    target = text_of(record, "origin_answer")
    options = OPTIONS.search(question)
    if letter not in LETTERS or not options or options[letter].strip() != target:
        raise UserError(f"option {letter!r} of the choice is not the new definition {target!r}")
    alike = options["A"].strip() == options["B"].strip()
    choice = Question(f"{question}\nAnswer:", letter, choices=LETTERS, group="choice")
    fact = Fact(
        prompt=template(text_of(record, "origin_question"), subject),
        subject=subject,
        target=target,
        portability=() if alike else (choice,),
        id=name,
    )
    return Noted(Case.of(fact), (ALIKE,) if alike else ())
