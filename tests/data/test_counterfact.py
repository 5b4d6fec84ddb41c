"""CounterFact, original and flat."""

from jaxedit.data.fact import Question
from tests.data.writing import only, reasons

FLAT = {
    "case_id": 10,
    "prompt": "BBC One, by",
    "target_new": "Sega",
    "subject": "BBC One",
    "ground_truth": "BBC",
    "rephrase_prompt": "BBC One is owned by",
    "locality_prompt": "BBC Radio, by",
    "locality_ground_truth": "BBC",
}
ORIGINAL = {
    "case_id": 34,
    "requested_rewrite": {
        "prompt": "{} was employed in",
        "relation_id": "P937",
        "target_new": {"str": "Oslo"},
        "target_true": {"str": "Paris"},
        "subject": "Anna",
    },
    "paraphrase_prompts": ["Anna worked in", "Anna had work in"],
    "neighborhood_prompts": ["Hugo worked in", "Monet worked in"],
    "generation_prompts": ["Anna's office is by", "Anna lunches at", "Anna's office is by"],
    "portability": {"New Question": "Anna worked in which country?", "New Answer": "Norway"},
}


def test_flat(tmp_path):
    fact = only(tmp_path, "counterfact-edit", FLAT)
    assert (fact.prompt, fact.target, fact.previous, fact.id) == ("{}, by", "Sega", "BBC", "10")
    assert fact.paraphrases == ("BBC One is owned by",)
    assert fact.neighbours == (Question("BBC Radio, by", "BBC"),)


def test_original(tmp_path):
    fact = only(tmp_path, "counterfact", ORIGINAL)
    assert (fact.question, fact.target, fact.previous) == ("Anna was employed in", "Oslo", "Paris")
    assert fact.neighbours == (
        Question("Hugo worked in", "Paris"),
        Question("Monet worked in", "Paris"),
    )
    assert fact.portability == (Question("Anna worked in which country?", "Norway"),)
    assert fact.openings == ("Anna's office is by", "Anna lunches at")
    assert fact.group == "P937"


def test_defects(tmp_path):
    rewrite = {"prompt": "{} in", "subject": "A", "target_new": {"str": "x"}, "target_true": "y"}
    found = reasons(tmp_path, "counterfact", ORIGINAL, {"requested_rewrite": []}, {
        "requested_rewrite": rewrite
    })  # fmt: skip
    assert found == [
        '"requested_rewrite" is missing or not an object',
        '"target_true" is missing or not an object',
    ]
