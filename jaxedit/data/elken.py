"""ELKEN (Peng et al. 2024): an edit is an event, asked for by its facts and its tendencies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jaxedit.data.fact import Case, Fact, Question, template
from jaxedit.data.files import object_of, objects_of, text_of, texts_of
from jaxedit.data.records import Noted
from jaxedit.errors import UserError

EVENT = "Event:"
UNKNOWN = "unknown"
LETTERS = ("A", "B", "C")
AMERICA = "Q30"  # the published scorer lets it be called United States, which its aliases lack

FACT = "Answer with a name alone, or with unknown if the answer cannot be known.\n{}"
TENDENCY = "Answer with the letter of the likeliest option.\n{}"
FORMATS = {
    "event_fact": FACT,
    "event_local": FACT,
    "tendency": TENDENCY,
    "tendency_local": TENDENCY,
}
"""Instructions to wrap each role's prompts in; the layout is the published one, the words ours."""


def parse(record: dict[str, Any], name: str) -> Case:
    """One event as a case whose only fact is the event's text itself, called ``name``.

    Fine-tuning so learns the bare sentence, and methods that read the fact from their context
    are shown it. For an editor that locates a subject it means nothing (`as_requests`).

    Raises:
        UserError: what is wrong with the record.
    """
    questions = _questions(record)
    if not any(questions.values()):
        raise UserError("nothing is asked about the event")
    fact = Fact("{}", EVENT, _event(record), id=name, group=text_of(record, "event_type"))
    return Case(name, (fact,), questions)


def as_requests(record: dict[str, Any], name: str) -> Noted:
    """One event as a case whose facts are its questions with a known answer.

    Only those that name their subject can serve, since editors look for it in the prompt.

    Raises:
        UserError: what is wrong with the record; one without such a question has no fact.
    """
    known = [entry for entry in _entries(record, "fact", "qas") if _answer(entry) != UNKNOWN]
    if not known:
        raise UserError("no question about the event has a known answer")
    usable = [entry for entry in known if _subject(entry) in text_of(entry, "question")]
    if not usable:
        raise UserError("no question with a known answer names its subject verbatim")
    facts = tuple(
        Fact(
            prompt=template(text_of(entry, "question"), _subject(entry)),
            subject=_subject(entry),
            target=_answer(entry),
            id=f"{name}.{place}",
            aliases=_aliases(entry),
            group=text_of(entry, "rel_id"),
        )
        for place, entry in enumerate(usable, start=1)
    )
    left_out = len(known) - len(usable)
    notes = ("a question with a known answer does not name its subject: no request",) * left_out
    return Noted(Case(name, facts, _questions(record)), notes)


def _event(record: dict[str, Any]) -> str:
    """Without the quotes that stand around a few whole events."""
    event = text_of(record, "event")
    quoted = event.count('"') == 2 and event.startswith('"') and event.endswith('"')
    return event[1:-1].strip() if quoted else event


def _questions(record: dict[str, Any]) -> dict[str, tuple[Question, ...]]:
    return {
        "event_fact": tuple(map(_fact_question, _entries(record, "fact", "qas"))),
        "event_local": tuple(map(_local_question, _entries(record, "fact", "local_qas"))),
        "tendency": tuple(map(_tendency, _entries(record, "tendency", "qas"))),
        "tendency_local": tuple(map(_tendency, _entries(record, "tendency", "local_qas"))),
    }


def _entries(record: dict[str, Any], part: str, key: str) -> Iterator[dict[str, Any]]:
    yield from objects_of(object_of(record, part), key)


def _fact_question(entry: dict[str, Any]) -> Question:
    """Type 0 is stated by the event, type 1 needs background; the unknown are a group."""
    answer = _answer(entry)
    group = UNKNOWN if answer == UNKNOWN else f"type {entry.get('type')}"
    return Question(_layout(entry), answer, aliases=_aliases(entry), group=group)


def _local_question(entry: dict[str, Any]) -> Question:
    return Question(_layout(entry), _answer(entry), aliases=_aliases(entry))


def _tendency(entry: dict[str, Any]) -> Question:
    options = " ".join(text_of(entry, "candidate").split())
    if any(f"({letter})" not in options for letter in LETTERS):
        raise UserError(f"the options {options!r} are not (A), (B) and (C)")
    return Question(_layout(entry, options), text_of(entry, "answer"), choices=LETTERS)


def _layout(entry: dict[str, Any], options: str | None = None) -> str:
    between = f"Options: {options}\n" if options else ""
    return f"Question: {text_of(entry, 'question')}\n{between}Answer:"


def _answer(entry: dict[str, Any]) -> str:
    return text_of(object_of(entry, "answer"), "name")


def _aliases(entry: dict[str, Any]) -> tuple[str, ...]:
    answer = object_of(entry, "answer")
    more = ("United States",) if answer.get("id") == AMERICA else ()
    names = dict.fromkeys((*texts_of(answer, "alias"), *more))
    return tuple(name for name in names if name and name != text_of(answer, "name"))


def _subject(entry: dict[str, Any]) -> str:
    """A few entries keep it under another key."""
    subject = object_of(entry, "subject")
    return text_of(subject, "name" if "name" in subject else "ent2name")
