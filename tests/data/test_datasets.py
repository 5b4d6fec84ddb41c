"""How a data set is found, drawn and skipped through."""

import json

import pytest

from jaxedit.data.catalogue import find
from jaxedit.data.datasets import DATASETS, draw, load_facts
from jaxedit.errors import UserError
from tests.data.test_counterfact import FLAT
from tests.data.writing import write


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
        FLAT | {"case_id": 15, "prompt": "BBC One is by"},
    ]
    loaded = load_facts("counterfact-edit", write(tmp_path, records))
    assert [fact.id for fact in loaded.facts] == ["10", "15"]
    assert (loaded.read, loaded.stated) == (9, 9)
    reasons = dict(loaded.skipped)
    assert list(reasons) == ["11", "12", "13", "14", "10", "6", "15"]
    for name, part in [("11", "target is empty"), ("12", "does not occur"),
                       ("13", "contradicts record 10"), ("14", "is a number"),
                       ("10", '"prompt" is missing'), ("6", "is text"),
                       ("15", "another record has the id 15")]:  # fmt: skip
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


def test_how_they_were_drawn_is_recorded(tmp_path):
    path = numbered(tmp_path)
    plain = load_facts("counterfact-edit", path, limit=2)
    assert (plain.seed, plain.order, plain.split, plain.file) == (None, "file", None, str(path))
    drawn = load_facts("counterfact-edit", path, seed=3, split="train")
    assert (drawn.seed, drawn.order, drawn.split) == (3, "shuffled", "train")


def test_of_two_that_contradict_each_other_the_first_drawn_is_kept(tmp_path):
    path = write(tmp_path, [FLAT, FLAT | {"case_id": 11, "target_new": "Nintendo"}])
    kept = {load_facts("counterfact-edit", path, seed=seed).facts[0].id for seed in range(5)}
    assert kept == {"10", "11"}


@pytest.mark.parametrize("seed", [None, 0, 7])
@pytest.mark.parametrize("count", [9, 20, 101])
def test_splits_are_disjoint_and_together_all(count, seed):
    parts = [draw(count, seed, split) for split in ("train", "validation", "test")]
    assert sorted(place for part in parts for place in part) == list(range(count))
    assert [len(part) for part in parts[:2]] == [count * 8 // 10, count * 9 // 10 - count * 8 // 10]
    if seed is None:
        assert [set(part) for part in parts] == [
            set(draw(count, 0, split)) for split in ("train", "validation", "test")
        ]
        assert all(part == sorted(part) for part in parts)


def test_a_split_of_every_kind_of_source(tmp_path):
    ids = [
        {f.id for f in load_facts("counterfact-edit", numbered(tmp_path), split=split).facts}
        for split in ("train", "validation", "test")
    ]
    assert len(set().union(*ids)) == sum(map(len, ids)) == 19
    path = tmp_path / "facts.csv"
    path.write_text("prompt,subject,target\n" + "".join(f"{{}} is,s{i},t\n" for i in range(10)))
    loaded = load_facts("csv", path, split="test", limit=5)
    assert (len(loaded.facts), loaded.read, loaded.split) == (1, 10, "test")
    embedded = [load_facts("embedded:gptj", split=split) for split in ("train", "test")]
    assert len(embedded[0].facts) == embedded[0].stated * 8 // 10
    assert not {f.id for f in embedded[0].facts} & {f.id for f in embedded[1].facts}
    path.write_text("prompt,subject,target\n{} is,s,t\n")
    with pytest.raises(UserError, match="split 'train' of 1 facts is empty"):
        load_facts("csv", path, split="train")


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


@pytest.mark.parametrize("name", ["test.json", "test.jsonl", "test.json.gz", "test.jsonl.gz"])
def test_its_own_folder_first_and_every_ending(tmp_path, name):
    (tmp_path / "elken").mkdir()
    write(tmp_path, [1, 2], name)  # another test.json
    path = write(tmp_path / "elken", [1, 2], name)
    assert find("elken", tmp_path) == find("elken-facts", tmp_path / "elken") == path


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.jsonl", "a.jsonl.gz"])
def test_lists_and_lines(tmp_path, name):
    records = [FLAT, FLAT | {"case_id": 11, "prompt": "BBC One is by"}]
    assert len(load_facts("counterfact-val", write(tmp_path, records, name)).facts) == 2


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_and_carriage_returns(tmp_path, mark):
    path = tmp_path / "a.jsonl"
    path.write_bytes(mark + b"\r\n".join([json.dumps(FLAT).encode(), b"", b""]))
    assert len(load_facts("counterfact-val", path).facts) == 1
    path = tmp_path / "a.json"
    path.write_bytes(mark + json.dumps([FLAT], indent=1).replace("\n", "\r\n").encode())
    assert len(load_facts("counterfact-val", path).facts) == 1


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
        ({"source": "zsre", "split": "dev"}, "split is 'dev'"),
        ({"source": "csv"}, "needs the path"),
        ({"source": "mquak"}, 'did you mean "mquake"'),
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


def test_a_broken_line_of_a_set_is_named(tmp_path):
    path = tmp_path / "set.jsonl"
    path.write_text('{"a": 1}\n\n{"a"')
    with pytest.raises(UserError, match=r"set\.jsonl:3: broken JSON"):
        load_facts("zsre", path)


def test_every_set_says_where_it_comes_from():
    assert all(d.published.startswith("https://") and d.records > 0 for d in DATASETS.values())
