"""Invented names, put together from a large inventory of syllables.

A name has several syllables and shares each of its words with other names, so that a model
must read the whole of it before it can know whom it is about.
"""

from __future__ import annotations

import random

_ONSETS = "b br d dr f g gr h j k kr l m n p pr r s sh st t tr v w z th".split()
_VOWELS = "a e i o u".split()
_CODAS = ["", "", "n", "r", "l", "s", "k", "m"]


def syllables() -> tuple[str, ...]:
    """The inventory: 180 syllables, always the same ones."""
    rng = random.Random("syllables")
    found: dict[str, None] = {}
    while len(found) < 180:
        found[rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)] = None
    return tuple(found)


def word(rng: random.Random, lengths: tuple[int, ...] = (2, 3)) -> str:
    """One invented word: some syllables, the first letter a capital."""
    inventory = syllables()
    return "".join(rng.choice(inventory) for _ in range(rng.choice(lengths))).capitalize()


def words(rng: random.Random, n: int, lengths: tuple[int, ...] = (2, 3)) -> list[str]:
    """`n` different invented words."""
    found: dict[str, None] = {}
    while len(found) < n:
        found[word(rng, lengths)] = None
    return list(found)


def people(rng: random.Random, n: int) -> list[str]:
    """`n` different names of two words; about n/2 first and n/2 family names are shared out."""
    first, family = words(rng, n // 2), words(rng, n // 2)
    found: dict[str, None] = {}
    while len(found) < n:
        found[f"{rng.choice(first)} {rng.choice(family)}"] = None
    return list(found)


def firms(rng: random.Random, n: int) -> list[str]:
    """`n` different names of one word of three or four syllables."""
    return words(rng, n, (3, 4))
