"""A user's own facts: JSON lines of prompt, subject and target."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from jaxedit.data import files
from jaxedit.data.fact import Fact, Question, template
from jaxedit.errors import UserError

REQUIRED = ("prompt", "subject", "target")
OPTIONAL = ("previous", "paraphrases", "neighbours", "portability", "id")


def read_facts(path: str | Path) -> list[Fact]:
    """The facts of a JSON-lines file, one object a line, in file order.

    Each line has ``prompt``, ``subject`` and ``target``, and may have ``previous`` (text),
    ``paraphrases`` (a list of filled prompts), ``neighbours`` and ``portability`` (lists of
    ``{"prompt", "answer"}``) and ``id``. The prompt is a template with one ``{}`` or is filled;
    in a filled prompt the *last* occurrence of the subject becomes the slot (see
    :func:`jaxedit.data.fact.template`). White space around every text is dropped, blank lines
    are passed over, other keys are ignored unless they look like a misspelt one. UTF-8 with or
    without a byte order mark, LF or CRLF, gzipped or not.

    Raises:
        UserError: ``file:line`` and what is wrong: broken JSON, a missing key, a wrong type, a
            subject that is not in its prompt, an empty target, a fact that contradicts an
            earlier line (same question and subject, other target), or a file without facts.
    """
    facts: list[Fact] = []
    seen: dict[tuple[str, str], tuple[str, int]] = {}
    for number, line in enumerate(files.read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        value = files.parse_json(line.strip(), str(path), number)
        try:
            fact = _fact(value, number)
            _refuse_contradiction(fact, number, seen)
        except UserError as error:
            raise UserError(f"{path}:{number}: {error}") from None
        facts.append(fact)
    if not facts:
        raise UserError(
            f'{path}: holds no facts; write one {{"prompt", "subject", "target"}} a line'
        )
    return facts


def _fact(value: Any, number: int) -> Fact:
    if not isinstance(value, dict):
        raise UserError(f"{files.kind(value)} stands here; write one JSON object a line")
    _refuse_misspelt(value)
    name = str(value.get("id", f"line {number}"))
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
        )
    except UserError as error:
        raise UserError(str(error).removeprefix(f"fact {name}: ")) from None


def _questions(value: dict[str, Any], key: str) -> tuple[Question, ...]:
    items = value.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UserError(f'"{key}" must be a list of {{"prompt", "answer"}}')
    try:
        return tuple(
            Question(files.text_of(item, "prompt"), files.text_of(item, "answer")) for item in items
        )
    except UserError as error:
        raise UserError(f'"{key}": {error}') from None


def _refuse_misspelt(value: dict[str, Any]) -> None:
    known = REQUIRED + OPTIONAL
    for key in value:
        near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.8)
        if key not in known and near and near[0] not in value:
            raise UserError(f'unknown key "{key}"; did you mean "{near[0]}"?')


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
