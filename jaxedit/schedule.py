"""Which facts are edited together, and what happens after each update: known before the first.

Values are prepared for a block of facts at once. No block reaches over a checkpoint, so a run
that goes on from one prepares the same blocks, in the same shapes, as a run left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest


@dataclass(frozen=True)
class Turn:
    """One update, with the facts ``start`` to ``stop`` - 1.

    Attributes:
        start: edits before it.
        stop: edits after it.
        checkpoint: whether the state is kept after it.
        evaluate: whether all facts edited so far are scored after it.
    """

    start: int
    stop: int
    checkpoint: bool
    evaluate: bool


@dataclass(frozen=True)
class Block:
    """Turns whose facts are prepared together."""

    turns: tuple[Turn, ...]

    @property
    def start(self) -> int:
        """First fact."""
        return self.turns[0].start

    @property
    def stop(self) -> int:
        """One past the last fact."""
        return self.turns[-1].stop


def schedule(
    count: int,
    *,
    batch: int = 1,
    stops: Sequence[int] | None = None,
    block: int | None = None,
    checkpoint_every: int,
    evaluate_every: int | None = None,
    evaluate_at: Sequence[int] = (),
    start: int = 0,
) -> tuple[Block, ...]:
    """The rest of a run.

    Args:
        count: facts in the whole run.
        batch: facts an update.
        stops: in its place: the edits made after each update, ``count`` the last.
        block: facts prepared together, at least one update; None goes to the next checkpoint.
        checkpoint_every: a checkpoint follows the first update at or past each multiple.
        evaluate_every: likewise for scoring; None never. The end is scored in any case, and is
            not part of this.
        evaluate_at: and after the first update at or past each of these.
        start: edits done, at a checkpoint.

    Returns:
        Blocks in order; the last turn of the run is a checkpoint.
    """
    stops = [*range(batch, count, batch), count] if stops is None else stops
    turns = [
        Turn(
            first,
            stop,
            _crosses(first, stop, checkpoint_every) or stop == count,
            stop < count
            and (
                _crosses(first, stop, evaluate_every)
                or any(first < due <= stop for due in evaluate_at)
            ),
        )
        for first, stop in pairwise((0, *stops))
    ]
    blocks: list[Block] = []
    gathered: list[Turn] = []
    for turn, after in zip_longest(turns, turns[1:]):
        gathered.append(turn)
        full = block is not None and after and after.stop - gathered[0].start > block
        if turn.checkpoint or full:
            blocks.append(Block(tuple(gathered)))
            gathered = []
    return tuple(item for item in blocks if item.start >= start)


def _crosses(start: int, stop: int, every: int | None) -> bool:
    return every is not None and stop // every > start // every
