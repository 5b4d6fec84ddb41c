"""Scores with the gold prefix fed.

D4S, appendix C (equations 14 to 16): efficacy, paraphrase and specificity ask that every target
token is the likeliest one (exact argmax). Specificity has two readings, against the truth as
equation 16 is written, and against the unedited model. OnceEdit, appendix B: reliability,
generality and locality are shares of target tokens; locality is agreement with the unedited
model at the positions of the true answer.
"""

from __future__ import annotations

import math

from jaxedit.metrics.measure import Measure, share_equal
from jaxedit.metrics.records import Answer


def exact(answer: Answer, _: Answer | None = None) -> float:
    """1 if every target token is the argmax (D4S equations 14 to 16), else 0."""
    return float(answer.predicted_ids == answer.target_ids)


def token_accuracy(answer: Answer, _: Answer | None = None) -> float:
    """Share of target tokens that are the argmax (OnceEdit equations 12 and 13)."""
    return share_equal(answer.predicted_ids, answer.target_ids, len(answer.target_ids))


def same_as_unedited(answer: Answer, before: Answer | None) -> float | None:
    """1 if every argmax equals the unedited model's, else 0."""
    return None if before is None else float(answer.predicted_ids == before.predicted_ids)


def agreement(answer: Answer, before: Answer | None) -> float | None:
    """Share of positions whose argmax equals the unedited model's (OnceEdit equation 14)."""
    if before is None:
        return None
    return share_equal(answer.predicted_ids, before.predicted_ids, len(answer.target_ids))


def new_over_old(answer: Answer, _: Answer | None = None) -> float | None:
    """1 if the target is likelier than the previous answer, both per token, else 0.

    The comparison of ROME and MEMIT: log probabilities averaged over an answer's tokens.
    """
    if not answer.previous_logprobs:
        return None
    return float(_mean(answer.logprobs) > _mean(answer.previous_logprobs))


def probability(answer: Answer, _: Answer | None = None) -> float:
    """Probability of the whole target (D4S figure 5)."""
    return math.exp(sum(answer.logprobs))


def perplexity(answer: Answer, _: Answer | None = None) -> float:
    """Perplexity of the target's tokens given the prompt (D4S equation 1)."""
    return math.exp(-_mean(answer.logprobs))


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)


_D = "teacher_forced"
MEASURES = (
    Measure("efficacy", _D, "exact", "target", "edit", exact),
    Measure("paraphrase", _D, "exact", "target", "paraphrase", exact),
    Measure("specificity", _D, "exact", "truth", "neighbour", exact),
    Measure("specificity", _D, "exact", "unedited", "neighbour", same_as_unedited),
    Measure("reliability", _D, "token_accuracy", "target", "edit", token_accuracy),
    Measure("generality", _D, "token_accuracy", "target", "paraphrase", token_accuracy),
    Measure("locality", _D, "token_accuracy", "unedited", "neighbour", agreement),
    Measure("specificity", _D, "token_accuracy", "truth", "neighbour", token_accuracy),
    Measure("efficacy", _D, "new_over_old", "previous", "edit", new_over_old),
    Measure("paraphrase", _D, "new_over_old", "previous", "paraphrase", new_over_old),
    Measure("target_probability", _D, "probability", "target", "edit", probability),
    Measure("perplexity", _D, "per_target", "target", "edit", perplexity),
    Measure("portability", _D, "exact", "target", "portability", exact),
    Measure("portability", _D, "token_accuracy", "target", "portability", token_accuracy),
)
