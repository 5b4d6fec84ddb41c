import pytest

from jaxedit.data.fact import SLOT, Case, Fact, Question
from jaxedit.metrics import Setting, answer, questions, scores
from jaxedit.metrics.formats import QUESTIONS, THOUGHTS
from jaxedit.metrics.mquake import MEASURES, contains, exact, final_answer
from jaxedit.metrics.records import Answer, Asked
from tests.metrics.fake import Table, Words

CASE = Case(
    "m-1",
    (
        Fact("{} writes in", "Mira", "Tessan", paraphrases=("Which tongue does Mira write in?",)),
        Fact("{} is spoken in", "Tessan", "Sarn", paraphrases=("Where is Tessan spoken?",)),
    ),
    {
        "multi_hop": (
            Question("Where is Mira's tongue spoken?", "Sarn", ("City of Sarn",)),
            Question("In which place?", "Sarn", ("City of Sarn",)),
            Question("Where, then?", "Sarn", ("City of Sarn",)),
        ),
        "old_multi_hop": (Question("Where is Mira's tongue spoken?", "Vantor"),),
        "hop": (
            Question("Tongue of Mira?", "Tessan", group="edited"),
            Question("Ruler of Sarn?", "Old Osei", group="kept"),
        ),
        "old_hop": (Question("Tongue of Mira?", "Lesk"),),
    },
)
OTHER = Case("m-2", (Fact("{} is", "Ada", "old"),), {"multi_hop": (Question("Ada?", "old"),)})
NOW = {
    "Mira writes in": "Tessan",
    "Tessan is spoken in": "Lesk",
    "Where is Mira's tongue spoken?": "It is Vantor",
    "In which place?": "City of Sarn. So",
    "Where, then?": "in Sarn",
    "Tongue of Mira?": "Tessan",
    "Ruler of Sarn?": "Old Danto",
    "Ada?": "young",
}
WORDS = Words()


def run(known, when="after_all", edits=3):
    setting = Setting(when, "float32", version="test")
    return answer(Table(known, WORDS), questions([CASE, OTHER]), setting, edits=edits)


def table(found):
    return {
        (s.metric, s.reading, s.against): s.value for s in found if not s.group or s.group == "kept"
    }


def test_chains_hops_and_edits():
    got = table(scores(run(NOW), measures=MEASURES))
    assert got["multi_hop", "exact", "target"] == pytest.approx(1 / 2)
    assert got["multi_hop", "contains", "target"] == pytest.approx(1 / 2)
    assert got["multi_hop_each", "exact", "target"] == pytest.approx((1 / 3 + 0) / 2)
    assert got["multi_hop_each", "contains", "target"] == pytest.approx((2 / 3 + 0) / 2)
    assert got["instance_wise", "exact", "target"] == 0
    assert got["edit_wise", "exact", "target"] == pytest.approx(1 / 3)
    assert got["old_multi_hop", "contains", "previous"] == 1
    assert got["old_multi_hop", "exact", "previous"] == 0
    found = [s for s in scores(run(NOW), measures=MEASURES) if s.metric == "hop_wise"]
    assert found[0].value == 0.5 and found[0].n == 1


def test_d4s_columns_are_labelled_and_read_each_way():
    before = run({**NOW, "Ruler of Sarn?": "Old Danto"}, "before", 0)
    got = table(scores(run(NOW), before, measures=MEASURES))
    name = "d4s_{} (definition not published)".format
    assert got[name("efficacy"), "exact", "target"] == pytest.approx(1 / 3)
    assert got[name("paraphrase"), "exact", "target"] == 0
    assert got[name("specificity"), "token_accuracy", "truth"] == 0.5  # "Old" of "Old Osei"
    assert got[name("specificity"), "exact", "truth"] == 0
    assert got[name("specificity"), "exact", "unedited"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Sarn\nmore", "Sarn"),
        ("Tessan is spoken in Sarn.\nAnswer: Sarn\n\nQuestion: x", "Sarn"),
        ("Answer: no\nFinal answer:  Old Sarn \nx", "Old Sarn"),
        ("", ""),
    ],
)
def test_the_final_answer(text, expected):
    assert final_answer(text) == expected


def test_reasoning_without_an_answer_is_wrong():
    asked = Asked(0, "multi_hop", 0, "Where?", "Sarn", format=THOUGHTS)
    setting = Setting("after_all", "float32", version="test")
    lost = Answer(setting, 1, asked, generated=" Mira is of Sarn")
    assert (exact(lost), contains(lost)) == (0, 0)
    found = Answer(setting, 1, asked, generated=" Mira is of Sarn.\nAnswer: Sarn")
    assert (exact(found), contains(found)) == (1, 1)
    assert exact(Answer(setting, 1, asked)) is None


@pytest.mark.parametrize(
    ("form", "mark", "shots"), [(QUESTIONS, "\nA:", 8), (THOUGHTS, "\nAnswer:", 3)]
)
def test_prompt_formats(form, mark, shots):
    assert form.count(SLOT) == 1
    assert form.count(mark) == shots + (form is QUESTIONS)
    assert form == form.strip()


def test_labels_are_unique():
    labels = [(m.metric, m.decoding, m.reading, m.against) for m in MEASURES]
    assert len(set(labels)) == len(labels)
