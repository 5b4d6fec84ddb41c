"""What ATOMIC's relations are called in a sentence: phrases between an event and its tail.

The source abbreviates its relations (xNeed, oReact, ...) and its own annotations do not make
sentences (D4S section 3.2). Its tails come in several grammatical shapes, often in one relation
("to eat", "eat it", "a meal", "they eat"): a relation has a phrase for each shape that it can
take, and a tail of another shape is not used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Shape = Literal["marked", "clause", "nominal", "gerund", "past", "third", "plain"]
Category = Literal[
    "wish", "event", "feeling", "hindrance", "use", "place", "part", "property", "ability", "filler"
]

EVENTS: frozenset[Category] = frozenset({"wish", "event", "feeling", "hindrance"})  # of events
ELSE = "someone else"  # whom a relation of others is about if the event names nobody else
_MARKS = frozenset({"to", "for", "as"})
_PEOPLE = "personx persony personz peoplex peopley people everyone someone nobody"
_PRONOUNS = "they he she it we i you there you're they're he's she's it's"
_DETERMINERS = "a an the this that another some more no"
_POSSESSIVES = "their his her its my your our him them"
_SUBJECTS = frozenset(f"{_PEOPLE} {_PRONOUNS}".split())
_NOMINALS = frozenset(f"{_DETERMINERS} {_POSSESSIVES}".split())
_GERUND = re.compile(r"\w*[aeiouy]\w*ing")
_PAST = re.compile(r"\w*[^e]ed")
_THIRD = re.compile(r"\w*[^s]s")
_BEGINNINGS: tuple[tuple[re.Pattern[str], Shape], ...] = (
    (_GERUND, "gerund"),
    (_PAST, "past"),
    (_THIRD, "third"),
)
_PERSON = re.compile(r"(?:Person|People)[XYZ]")


def shape(tail: str) -> Shape:
    """How a tail begins, which decides the phrases that it can follow; cleaned, not empty.

    A judgement from its first two words: "marked" ("to eat", "for PersonY to come", "them to
    come"), "clause" (a sentence of its own), "nominal" ("a meal"), "gerund", "past" (or a
    participle), "third" (third person singular, and other words in -s), "plain" (all else).
    """
    first, second = [*tail.lower().split()[:2], ""][:2]
    if first.endswith("'s") and first.removesuffix("'s") in _SUBJECTS:
        return "clause"
    if first in _MARKS or (first == "not" and second == "to"):
        return "marked"
    if first in _SUBJECTS:
        return "marked" if second == "to" else "clause"
    if first in _NOMINALS:
        return "nominal"
    for pattern, name in _BEGINNINGS:
        if pattern.fullmatch(first):
            return name
    return "plain"


@dataclass(frozen=True)
class Relation:
    """A relation of ATOMIC.

    Attributes:
        name: ATOMIC's.
        category: what its tails are; tails of another category are its wrong answers.
        leads: by shape, what leads from the event to the tail; ``{x}`` is who acts, ``{o}``
            another person.
    """

    name: str
    category: Category
    leads: Mapping[Shape, str]

    def lead(self, head: str, tail: str) -> str | None:
        """The phrase between this head and this tail, or None if the tail cannot follow any."""
        phrase = self.leads.get(shape(tail))
        if phrase is None:
            return None
        people = _PERSON.findall(head)
        agent = people[0] if people else "PersonX"
        other = next((person for person in people if person != agent), ELSE)
        return phrase.replace("{x}", agent).replace("{o}", other)


def _leads(**phrases: str) -> Mapping[Shape, str]:
    """Phrases by shapes that are joined by "_"."""
    return {shape: text for names, text in phrases.items() for shape in names.split("_")}  # type: ignore[misc]


def _want(name: str, who: str, wants: str = "wants") -> Relation:
    leads = _leads(
        plain=f"as a result, {who} {wants} to",
        marked_nominal=f"as a result, {who} {wants}",
        clause=f"as a result, {who} {wants} this:",
    )
    return Relation(name, "wish", leads)


def _effect(name: str, who: str) -> Relation:
    leads = _leads(third_past=f"as a result, {who}", clause_nominal="as a result,")
    return Relation(name, "event", leads)


def _react(name: str, who: str, feels: str = "feels") -> Relation:
    leads = _leads(
        plain_third_past_gerund=f"as a result, {who} {feels}",
        nominal=f"as a result, {who} {feels} like",
        clause=f"as a result, {who} {feels} this:",
    )
    return Relation(name, "feeling", leads)


def _always(name: str, category: Category, phrase: str) -> Relation:
    leads = _leads(plain_third_past_gerund_nominal_marked_clause=phrase)
    return Relation(name, category, leads)


_TABLE = (
    _want("xWant", "{x}"),
    _want("oWant", "{o}"),
    _want("general Want", "people", "want"),
    _effect("xEffect", "{x}"),
    _effect("oEffect", "{o}"),
    Relation("general Effect", "event", _leads(clause="as people can expect,")),
    _react("xReact", "{x}"),
    _react("oReact", "{o}"),
    _react("general React", "people", "feel"),
    Relation(
        "xNeed",
        "wish",
        _leads(
            plain="and before that {x} had to",
            marked_nominal="and before that {x} needed",
            clause="and before that this was needed:",
        ),
    ),
    Relation(
        "xIntent",
        "wish",
        _leads(
            plain="because {x} wanted to",
            marked_nominal="because {x} wanted",
            clause="because {x} wanted this:",
        ),
    ),
    Relation(
        "xAttr",
        "feeling",
        _leads(
            plain_third_past_gerund_nominal="so {x} is seen as", clause="from which one can tell:"
        ),
    ),
    _always("xReason", "event", "and the reason is this:"),
    Relation("isAfter", "event", _leads(clause_nominal_gerund="which happens after")),
    Relation("isBefore", "event", _leads(clause_nominal_gerund="which happens before")),
    Relation("HinderedBy", "hindrance", _leads(clause_nominal="which cannot happen if")),
    Relation(
        "Causes",
        "event",
        _leads(
            plain_third_gerund_nominal="which causes", clause_past_marked="which leads to this:"
        ),
    ),
    _always("HasSubEvent", "event", "which includes this:"),
    Relation(
        "ObjectUse",
        "use",
        _leads(
            plain="which can be used to",
            marked="which can be used",
            gerund="which can be used for",
        ),
    ),
    _always("AtLocation", "place", "which can be found at"),
    _always("MadeUpOf", "part", "which is made up of"),
    _always("HasProperty", "property", "which has this property:"),
    Relation("CapableOf", "ability", _leads(plain="which can", gerund="which is capable of")),
    _always("Desires", "ability", "which wants this:"),
    _always("NotDesires", "ability", "which does not want this:"),
    _always("isFilledBy", "filler", "where the gap can be filled by"),
)
RELATIONS: Mapping[str, Relation] = {relation.name: relation for relation in _TABLE}
