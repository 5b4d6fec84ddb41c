"""What two vocabularies have in common, small ones and published ones."""

import functools
from collections.abc import Sequence

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models

from jaxedit.ensemble.anchors import Anchors, find_anchors
from jaxedit.errors import UserError
from jaxedit.models.text import Tokenizer
from tests.shared import SHARED, needs_shared


def tokenizer(
    words: Sequence[str], *, byte_level: bool = False, special: Sequence[str] = ()
) -> Tokenizer:
    """A vocabulary with ids in the order given, special tokens last."""
    pipeline = tokenizers.Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    sentence_piece = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    pipeline.decoder = decoders.ByteLevel() if byte_level else sentence_piece
    pipeline.add_special_tokens(list(special))
    return Tokenizer.of(pipeline, {})


@functools.cache
def published(name: str, *, gate: bool = False) -> Tokenizer:
    """A published tokenizer; TinyLlama's is Llama-2's, to which OnceEdit adds [WEIGHT]."""
    assert SHARED is not None
    read = Tokenizer.from_dir(SHARED / "tokenizers" / name)
    if gate:
        read.pipeline.add_special_tokens(["[WEIGHT]"])
    return read


def pairs(found: Anchors) -> list[tuple[int, int, str]]:
    return list(zip(found.main.tolist(), found.plug.tolist(), found.tokens, strict=True))


def test_strings_are_compared_with_one_mark_for_a_space() -> None:
    main = tokenizer(["the", "Ġthe", "Ċ", "æ", "only"], byte_level=True, special=["<s>", "<end>"])
    plug = tokenizer(["æ", "<0x0A>", "▁the", "the", "▁"], special=["<s>", "[WEIGHT]"])
    found = find_anchors(main, plug)
    assert pairs(found) == [(0, 3, "the"), (1, 2, "▁the"), (3, 0, "æ"), (5, 5, "<s>")]
    assert (found.rule, found.count, found.main.dtype) == ("deepen", 4, np.int32)


def test_the_mark_of_the_other_kind_takes_a_string_that_two_tokens_come_to() -> None:
    main = tokenizer(["▁", "a", "Ġ", "▁b"])
    plug = tokenizer(["Ġ", "a", "▁", "Ġb", "▁b"])
    assert pairs(find_anchors(main, plug)) == [(1, 1, "a"), (2, 0, "▁"), (3, 3, "▁b")]


def test_bytes_are_compared_where_strings_mislead() -> None:
    main = tokenizer(["Ġthe", "Ċ", "æ", "Ã¦", "A"], byte_level=True, special=["<s>"])
    plug = tokenizer(["<0x41>", "<0x0A>", "<0xE6>", "æ", "▁the", "A"], special=["<s>"])
    # "æ" of the main vocabulary is the byte 0xE6, its "Ã¦" the two bytes of the letter.
    assert pairs(find_anchors(main, plug, "bytes")) == [
        (0, 4, " the"),
        (1, 1, "\\n"),
        (2, 2, "\\xe6"),
        (3, 3, "æ"),
        (4, 5, "A"),  # never the byte token of the same byte
        (5, 6, "<s>"),
    ]


def test_a_special_token_is_no_text() -> None:
    main, plug = tokenizer(["a", "<s>"], byte_level=True), tokenizer(["a"], special=["<s>"])
    assert pairs(find_anchors(main, plug, "bytes")) == [(0, 0, "a")]
    assert find_anchors(main, plug).count == 2


@settings(max_examples=30, deadline=None)
@given(st.permutations(["a", "▁a", "b", "▁b", "Ġ", "▁", "<0x41>", "A", "æ"]), st.data())
def test_any_two_orders_of_the_same_words_match(words: list[str], data: st.DataObject) -> None:
    other = data.draw(st.permutations(words))
    ours, theirs = tokenizer(words), tokenizer(other)
    found = find_anchors(ours, theirs)
    assert found.count == 8  # "Ġ" and "▁" are one
    assert (np.diff(found.main) > 0).all()
    for i, j, token in pairs(found):
        assert words[i] == other[j] == token.replace("▁", "Ġ" if token == "▁" else "▁")
    back = find_anchors(theirs, ours)
    assert sorted(back.main) == sorted(found.plug)


def test_equal_content_is_equal() -> None:
    main, plug = tokenizer(["a", "b"]), tokenizer(["b", "a"])
    first, again = find_anchors(main, plug), find_anchors(main, plug)
    assert first == again
    assert hash(first) == hash(again)
    assert first != find_anchors(main, plug, "bytes")
    assert first != find_anchors(plug, main)


def test_what_cannot_be_matched_is_refused() -> None:
    main, plug = tokenizer(["a"]), tokenizer(["b"])
    with pytest.raises(UserError, match="no token in common"):
        find_anchors(main, plug)
    with pytest.raises(UserError, match="choose deepen or bytes"):
        find_anchors(main, main, "strings")


@needs_shared
@pytest.mark.parametrize(
    ("name", "count"), [("llama2", 31999), ("mistral_v01", 24184), ("gptj", 17830)]
)
def test_table_9_comes_out_of_the_published_tokenizers(name: str, count: int) -> None:
    plug = published("llama2", gate=True)
    found = find_anchors(published(name), plug)
    assert found.count == count
    mark = found.tokens.index("▁")
    assert plug.pipeline.id_to_token(int(found.plug[mark])) == "Ġ"


@needs_shared
def test_bytes_of_published_tokenizers() -> None:
    main, plug = published("gptj"), published("llama2", gate=True)
    found = find_anchors(main, plug, "bytes")
    assert found.count == 18207
    names = [plug.pipeline.id_to_token(int(i)) or "" for i in found.plug]
    assert sum(not name.startswith("<0x") for name in names) == 18047
    assert "\\n" in found.tokens
    by_string = {(i, j) for i, j, _ in pairs(find_anchors(main, plug))}
    # Single bytes of one vocabulary that are written as real characters of the other.
    assert len(by_string - {(i, j) for i, j, _ in pairs(found)}) >= 144
