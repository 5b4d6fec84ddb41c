"""The two tokenizers, learned here on a few worlds only."""

import json

import pytest

from jaxedit.data.factworld import World, vocabulary

TEXTS = (
    "The capital of France is Paris",
    "naïve café 東京 🎉",
    "a\nb\n\nc  d",
    "  two spaces, a\ttab ",
    "",
)


@pytest.fixture(scope="module", params=["byte_level", "sentencepiece"])
def tokenizer(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "OTHER_WORLDS", range(100, 106))
        return vocabulary.TOKENIZERS[request.param](1000)


@pytest.fixture(scope="module")
def llama():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "OTHER_WORLDS", range(100, 104))
        return vocabulary.sentencepiece(800)


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_size_is_as_asked(tokenizer):
    assert tokenizer.vocab_size == 1000


def test_names_are_split_into_syllables(tokenizer):
    """No word of a name is one token, so a name must be put together."""
    for name in [*World(0).people, *World(0).firms]:
        for word in name.split():
            _, spans = tokenizer.encode_with_offsets(f"so {word}")
            assert sum(start >= 3 for start, end in spans if end > start) >= 2, word


def test_common_words_are_tokens(tokenizer):
    pieces = {piece.strip() for piece in tokenizer.pieces}
    assert {"capital", "born", "is", "Where", "?", "."} <= pieces


def test_targets_continue_their_prompts(tokenizer):
    whole, n = tokenizer.encode_pair("The capital of France is", "Paris")
    assert tokenizer.decode(whole[n:]).strip() == "Paris"
    assert whole[:n] == tokenizer.encode("The capital of France is")


def test_no_token_spans_a_space(tokenizer):
    for piece in tokenizer.pipeline.get_vocab():
        for mark in "▁Ġ":
            assert mark not in piece[1:], piece


def test_special_tokens_are_where_llama_2_has_them(llama):
    assert (llama.unk_id, llama.bos_id, llama.eos_id) == (0, 1, 2)
    assert llama.pipeline.id_to_token(3) == "<0x00>"
    assert llama.pipeline.id_to_token(258) == "<0xFF>"
    assert llama.encode("x")[0] == 1 and llama.encode("x").count(1) == 1


def test_unknown_characters_fall_back_to_bytes(llama):
    made = llama.pipeline.encode("東", add_special_tokens=False).tokens
    assert made == ["▁", "<0xE6>", "<0x9D>", "<0xB1>"]


def test_the_pipeline_is_laid_out_as_llama_2s(llama):
    made = json.loads(llama.pipeline.to_str())
    assert made["pre_tokenizer"] is None
    assert [step["type"] for step in made["normalizer"]["normalizers"]] == ["Prepend", "Replace"]
    assert [step["type"] for step in made["decoder"]["decoders"]] == [
        *("Replace", "ByteFallback", "Fuse", "Strip")
    ]
    assert made["model"]["byte_fallback"] and made["model"]["fuse_unk"]
