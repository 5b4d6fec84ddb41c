"""Prefix templates: short continuations that the unedited model itself wrote.

A value must hold behind any text, so it is optimised behind the plain prompt and behind a few
sampled prefixes (MEMIT: one continuation each of five words, ten tokens in all).
"""

import jax

from jaxedit.editors.rows import Contexts
from jaxedit.models.transformer import Transformer

STARTS = ("The", "Therefore", "Because", "I", "You")
LENGTH = 10  # tokens of a prefix, its first word included
TOP_K = 5


def sample_contexts(lm: Transformer, seed: int = 0) -> Contexts:
    """The plain prompt, and a group of five prefixes sampled from `lm`.

    Args:
      lm: the unedited model.
      seed: of the sampling; the same seed gives the same templates.
    """
    longest = max(len(lm.tokenizer.encode(start)) for start in STARTS)
    texts = lm.sample(
        list(STARTS), jax.random.key(seed), max_new_tokens=LENGTH - longest + 1, top_k=TOP_K
    )
    prefixes = (start + text for start, text in zip(STARTS, texts, strict=True))
    return (("{}",), tuple(f"{_plain(prefix)}. {{}}" for prefix in prefixes))


def _plain(text: str) -> str:
    """One line without braces, which would be taken for the prompt's place."""
    return " ".join(text.replace("{", " ").replace("}", " ").split())
