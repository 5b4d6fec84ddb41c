"""What a benchmark's files hold, and which of it a run is asked."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxedit.errors import UserError

Doc = dict[str, Any]


class Pool(NamedTuple):
    """One subset: what may be scored, and what may be shown.

    Attributes:
        harness: the name of the harness's task.
        subset: a subject, or empty.
        docs: (place in the file, record) of what may be scored.
        shown: records for demonstrations.
    """

    harness: str
    subset: str
    docs: tuple[tuple[int, Doc], ...]
    shown: tuple[Doc, ...] = ()


@dataclass(frozen=True)
class Source:
    """One benchmark's files.

    Attributes:
        pools: its subsets.
        described: the files, and how many of their items can be scored.
        demonstrations: where they come from.
        notes: in what the items differ from those of published tables.
    """

    pools: tuple[Pool, ...]
    described: str
    demonstrations: str = ""
    notes: tuple[str, ...] = ()


def chosen(name: str, pools: Iterable[Pool], limit: int | None, seed: int) -> list[Pool]:
    """The pools with no more than ``limit`` items in all, drawn by the seed, in file order.

    Of several subsets each gives its share by size. What a smaller limit draws from a subset, a
    larger one draws too.

    Raises:
        UserError: the limit is not positive.
    """
    if limit is not None and limit < 1:
        raise UserError(f"--limit={limit}: must be at least 1; leave it out to score every item")
    pools = list(pools)
    shares = _shares([len(pool.docs) for pool in pools], limit)
    found = []
    for pool, share in zip(pools, shares, strict=True):
        order = list(range(len(pool.docs)))
        random.Random(f"{name} {pool.subset} {seed}").shuffle(order)
        docs = tuple(pool.docs[i] for i in sorted(order[:share]))
        found += [pool._replace(docs=docs)] if docs else []
    return found


def _shares(sizes: list[int], limit: int | None) -> list[int]:
    """Sizes scaled to a sum of ``limit``: one each if that is enough, then by largest remainder."""
    total = sum(sizes)
    if limit is None or limit >= total:
        return sizes
    least = 1 if limit >= len(sizes) else 0
    spare, rest = limit - least * len(sizes), total - least * len(sizes)
    exact = [(size - least) * spare / max(1, rest) for size in sizes]
    shares = [least + int(x) for x in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (int(exact[i]) - exact[i], i))
    for i in by_remainder[: limit - sum(shares)]:
        shares[i] += 1
    return shares


def check_shots(name: str, pools: Iterable[Pool], shots: int) -> None:
    """Raises UserError if a subset has fewer demonstrations than are to be shown."""
    for pool in pools:
        if len(pool.shown) < shots:
            raise UserError(
                f"{name}: {pool.subset or 'its file'} has {len(pool.shown)} demonstrations, but "
                f"{shots} are to be shown; set --shots to fewer"
            )
