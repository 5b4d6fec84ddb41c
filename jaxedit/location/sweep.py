"""Which layers to edit: every candidate window of layers is tried with single edits.

Each fact is edited by itself into the fresh model, once for every window, and scored at once:
efficacy, paraphrase and specificity, teacher-forced and exact. The window with the largest
harmonic mean of the three is chosen. The optimised values, which are what an edit costs, depend on
a window's last layer alone, and are shared by all windows that end there.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxedit.data.fact import Fact
from jaxedit.editors.editor import check_finite, take, value_log
from jaxedit.editors.locate import LocateThenEdit
from jaxedit.errors import UserError
from jaxedit.metrics import MEASURES, Answer, Asked, Score, Setting, answer, questions, scores
from jaxedit.models.protocol import LanguageModel
from jaxedit.models.transformer import Transformer

Window = tuple[int, ...]
Edits = Callable[[Window], Iterable[LanguageModel]]
"""The models that a window's single edits give, in the order of the facts."""

_READ = {"efficacy": "target", "paraphrase": "target", "specificity": "unedited"}
CHOSEN_BY = tuple(
    measure
    for measure in MEASURES
    if (measure.decoding, measure.reading) == ("teacher_forced", "exact")
    and measure.against == _READ.get(measure.metric)
)
PROBABILITY = next(measure for measure in MEASURES if measure.metric == "target_probability")


class Tried(NamedTuple):
    """What single edits of one window gave.

    Attributes:
      layers: the window.
      scores: efficacy, paraphrase and specificity, as far as the facts have questions for them.
      probability: of the target at the facts' own prompts: tells apart what the scores do not.
    """

    layers: Window
    scores: tuple[Score, ...]
    probability: Score

    @property
    def harmonic(self) -> float:
        """Harmonic mean of the scores; 0 if one of them is."""
        return statistics.harmonic_mean([score.value for score in self.scores])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "layers": list(self.layers),
            "harmonic": self.harmonic,
            "scores": [score.to_dict() for score in (*self.scores, self.probability)],
        }


def candidates(layers: Sequence[int], length: int) -> list[Window]:
    """Each of the layers alone, and `length` consecutive ones at every place.

    Args:
      layers: those that may be edited, ascending.
      length: of the windows; at 1 there are only the single layers.
    """
    runs = [tuple(layers[i : i + length]) for i in range(len(layers) - length + 1)]
    whole = [run for run in runs if len(run) > 1 and run[-1] - run[0] == length - 1]
    return [*((layer,) for layer in layers), *whole]


def sweep(
    unedited: LanguageModel,
    facts: Sequence[Fact],
    windows: Iterable[Window],
    edits: Edits,
    dtype: str,
) -> Iterator[Tried]:
    """Tries the windows, one after another.

    Args:
      unedited: the model; specificity is agreement with it.
      facts: the edits, each tried by itself.
      windows: what to try.
      edits: makes the edited models, for instance `single_edits`.
      dtype: of the parameters, for the scores' protocol.
    """
    asked = [questions([fact], first=i) for i, fact in enumerate(facts)]
    everything = [question for own in asked for question in own]
    before = answer(unedited, everything, _setting("before", dtype), edits=0, generation=False)
    setting = _setting("immediate", dtype)
    for window in windows:
        answers: list[Answer] = []
        for model, own in zip(edits(window), asked, strict=True):
            answers += answer(model, own, setting, edits=1, generation=False)
        yield _tried(window, answers, before)


def unknown_facts(lm: LanguageModel, facts: Sequence[Fact], dtype: str) -> list[Fact]:
    """Those facts whose target is not what the model says already: edits that change something."""
    asked = [Asked(i, "edit", 0, fact.question, fact.target) for i, fact in enumerate(facts)]
    answers = answer(lm, asked, _setting("before", dtype), edits=0, generation=False)
    return [
        fact
        for fact, said in zip(facts, answers, strict=True)
        if said.predicted_ids != said.target_ids
    ]


def best(tried: Sequence[Tried]) -> Tried:
    """The largest harmonic mean; among equals the most probable targets, then the fewest layers."""
    return max(tried, key=lambda t: (t.harmonic, t.probability.value, -len(t.layers)))


def single_edits(
    lm: Transformer,
    facts: Sequence[Fact],
    editor: LocateThenEdit,
    found: dict[int, Any],
) -> Iterator[Transformer]:
    """`lm` with each of the facts edited by itself.

    Args:
      lm: the unedited model.
      facts: the edits.
      editor: a method with the window's layers.
      found: the facts' values by last layer; those that are missing are optimised and put there.

    Raises:
      UserError: a loss is not finite, with the fact and the layer.
    """
    state = editor.init(lm)
    rows = editor.prepare(lm, facts)
    last = editor.layers[-1]
    if last not in found:
        found[last] = editor.found(lm, rows.values)
        _check(found[last], facts, last)
    for i in range(len(facts)):
        own = take((rows.keys, found[last]), i, i + 1)
        yield editor.update(lm, state, *own)[0]


def _check(values: Any, facts: Sequence[Fact], layer: int) -> None:
    log = value_log(values)
    for i, fact in enumerate(facts):
        try:
            check_finite(take(log, i, i + 1), layer)
        except FloatingPointError as error:
            raise UserError(
                f"fact {fact.id or fact.question!r}: {error}; lower the learning "
                "rate of the values, or leave the layer out"
            ) from None


def _setting(when: Any, dtype: str) -> Setting:
    return Setting(when=when, dtype=dtype)


def _tried(window: Window, answers: Sequence[Answer], before: Sequence[Answer]) -> Tried:
    """Scores of the answers to all facts of a window, each after its own edit."""
    *chosen, probability = scores(answers, before, measures=(*CHOSEN_BY, PROBABILITY))
    return Tried(window, tuple(chosen), probability)
