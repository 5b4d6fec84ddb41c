"""Tokenizers and padded batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.errors import UserError
from jaxedit.models.text import Tokenizer, bucket, common_prefix, pad_batch
from tests.models.tiny import word_tokenizer
from tests.shared import GOLDEN, SHARED, needs_golden, needs_shared

REAL = ("gptj", "llama2", "llama3", "mistral_v01", "mistral_v03", "qwen25")
BOS = {"gptj": 50256, "llama2": 1, "llama3": 128000, "mistral_v01": 1, "mistral_v03": 1}
ADDS_BOS = ("llama2", "llama3", "mistral_v01", "mistral_v03")


@pytest.fixture(scope="module", params=REAL)
def real(request: pytest.FixtureRequest) -> tuple[str, Tokenizer]:
    assert SHARED is not None
    return request.param, Tokenizer.from_dir(SHARED / "tokenizers" / request.param)


@needs_shared
@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.",
        " a leading space",
        "naïve café — 東京 🙂🏽 Ελλάδα",
        "two\n\nlines\tand  spaces ",
        "",
    ],
)
def test_texts_go_round(real: tuple[str, Tokenizer], text: str) -> None:
    name, tokenizer = real
    ids, spans = tokenizer.encode_with_offsets(text)
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(spans)
    assert (ids[:1] == [tokenizer.bos_id]) == (name in ADDS_BOS)
    assert ids.count(BOS.get(name, -1)) == (name in ADDS_BOS)
    # Spans go forwards and between them miss nothing but spaces.
    starts = [start for start, _ in spans]
    assert starts == sorted(starts)
    covered = {i for start, end in spans for i in range(start, end)}
    assert all(text[i].isspace() for i in set(range(len(text))) - covered)
    assert all(start == end or not text[start].isspace() for start, end in spans)


@needs_shared
def test_special_ids_of_real_tokenizers(real: tuple[str, Tokenizer]) -> None:
    name, tokenizer = real
    assert tokenizer.bos_id == BOS.get(name)
    assert tokenizer.eos_id == {"gptj": 50256, "llama3": 128001, "qwen25": 151643}.get(name, 2)
    assert tokenizer.pad_id == tokenizer.eos_id
    sizes = {"gptj": 50400, "llama3": 128256, "qwen25": 151665, "mistral_v03": 32768}
    assert tokenizer.vocab_size == sizes.get(name, 32000)


@needs_shared
def test_targets_follow_their_prompt(real: tuple[str, Tokenizer]) -> None:
    tokenizer = real[1]
    prompt, target = "The capital of Australia is", "Canberra"
    ids, n = tokenizer.encode_pair(prompt, target)
    assert ids[:n] == tokenizer.encode(prompt)
    assert tokenizer.continuation(ids[:n], ids[n:]) == " Canberra"
    assert tokenizer.decode(ids) == f"{prompt} {target}"


@needs_shared
def test_the_published_llama_quirk(real: tuple[str, Tokenizer]) -> None:
    name, tokenizer = real
    ids, n = tokenizer.encode_pair("The capital of France is", "Paris")
    old, m = tokenizer.encode_pair("The capital of France is", "Paris", legacy_targets=True)
    assert n == m
    mark = {"llama2": [29871], "mistral_v01": [28705], "mistral_v03": [29473]}.get(name, [])
    assert old[m:] == mark + ids[n:]


@needs_golden
def test_golden_ids() -> None:
    llama = Tokenizer.from_dir(GOLDEN / "locate_then_edit" / "data" / "tiny-llama-2")
    assert llama.encode(" Vantor") == [1, 304, 566]
    assert (llama.bos_id, llama.eos_id, llama.pad_id) == (1, 2, 2)
    gpt = Tokenizer.from_dir(GOLDEN / "locate_then_edit" / "data" / "tiny-gpt-j")
    assert (gpt.bos_id, gpt.eos_id, gpt.pad_id, gpt.unk_id) == (0, 0, 0, 0)
    # The files ask for truncation at 64 tokens; a text is never cut silently.
    assert len(gpt.encode("Vantor " * 100)) > 64


def test_bos_is_there_once() -> None:
    tokenizer = word_tokenizer()
    assert tokenizer.encode("the of") == [1, *tokenizer.encode("the of")[1:]]
    assert tokenizer.encode("<s>is") == [1, *tokenizer.encode("is")[1:]]
    assert tokenizer.encode("") == [1]
    silent = Tokenizer.of(tokenizer.pipeline, {**tokenizer.settings, "add_bos_token": False})
    assert silent.encode("the of") == tokenizer.encode("the of")[1:]
    unsaid = Tokenizer.of(tokenizer.pipeline, {"bos_token": {"content": "<s>"}})
    assert unsaid.bos_id == 1
    assert unsaid.encode("the of") == tokenizer.encode("the of")[1:]
    assert (unsaid.eos_id, unsaid.pad_id) == (None, 0)


def test_spans_leave_spaces_out() -> None:
    tokenizer = word_tokenizer()
    text = "is the  of"
    _, spans = tokenizer.encode_with_offsets(text)
    assert [text[start:end] for start, end in spans] == ["", "is", "the", "", "of"]
    assert spans[0] == (0, 0)


def test_pairs() -> None:
    tokenizer = word_tokenizer()
    ids, n = tokenizer.encode_pair("is", "the of")
    assert ids == tokenizer.encode("is the of")
    assert n == 2
    assert tokenizer.encode_pair("is ", "the")[0] == tokenizer.encode("is the")  # one space
    assert tokenizer.encode_pair("", "the") == (tokenizer.encode("the"), 1)
    for empty in ("", "  "):
        with pytest.raises(UserError, match="has no token; give a text"):
            tokenizer.encode_pair("is", empty)


def test_a_continuation_is_what_is_added() -> None:
    tokenizer = word_tokenizer()
    before, whole = tokenizer.encode("is"), tokenizer.encode("is the of")
    assert tokenizer.continuation(before, whole[len(before) :]) == " the of"
    assert tokenizer.continuation(before, []) == ""
    assert tokenizer.continuation(before, [2]) == ""


def test_a_tokenizer_saves_and_reads_back(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.save(tmp_path)
    again = Tokenizer.from_dir(tmp_path)
    assert again.encode("the of is.") == tokenizer.encode("the of is.")
    assert again.settings == tokenizer.settings
    assert again.vocab_size == tokenizer.vocab_size == len(again.pieces)
    assert again.pieces[tokenizer.encode("the of")[-1]] == " of"
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": "</s>"}))
    assert Tokenizer.from_dir(tmp_path).eos_id == 2
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json does not exist; save"):
        Tokenizer.from_dir(tmp_path)


def test_the_pipeline_that_was_given_is_not_changed() -> None:
    pipeline = tokenizers.Tokenizer.from_str(word_tokenizer().pipeline.to_str())
    pipeline.enable_truncation(2)
    tokenizer = Tokenizer.of(pipeline, {})
    assert len(tokenizer.encode("the of is")) > 2
    assert len(pipeline.encode("the of is").ids) == 2


def test_common_prefix() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix([1, 2], [1, 2, 4]) == 2
    assert common_prefix([], [1]) == 0
    assert common_prefix([5], [1]) == 0


@given(st.integers(0, 5000))
def test_buckets_fit_and_are_few(n: int) -> None:
    size = bucket(n)
    assert size >= max(n, 16)
    assert bucket(size) == size
    assert bucket(n + 1) >= size
    assert size - n <= max(16, n // 2)


def test_the_steps_of_buckets() -> None:
    assert [bucket(n) for n in (0, 1, 8, 9, 17, 64, 65, 256, 257, 1024, 1025)] == [
        16, 16, 16, 16, 24, 64, 96, 256, 384, 1024, 1536,
    ]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 99), max_size=12), min_size=1, max_size=5),
    st.sampled_from(["left", "right"]),
)
def test_padding_keeps_every_token(rows: list[list[int]], side: str) -> None:
    ids, mask = pad_batch(rows, side=side, pad_id=7)
    assert ids.dtype == np.int32
    assert mask.dtype == bool
    assert ids.shape == mask.shape == (len(rows), bucket(max(map(len, rows))))
    for row, row_ids, row_mask in zip(rows, ids, mask, strict=True):
        assert row_ids[row_mask].tolist() == row
        assert (row_ids[~row_mask] == 7).all()
        assert (np.diff(row_mask.astype(int)) * (1 if side == "left" else -1) >= 0).all()


def test_a_length_that_is_asked_for() -> None:
    assert pad_batch([[1, 2]], pad_id=0, length=3)[0].tolist() == [[1, 2, 0]]
    with pytest.raises(ValueError, match="row 1 has 4 tokens, more than 3"):
        pad_batch([[1], [1, 2, 3, 4]], pad_id=0, length=3)
