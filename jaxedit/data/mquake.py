"""MQuAKE-CF-3k (Zhong et al. 2023): one to four edits, and questions whose answers follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from jaxedit.data.fact import Case, Fact, Question
from jaxedit.data.files import object_of, objects_of, text_of, texts_of
from jaxedit.data.records import Outcome
from jaxedit.errors import UserError

EDITED, KEPT = "edited", "kept"


def parse(record: dict[str, Any], name: str) -> Case:
    """One record as a case, called ``name``.

    Its facts are the rewrites (cloze prompts, each with its question form as the paraphrase), and
    its questions by role: "multi_hop" (three wordings of the question that needs the whole chain,
    with the answer after the edits), "old_multi_hop" (the same with the answer before), "hop" and
    "old_hop" (each step of the chain after and before; those after in two groups: ``EDITED``, the
    record's own rewrites, and ``KEPT``, which must still be known).

    Raises:
        UserError: what is wrong with the record.
    """
    hops = [_hop(hop) for hop in objects_of(record, "new_single_hops")]
    aliases = {(hop.prompt, hop.answer): hop.aliases for hop in hops}
    rewrites = objects_of(record, "requested_rewrite")
    facts = tuple(
        _fact(rewrite, f"{name}.{place}" if len(rewrites) > 1 else name, aliases)
        for place, rewrite in enumerate(rewrites, start=1)
    )
    edited = {prompt for fact in facts for prompt in fact.paraphrases}
    grouped = [
        Question(h.prompt, h.answer, h.aliases, group=EDITED if h.prompt in edited else KEPT)
        for h in hops
    ]
    return Case(
        name,
        facts,
        {
            "multi_hop": _multi_hop(record, "new_answer"),
            "old_multi_hop": _multi_hop(record, "answer"),
            "hop": tuple(grouped),
            "old_hop": tuple(_hop(hop) for hop in objects_of(record, "single_hops")),
        },
    )


def _fact(
    rewrite: dict[str, Any], name: str, aliases: dict[tuple[str, str], tuple[str, ...]]
) -> Fact:
    question = text_of(rewrite, "question")
    target = text_of(object_of(rewrite, "target_new"), "str")
    return Fact(
        prompt=text_of(rewrite, "prompt"),
        subject=text_of(rewrite, "subject"),
        target=target,
        previous=text_of(object_of(rewrite, "target_true"), "str") or None,
        paraphrases=(question,),
        id=name,
        aliases=aliases.get((question, target), ()),
        group=text_of(rewrite, "relation_id") if "relation_id" in rewrite else "",
    )


def _hop(hop: dict[str, Any]) -> Question:
    return Question(text_of(hop, "question"), text_of(hop, "answer"), texts_of(hop, "answer_alias"))


def _multi_hop(record: dict[str, Any], key: str) -> tuple[Question, ...]:
    answer, aliases = text_of(record, key), texts_of(record, f"{key}_alias")
    prompts = texts_of(record, "questions")
    if not prompts:
        raise UserError('"questions" is empty')
    return tuple(Question(prompt, answer, aliases) for prompt in prompts)


class Claim(NamedTuple):
    """What a case that was taken says of a question."""

    answer: str
    case: str


def conflicts(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Drops a case that cannot be right together with those taken before it.

    Either two of their rewrites contradict each other (the same prompt and subject, other
    targets), or a rewrite of the one changes a step that the other's chain needs unedited. Of the
    3,000 records, 998 need such a step when all are edited together.
    """
    edited: dict[str, Claim] = {}
    kept: dict[str, Claim] = {}
    for outcome in outcomes:
        if isinstance(outcome, str):
            yield outcome
            continue
        own, needed = _claims(outcome.case)
        reason = (
            _clash(own, edited, "contradicts the edits of record {}")
            or _clash(needed, edited, "needs a hop that record {} edits")
            or _clash(own, kept, "edits a hop that record {} needs unedited")
        )
        if reason is None:
            edited.update(own)
            kept.update(needed)
        yield reason or outcome


def _claims(case: Case) -> tuple[dict[str, Claim], dict[str, Claim]]:
    """Question -> answer, for the steps that the case edits and for those that it needs as is."""
    own = {fact.paraphrases[0]: Claim(fact.target, case.id) for fact in case.facts}
    hops = case.questions["hop"]
    needed = {hop.prompt: Claim(hop.answer, case.id) for hop in hops if hop.group == KEPT}
    return own, needed


def _clash(these: dict[str, Claim], those: dict[str, Claim], reason: str) -> str | None:
    for question, claim in these.items():
        other = those.get(question)
        if other and other.answer != claim.answer:
            here, there = repr(claim.answer), repr(other.answer)
            return f"{reason.format(other.case)}: {question!r} is {here}, there {there}"
    return None
