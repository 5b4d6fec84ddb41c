"""The evaluation of WILD / QAEdit (Yang et al. 2025, "The Mirage of Model Editing"), without judge.

Greedy, 50 new tokens, the text ends before the first full stop or line break. It is compared
with the target after SQuAD's normalisation: equal, or containing it; locality asks that every
generated id is the unedited model's. A judge can read the raw texts (`jaxedit.metrics.judge`).
The bare question is asked unless the run's prompt format says otherwise.
"""

from __future__ import annotations

import re
import string
from dataclasses import replace
from typing import TYPE_CHECKING

from jaxedit.metrics.asking import Questions, ints
from jaxedit.metrics.generation import expected
from jaxedit.metrics.measure import Measure
from jaxedit.metrics.records import Answer, Setting

if TYPE_CHECKING:
    from jaxedit.models.protocol import LanguageModel

WILD = "wild"
ROLES = ("edit", "paraphrase", "neighbour", "portability")
NEW_TOKENS = 50
STOP = (".", "\n")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def ask(lm: LanguageModel, questions: Questions, setting: Setting) -> list[Answer]:
    """What the model says to each prompt, up to a sentence's end."""
    asked = [answer for answer in questions.ours if answer.asked.role in ROLES]
    prompts = list(dict.fromkeys(setting.wrapped(a.asked) for a in asked))
    made = dict(zip(prompts, lm.continuations(prompts, NEW_TOKENS, STOP), strict=True))
    return [
        replace(
            Answer(setting, answer.edits, answer.asked),
            generated=one.text,
            generated_ids=ints(one.ids),
        )
        for answer in asked
        for one in (made[setting.wrapped(answer.asked)],)
    ]


def normalise(text: str) -> str:
    """SQuAD's: lower case, no ASCII punctuation, no articles, single spaces."""
    plain = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def exact(answer: Answer, _: Answer | None = None) -> float | None:
    """1 if the text is the target or an alias, else 0."""
    said = normalise(answer.generated or "")
    return float(any(said == normalise(text) for text in expected(answer)))


def contains(answer: Answer, _: Answer | None = None) -> float | None:
    """1 if the target or an alias occurs in the text as whole words, else 0."""
    said = f" {normalise(answer.generated or '')} "
    return float(any(f" {normalise(text)} " in said for text in expected(answer)))


def same_ids(answer: Answer, before: Answer | None) -> float | None:
    """1 if all generated ids are the unedited model's, else 0."""
    return None if before is None else float(answer.generated_ids == before.generated_ids)


_D = "generation"
MEASURES = (
    Measure("efficacy", _D, "exact", "target", "edit", exact),
    Measure("paraphrase", _D, "exact", "target", "paraphrase", exact),
    Measure("specificity", _D, "exact", "truth", "neighbour", exact),
    Measure("specificity", _D, "ids", "unedited", "neighbour", same_ids),
    Measure("portability", _D, "exact", "target", "portability", exact),
    Measure("efficacy", _D, "contains", "target", "edit", contains),
    Measure("paraphrase", _D, "contains", "target", "paraphrase", contains),
    Measure("specificity", _D, "contains", "truth", "neighbour", contains),
    Measure("portability", _D, "contains", "target", "portability", contains),
)
