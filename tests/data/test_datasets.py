import gzip
import json

import pytest

from jaxedit.data.datasets import DATASETS, load_facts
from jaxedit.data.fact import Question
from jaxedit.errors import UserError

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
        "target_new": {"str": "Oslo"},
        "target_true": {"str": "Paris"},
        "subject": "Anna",
    },
    "paraphrase_prompts": ["Anna worked in", "Anna had work in"],
    "neighborhood_prompts": ["Hugo worked in", "Monet worked in"],
    "portability": {"New Question": "Anna worked in which country?", "New Answer": "Norway"},
}
MEND = {
    "subject": "Anna",
    "src": "Where was Anna born?",
    "rephrase": "What is Anna's birthplace?",
    "alt": " Oslo",
    "answers": ["Oslo", "Paris"],
    "loc": "nq question: who sang it",
    "loc_ans": "Me",
}
KNOWEDIT = {
    "subject": "Anna",
    "prompt": "Where was Anna born?",
    "target_new": "Oslo",
    "ground_truth": ["Paris"],
    "rephrase_prompt": "What is Anna's birthplace?",
    "locality": {"Relation_Specificity": [{"prompt": "Anna is a", "ground_truth": ["cook"]}]},
    "portability": {"Reasoning": [{"prompt": "Anna's country is", "ground_truth": "Norway"}]},
}


def write(tmp_path, records, name="set.json"):
    path = tmp_path / name
    text = json.dumps(records).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def only(tmp_path, source, record):
    (fact,) = load_facts(source, write(tmp_path, [record])).facts
    return fact


def test_flat_counterfact(tmp_path):
    fact = only(tmp_path, "counterfact-edit", FLAT)
    assert (fact.prompt, fact.target, fact.previous, fact.id) == ("{}, by", "Sega", "BBC", "10")
    assert fact.paraphrases == ("BBC One is owned by",)
    assert fact.neighbours == (Question("BBC Radio, by", "BBC"),)


def test_original_counterfact(tmp_path):
    fact = only(tmp_path, "counterfact", ORIGINAL)
    assert (fact.question, fact.target, fact.previous) == ("Anna was employed in", "Oslo", "Paris")
    assert fact.neighbours == (
        Question("Hugo worked in", "Paris"),
        Question("Monet worked in", "Paris"),
    )
    assert fact.portability == (Question("Anna worked in which country?", "Norway"),)


def test_mend_zsre(tmp_path):
    fact = only(tmp_path, "zsre", MEND)
    assert (fact.prompt, fact.target, fact.previous) == ("Where was {} born?", "Oslo", "Paris")
    assert fact.neighbours == (Question("nq question: who sang it?", "Me"),)
    assert only(tmp_path, "zsre", MEND | {"answers": ["Oslo"]}).previous is None


def test_knowedit_zsre(tmp_path):
    fact = only(tmp_path, "zsre-knowedit", KNOWEDIT)
    assert (fact.question, fact.target, fact.previous) == ("Where was Anna born?", "Oslo", "Paris")
    assert fact.neighbours == (Question("Anna is a", "cook"),)
    assert fact.portability == (Question("Anna's country is", "Norway"),)


def test_defects_are_skipped_counted_and_listed(tmp_path):
    records = [
        FLAT,
        FLAT | {"case_id": 11, "target_new": ""},
        FLAT | {"case_id": 12, "subject": "ITV"},
        FLAT | {"case_id": 13, "target_new": "Nintendo"},
        FLAT | {"case_id": 14, "target_new": 5},
        {k: v for k, v in FLAT.items() if k != "prompt"},
        "text",
        FLAT | {"case_id": 15, "subject": "BBC"},
    ]
    loaded = load_facts("counterfact-edit", write(tmp_path, records))
    assert [fact.id for fact in loaded.facts] == ["10", "15"]
    assert (loaded.read, loaded.stated) == (8, 8)
    reasons = dict(loaded.skipped)
    assert list(reasons) == ["11", "12", "13", "14", "10", "6"]
    for name, part in [("11", "target is empty"), ("12", "does not occur"),
                       ("13", "contradicts record 10"), ("14", "is a number"),
                       ("10", '"prompt" is missing'), ("6", "is text")]:  # fmt: skip
        assert part in reasons[name]


