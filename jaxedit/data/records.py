"""What a data set's file becomes: parsers of records, and screens over what they gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxedit.data.fact import Case, Fact


class Noted(NamedTuple):
    """A good record, and what had to be mended or left out of it, in words that can be counted."""

    case: Case
    notes: tuple[str, ...] = ()


Parser = Callable[[dict[str, Any], str], Fact | Case | Noted]
"""A record and its name to what it holds; raises UserError where it is defective."""

Reader = Callable[[Sequence[Any]], Parser]
"""All records of a file to the parser of each: some need the others (`known_facts`)."""

Outcome = Noted | str
"""A good record, or the reason why it is skipped."""

Screen = Callable[[Iterable[Outcome]], Iterator[Outcome]]
"""Turns records that do not go together with those before them into reasons, one by one."""


def each(parse: Parser) -> Reader:
    """The reader of a data set whose records stand alone."""
    return lambda records: parse


def noted(parsed: Fact | Case | Noted) -> Noted:
    """Whatever a parser gave, in one form."""
    if isinstance(parsed, Noted):
        return parsed
    return Noted(Case.of(parsed) if isinstance(parsed, Fact) else parsed)


def all_together(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """The screen that takes every record."""
    yield from outcomes


def first_wins(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Drops a record that gives a question another target than one before it does."""
    seen: dict[tuple[str, str], Fact] = {}
    for outcome in outcomes:
        if isinstance(outcome, str):
            yield outcome
            continue
        reason = _contradiction(outcome.case, seen)
        if reason is None:
            seen.update({_key(fact): fact for fact in outcome.case.facts})
        yield reason or outcome


def _contradiction(case: Case, seen: dict[tuple[str, str], Fact]) -> str | None:
    own: dict[tuple[str, str], Fact] = {}
    for fact in case.facts:
        earlier = seen.get(_key(fact)) or own.setdefault(_key(fact), fact)
        if earlier.target != fact.target:
            place = "itself" if earlier in own.values() else f"record {earlier.id}"
            return f"contradicts {place}: target {fact.target!r}, there {earlier.target!r}"
    return None


def _key(fact: Fact) -> tuple[str, str]:
    return fact.question, fact.subject
