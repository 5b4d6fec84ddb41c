"""The benchmarks' files: every form, what is skipped, what is refused."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from jaxedit.downstream import names_of, sources
from jaxedit.downstream.pools import Pool, check_shots, chosen
from jaxedit.downstream.tasks import known_tasks
from jaxedit.errors import UserError
from tests.downstream.made import write_data, write_jsonl


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", list(known_tasks()))
def test_every_task_reads_its_files(data, name):
    source = known_tasks()[name].read(data, 0)
    assert all(pool.docs for pool in source.pools)
    assert "items" in source.described or "documents" in source.described


@pytest.mark.parametrize("name", list(known_tasks()))
def test_a_missing_file_is_named_with_its_publisher(tmp_path, name):
    with pytest.raises(UserError, match=r"holds no \w.*( on |/).*put the file there") as caught:
        known_tasks()[name].read(tmp_path, 0)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such folder"):
        known_tasks()[name].read(tmp_path / "absent", 0)


def test_flattened_arc_loses_what_it_lost_and_no_more(tmp_path):
    four = {"question": "Q", "A": "a", "B": "b", "C": "c", "D": "d", "answer": "D"}
    three = {**four, "D": "", "answer": "A"}
    none = {**four, "A": "", "B": "", "C": "", "D": "", "answer": "2"}
    write_jsonl(tmp_path / "arc_challenge_test.jsonl", [none, four, three])
    write_jsonl(tmp_path / "arc_challenge_train.jsonl", [four])
    source = sources.arc_challenge(tmp_path, 0)
    (first, second) = source.pools[0].docs
    assert (first[0], second[0]) == (1, 2)
    assert second[1]["choices"] == {"text": ["a", "b", "c"], "label": ["A", "B", "C"]}
    assert "2 items of 3 (1 items whose choices' texts are missing)" in source.described


def test_arc_in_its_authors_form_and_the_hubs(tmp_path):
    listed = [{"text": "a", "label": "1"}, {"text": "b", "label": "2"}]
    theirs = {"id": "x", "question": {"stem": "Q", "choices": listed}, "answerKey": "2"}
    hubs = {"question": "Q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"}
    write_jsonl(tmp_path / "ARC-Challenge-Test.jsonl", [theirs])
    write_jsonl(tmp_path / "ARC-Challenge-Train.jsonl", [hubs])
    pool = sources.arc_challenge(tmp_path, 0).pools[0]
    assert pool.docs[0][1] == pool.shown[0] == hubs


def test_hellaswag_lines_are_split_as_the_harness_joins_them(tmp_path):
    contexts = [
        "Clean and jerk: A lady walks. She bends down. the lady",
        "Family Life: How to rest. Sit down. Close your eyes.",
    ]
    ends = "\nw\nx\ny\nz\n"
    text = "".join(f"{context}\n3{ends}" for context in contexts)
    (tmp_path / "hellaswag_val_full.txt.gz").write_bytes(gzip.compress(text.encode()))
    pool = sources.hellaswag(tmp_path, 0).pools[0]
    docs = sorted(
        [doc for _, doc in pool.docs] + list(pool.shown), key=lambda doc: doc["activity_label"]
    )
    assert [(d["ctx_a"], d["ctx_b"]) for d in docs] == [
        ("A lady walks. She bends down.", "the lady"),
        ("How to rest. Sit down. Close your eyes.", ""),
    ]


def test_what_is_shown_is_never_scored(data):
    for name in ("hellaswag", "winogrande"):
        for seed in range(3):
            pool = known_tasks()[name].read(data, seed).pools[0]
            scored = [json.dumps(doc) for _, doc in pool.docs]
            assert len(scored) == len(pool.shown) == 4
            assert not {json.dumps(doc) for doc in pool.shown} & set(scored)


def test_a_training_file_serves_where_there_is_one(tmp_path):
    record = {"sentence": "A _ b.", "option1": "x", "option2": "y", "answer": "1"}
    write_jsonl(tmp_path / "winogrande_dev.jsonl", [record] * 3)
    write_jsonl(tmp_path / "train_xl.jsonl", [record] * 7)
    source = sources.winogrande(tmp_path, 0)
    assert (len(source.pools[0].docs), len(source.pools[0].shown)) == (3, 7)
    assert source.demonstrations.startswith("train_xl.jsonl, 7 items")


def test_mmlu_from_its_authors_tar(tmp_path):
    rows = {"data/dev/anatomy_dev.csv": 'What?,a,"b, c",c,d,B\n' * 5}
    rows["data/test/anatomy_test.csv"] = "Who?,1,2,3,4,D\n"
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        for name, text in rows.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    source = sources.mmlu(tmp_path, 0)
    (pool,) = source.pools
    assert (pool.harness, len(pool.shown)) == ("mmlu_anatomy", 5)
    assert pool.docs[0][1] == {"question": "Who?", "choices": ["1", "2", "3", "4"], "answer": 3}
    assert source.notes == ("1 of 57 subjects",)


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("winogrande", "winogrande_dev.jsonl", "{", "winogrande_dev.jsonl:1: broken JSON"),
        ("winogrande", "winogrande_dev.jsonl", '{"sentence": "A b."}', 'record 1: "option1" is'),
        ("winogrande", "winogrande_dev.jsonl", "[1]\n", ":1: a list; an object is needed"),
        ("hellaswag", "hellaswag_val_full.txt", "A: b\n0\nx\n", "has 3 lines; six an item"),
        ("hellaswag", "hellaswag_val_full.txt", "A: b\n7\nx\ny\nz\nw\n", "\"gold\" is '7'"),
        ("truthfulqa_mc1", "mc_task.json", '[{"question": "Q"}]', "record 1: mc1_targets: must be"),
        ("mmlu", "mmlu.tar", "no tar", "cannot be read as a tar"),
        ("gsm8k", "gsm8k_test.jsonl.bz2", "no bz2", "is no bzip2 file"),
        ("arc_challenge", "arc_challenge_test.jsonl", "\n", "holds no records"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path, data, name, file, text, message):
    for train in ("arc_challenge_train.jsonl", "gsm8k_train.jsonl"):
        (tmp_path / train).write_bytes((data / train).read_bytes())
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=message.replace("[", r"\[")) as caught:
        known_tasks()[name].read(tmp_path, 0)
    assert "\n" not in str(caught.value)


def test_articles_begin_with_their_titles():
    text = " \n = One = \n \n a \n = = Part = = \n b \n = Two = \n c \n"
    assert [page.split(" = ")[1] for page in sources.articles(text)] == ["One", "Two"]
    assert "".join(sources.articles(text)) == text[2:]


def _pools(*sizes: int) -> list[Pool]:
    return [Pool("t", str(k), tuple((i, {}) for i in range(n))) for k, n in enumerate(sizes)]


def test_a_limit_is_shared_by_size_and_draws_are_nested():
    pools = _pools(100, 40, 3)
    for limit in (3, 10, 57, 142):
        assert sum(len(pool.docs) for pool in chosen("t", pools, limit, 0)) == limit
    small, large = (chosen("t", pools, limit, 0) for limit in (20, 60))
    for few, many in zip(small, large, strict=True):
        assert {i for i, _ in few.docs} <= {i for i, _ in many.docs}
    assert chosen("t", pools, None, 0) == pools == chosen("t", pools, 1000, 0)
    assert chosen("t", pools, 20, 0) != chosen("t", pools, 20, 1)
    assert [len(pool.docs) for pool in chosen("t", pools, 2, 0)] == [1, 1]


def test_what_cannot_be_run_is_refused():
    assert names_of(["truthfulqa", "truthfulqa_mc2", "world"])[-1] == "world"
    assert len(names_of(["truthfulqa", "truthfulqa_mc2", "world"])) == 3
    with pytest.raises(UserError, match="no task 'arc-challenge'; did you mean arc_challenge"):
        names_of(["arc-challenge"])
    with pytest.raises(UserError, match="names no task"):
        names_of([])
    with pytest.raises(UserError, match="--limit=0: must be at least 1"):
        chosen("t", _pools(3), 0, 0)
    with pytest.raises(UserError, match="has 0 demonstrations, but 5 are to be shown"):
        check_shots("t", _pools(3), 5)
