"""20Q and PEP3k."""

import pytest

from jaxedit.data.datasets import load_facts
from jaxedit.data.fact import Question
from jaxedit.data.plausibility import read_statements
from jaxedit.errors import UserError
from tests.data.writing import only, reasons, write

BOTH = ("True", "False")
EDIT = {"prompt": "a cat eats the cats", "label": 0, "subject": "cat", "verb": "eats"}
PROBE = {
    "id": 6,
    "prompt": "Pans make noise",
    "label": " True",
    "predicted_label": "False",
    "subject": "Pans",
    "verb": "make",
    "object": "noise",
    "affected_neighborhood_subject": ["Pots make noise"],
    "affected_neighborhood_verb": ["Pans cause noise", "Pans make noise"],
    "affected_neighborhood_object": ["Pans make sound"],
    "affected_paraphrase": ["Pans are noisy"],
    "affected_reasoning": ["Pans are metal", "Metal rings"],
    "unaffected_neighborhood_subject": ["Rain makes noise"],
    "unaffected_neighborhood_object": ["Pans make songs"],
}


def test_the_slot_is_the_word_asked_for(tmp_path):
    fact = only(tmp_path, "20q", EDIT)
    assert (fact.prompt, fact.subject) == ("a {} eats the cats:", "cat")
    assert (fact.target, fact.previous, fact.choices) == ("False", "True", BOTH)
    assert only(tmp_path, "20q-subject", EDIT) == fact
    assert only(tmp_path, "pep3k-verb", EDIT).prompt == "a cat {} the cats:"
    assert only(tmp_path, "pep3k-object", EDIT | {"object": "cats"}).prompt == "a cat eats the {}:"


def test_the_probe_set(tmp_path):
    loaded = load_facts("20q-probe", write(tmp_path, [PROBE]))
    (fact,) = loaded.facts
    assert (fact.target, fact.previous, fact.id) == ("True", "False", "0")
    assert fact.paraphrases == ("Pans are noisy:",)
    assert [(q.prompt, q.answer, q.group) for q in fact.portability] == [
        ("Pots make noise:", "True", "affected_neighborhood_subject"),
        ("Pans cause noise:", "True", "affected_neighborhood_verb"),
        ("Pans make sound:", "True", "affected_neighborhood_object"),
        ("Pans are metal:", "True", "affected_reasoning"),
        ("Metal rings:", "True", "affected_reasoning"),
    ]
    assert [(q.prompt, q.answer, q.choices) for q in fact.neighbours] == [
        ("Rain makes noise:", "False", BOTH),
        ("Pans make songs:", "False", BOTH),
    ]
    assert [count for _, count in loaded.notes] == [1]
    # The reasoning is true whatever the label is.
    false = only(tmp_path, "20q-probe", PROBE | {"label": " False"})
    assert [q.answer for q in false.portability] == ["False"] * 3 + ["True"] * 2


def test_defects(tmp_path):
    other = EDIT | {"label": 1}
    assert reasons(
        tmp_path, "20q-verb", EDIT, other, EDIT | {"verb": None}, EDIT | {"label": 2}
    ) == [
        "contradicts record 0: target 'True', there 'False'",
        "no verb is annotated",
        '"label" is 2; it must be 1, 0, "True" or "False"',
    ]


def test_statements_of_a_whole_split(tmp_path):
    path = write(tmp_path, [{"prompt": "Rain falls", "label": 1}, {"prompt": "x", "label": 0}])
    assert read_statements(path) == (
        Question("Rain falls:", "True", choices=BOTH),
        Question("x:", "False", choices=BOTH),
    )


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "x"}, '"label" is None'),
        ({"label": 1}, '"prompt" is missing'),
        ({"prompt": "x", "label": 1.0}, '"label" is 1.0'),
        ("x", "is text, not an object"),
    ],
)
def test_a_broken_statement_is_named(tmp_path, record, message):
    path = write(tmp_path, [{"prompt": "Rain falls", "label": True}, record])
    with pytest.raises(UserError, match=rf"set\.json: record 1: {message}"):
        read_statements(path)
