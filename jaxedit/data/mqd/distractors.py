"""Wrong answers: tails of relations of other categories (D4S section 3.2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxedit.data.mqd.atomic import Triple
from jaxedit.data.mqd.cleaning import key
from jaxedit.data.mqd.relations import EVENTS, RELATIONS, Category

WRONG = 3


@dataclass(frozen=True)
class WrongTails:
    """All tails of a source, to draw wrong ones from.

    Attributes:
        tails: the different tails of each category that occur with no other category, in the
            order of the source.
        right: keys of all tails of an event (in small letters), with whatever relation.
    """

    tails: Mapping[Category, Sequence[str]]
    right: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, triples: Iterable[Triple]) -> WrongTails:
        """From cleaned triples."""
        text: dict[str, str] = {}
        categories: dict[str, set[Category]] = defaultdict(set)
        right: dict[str, set[str]] = defaultdict(set)
        for triple in triples:
            name = key(triple.tail)
            text.setdefault(name, triple.tail)
            categories[name].add(RELATIONS[triple.relation].category)
            right[triple.head.lower()].add(name)
        tails: dict[Category, list[str]] = defaultdict(list)
        for name, tail in text.items():
            if len(categories[name]) == 1:
                tails[next(iter(categories[name]))].append(tail)
        return cls(dict(tails), {head: frozenset(found) for head, found in right.items()})

    def are_enough(self, triple: Triple) -> bool:
        """Whether there are as many wrong tails for this triple as are needed."""
        own = RELATIONS[triple.relation].category
        others = sum(len(tails) for category, tails in self.tails.items() if category != own)
        at_most_right = len(self.right[triple.head.lower()])
        return others - at_most_right >= WRONG or len(self._wrong(triple, seed=0)) == WRONG

    def draw(self, triple: Triple, seed: int) -> tuple[str, str, str]:
        """Three different wrong tails, of three categories if there are so many other ones.

        They depend on the seed, the source and the triple, not on what else is drawn. None occurs
        anywhere with the triple's category, or with its event. There must be enough.
        """
        first, second, third = self._wrong(triple, seed)
        return first, second, third

    def _wrong(self, triple: Triple, seed: int) -> list[str]:
        rng = np.random.default_rng([seed, 3, triple.number])
        found: list[str] = []
        walks = [self._walk(triple, category, rng) for category in self._others(triple, rng)]
        while walks and len(found) < WRONG:
            walk = walks.pop(0)
            tail = next(walk, None)
            if tail is not None:
                found.append(tail)
                walks.append(walk)
        return found

    def _others(self, triple: Triple, rng: np.random.Generator) -> list[Category]:
        """The other categories in an order drawn; those of events first for an event."""
        own = RELATIONS[triple.relation].category
        others = [category for category in self.tails if category != own]
        drawn = [others[i] for i in rng.permutation(len(others))]
        return sorted(drawn, key=lambda category: (category in EVENTS) != (own in EVENTS))

    def _walk(self, triple: Triple, category: Category, rng: np.random.Generator) -> Iterator[str]:
        """A category's wrong tails from a place drawn, in steps that come by all of them."""
        tails = self.tails[category]
        size = len(tails)
        start, step = int(rng.integers(size)), _coprime(int(rng.integers(1, size + 1)), size)
        places = ((start + i * step) % size for i in range(size))
        right = self.right[triple.head.lower()]
        return (tails[place] for place in places if key(tails[place]) not in right)


def _coprime(step: int, size: int) -> int:
    """The next number from ``step`` on that shares no factor with ``size``."""
    return next(s for s in range(step, 2 * size + 2) if np.gcd(s, size) == 1)
