import pytest

from jaxedit.data.fact import Fact
from jaxedit.errors import UserError
from jaxedit.metrics import Setting, answer, forgetting, named, overall, questions
from tests.metrics.fake import Table

FACTS = [
    Fact(prompt="{} is", subject=f"s{i}", target=f"t{i}", paraphrases=(f"what is s{i}",))
    for i in range(10)
]
FORCED = named("efficacy", decoding="teacher_forced")[:1]


def remembering(edits: int, kept: int):
    """Answers of a model that knows the newest ``kept`` of its edits."""
    known = {f.question: f.target for f in FACTS[max(0, edits - kept) : edits]}
    setting = Setting("checkpoint", "float32", version="test")
    return answer(Table(known), questions(FACTS), setting, edits=edits, generation=False)


RUN = remembering(4, 3) + remembering(10, 3)


def test_overall_counts_the_facts_edited_so_far():
    points = overall(RUN, measures=FORCED)
    assert [(p.edits, p.score.n, p.score.value) for p in points] == [(4, 4, 3 / 4), (10, 10, 0.3)]


def test_forgetting_shows_old_blocks_gone():
    points = forgetting(RUN, block=4, measures=FORCED)
    assert [(p.edits, p.first, p.last, p.age, p.score.value) for p in points] == [
        (4, 0, 3, 0, 3 / 4),
        (10, 0, 3, 6, 0.0),
        (10, 4, 7, 2, 1 / 4),
        (10, 8, 9, 0, 1.0),
    ]


def test_other_measures_and_decodings_can_be_asked_for():
    points = overall(RUN, measures=named("paraphrase", "efficacy", decoding="teacher_forced"))
    assert {p.score.metric for p in points} == {"paraphrase", "efficacy"}
    assert {p.score.decoding for p in overall(RUN)} == {"teacher_forced"}


def test_a_block_holds_at_least_one_fact():
    with pytest.raises(UserError, match="block"):
        forgetting(RUN, block=0)
    assert forgetting([], block=1) == []
