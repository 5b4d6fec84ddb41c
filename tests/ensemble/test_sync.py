"""Text for two tokenizers, without any model."""

import itertools
from typing import Literal

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers

from jaxedit.ensemble.sync import Sync
from jaxedit.models.text import Tokenizer
from tests.tiny import SENTENCES, tiny_tokenizer

PROMPT = "Mira Danto was born in"


def sentence_piece() -> Tokenizer:
    """Words of SENTENCES with their word mark, letters, and bytes for the rest; BOS before all."""
    words = sorted({"▁" + word for text in SENTENCES for word in text.split()})
    letters = sorted({letter for word in words for letter in word})
    merges = []
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *letters]
    for word in words:
        for end in range(2, len(word) + 1):
            if (pair := (word[: end - 1], word[end - 1])) not in merges:
                merges.append(pair)
                pieces.append(word[:end])
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    pipeline = tokenizers.Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True)
    )
    pipeline.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    pipeline.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    pipeline.add_special_tokens(["<unk>", "<s>", "</s>"])
    known = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return Tokenizer.of(pipeline, {**known, "add_bos_token": True})


@pytest.fixture(scope="module")
def sync() -> Sync:
    return Sync(sentence_piece(), tiny_tokenizer())


def behind(tokenizer: Tokenizer, prompt: str, target: str) -> list[int]:
    ids, n = tokenizer.encode_pair(prompt, target)
    return ids[n:]


@pytest.mark.parametrize("speaker", ["sentence_piece", "bytes"])
def test_the_plug_in_reads_what_the_target_wrote(speaker: str) -> None:
    one, other = sentence_piece(), tiny_tokenizer()
    target, plug = (one, other) if speaker == "sentence_piece" else (other, one)
    sync = Sync(target, plug)
    new = behind(target, PROMPT, "New Calder Vantor")
    texts = [sync.read(PROMPT, new[:n]).text for n in range(len(new) + 1)]
    assert texts[0] == PROMPT
    assert texts[-1] == f"{PROMPT} New Calder Vantor"  # the first space too
    assert all(b.startswith(a) and len(b) > len(a) for a, b in itertools.pairwise(texts))
    read = sync.read(PROMPT, new)
    assert list(read.ids) == plug.encode(read.text)


def test_a_character_of_several_tokens_is_held_back_until_it_is_whole(sync: Sync) -> None:
    new = behind(sync.target, PROMPT, "Łódź")  # all of them bytes
    assert len(new) > 6
    texts = [sync.added(new[:n]) for n in range(len(new) + 1)]
    assert texts[-1] == " Łódź"
    assert set(texts) == {"", " ", " Ł", " Łó", " Łód", " Łódź"}
    assert texts[2] == texts[1] == " "  # half a character adds nothing


def test_broken_bytes_are_settled_by_what_follows(sync: Sync) -> None:
    broken, letter = sync.target.encode_bare("Ł")[-2], sync.target.encode_bare("a")[-1]
    assert sync.added([broken]) == ""
    assert sync.added([broken, letter]).startswith("\ufffd")


def test_what_is_kept_is_what_both_tokenisations_begin_with(sync: Sync) -> None:
    first = sync.read("Mira Danto was bo", [])
    assert first.kept == 0
    new = [sync.target.encode_bare(letter)[-1] for letter in "rn"]
    second = sync.read("Mira Danto was bo", new, first.ids)
    assert second.text == PROMPT[:-3]
    same = [a == b for a, b in zip(first.ids, second.ids, strict=False)]
    assert all(same[: second.kept])
    assert second.kept < len(first.ids)  # "bo" was cut otherwise before "rn" came
    again = sync.read("Mira Danto was bo", new, second.ids)
    assert again.kept == len(again.ids) - 1  # its last token is run again: its logits are asked for


def test_special_tokens_are_read_as_they_are_spelt(sync: Sync) -> None:
    assert sync.added([1, *behind(sync.target, PROMPT, "Vantor")]) == "<s> Vantor"


@pytest.mark.parametrize(
    ("target", "expected"),
    [(sentence_piece(), " Vantor<0xC5><0x81>"), (tiny_tokenizer(), "ĠVantorÅģ")],
)
def test_the_published_way_spells_tokens(target: Tokenizer, expected: str) -> None:
    mode: Literal["deepen_string"] = "deepen_string"
    sync = Sync(target, sentence_piece(), mode)
    assert sync.added(behind(target, PROMPT, "VantorŁ")) == expected


def test_a_text_of_no_tokens_is_opened(sync: Sync) -> None:
    assert sync.read("", []).ids == (sync.plug.eos_id,)
    assert Sync(tiny_tokenizer(), sentence_piece()).read("", []).ids[0] == 1
