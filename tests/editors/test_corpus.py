"""Text for the statistics: files plain, gzipped and of JSON lines, folders, and the model's own."""

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from jaxedit.editors import corpus as module
from jaxedit.editors.corpus import Corpus
from jaxedit.errors import UserError
from tests.tiny import tiny_model

LINES = ["One line.", "", "Another – with a dash.", "The last"]
TEXTS = [line for line in LINES if line]


def read(path: Path, start: int = 0) -> list[str]:
    return list(Corpus(str(path)).texts(tiny_model(), start))


def json_lines() -> str:
    return "".join(json.dumps({"text": line, "id": 3}) + "\n" for line in LINES) + "\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\n".join(LINES).encode()),
        ("a.md", "\n".join(LINES).encode()),
        ("a.txt", ("\ufeff" + "\r\n".join(LINES)).encode()),
        ("a.txt.gz", gzip.compress("\n".join(LINES).encode())),
        ("gzipped.txt", gzip.compress("\n".join(LINES).encode())),
        ("a.jsonl", json_lines().encode()),
        ("a.jsonl.gz", gzip.compress(json_lines().encode())),
    ],
    ids=["txt", "other name", "mark and CRLF", "gz", "gz by content", "jsonl", "jsonl.gz"],
)
def test_a_file(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    assert read(tmp_path / name) == TEXTS
    assert read(tmp_path / name, 2) == TEXTS[2:]


def test_a_folder_is_its_text_files_in_order(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.txt").write_text("second")
    (tmp_path / "a.jsonl").write_text('{"text": "first"}')
    (tmp_path / "notes.md").write_text("not read")
    assert read(tmp_path) == ["first", "second"]
    assert read(tmp_path, 1) == ["second"]


def test_a_folder_without_texts_is_refused(tmp_path: Path):
    (tmp_path / "notes.md").write_text("not read")
    with pytest.raises(UserError, match=r"no file that ends with \.txt"):
        Corpus(str(tmp_path)).check()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text": ', r"a\.jsonl:2: broken JSON"),
        ("a.jsonl", b'["x"]', r"a\.jsonl:1: a list stands here"),
        ("a.jsonl", b'{"txt": "x"}', r'a\.jsonl:1: no text under "text"'),
        ("a.txt.gz", gzip.compress(b"words " * 9999)[:40], r"a\.txt\.gz: the gzip file is damaged"),
    ],
    ids=["broken", "list", "other key", "gzip"],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, said: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read(tmp_path / name)


def test_identity_follows_content_and_form(tmp_path: Path):
    names = {}
    for name, text in (("a.txt", "{}"), ("b.txt", "{}"), ("c.txt", "{ }"), ("d.jsonl", "{}")):
        (tmp_path / name).write_text(text)
        names[name] = Corpus(str(tmp_path / name)).identity()
    assert names["a.txt"] == names["b.txt"]
    assert len(set(names.values())) == 3


def test_generated_texts_can_begin_anywhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "EMBEDDED_BLOCK", 10)
    embedded = Corpus("embedded")
    texts = list(islice(embedded.texts(tiny_model()), 25))
    assert list(islice(embedded.texts(tiny_model(), 13), 12)) == texts[13:]


def test_the_models_own_text_can_begin_anywhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SAMPLED_ROWS", 4)
    monkeypatch.setattr(module, "SAMPLED_TOKENS", 6)
    own = Corpus("model", seed=2)
    texts = list(islice(own.texts(tiny_model()), 10))
    assert [text[0] for text in texts[:4]] == ["A", "B", "C", "D"]
    assert texts[:4] != texts[4:8]
    assert list(islice(own.texts(tiny_model(), 5), 5)) == texts[5:]
