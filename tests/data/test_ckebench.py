"""CKD: targets cut from the prompts that give them away."""

from jaxedit.data import ckebench
from jaxedit.data.datasets import load_facts
from jaxedit.data.fact import Question
from tests.data.writing import only, write

ASK = ". Is this sentence logical? Please answer yes or no? A: "


def record(stem, target, subject="PersonX's cat sings", names=("James's cat sings",), **more):
    told = target.replace("PersonX", "James")
    return {
        "case_id": 3,
        "requested_rewrite": {
            "prompt": f"{{}}{stem}{target}",
            "subject": subject,
            "target_new": {"str": target},
        },
        "paraphrase_prompts": [f"A cat sings, and others want {target}"] * 2,
        "neighborhood_prompts": [
            f"PersonY sings{stem}{target}{ASK}",
            f"{subject}{stem}{target}{ASK}",
        ],
        "sub-neighborhood_prompts": [f"{name}{stem}{told}" for name in names],
        **more,
    }


def test_the_target_is_cut(tmp_path):
    loaded = load_facts("ckd", write(tmp_path, [record(", so others want ", "PersonX out")]))
    (fact,) = loaded.facts
    assert (fact.prompt, fact.target) == ("{}, so others want", "PersonX out")
    assert fact.paraphrases == ("A cat sings, and others want",)
    assert fact.group == "so others want"
    assert fact.portability == (
        Question("James's cat sings, so others want", "James out", group="instantiation"),
    )
    assert fact.neighbours == (
        Question(
            f"PersonY sings, so others want PersonX out{ASK}".strip(),
            "no",
            choices=("yes", "no"),
            group="logic",
        ),
    )
    assert dict(loaded.notes) == {ckebench.CUT: 1, ckebench.REPEATED: 1, ckebench.OWN: 1}


def test_a_doubled_to_is_mended_everywhere(tmp_path):
    loaded = load_facts("ckd", write(tmp_path, [record(", so they want to ", "to go home")]))
    (fact,) = loaded.facts
    assert (fact.prompt, fact.target) == ("{}, so they want to", "go home")
    assert fact.paraphrases == ("A cat sings, and others want to",)  # it had but one
    assert fact.portability[0].prompt == "James's cat sings, so they want to"
    assert fact.portability[0].answer == "go home"
    assert "want to go home" in fact.neighbours[0].prompt
    assert dict(loaded.notes)[ckebench.DOUBLED] == 1


def test_a_paraphrase_alone_may_double_it(tmp_path):
    doubled = ["A cat sings, which makes them want to to go home"]
    fact = only(tmp_path, "ckd", record(", so want ", "to go home", paraphrase_prompts=doubled))
    assert (fact.prompt, fact.target) == ("{}, so want", "to go home")
    assert fact.paraphrases == ("A cat sings, which makes them want",)


def test_a_blank_is_kept_and_an_odd_instance_left_out(tmp_path):
    odd = record(", so ", "it ends", "PersonX eats ___", ("James eats ___", "Ann eats ___"))
    odd["sub-neighborhood_prompts"][1] += " at last"
    loaded = load_facts("ckd", write(tmp_path, [odd]))
    assert loaded.facts[0].question == "PersonX eats ___, so"
    assert [q.prompt for q in loaded.facts[0].portability] == ["James eats ___, so"]
    assert dict(loaded.notes)[ckebench.BLANK] == dict(loaded.notes)[ckebench.ODD] == 1
