"""GRACE (Hartvigsen et al. 2023): a codebook behind one linear; no weight changes.

An entry is a key (the linear's input at the last token of an edit's prompt), a value (what the
linear gives there instead), a radius and the edit's label, its target. A prompt whose own input
lies within the radius of the nearest key gets that key's value; all others go through the model as
it is. With q an edit's input, d its distance from the nearest key i, and eps the first radius:

  no entry, or d > eps + eps_i    add      (q, eps)
  another label than i's          split    add (q, d / 2), and eps_i = d / 2 - 1e-5
  d > eps_i                       expand   eps_i = d
  else                            keep

A split may widen a ball that an earlier one has narrowed, as published. The value of the entry that
is added, or else i's, is then trained on the target. q depends on the unedited model alone, and so
does the value of a new entry: `prepare` computes both for many facts at once.

Where this is not the published code:

  * Labels are compared token by token. That code compares the means of its label tensors, which
    hold -100 for each token of the prompt, and puts the label of a new entry before those of the
    older ones, though its key goes behind theirs. `legacy_labels=True` does both.
  * The prompt of the nearest entry with another target is a revision: that entry gets the new
    value. By the rule above it would be split at a distance of 0, and the old key, which comes
    first, would hide the new one.
  * An expanded ball reaches `slack` past the key that it is expanded to: the same distance is
    rounded otherwise where rows are batched otherwise.
  * `stop_below` ends a value's training early; that code names such an option, and has none.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors.codebook import Codebook, Replace, one_place
from jaxedit.editors.codebook_entries import Entries, Found
from jaxedit.editors.codebook_values import Trained, Training, row_given, train_values
from jaxedit.editors.editor import Log, check_finite, take
from jaxedit.editors.rows import TargetRows, target_rows
from jaxedit.editors.weights import DOWN, leaf
from jaxedit.models.layers import wide
from jaxedit.models.transformer import Transformer

ADD, SPLIT, EXPAND, KEEP, REVISE = range(5)  # what an edit does to the codebook, in its log
APART = 1e-5  # between the two balls of a split


class GraceState(NamedTuple):
    """The codebook.

    Attributes:
      book: its entries.
      edits: facts edited so far.
    """

    book: Entries
    edits: int


class GracePrepared(NamedTuple):
    """Of n facts.

    Attributes:
      rows: their tokens.
      trained: the query, and the value of a new entry.
    """

    rows: TargetRows
    trained: Trained


class Change(NamedTuple):
    """What an edit does to the codebook.

    Attributes:
      kind: ADD, SPLIT, EXPAND, KEEP or REVISE.
      at: the entry that gets the value.
      radius: its radius.
      narrowed: of a split, the other entry and its radius.
    """

    kind: int
    at: int
    radius: float
    narrowed: tuple[int, float] | None = None


@dataclasses.dataclass(frozen=True)
class Grace:
    """GRACE; each fact is an edit of its own, also of those in one update.

    Attributes:
      layers: the one block.
      module: its linear.
      radius: eps, of a new entry.
      learning_rate: Adam's.
      steps: updates of a value, at most.
      stop_below: loss at which a value is left as it is; 0 makes all steps, as published.
      start: a new value is drawn from U(0, 1) ("cold"), or is what the linear gives ("warm").
      replace: at which tokens the value stands.
      end_of_text: the target ends with the end-of-text token.
      slack: see the module; in proportion.
      legacy_labels: see the module.
      capacity: entries to have room for at first; it doubles when they are full.
      seed: of cold values; each also depends on its fact's tokens, and on nothing else.
    """

    layers: tuple[int, ...]
    module: str = DOWN
    radius: float = 1.0
    learning_rate: float = 1.0
    steps: int = 50
    stop_below: float = 0.0
    start: Literal["cold", "warm"] = "cold"
    replace: Replace = "last"
    end_of_text: bool = False
    slack: float = 1e-4
    legacy_labels: bool = False
    capacity: int = 128
    seed: int = 0
    values_ahead: bool = dataclasses.field(default=True, init=False)

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """No leaf: the parameters stay as they are."""
        return ()

    def init(self, lm: Transformer) -> GraceState:
        """An empty codebook.

        Raises:
          UserError: there is not exactly one layer, or the model has no such place.
        """
        inputs, outputs = self._kernel(lm).shape
        book = Entries.none(inputs, outputs, wide(lm.params["embed"]["tokens"].dtype))
        return GraceState(book.with_room(self.capacity, lm.mesh), 0)

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> GracePrepared:
        """Queries, and values of new entries, for all the facts."""
        rows = target_rows(lm.tokenizer, facts, end_of_text=self.end_of_text)
        outputs = self._kernel(lm).shape[1]
        cold = np.stack([self._cold(*texts, outputs) for texts in _texts(rows)])
        return GracePrepared(rows, self._train(lm, rows, cold, warm=self.start == "warm"))

    def edit(
        self, lm: Transformer, state: GraceState, prepared: GracePrepared
    ) -> tuple[GraceState, Log]:
        """The facts of `prepared`, one after another."""
        logs: list[dict[str, Any]] = []
        for i in range(len(prepared.rows.ids)):
            state, own = self._edit_one(lm, state, take(prepared, i, i + 1))
            logs.append(own)
        log = {name: np.asarray([own[name] for own in logs]) for name in logs[0]}
        check_finite(log, self.layers[0])
        return state, log

    def bind(self, lm: Transformer, state: GraceState) -> Transformer:
        """The model behind its codebook."""
        book = state.book
        count: Any = np.asarray(book.count, np.int32)
        adapter = Codebook(book.keys, book.values, book.radii, count, self.replace)
        return lm.with_adapters({one_place(lm, self.layers, self.module): adapter})

    def snapshot(self, state: GraceState) -> dict[str, Any]:
        """The entries that are there."""
        return {**state.book.trimmed(), "edits": np.int64(state.edits)}

    def restore(self, lm: Transformer, tree: Any) -> GraceState:
        """The entries as they were kept, with room for more."""
        kept = {name: tree[name] for name in Entries._fields}
        book = Entries(**{**kept, "count": int(tree["count"])})
        return GraceState(book.with_room(self.capacity, lm.mesh), int(tree["edits"]))

    def _edit_one(
        self, lm: Transformer, state: GraceState, own: GracePrepared
    ) -> tuple[GraceState, dict[str, Any]]:
        book, trained = state.book, own.trained
        if book.count == len(book.labels):
            book = book.with_room(self.capacity, lm.mesh)
        ((prompt, label),) = _texts(own.rows)
        found = book.find(trained.query[0])
        change = self.change(book, found, prompt, label)
        key = trained.query[0] if change.kind in (ADD, SPLIT) else None
        if change.kind in (EXPAND, KEEP):
            trained = self._train(lm, own.rows, found.value[None], warm=False)
        else:
            book = book.named(change.at, prompt, label)
        value = trained.value[0]
        book = book.written(change.at, value, change.radius, key=key, narrowed=change.narrowed)
        log = {
            "loss": trained.loss[0],
            "initial_loss": trained.initial_loss[0],
            "updates": trained.updates[0],
            "change": np.int32(change.kind),
            "distance": np.float32(found.distance),
            "entries": np.int32(book.count),
        }
        return GraceState(book, state.edits + 1), log

    def change(self, book: Entries, found: Found, prompt: np.ndarray, label: np.ndarray) -> Change:
        """What the rule at the top of the module makes of an edit.

        Args:
          book: the codebook before it.
          found: the entry nearest to its query.
          prompt: its prompt's tokens.
          label: its target's.
        """
        nearest, distance, radius = int(found.entry), float(found.distance), float(found.radius)
        if distance > self.radius + radius:  # as any is where there is no entry
            return Change(ADD, book.count, self.radius)
        if not self._same_label(book, nearest, prompt, label):
            if np.array_equal(book.prompt(nearest), prompt):
                return Change(REVISE, nearest, radius)
            half = distance / 2
            return Change(SPLIT, book.count, half, (nearest, half - APART))
        if distance > radius:
            return Change(EXPAND, nearest, distance * (1 + self.slack))
        return Change(KEEP, nearest, radius)

    def _same_label(self, book: Entries, entry: int, prompt: np.ndarray, label: np.ndarray) -> bool:
        if not self.legacy_labels:
            return np.array_equal(book.label(entry), label)
        entry = book.count - 1 - entry
        return _legacy_mean(book.prompt(entry), book.label(entry)) == _legacy_mean(prompt, label)

    def _train(
        self, lm: Transformer, rows: TargetRows, start: np.ndarray, *, warm: bool
    ) -> Trained:
        training = Training(self.learning_rate, self.steps, self.stop_below)
        place = self.layers[0], self.module
        begins = np.full(len(start), warm)
        return train_values(lm, rows, start, begins, place, self.replace, training)

    def _cold(self, prompt: np.ndarray, label: np.ndarray, outputs: int) -> np.ndarray:
        draw = np.random.default_rng((self.seed, len(prompt), *prompt, *label))
        return draw.uniform(size=outputs).astype(np.float32)

    def _kernel(self, lm: Transformer) -> Any:
        return leaf(lm, one_place(lm, self.layers, self.module))


def _texts(rows: TargetRows) -> list[tuple[np.ndarray, np.ndarray]]:
    """Tokens of each prompt, and of its target."""
    each = zip(rows.ids, row_given(rows), rows.target, rows.target_mask, strict=True)
    return [(ids[given], target[real]) for ids, given, target, real in each]


def _legacy_mean(prompt: np.ndarray, label: np.ndarray) -> float:
    """Of the published code's label tensor."""
    return float((label.sum() - 100 * len(prompt)) / (len(prompt) + len(label)))
