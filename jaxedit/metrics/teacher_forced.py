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
    """1 if the expected answer is likelier than its rival, both per token, else 0.

    The comparison of ROME and MEMIT: log probabilities averaged over an answer's tokens. The rival
    is what the target replaces; of a neighbour, whose true answer is expected, it is the target.
    """
    if not answer.rival_logprobs:
        return None
    return float(_mean(answer.logprobs) > _mean(answer.rival_logprobs))


def magnitude(answer: Answer, _: Answer | None = None) -> float | None:
    """By how much: the difference of these two probabilities per token, -1 to 1 (ROME's EM...)."""
    if not answer.rival_logprobs:
        return None
    return math.exp(_mean(answer.logprobs)) - math.exp(_mean(answer.rival_logprobs))


def choice(answer: Answer, _: Answer | None = None) -> float | None:
    """1 if the expected answer is the likeliest of the choices, by their whole probability."""
    best = chosen(answer)
    return None if best is None else float(best == answer.asked.target)


def same_choice(answer: Answer, before: Answer | None) -> float | None:
    """1 if the likeliest of the choices is the unedited model's, else 0."""
    if before is None or chosen(answer) is None:
        return None
    return float(chosen(answer) == chosen(before))


def chosen(answer: Answer) -> str | None:
    """The likeliest of the choices, the first of equals; None without choices or likelihoods."""
    if not answer.choice_logprobs or not all(answer.choice_logprobs):
        return None
    totals = [sum(logprobs) for logprobs in answer.choice_logprobs]
    return answer.asked.choices[totals.index(max(totals))]


def probability(answer: Answer, _: Answer | None = None) -> float | None:
    """Probability of the whole target (D4S figure 5), where the model gives any."""
    return math.exp(sum(answer.logprobs)) if answer.logprobs else None


def perplexity(answer: Answer, _: Answer | None = None) -> float | None:
    """Perplexity of the target's tokens given the prompt (D4S equation 1)."""
    return math.exp(-_mean(answer.logprobs)) if answer.logprobs else None


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
    Measure("specificity", _D, "new_over_old", "truth", "neighbour", new_over_old),
    Measure("efficacy", _D, "magnitude", "previous", "edit", magnitude),
    Measure("paraphrase", _D, "magnitude", "previous", "paraphrase", magnitude),
    Measure("specificity", _D, "magnitude", "truth", "neighbour", magnitude),
    Measure("efficacy", _D, "choice", "target", "edit", choice),
    Measure("paraphrase", _D, "choice", "target", "paraphrase", choice),
    Measure("specificity", _D, "choice", "truth", "neighbour", choice),
    Measure("specificity", _D, "choice", "unedited", "neighbour", same_choice),
    Measure("target_probability", _D, "probability", "target", "edit", probability),
    Measure("perplexity", _D, "per_target", "target", "edit", perplexity),
    Measure("portability", _D, "exact", "target", "portability", exact),
    Measure("portability", _D, "token_accuracy", "target", "portability", token_accuracy),
    Measure("portability", _D, "choice", "target", "portability", choice),
    Measure("negation", _D, "exact", "target", "negation", exact),
    Measure("negation", _D, "token_accuracy", "target", "negation", token_accuracy),
)
