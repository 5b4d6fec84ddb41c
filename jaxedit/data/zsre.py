"""zsRE (Levy et al. 2017) as edits: MEND's form (Mitchell et al. 2022) and KnowEdit's (2024)."""

from __future__ import annotations

from typing import Any

from jaxedit.data.counterfact import portability
from jaxedit.data.fact import Fact, Question, template
from jaxedit.data.files import text_of, texts_of
from jaxedit.errors import UserError


def parse(record: dict[str, Any], name: str) -> Fact:
    """One record of either form as a fact, called ``name``.

    The previous answer is the first true one that differs from the target; a record whose
    target is true already is a sound edit without a previous answer.

    Raises:
        UserError: what is wrong with the record.
    """
    return _mend(record, name) if "src" in record else _knowedit(record, name)


def _mend(record: dict[str, Any], name: str) -> Fact:
    """The unrelated question ends with "?": the training file has it, the evaluation file not."""
    subject, target = text_of(record, "subject"), text_of(record, "alt")
    unrelated = text_of(record, "loc")
    unrelated = unrelated if unrelated.endswith("?") else f"{unrelated}?"
    return Fact(
        prompt=template(text_of(record, "src"), subject),
        subject=subject,
        target=target,
        previous=_previous(texts_of(record, "answers"), target),
        paraphrases=(text_of(record, "rephrase"),),
        neighbours=(Question(unrelated, text_of(record, "loc_ans")),),
        portability=portability(record),
        id=name,
    )


def _knowedit(record: dict[str, Any], name: str) -> Fact:
    subject, target = text_of(record, "subject"), text_of(record, "target_new")
    return Fact(
        prompt=template(text_of(record, "prompt"), subject),
        subject=subject,
        target=target,
        previous=_previous(texts_of(record, "ground_truth"), target),
        paraphrases=(text_of(record, "rephrase_prompt"),),
        neighbours=_groups(record, "locality"),
        portability=_groups(record, "portability"),
        id=name,
    )


def _previous(truths: tuple[str, ...], target: str) -> str | None:
    return next((truth for truth in truths if truth and truth != target), None)


def _groups(record: dict[str, Any], key: str) -> tuple[Question, ...]:
    """The questions of all groups under ``key``, in file order; the first true answer of each."""
    groups = record.get(key, {})
    if not isinstance(groups, dict) or not all(isinstance(g, list) for g in groups.values()):
        raise UserError(f'"{key}" is not an object of lists')
    return tuple(_question(entry) for entries in groups.values() for entry in entries)


def _question(entry: Any) -> Question:
    if not isinstance(entry, dict):
        raise UserError("a question is not an object")
    truth = entry.get("ground_truth")
    answers = (truth.strip(),) if isinstance(truth, str) else texts_of(entry, "ground_truth")
    if not answers:
        raise UserError(f"no answer to {text_of(entry, 'prompt')!r}")
    return Question(text_of(entry, "prompt"), answers[0])
