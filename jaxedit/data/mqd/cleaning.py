"""Triples that can be put into sentences, and why the others cannot (D4S section 3.2)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jaxedit.data.mqd.atomic import Triple
from jaxedit.data.mqd.relations import RELATIONS

MAX_WORDS = 8  # of a tail
_PERSON = re.compile(r"\b(person|people) ?([xyz])(?=\b|s\b)", re.IGNORECASE)
_APART = re.compile(r" (?=(?:'s|'re|'ve|'ll|'m|'d|n't)\b)")  # what tokenising has pulled apart
_VALID = re.compile(r"(?:[^\W_]|[ ',./-])*")
_NOTHING = frozenset({"none", "n/a"})


class Cleaned(NamedTuple):
    """The good triples, with normal texts, and the number of others by reason."""

    triples: list[Triple]
    skipped: Mapping[str, int]


def clean(triples: Iterable[Triple], max_words: int = MAX_WORDS) -> Cleaned:
    """Drops what is not known to be true, is not whole, or does not read as a sentence.

    Each triple that is dropped counts for the first reason that it meets. Texts are brought to
    one form: single spaces, straight quotes, "PersonX" however it is spelt, contractions
    written together, no point at the end, a tail's first letter small.

    Args:
        triples: as they were read.
        max_words: a longer tail is dropped.
    """
    good: list[Triple] = []
    skipped: Counter[str] = Counter()
    seen: set[tuple[str, str, str]] = set()
    for raw in triples:
        triple = raw._replace(head=normal(raw.head), tail=_small(normal(raw.tail)))
        reason = _defect(triple, max_words)
        same = (triple.head.lower(), triple.relation, key(triple.tail))
        if reason is None and same in seen:
            reason = "duplicate"
        if reason is None:
            seen.add(same)
            good.append(triple)
        else:
            skipped[reason] += 1
    return Cleaned(good, dict(skipped.most_common()))


def normal(text: str) -> str:
    """The text in the one form that all have."""
    text = " ".join(text.replace("\u2019", "'").replace("\u2018", "'").split())
    text = _APART.sub("", text)
    text = _PERSON.sub(lambda found: f"{found[1].capitalize()}{found[2].upper()}", text)
    return text.strip(" .,;")


def key(tail: str) -> str:
    """Alike for tails that say the same in the same words."""
    return tail.lower().removeprefix("to ")


def _small(tail: str) -> str:
    """Its first letter small, unless its first word is a name or an abbreviation."""
    if len(tail) > 1 and tail.isupper():
        tail = tail.lower()  # shouted from end to end
    first = tail.split(" ", 1)[0]
    rest = first[1:]
    if rest != rest.lower() or first == "I" or first.startswith("I'"):
        return tail
    return tail[:1].lower() + tail[1:]


def _defect(triple: Triple, max_words: int) -> str | None:
    """Why the normal triple cannot be used, if it cannot."""
    relation = RELATIONS.get(triple.relation)
    texts = (triple.head, triple.tail)
    if not triple.plausible:
        return "judged implausible"
    if relation is None:
        return "unknown relation"
    if not all(texts):
        return "empty"
    if triple.tail.lower() in _NOTHING:
        return "no tail (none)"
    if any("_" in text for text in texts):
        return "blank (___)"
    if not all(_VALID.fullmatch(text) for text in texts):
        return "invalid character"
    if len(triple.tail.split()) > max_words:
        return f"tail longer than {max_words} words"
    if relation.lead(triple.head, triple.tail) is None:
        return "tail does not follow its relation's phrase"
    return None
