"""The table of what a directory holds."""

import bz2
import io
import json
import tarfile

import pytest

from jaxedit.data.inventory import Row, as_json, inventory, kind_of, markdown
from jaxedit.data.other_files import OTHER_FILES
from jaxedit.datasets import tell
from jaxedit.errors import UserError
from tests.data.test_counterfact import FLAT
from tests.data.test_elken import EVENT
from tests.data.writing import write


@pytest.fixture
def data(tmp_path):
    """A directory with two data sets and a few other files."""
    for folder in ("elken", "downstream"):
        (tmp_path / folder).mkdir()
    other = {"case_id": 11, "target_new": "Nintendo"}, {"case_id": 12, "subject": "ITV"}
    write(tmp_path, [FLAT, *(FLAT | change for change in other)], "counterfact-val.json.gz")
    write(tmp_path / "elken", [EVENT], "test.json")
    item = {"question": "?", "A": "1", "B": "2", "C": "3", "D": "4", "answer": "D"}
    blank, numbered = item | {"A": ""}, item | {"answer": "4"}
    write(tmp_path / "downstream", [item, blank, numbered], "arc_challenge_test.jsonl")
    return tmp_path


def row(found, source):
    (one,) = [one for one in found.rows if one.source == source]
    return one


def test_rows(data):
    seen = []
    found = inventory(data, seen.append)
    assert seen == [one.source for one in found.rows]
    assert row(found, "counterfact-val") == Row(
        "counterfact-val", "counterfact-val.json.gz", 1_919, 3, 1, 1, 2,
        (("contradicts record ...", 1), ("the subject ... does not occur in the prompt ...", 1)),
    )  # fmt: skip
    assert row(found, "elken")[2:7] == (887, 1, 1, 1, 7)
    facts = row(found, "elken-facts")
    assert (facts.facts, [count for _, count in facts.notes]) == (2, [1])
    arc = row(found, "arc-challenge-test")
    assert arc[2:5] == (1_172, 3, 1) and arc.facts is None
    assert [reason for reason, _ in arc.why] == [
        '"A" is missing or empty',
        "the answer is none of A, B, C, D",
    ]


def test_what_is_not_there(data):
    missing = {one.file: one for one in inventory(data).missing}
    assert missing["MQuAKE-CF-3k.json"].sources == ("mquake", "mquake-all")
    assert missing["MQuAKE-CF-3k.json"].records == 3_000
    assert missing["gsm8k_test.jsonl"].published.startswith("https://")
    assert "counterfact-val.json" not in missing


def test_a_set_without_a_good_record_is_a_row_too(tmp_path):
    write(tmp_path, [{"case_id": 1}, 2], "counterfact-val.json")
    assert row(inventory(tmp_path), "counterfact-val")[3:7] == (2, 0, 0, 0)


def test_markdown_and_json(data, capsys):
    tell(data, None)
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[2].startswith("| counterfact-val | counterfact-val.json.gz | 1,919 | 3 (!) | 1 |")
    assert len({line.count(" | ") for line in lines[: lines.index("")]}) == 1
    assert "Not found:" in text and "| mquake, mquake-all | MQuAKE-CF-3k.json | 3,000 |" in text
    tell(data, data / "table.md")
    assert (data / "table.md").read_text() == text == markdown(inventory(data))
    tell(data, data / "table.json")
    assert json.loads((data / "table.json").read_text())["found"][0]["usable"] == 1
    assert len(as_json(inventory(data))["missing"]) > 20


def test_bad_requests(data):
    with pytest.raises(UserError, match="none: no such directory"):
        tell(data / "none", None)
    with pytest.raises(UserError, match="make it"):
        tell(data, data / "none" / "table.md")
    with pytest.raises(UserError, match="is a directory"):
        tell(data, data / "elken")
    (data / "counterfact-edit.json").write_text('[{"')
    with pytest.raises(UserError, match=r"counterfact-edit\.json:1: broken JSON"):
        inventory(data)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("contradicts record 7.1: target 'a: b', there \"it's\"", "contradicts record ..."),
        ("the subject 'A: x' does not occur; mend it", "the subject ... does not occur"),
        ('"prompt" is missing', '"prompt" is missing'),
        ("needs a hop that record 5 edits: 'q' is 'a'", "needs a hop that record ... edits"),
    ],
)
def test_reasons_are_told_by_kind(reason, kind):
    assert kind_of(reason) == kind


def count(tmp_path, source, content):
    path = tmp_path / OTHER_FILES[source].names[0]
    path.write_bytes(content)
    assert OTHER_FILES[source].find(tmp_path) == path
    return OTHER_FILES[source].count(path)


@pytest.mark.parametrize(
    ("source", "content", "found", "defects"),
    [
        ("trex", b"A is b.\nC is d.", 2, 0),
        ("wikitext-2-test", b"\n = A = \n \n", 3, 0),
        ("atomic-test", b"X eats @@ xNeed\tto cook| none\nX eats xNeed\tto cook\n", 2, 1),
        ("cskb-population", b"head,relation,tail,label,class,split\na,r,b,1,c,d\na,,b,1,c,d", 2, 1),
        ("20q-train", b'[{"prompt": "a b", "label": 1}]', 1, 0),
        ("hellaswag-val", b"c\n3\na\nb\nc\nd\nc\nx\na\nb\nc\nd\n", 2, 1),
        ("gsm8k-test", b'{"question": "?", "answer": "1"}\n{"question": "?"}\n3', 3, 2),
        ("winogrande-dev",
         b'{"sentence": "_", "option1": "a", "option2": "b", "answer": "2"}', 1, 0),
        ("truthfulqa-mc", b'[{"question": "?", "mc1_targets": {}, "mc2_targets": {"a": 1}}]', 1, 1),
    ],
)  # fmt: skip
def test_other_files(tmp_path, source, content, found, defects):
    counted = count(tmp_path, source, content)
    assert (counted.found, len(counted.defects)) == (found, defects)


def test_compressed_ones(tmp_path):
    path = tmp_path / "hellaswag_val_full.txt.bz2"
    path.write_bytes(bz2.compress(b"c\n0\na\nb\nc\nd"))
    other = OTHER_FILES["hellaswag-val"]
    assert other.find(tmp_path) == path and other.count(path) == (1, [])
    item = {"question": "?", "A": "1", "B": "2", "C": "3", "D": "4", "answer": "D"}
    path = tmp_path / "mmlu.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, answer in (("mmlu/dev/law.jsonl", "D"), ("mmlu/test/law.jsonl", "E")):
            text = json.dumps(item | {"answer": answer}).encode()
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    counted = OTHER_FILES["mmlu"].count(path)
    assert (counted.found, len(counted.defects)) == (2, 1)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="fetch it again"):
        OTHER_FILES["mmlu"].count(path)
