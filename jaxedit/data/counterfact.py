"""CounterFact (Meng et al. 2022), in its original form and in the flat one (Yao et al. 2023)."""

from __future__ import annotations

from typing import Any

from jaxedit.data.fact import Fact, Question, template
from jaxedit.data.files import object_of, text_of, texts_of


def parse(record: dict[str, Any], name: str) -> Fact:
    """One record of either form as a fact, called ``name``.

    Raises:
        UserError: what is wrong with the record.
    """
    return _original(record, name) if "requested_rewrite" in record else _flat(record, name)


def _original(record: dict[str, Any], name: str) -> Fact:
    """Neighbours share the subject's true answer, so that is what is expected of them.

    The ten generation prompts are draws with replacement from a few; each is an opening once.
    """
    rewrite = object_of(record, "requested_rewrite")
    truth = text_of(object_of(rewrite, "target_true"), "str")
    return Fact(
        prompt=text_of(rewrite, "prompt"),
        subject=text_of(rewrite, "subject"),
        target=text_of(object_of(rewrite, "target_new"), "str"),
        previous=truth or None,
        paraphrases=texts_of(record, "paraphrase_prompts"),
        neighbours=tuple(Question(p, truth) for p in texts_of(record, "neighborhood_prompts")),
        portability=portability(record),
        id=name,
        openings=tuple(dict.fromkeys(texts_of(record, "generation_prompts"))),
        group=text_of(rewrite, "relation_id") if "relation_id" in rewrite else "",
    )


def _flat(record: dict[str, Any], name: str) -> Fact:
    """``rephrase_prompt`` is mostly a generation prompt of the original: a looser paraphrase."""
    subject = text_of(record, "subject")
    neighbour = Question(
        text_of(record, "locality_prompt"), text_of(record, "locality_ground_truth")
    )
    return Fact(
        prompt=template(text_of(record, "prompt"), subject),
        subject=subject,
        target=text_of(record, "target_new"),
        previous=text_of(record, "ground_truth") or None,
        paraphrases=(text_of(record, "rephrase_prompt"),),
        neighbours=(neighbour,),
        portability=portability(record),
        id=name,
    )


def portability(record: dict[str, Any]) -> tuple[Question, ...]:
    """The one-hop question of the sets with ``portability`` (Yao et al. 2023), if it is there."""
    if "portability" not in record:
        return ()
    entry = object_of(record, "portability")
    return (Question(text_of(entry, "New Question"), text_of(entry, "New Answer")),)