def numbered(tmp_path, n=20):
    records = [FLAT | {"case_id": i, "prompt": f"BBC One {i}, by"} for i in range(n)]
    records[2]["target_new"] = ""
    return write(tmp_path, records)


def test_a_limit_is_a_number_of_good_facts(tmp_path):
    loaded = load_facts("counterfact-edit", numbered(tmp_path), limit=4)
    assert [fact.id for fact in loaded.facts] == ["0", "1", "3", "4"]
    assert [name for name, _ in loaded.skipped] == ["2"]
    assert len(load_facts("counterfact-edit", numbered(tmp_path), limit=99).facts) == 19


def test_a_seed_draws_and_order_arranges(tmp_path):
    path = numbered(tmp_path)
    ids = [[f.id for f in load_facts("counterfact-edit", path, 6, seed=s).facts] for s in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    in_order = load_facts("counterfact-edit", path, 6, seed=0, order="file").facts
    assert [f.id for f in in_order] == sorted(ids[0], key=int)


def test_a_users_file_is_a_source_too(tmp_path):
    path = tmp_path / "facts.jsonl"
    lines = [{"prompt": "{} is", "subject": f"s{i}", "target": "t"} for i in range(5)]
    path.write_text("\n".join(map(json.dumps, lines)))
    loaded = load_facts("jsonl", path, limit=3)
    assert [fact.subject for fact in loaded.facts] == ["s0", "s1", "s2"]
    assert (loaded.skipped, loaded.stated, loaded.read) == ([], 5, 5)
    drawn = load_facts("jsonl", path, limit=3, seed=1, order="file").facts
    assert [f.subject for f in drawn] == sorted(f.subject for f in drawn)


def test_the_embedded_world_is_a_source():
    loaded = load_facts("embedded:gptj", limit=5)
    assert loaded.facts == load_facts("embedded:gptj", limit=5).facts
    assert len(loaded.facts) == 5
    assert loaded.stated > 100
    assert len(load_facts("embedded:llama", limit=10_000).facts) == loaded.stated


def test_a_set_is_found_in_its_directory(tmp_path, monkeypatch):
    (tmp_path / "counterfact").mkdir()
    path = write(tmp_path, [FLAT], "counterfact/counterfact-val.json.gz")
    assert len(load_facts("counterfact-val", tmp_path).facts) == 1
    monkeypatch.setenv("JAXEDIT_DATA", str(path.parent))
    loaded = load_facts("counterfact-val")
    assert (loaded.read, loaded.stated) == (1, 1919)


def test_a_missing_set_says_what_it_is_and_where_it_is_published(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(UserError, match=r"zsre_mend_eval\.json.*19,086 records.*https://"):
            load_facts("zsre", path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "zsr"}, 'did you mean "zsre"'),
        ({"source": "?"}, "known are counterfact"),
        ({"source": "embedded:t5"}, "known are embedded:gptj"),
        ({"source": "jsonl"}, "needs the path"),
        ({"source": "zsre", "limit": 0}, "limit is 0"),
        ({"source": "zsre", "order": "shuffled"}, "needs a seed"),
        ({"source": "zsre", "order": "up"}, "order is 'up'"),
    ],
)
def test_bad_requests(arguments, message):
    with pytest.raises(UserError, match=message):
        load_facts(**arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1},\n {"b"', r"set\.json:2: broken JSON"),
        ("{}", "holds an object"),
        ("[]", "holds no records"),
        ('[{"subject": "x"}]', "no record of 1 can be used"),
        ("", "broken JSON"),
    ],
)
def test_broken_files(tmp_path, text, message):
    path = tmp_path / "set.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_facts("zsre", path)


def test_every_set_says_where_it_comes_from():
    assert all(d.published.startswith("https://") and d.records > 0 for d in DATASETS.values())
