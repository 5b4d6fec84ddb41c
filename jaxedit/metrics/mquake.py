"""MQuAKE: questions whose answers follow from several edits, or from edits and kept facts.

Zhong et al. 2023. A case's edits are asked by themselves (edit-wise), the hops of its chain
(hop-wise, and instance-wise: all of them), and its three multi-hop questions, where one right
answer is enough. Answers may be reasoned out: what counts is the text behind the last "Final
answer:" or "Answer:", to the end of its line. It is compared with the answer and its aliases as
everywhere here (published: string equality). Of the unedited model the old chain is asked for.

D4S (table 3) has three MQuAKE columns and no definition of them. They are given in two readings, by
its formulas for the other data sets: efficacy on each edit's own prompt, paraphrase on the question
that the data set words for it, specificity on the chain's hops that no edit of the case touches,
against their true answers and against the unedited model.
"""

from __future__ import annotations

import re
from typing import Literal

from jaxedit.metrics import generation, teacher_forced
from jaxedit.metrics.formats import THOUGHTS
from jaxedit.metrics.measure import Measure, Over, Value
from jaxedit.metrics.records import Answer, Role

KEPT = "kept"  # group of the hops that no edit of the case touches
UNDEFINED = "definition not published"


_MARK = re.compile(r"(?:final\s+)?answer:", re.IGNORECASE)


def final_answer(text: str, reasoned: bool = False) -> str:
    """What stands behind the last mark, up to the end of its line.

    Without a mark it is the text itself, or nothing if the text was to be reasoning.
    """
    marks = list(_MARK.finditer(text))
    if reasoned and not marks:
        return ""
    rest = text[marks[-1].end() :] if marks else text
    return rest.strip().split("\n")[0].strip()


def _said(answer: Answer) -> str | None:
    if answer.generated is None:
        return None
    form = answer.asked.format or answer.setting.prompt_format
    return final_answer(answer.generated, reasoned=form == THOUGHTS)


def exact(answer: Answer, _: Answer | None = None) -> float | None:
    """1 if the final answer is the expected one or an alias, else 0."""
    said = _said(answer)
    if said is None:
        return None
    return float(any(generation.gives(said, name) for name in generation.expected(answer)))


def contains(answer: Answer, _: Answer | None = None) -> float | None:
    """1 if the final answer mentions the expected one or an alias, else 0."""
    said = _said(answer)
    if said is None:
        return None
    return float(any(generation.mentions(said, name) for name in generation.expected(answer)))


def _kept(value: Value) -> Value:
    """The value on hops that no edit of the case touches, none on others."""

    def of_kept(answer: Answer, before: Answer | None) -> float | None:
        return value(answer, before) if answer.asked.group == KEPT else None

    return of_kept


def _both(metric: str, role: Role, over: Over = "mean", against: str = "target"):
    return (
        Measure(metric, "generation", "exact", against, role, exact, over),
        Measure(metric, "generation", "contains", against, role, contains, over),
    )


def _undefined(
    column: str,
    role: Role,
    against: str,
    tokens: Value,
    whole: Value,
    only: Literal["all", "kept"] = "all",
):
    """One of D4S's columns: by tokens, and by its formulas (every token the argmax)."""
    metric = f"{column} ({UNDEFINED})"
    tokens, whole = (_kept(tokens), _kept(whole)) if only == "kept" else (tokens, whole)
    return (
        Measure(metric, "teacher_forced", "token_accuracy", against, role, tokens),
        Measure(metric, "teacher_forced", "exact", against, role, whole),
    )


_TRUE = teacher_forced.token_accuracy, teacher_forced.exact
_SAME = teacher_forced.agreement, teacher_forced.same_as_unedited
MEASURES = (
    *_both("multi_hop", "multi_hop", "any"),
    *_both("multi_hop_each", "multi_hop"),
    *_both("hop_wise", "hop"),
    *_both("instance_wise", "hop", "all"),
    *_both("edit_wise", "edit"),
    *_both("old_multi_hop", "old_multi_hop", "any", "previous"),
    *_both("old_multi_hop_each", "old_multi_hop", "mean", "previous"),
    *_both("old_hop_wise", "old_hop", "mean", "previous"),
    *_both("old_instance_wise", "old_hop", "all", "previous"),
    *_undefined("d4s_efficacy", "edit", "target", *_TRUE),
    *_undefined("d4s_paraphrase", "paraphrase", "target", *_TRUE),
    *_undefined("d4s_specificity", "hop", "truth", *_TRUE, only="kept"),
    *_undefined("d4s_specificity", "hop", "unedited", *_SAME, only="kept"),
)
