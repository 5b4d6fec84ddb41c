"""Consistency: how like a model's texts about a subject are to texts about the new answer.

ROME and MEMIT's "reference score" (Meng et al. 2022, 2023): all texts that were written about a
fact's subject, joined, are compared with all reference texts about things of which the new answer
is true, joined, by the cosine of their TF-IDF vectors. The reference texts are arguments: the
published ones are a download.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxedit.errors import UserError
from jaxedit.metrics.fluency import FLUENCY
from jaxedit.metrics.records import Answer, one_setting
from jaxedit.metrics.score import Score, mean_score

_TERM = re.compile(r"(?u)\b\w\w+\b")


@dataclass(frozen=True)
class Tfidf:
    """Weights of terms: lower-cased words of two letters or more, by how rare they are.

    Attributes:
        idf: of every term of the vocabulary, ln((1 + n) / (1 + df)) + 1 where df of the n texts
            hold it; other terms count nothing.
    """

    idf: Mapping[str, float]

    @classmethod
    def fit(cls, corpus: Sequence[str]) -> Tfidf:
        """Vocabulary and weights of a corpus.

        Raises:
            UserError: if there is no term in it.
        """
        held = Counter(term for text in corpus for term in set(_terms(text)))
        if not held:
            raise UserError("the corpus of reference texts has no words; give texts")
        return cls({t: math.log((1 + len(corpus)) / (1 + df)) + 1 for t, df in held.items()})

    def vector(self, text: str) -> dict[str, float]:
        """Counts times weights, of length one; empty if the text has no known term."""
        counts = Counter(term for term in _terms(text) if term in self.idf)
        weights = {term: n * self.idf[term] for term, n in counts.items()}
        length = math.sqrt(sum(w * w for w in weights.values()))
        return {term: w / length for term, w in weights.items()}

    def cosine(self, a: str, b: str) -> float:
        """Of the two texts' vectors, 0 to 1; 0 if either has no known term."""
        left, right = self.vector(a), self.vector(b)
        return min(1.0, sum(w * right.get(term, 0.0) for term, w in left.items()))


def _terms(text: str) -> list[str]:
    return _TERM.findall(text.lower())


def consistency(
    answers: Sequence[Answer],
    references: Mapping[int, Sequence[str]],
    corpus: Sequence[str],
    *,
    seed: int = 0,
) -> Score:
    """Mean over facts of the cosine between what was written and what it should be like.

    Args:
        answers: texts of `jaxedit.metrics.fluency.openings`; others are passed over.
        references: by the fact's place: texts about things of which its new answer is true;
            a fact without any is left out.
        corpus: what terms are weighted on: all reference texts of the data set.
        seed: of the bootstrap over facts.

    Raises:
        UserError: if no fact has both, or the answers are of several settings.
    """
    chosen = [a for a in answers if a.setting.protocol == FLUENCY and a.generated is not None]
    written: dict[int, list[str]] = defaultdict(list)
    for answer in chosen:
        written[answer.asked.fact].append(answer.generated or "")
    facts = [fact for fact in sorted(written) if references.get(fact)]
    if not facts:
        raise UserError("consistency needs texts about a fact and references for it; none has both")
    weights = Tfidf.fit(corpus)
    values = [weights.cosine(" ".join(written[f]), " ".join(references[f])) for f in facts]
    edits = [a.edits for a in chosen if a.asked.fact in facts]
    return mean_score(
        np.array(values, dtype=np.float64),
        one_setting(chosen),
        (min(edits), max(edits)),
        metric="consistency",
        decoding="sampled",
        reading="tfidf_cosine",
        against="text",
        seed=seed,
    )
