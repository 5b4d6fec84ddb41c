"""Scores of freely generated text: greedy, with natural stop, never cut at the target's length.

Texts are compared after normalising both: Unicode NFKC, case folded, punctuation deleted, the
articles a, an and the dropped, white space collapsed. If nothing of the target is left (an
article, a sign), only case and white space are evened out.

* exact: what was generated up to some sentence end (or its own end) is the target or one of its
  aliases. So "Paris."
  and "Paris. It lies on the Seine" give exactly "Paris", and "St. Louis" can be given too.
* contains: the target or an alias occurs in it as whole words.
* token_accuracy: of the first ids, as many as the target has, the share that are right: the
  papers' "validation generation" without its cut. A missing id is wrong.
* unedited: the text, or these first ids, equal the unedited model's.
"""

from __future__ import annotations

import re
import unicodedata

from jaxedit.metrics.measure import Measure, share_equal
from jaxedit.metrics.records import Answer

_ARTICLES = {"a", "an", "the"}
_SENTENCE_END = re.compile(r"[.!?。！？](?=\s|$)|\n")


def normalise(text: str) -> str:
    """The text as it is compared (see the module)."""
    plain = _fold(text)
    letters = "".join(c for c in plain if not unicodedata.category(c).startswith("P"))
    return " ".join(word for word in letters.split() if word not in _ARTICLES)


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def gives(text: str, target: str) -> bool:
    """Whether the text, up to some sentence end or whole, is the target."""
    clean = normalise if normalise(target) else _fold
    ends = [match.end() for match in _SENTENCE_END.finditer(text)] + [len(text)]
    return any(clean(text[:end]) == clean(target) for end in ends)


def mentions(text: str, target: str) -> bool:
    """Whether the target occurs in the text as whole words."""
    clean = normalise if normalise(target) else _fold
    return f" {clean(target)} " in f" {clean(text)} "


def exact(answer: Answer, _: Answer | None = None) -> float | None:
    """1 if the generation gives the target, else 0."""
    text = answer.generated
    return None if text is None else float(any(gives(text, t) for t in expected(answer)))


def contains(answer: Answer, _: Answer | None = None) -> float | None:
    """1 if the generation mentions the target, else 0."""
    text = answer.generated
    return None if text is None else float(any(mentions(text, t) for t in expected(answer)))


def expected(answer: Answer) -> tuple[str, ...]:
    """Every text that is right."""
    return (answer.asked.target, *answer.asked.aliases)


def token_accuracy(answer: Answer, _: Answer | None = None) -> float | None:
    """Share of the target's ids that were generated in their places."""
    if answer.generated_ids is None:
        return None
    return share_equal(answer.generated_ids, answer.target_ids, len(answer.target_ids))


def same_as_unedited(answer: Answer, before: Answer | None) -> float | None:
    """1 if the generation equals the unedited model's, white space at its ends aside, else 0."""
    if answer.generated is None or before is None or before.generated is None:
        return None
    return float(answer.generated.strip() == before.generated.strip())


def agreement(answer: Answer, before: Answer | None) -> float | None:
    """Share of the first ids, as many as the true answer has, equal to the unedited model's."""
    if answer.generated_ids is None or before is None or before.generated_ids is None:
        return None
    return share_equal(answer.generated_ids, before.generated_ids, len(answer.target_ids))


_D = "generation"
MEASURES = (
    Measure("efficacy", _D, "exact", "target", "edit", exact),
    Measure("paraphrase", _D, "exact", "target", "paraphrase", exact),
    Measure("specificity", _D, "exact", "truth", "neighbour", exact),
    Measure("specificity", _D, "exact", "unedited", "neighbour", same_as_unedited),
    Measure("reliability", _D, "token_accuracy", "target", "edit", token_accuracy),
    Measure("generality", _D, "token_accuracy", "target", "paraphrase", token_accuracy),
    Measure("locality", _D, "token_accuracy", "unedited", "neighbour", agreement),
    Measure("efficacy", _D, "contains", "target", "edit", contains),
    Measure("paraphrase", _D, "contains", "target", "paraphrase", contains),
    Measure("specificity", _D, "contains", "truth", "neighbour", contains),
    Measure("portability", _D, "exact", "target", "portability", exact),
    Measure("portability", _D, "contains", "target", "portability", contains),
    Measure("negation", _D, "exact", "target", "negation", exact),
    Measure("negation", _D, "contains", "target", "negation", contains),
)
