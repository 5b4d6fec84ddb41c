"""Short texts laid end to end, and what they share run once.

An evaluation asks much of one prompt: the new and the old answer, four choices, yes and no. Such
rows are one tree: the prompt is its trunk, each target a branch, whose positions go on from the
trunk's and whose tokens see the trunk and their own branch alone. A target's last token predicts
nothing that is asked for, so it is left out, and a target of one token adds nothing. Several trees
then fill a row, of few widths, so that little is padding and little is compiled.
"""

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxedit.models.protocol import Row
from jaxedit.models.text import bucket

WIDTHS = (64, 128)  # of a row; a tree that is longer has a row of its bucket
LONGEST = 512  # tokens of a tree with several branches, or four times its trunk

Ids = tuple[int, ...]


class Tree(NamedTuple):
    """A trunk, its branches, and for each branch the rows that asked for it."""

    trunk: Ids
    branches: tuple[Ids, ...]
    owners: tuple[list[int], ...]

    @property
    def size(self) -> int:
        """Columns that it takes of a row: of tokens that run, or of tokens that are asked for."""
        asked = sum(map(len, self.branches))
        return max(len(self.trunk) + asked - len(self.branches), asked)


class Batch(NamedTuple):
    """Rows of trees; each leaf is [B, W] int32.

    Attributes:
      ids: of tokens that run.
      positions: in their own text; -1 where there is no token.
      stretch: which trunk or branch of its row a token is part of; -1 fills up.
      trunk: the stretch that it sees besides its own.
      at: of each token that is asked for, the column of the one before it; -1 fills up.
      label: each token that is asked for.
    """

    ids: Any
    positions: Any
    stretch: Any
    trunk: Any
    at: Any
    label: Any


class Place(NamedTuple):
    """Where the answers to a branch are: a row of the batch, and its columns from `start` on."""

    row: int
    start: int
    branch: Ids
    owners: list[int]


def trees(rows: Sequence[Row], *, single: bool = False) -> Iterator[Tree]:
    """Rows that begin with the same ids[:n] as one tree, or as several if it grew too long.

    With ``single``, texts (n is 1: nothing but their beginning is given) are trees of their own.
    """
    found: dict[Ids, dict[Ids, list[int]]] = {}
    for index, (ids, n) in enumerate(rows):
        if len(ids) > n:
            branches = found.setdefault(tuple(ids[:n]), {})
            branches.setdefault(tuple(ids[n:]), []).append(index)
    for trunk, branches in found.items():
        if single and len(trunk) == 1:
            yield from (Tree(trunk, (branch,), (owners,)) for branch, owners in branches.items())
        else:
            yield from _cut(trunk, branches)


def _cut(trunk: Ids, branches: Mapping[Ids, list[int]]) -> Iterator[Tree]:
    most = max(WIDTHS[0], min(LONGEST, 4 * len(trunk)))
    kept: list[Ids] = []
    size = 0
    for branch in branches:
        if kept and len(trunk) + size + len(branch) > most:
            yield Tree(trunk, tuple(kept), tuple(branches[each] for each in kept))
            kept, size = [], 0
        kept.append(branch)
        size += len(branch)
    yield Tree(trunk, tuple(kept), tuple(branches[each] for each in kept))


def filled(made: Iterable[Tree], *, single: bool = False) -> Iterator[tuple[int, list[Tree]]]:
    """(width, trees) of each row, the widest first; a row takes the largest that still fits.

    With ``single`` every tree has a row of its own.
    """
    by_size: dict[int, list[Tree]] = {}
    for tree in made:
        by_size.setdefault(tree.size, []).append(tree)
    for each in by_size.values():
        each.reverse()  # they are taken from the end
    sizes = sorted(by_size)
    while sizes:
        largest = sizes[-1]
        shared = next((w for w in WIDTHS if largest <= w), bucket(largest))
        width = room = bucket(largest) if single else shared
        row = []
        while sizes and sizes[0] <= room:
            place = bisect.bisect_right(sizes, room) - 1
            size = sizes[place]
            row.append(by_size[size].pop())
            room = 0 if single else room - size
            if not by_size[size]:
                del sizes[place]
        yield width, row


def laid_out(rows: Sequence[Sequence[Tree]], width: int) -> tuple[Batch, list[Place]]:
    """The arrays of some rows, and where in them the answers will be."""
    batch = np.full((len(Batch._fields), len(rows), width), -1, np.int32)
    places = []
    for i, row in enumerate(rows):
        columns, found = _columns(row)
        for leaf, values in zip(batch, columns, strict=True):
            leaf[i, : len(values)] = values
        places += [Place(i, *each) for each in found]
    return Batch(*batch), places


def prompts(batch: Batch) -> jax.Array:
    """[B, W] bool, for rows of one tree each: its trunk, and all that runs of a text."""
    trunk = batch.stretch == 0
    text = trunk.sum(axis=1, keepdims=True) == 1
    return trunk | (text & (batch.stretch >= 0))


def apart(batch: Batch) -> jax.Array:
    """[B, W, W] bool: the tokens that a token does not see although they come before it."""
    own, trunk = batch.stretch[:, :, None], batch.trunk[:, :, None]
    seen = batch.stretch[:, None]
    return (seen != own) & (seen != trunk)


def _columns(row: Sequence[Tree]) -> tuple[Batch, list[tuple[int, Ids, list[int]]]]:
    """The columns of one row, as lists, and (first answer, branch, owners) of its branches."""
    made = Batch([], [], [], [], [], [])
    found = []
    stretch = -1

    def run(ids: Ids, first: int, trunk: int) -> None:
        made.ids.extend(ids)
        made.positions.extend(range(first, first + len(ids)))
        made.stretch.extend([stretch] * len(ids))
        made.trunk.extend([trunk] * len(ids))

    for tree in row:
        stretch += 1
        trunk = stretch
        run(tree.trunk, 0, trunk)
        last = len(made.ids) - 1
        for branch, owners in zip(tree.branches, tree.owners, strict=True):
            stretch += 1
            found.append((len(made.at), branch, owners))
            made.at.append(last)
            made.at.extend(range(len(made.ids), len(made.ids) + len(branch) - 1))
            made.label.extend(branch)
            run(branch[:-1], len(tree.trunk), trunk)
    return made, found
