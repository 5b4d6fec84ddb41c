"""Fluency: how varied the texts are that an edited model writes about a subject.

ROME and MEMIT (Meng et al. 2022, 2023): from each of a fact's openings one text is sampled among
the five likeliest tokens, 100 tokens long with its opening. The bigrams and trigrams of its words
have the entropies H_2 and H_3 in bits; its fluency is the mean of (2/3) H_2 and (4/3) H_3. Tables
give 100 times that. A model that repeats itself scores low. The published code samples on past an
end-of-text token; here a text ends where the model ends it, and a short one scores low too.

Essence, from the same papers: how well the model still foresees texts about the subject that were
true of it all along. These are an argument: the published ones are a download.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from absl import logging

from jaxedit.data.fact import SLOT
from jaxedit.metrics.asking import Questions, floats, ints
from jaxedit.metrics.measure import Measure
from jaxedit.metrics.records import LOWEST, Answer, Asked, Setting
from jaxedit.metrics.words import words

if TYPE_CHECKING:
    from jaxedit.models.protocol import LanguageModel

FLUENCY = "fluency"
ESSENCE = "essence"
TOKENS = 100  # of a text, its opening among them; of a text about a subject
TOP_K = 5


def ask(lm: LanguageModel, questions: Questions, setting: Setting) -> list[Answer]:
    """`openings` with key 0: a protocol beside ours (`jaxedit.metrics.protocols`)."""
    return openings(lm, questions.asked, setting, jax.random.key(0), edits=questions.edits)


def openings(
    lm: LanguageModel, asked: Sequence[Asked], setting: Setting, key: jax.Array, *, edits: int
) -> list[Answer]:
    """One sampled text from every opening among the questions, in the order asked.

    A text holds its opening; it is Unicode NFKD, with spaces for its blank lines. An opening is
    read bare, whatever the prompt format. A model that cannot sample gives no answers, and a
    warning says so.

    Args:
        lm: any language model.
        asked: questions; those of another role than "opening" are passed over.
        setting: how other answers are taken; these are of the protocol "fluency".
        key: of the sampling; the same key, model and openings give the same texts.
        edits: number of edits the model has received.
    """
    chosen = [question for question in asked if question.role == "opening"]
    sample: Callable[..., list[str]] | None = getattr(lm, "sample", None)
    if not chosen:
        return []
    if sample is None:
        logging.warning("%s cannot sample; no fluency is scored", type(lm).__name__)
        return []
    setting = replace(setting, protocol=FLUENCY, prompt_format=SLOT, max_new_tokens=TOKENS, stop=())
    prompts = [question.prompt for question in chosen]
    shortest = min(len(lm.tokenizer.encode(prompt)) for prompt in prompts)
    made = sample(prompts, key, max_new_tokens=max(1, TOKENS - shortest), top_k=TOP_K)
    return [
        Answer(
            setting, edits, question, generated=_tidy(_first(lm.tokenizer, question.prompt + text))
        )
        for question, text in zip(chosen, made, strict=True)
    ]


def _first(tokenizer: Any, text: str) -> str:
    """The text up to the allowed number of tokens."""
    ids = tokenizer.encode(text)
    return text if len(ids) <= TOKENS else tokenizer.decode(ids[:TOKENS]).rstrip("\ufffd")


def _tidy(text: str) -> str:
    return unicodedata.normalize("NFKD", text).replace("\n\n", " ")


def ngram_entropy(text: str) -> float:
    """(H_2 + 2 H_3) / 3 in bits, of the text's word bigrams and trigrams; 0 if it has none."""
    found = words(text)
    return (_entropy(found, 2) + 2 * _entropy(found, 3)) / 3


def _entropy(found: Sequence[str], n: int) -> float:
    """Of the distribution of runs of n words."""
    runs = Counter(zip(*(found[i:] for i in range(n)), strict=False))
    if not runs:
        return 0.0
    shares = np.array(list(runs.values()), dtype=np.float64) / runs.total()
    return float(max(0.0, -(shares * np.log2(shares)).sum()))


def varied(answer: Answer, _: Answer | None = None) -> float | None:
    """The n-gram entropy of what was written."""
    return None if answer.generated is None else ngram_entropy(answer.generated)


MEASURES = (Measure("fluency", "sampled", "ngram_entropy", "text", "opening", varied),)


def essence(
    lm: LanguageModel, texts: Mapping[int, Sequence[str]], setting: Setting, *, edits: int
) -> list[Answer]:
    """Log probabilities of the first 100 tokens (`TOKENS`) of each fact's texts, joined.

    Args:
        lm: a model that scores rows of ids.
        texts: by the fact's place: texts about its subject.
        setting: how other answers are taken; these are of the protocol "essence".
        edits: number of edits the model has received.
    """
    setting = replace(setting, protocol=ESSENCE, prompt_format=SLOT, max_new_tokens=0, stop=())
    joined = {fact: " ".join(texts[fact]) for fact in sorted(texts)}
    rows = {f: lm.tokenizer.encode(text)[:TOKENS] for f, text in joined.items()}
    rows = {fact: ids for fact, ids in rows.items() if len(ids) > 1}
    made = lm.score_rows([(ids, 1) for ids in rows.values()]) if rows else []
    return [
        Answer(
            setting,
            edits,
            Asked(fact, "opening", 0, "", joined[fact]),
            ints(forced.target_ids),
            ints(forced.predicted_ids),
            floats(forced.logprobs),
        )
        for fact, forced in zip(rows, made, strict=True)
    ]


def foreseen(answer: Answer, _: Answer | None = None) -> float | None:
    """Perplexity as published: the N - 1 predicted tokens' loss divided by N."""
    if not answer.logprobs:
        return None
    loss = -sum(answer.logprobs) / (len(answer.logprobs) + 1)
    return math.exp(min(loss, -LOWEST))


ESSENCE_MEASURES = (Measure("essence", "teacher_forced", "per_text", "text", "opening", foreseen),)
