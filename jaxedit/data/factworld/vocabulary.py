"""The two tokenizers of the embedded world: byte-level BPE as GPT-J's, and BPE as Llama-2's.

Both are trained on texts of other worlds than those that models are trained on. Phrasings,
countries and common words are the same in every world; people and firms have other names there,
made of the same syllables. So the commonest words become tokens, and a name is several
syllables that the model must put together before it can know whom it reads about.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from jaxedit.data.factworld.rows import corpus
from jaxedit.data.factworld.world import World
from jaxedit.models.text import Tokenizer

OTHER_WORLDS = range(100, 160)
TEXTS = 300  # of each of them
RAREST = 3  # pairs that occur less often are not merged

END_OF_TEXT = "<|endoftext|>"
MARK = "▁"  # stands for a space
UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
PRINTABLE = tuple(map(chr, range(ord("!"), ord("~") + 1)))


def byte_level(size: int) -> Tokenizer:
    """BPE over bytes, GPT-2's way: words keep the space before them, any text can be encoded.

    Id 0 is <|endoftext|>, the only special token; nothing is put before a text.
    """
    pipeline = tokenizers.Tokenizer(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=RAREST,
    )
    pipeline.train_from_iterator(_texts(), trainer)
    settings = {
        "eos_token": END_OF_TEXT,
        "bos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "add_bos_token": False,
    }
    return Tokenizer.of(pipeline, settings)


def sentencepiece(size: int) -> Tokenizer:
    """BPE over characters with byte fallback, in the layout of Llama-2's tokenizer.json.

    Ids 0 to 2 are <unk>, <s> and </s>, then come 256 bytes for characters that have no token.
    A text begins with <s>; a "▁" stands for each space and before the first word. There is no
    pre-tokenizer, as in Llama-2's file. Merges are learned inside words and punctuation marks,
    so no token spans a space.
    """
    learned = _learn_merges(size)
    merges = [(left, right) for left, right in learned["merges"]]
    model = models.BPE(
        learned["vocab"], merges, unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True
    )
    pipeline = tokenizers.Tokenizer(model)
    pipeline.add_special_tokens(
        [tokenizers.AddedToken(token, normalized=False) for token in (UNKNOWN, BEGIN, END)]
    )
    pipeline.normalizer = normalizers.Sequence(
        [normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)]
    )
    pipeline.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A",
        pair=f"{BEGIN} $A {BEGIN} $B",
        special_tokens=[(BEGIN, learned["vocab"][BEGIN])],
    )
    pipeline.decoder = decoders.Sequence(
        [
            decoders.Replace(MARK, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    settings = {
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": UNKNOWN,
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "LlamaTokenizer",
        "legacy": False,
    }
    return Tokenizer.of(pipeline, settings)


def _learn_merges(size: int) -> dict[str, Any]:
    """The vocabulary and merges of a BPE that never joins two words, or a word and a mark."""
    pipeline = tokenizers.Tokenizer(models.BPE(unk_token=UNKNOWN))
    pipeline.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(MARK, prepend_scheme="always"),
            pre_tokenizers.Split(tokenizers.Regex(rf"[^\w{MARK}]"), "isolated"),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[UNKNOWN, BEGIN, END, *BYTES],
        initial_alphabet=[MARK, *PRINTABLE],
        show_progress=False,
        min_frequency=RAREST,
    )
    pipeline.train_from_iterator(_texts(), trainer)
    return json.loads(pipeline.to_str())["model"]


def _texts() -> Iterator[str]:
    for seed in OTHER_WORLDS:
        yield from corpus(World(seed), TEXTS)


TOKENIZERS: Mapping[str, Callable[[int], Tokenizer]] = {
    "byte_level": byte_level,
    "sentencepiece": sentencepiece,
}
"""By the name that a config gives them."""
