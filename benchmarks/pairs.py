"""Vocabularies as large as those of the paper's targets, with TinyLlama and its gate."""

from typing import NamedTuple

import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers

from jaxedit.ensemble.implicit import rows
from jaxedit.ensemble.relative import Space
from jaxedit.models.text import Tokenizer

UNKNOWN = "<unk>"


class Pair(NamedTuple):
    """Words of the target, words of the plug-in with its gate's, and those in common."""

    words: int
    plug_words: int
    common: int


PAIRS = {
    "llama2": Pair(32000, 32001, 31999),
    "gptj": Pair(50400, 32001, 17830),
    "small": Pair(1200, 1001, 800),
}


def own_entries(space: Space) -> tuple[float, float]:
    """What R has for an anchor's word at the anchor itself, of the target and of the plug-in.

    Means over the first 200: the nearer to 1, the less of a word is given to others.
    """
    some = np.arange(min(200, space.anchors.count))
    target = rows(space.main, space.anchors.main[some])[some, some].mean()
    plug = rows(space.plug, space.anchors.plug[some])[some, some].mean()
    return float(target), float(plug)


def tokenizer(own: str, words: int, common: int) -> Tokenizer:
    """Whole words between spaces: the first `common` ones as in any other, the rest of its `own`.

    What it does not know, other words among them, is one word, which is common.
    """
    shared = [UNKNOWN, *(f"w{i}" for i in range(1, common))]
    vocabulary = [*shared, *(f"{own}{i}" for i in range(common, words))]
    pipeline = tokenizers.Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token=UNKNOWN)
    )
    pipeline.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Tokenizer.of(pipeline, {"unk_token": UNKNOWN})
