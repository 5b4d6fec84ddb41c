"""A user's own facts: JSON lines, or a table, of prompt, subject and target."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxedit.data import csv_rows, files
from jaxedit.data.fact import Fact, Question, template
from jaxedit.errors import UserError

REQUIRED = ("prompt", "subject", "target")
TEXTS = ("previous", "id", "group")
LISTS = ("paraphrases", "aliases", "choices", "openings")
QUESTIONS = ("neighbours", "portability", "negations")
OPTIONAL = TEXTS + LISTS + QUESTIONS


def read_facts(path: str | Path) -> list[Fact]:
    """The facts of a JSON-lines file, one object a line, or of a ``.csv`` file, in file order.

    Each line has ``prompt``, ``subject`` and ``target``, and may have ``previous``, ``id`` and
    ``group`` (texts), ``paraphrases`` (a list of filled prompts), ``aliases``, ``choices`` and
    ``openings`` (lists of texts), ``neighbours``, ``portability`` and ``negations`` (lists of
    ``{"prompt", "answer"}``, which may have ``aliases``, ``choices`` and ``group`` too). The
    prompt is a template with one ``{}`` or is filled; in a filled prompt the *last* occurrence of
    the subject becomes the slot (see :func:`jaxedit.data.fact.template`). White space around
    every text is dropped, blank lines are passed over, other keys are ignored unless they look
    like a misspelt one. UTF-8 with or without a byte order mark, LF or CRLF, gzipped or not.

    A ``.csv`` file has a header line that names its columns: prompt, subject, target and, if
    need be, previous, id and group; an empty cell is one that is not there.

    Raises:
        UserError: ``file:line`` and what is wrong: broken JSON or CSV, a missing key, a wrong
            type, a subject that is not in its prompt, an empty target, an id that an earlier line
            has, a fact that contradicts an earlier line (same question and subject, other
            target), or a file without facts.
    """
    text, where = files.read_text(path), str(path)
    table = where.removesuffix(".gz").lower().endswith(".csv")
    rows = _table(text, where) if table else files.json_lines(text, where)
    facts: list[Fact] = []
    seen: dict[tuple[str, str], tuple[str, int]] = {}
    named: dict[str, int] = {}
    for number, value in rows:
        try:
            fact = _fact(value, number)
            _refuse_repeated_id(value, fact.id, number, named)
            _refuse_contradiction(fact, number, seen)
        except UserError as error:
            raise UserError(f"{path}:{number}: {error}") from None
        facts.append(fact)
    if not facts:
        one = (
            "a header and one row a fact" if table else 'one {"prompt", "subject", "target"} a line'
        )
        raise UserError(f"{path}: holds no facts; write {one}")
    return facts


def _table(text: str, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    return csv_rows.rows(text, where, REQUIRED, TEXTS, beside=LISTS + QUESTIONS)


def _fact(value: Any, number: int) -> Fact:
    if not isinstance(value, dict):
        raise UserError(f"{files.kind(value)} stands here; write one JSON object a line")
    _refuse_misspelt(value)
    name = f"line {number}" if value.get("id") is None else str(value["id"])
    prompt, subject, target = (files.text_of(value, key) for key in REQUIRED)
    for key, text in zip(REQUIRED, (prompt, subject, target), strict=True):
        if not text:
            raise UserError(f'"{key}" is empty')
    previous = None if value.get("previous") is None else files.text_of(value, "previous")
    try:
        return Fact(
            prompt=template(prompt, subject),
            subject=subject,
            target=target,
            previous=previous or None,
            paraphrases=files.texts_of(value, "paraphrases"),
            neighbours=_questions(value, "neighbours"),
            portability=_questions(value, "portability"),
            id=name,
            aliases=files.texts_of(value, "aliases"),
            choices=files.texts_of(value, "choices"),
            negations=_questions(value, "negations"),
            openings=files.texts_of(value, "openings"),
            group=_group(value),
        )
    except UserError as error:
        raise UserError(str(error).removeprefix(f"fact {name}: ")) from None


def _questions(value: dict[str, Any], key: str) -> tuple[Question, ...]:
    items = value.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UserError(f'"{key}" must be a list of {{"prompt", "answer"}}')
    try:
        return tuple(map(_question, items))
    except UserError as error:
        raise UserError(f'"{key}": {error}') from None


def _question(item: dict[str, Any]) -> Question:
    return Question(
        prompt=files.text_of(item, "prompt"),
        answer=files.text_of(item, "answer"),
        aliases=files.texts_of(item, "aliases"),
        choices=files.texts_of(item, "choices"),
        group=_group(item),
    )


def _group(value: dict[str, Any]) -> str:
    return "" if value.get("group") is None else files.text_of(value, "group")


def _refuse_misspelt(value: dict[str, Any]) -> None:
    known = REQUIRED + OPTIONAL
    for key in value:
        near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.8)
        if key not in known and near and near[0] not in value:
            raise UserError(f'unknown key "{key}"; did you mean "{near[0]}"?')


def _refuse_repeated_id(
    value: dict[str, Any], name: str, number: int, named: dict[str, int]
) -> None:
    """Note the id in ``named``, unless an earlier line has it; ids that we made are not asked."""
    if value.get("id") is not None and (line := named.setdefault(name, number)) != number:
        raise UserError(f"id {name!r} is line {line}'s already; give another one")


def _refuse_contradiction(
    fact: Fact, number: int, seen: dict[tuple[str, str], tuple[str, int]]
) -> None:
    """Note the fact in ``seen``, unless an earlier one gives its question another target."""
    target, line = seen.setdefault((fact.question, fact.subject), (fact.target, number))
    if target != fact.target:
        raise UserError(
            f"contradicts line {line}: {fact.question!r} gets {fact.target!r} here and "
            f"{target!r} there; keep one of them"
        )
