"""zsRE (Levy et al. 2017) as edits: MEND's form (Mitchell et al. 2022) and KnowEdit's (2024)."""

from __future__ import annotations

from typing import Any

from jaxedit.data.counterfact import portability
from jaxedit.data.fact import Case, Fact, Question, template
from jaxedit.data.files import object_of, objects_of, text_of, texts_of
from jaxedit.data.records import Noted
from jaxedit.errors import UserError

TRUE_ALREADY = "the target is a true answer already: kept, without a previous answer"
REPLACED = "a neighbour expects the very answer that the edit replaces: kept"


def parse(record: dict[str, Any], name: str) -> Noted:
    """One record of either form as a fact, called ``name``.

    The previous answer is the first true one. A record whose target is one of the true answers
    is kept, as a sound edit of a question that the model need not know: it replaces no answer,
    and the other true ones are aliases of its target.

    Raises:
        UserError: what is wrong with the record.
    """
    fact = _mend(record, name) if "src" in record else _knowedit(record, name)
    replaced = sum(question.answer == fact.previous for question in fact.neighbours)
    notes = (TRUE_ALREADY,) * (not fact.previous) + (REPLACED,) * replaced
    return Noted(Case.of(fact), notes)


def _mend(record: dict[str, Any], name: str) -> Fact:
    """The unrelated question ends with "?": the training file has it, the evaluation file not."""
    subject, target = text_of(record, "subject"), text_of(record, "alt")
    unrelated = text_of(record, "loc")
    unrelated = unrelated if unrelated.endswith("?") else f"{unrelated}?"
    truths = texts_of(record, "answers")
    return Fact(
        prompt=template(text_of(record, "src"), subject),
        subject=subject,
        target=target,
        previous=_previous(truths, target),
        paraphrases=(text_of(record, "rephrase"),),
        neighbours=(Question(unrelated, text_of(record, "loc_ans")),),
        portability=portability(record),
        id=name,
        aliases=_aliases(truths, target),
    )


def _knowedit(record: dict[str, Any], name: str) -> Fact:
    subject, target = text_of(record, "subject"), text_of(record, "target_new")
    truths = texts_of(record, "ground_truth")
    return Fact(
        prompt=template(text_of(record, "prompt"), subject),
        subject=subject,
        target=target,
        previous=_previous(truths, target),
        paraphrases=(text_of(record, "rephrase_prompt"),),
        neighbours=_groups(record, "locality"),
        portability=_groups(record, "portability"),
        id=name,
        aliases=_aliases(truths, target),
    )


def _previous(truths: tuple[str, ...], target: str) -> str | None:
    """None where the target is one of the true answers."""
    if target in truths:
        return None
    return next(filter(None, truths), None)


def _aliases(truths: tuple[str, ...], target: str) -> tuple[str, ...]:
    return tuple(truth for truth in truths if truth and truth != target) if target in truths else ()


def _groups(record: dict[str, Any], key: str) -> tuple[Question, ...]:
    """The questions of all groups under ``key``, in file order."""
    groups = object_of(record, key) if key in record else {}
    return tuple(_question(entry, name) for name in groups for entry in objects_of(groups, name))


def _question(entry: dict[str, Any], group: str) -> Question:
    """The first true answer is the one expected, further ones are its aliases."""
    prompt, truths = text_of(entry, "prompt"), _texts(entry.get("ground_truth"))
    if not truths:
        raise UserError(f"no answer to {prompt!r}")
    return Question(prompt, truths[0], aliases=truths[1:], group=group)


def _texts(value: Any) -> tuple[str, ...]:
    """A text, or texts in lists of lists, each once."""
    if isinstance(value, str):
        return (value.strip(),) if value.strip() else ()
    if not isinstance(value, list):
        raise UserError('"ground_truth" must be a text or a list of texts')
    return tuple(dict.fromkeys(text for item in value for text in _texts(item)))
