"""zsRE, MEND's form and KnowEdit's."""

from jaxedit.data.datasets import load_facts
from jaxedit.data.fact import Question
from jaxedit.data.zsre import REPLACED, TRUE_ALREADY
from tests.data.writing import only, reasons, write

MEND = {
    "subject": "Anna",
    "src": "Where was Anna born?",
    "rephrase": "What is Anna's birthplace?",
    "alt": " Oslo",
    "answers": ["Paris", "Nice"],
    "loc": "nq question: who sang it",
    "loc_ans": "Me",
}
KNOWEDIT = {
    "subject": "Anna",
    "prompt": "Where was Anna born?",
    "target_new": "Oslo",
    "ground_truth": ["Paris"],
    "rephrase_prompt": "What is Anna's birthplace?",
    "locality": {
        "Relation_Specificity": [
            {"prompt": "Anna is a", "ground_truth": ["cook", "chef"]},
            {"prompt": "Anna was born in", "ground_truth": ["Paris"]},
        ]
    },
    "portability": {
        "Reasoning": [{"prompt": "Anna's country is", "ground_truth": "Norway"}],
        "Subject_Aliasing": [{"prompt": "Annie is of", "ground_truth": [["Oslo"], ["Oslo city"]]}],
    },
}


def test_mend(tmp_path):
    fact = only(tmp_path, "zsre", MEND)
    assert (fact.prompt, fact.target, fact.previous) == ("Where was {} born?", "Oslo", "Paris")
    assert fact.neighbours == (Question("nq question: who sang it?", "Me"),)
    assert fact.aliases == ()


def test_an_edit_to_a_true_answer_is_kept_without_a_previous_one(tmp_path):
    records = [MEND | {"answers": ["Oslo"]}, MEND | {"answers": ["Oslo", "Paris"]}]
    loaded = load_facts("zsre", write(tmp_path, records))
    assert [fact.previous for fact in loaded.facts] == [None, None]
    assert [fact.aliases for fact in loaded.facts] == [(), ("Paris",)]
    assert loaded.notes == [(TRUE_ALREADY, 2)]


def test_knowedit(tmp_path):
    loaded = load_facts("zsre-knowedit", write(tmp_path, [KNOWEDIT]))
    (fact,) = loaded.facts
    assert (fact.question, fact.target, fact.previous) == ("Where was Anna born?", "Oslo", "Paris")
    assert fact.neighbours == (
        Question("Anna is a", "cook", ("chef",), group="Relation_Specificity"),
        Question("Anna was born in", "Paris", group="Relation_Specificity"),
    )
    assert fact.portability == (
        Question("Anna's country is", "Norway", group="Reasoning"),
        Question("Annie is of", "Oslo", ("Oslo city",), group="Subject_Aliasing"),
    )
    assert loaded.notes == [(REPLACED, 1)]


def test_defects(tmp_path):
    broken = [
        MEND | {"alt": ""},
        KNOWEDIT | {"locality": {"Reasoning": "x"}},
        KNOWEDIT | {"portability": {"Reasoning": [{"prompt": "q", "ground_truth": []}]}},
        KNOWEDIT | {"portability": {"Reasoning": [{"prompt": "q", "ground_truth": 3}]}},
    ]
    assert reasons(tmp_path, "zsre", MEND, *broken) == [
        "the target is empty; give the new answer",
        '"Reasoning" must be a list of objects',
        "no answer to 'q'",
        '"ground_truth" must be a text or a list of texts',
    ]
