"""What was found, in sentences: computed from a run's results, never assumed.

Arms are compared fact by fact on the same facts; a difference is stated as one only where the
95 % bootstrap interval of the mean difference leaves out zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

RESAMPLES = 2000
DECLINE = 0.9  # of the best share along the run
AGAINST = {"truth": "the true answer", "unedited": "as the unedited model"}


def findings(result: Mapping[str, Any]) -> list[str]:
    """Plain sentences about a whole result (`results.run_result`)."""
    arms = result["arms"]
    lines = []
    for left, right in combinations(arms, 2):
        lines += _who_declines_first(left, right)
        lines += _compare(left, right, result["config"]["seed"])
    return lines + [
        line for arm in arms for line in (_course(arm), _decline(arm), _norms(arm)) if line
    ]


def pick(scores: Sequence[Mapping[str, Any]], metric: str, **wanted: str) -> Mapping | None:
    """The score of a metric; by teacher forcing and exact unless told otherwise."""
    wanted = {"decoding": "teacher_forced", "reading": "exact", **wanted}
    for score in scores:
        if score["metric"] == metric and all(score[key] == wanted[key] for key in wanted):
            return score
    return None


def curve(arm: Mapping[str, Any], metric: str, **wanted: str) -> list[tuple[int, Mapping]]:
    """(edits, score) of all facts edited so far, the end included."""
    points = [(point["step"], pick(point["scores"], metric, **wanted)) for point in arm["along"]]
    points.append((arm["edits"], pick(arm["after_all"], metric, **wanted)))
    return [(edits, score) for edits, score in points if score is not None]


def _course(arm: Mapping[str, Any]) -> str | None:
    """Right after its edit against after all edits."""
    last = pick(arm["after_all"], "efficacy")
    first = pick(arm["immediate"], "efficacy")
    if last is None:
        return None
    if first is None:
        return (
            f"{arm['title']}: after {arm['edits']} edits {_percent(last)} of the edited facts are "
            f"answered with their targets."
        )
    return (
        f"{arm['title']}: right after its own edit {_percent(first)} of the facts are answered "
        f"with their targets; after all {arm['edits']} edits {_percent(last)} still are."
    )


def _decline(arm: Mapping[str, Any]) -> str | None:
    """When the scores along the run fell, and did not recover."""
    if not arm["along"] or not max(score["value"] for _, score in curve(arm, "efficacy")):
        return None
    edits = _declined_at(arm)
    share = f"{100 * DECLINE:.0f} % of its best"
    if edits is None:
        return f"{arm['title']}: efficacy over all facts so far ended above {share}."
    return (
        f"{arm['title']}: efficacy over all facts so far fell under {share} by {edits} edits, and "
        "stayed there."
    )


def _declined_at(arm: Mapping[str, Any]) -> int | None:
    """The first evaluation from which on efficacy stays low; None if it ends high."""
    points = [(edits, score["value"]) for edits, score in curve(arm, "efficacy")]
    best = max(value for _, value in points)
    found = None
    for edits, value in reversed(points):
        if value >= DECLINE * best:
            break
        found = edits
    return found


def _norms(arm: Mapping[str, Any]) -> str | None:
    """Growth of the mean absolute weight."""
    if len(arm["norms"]) < 2:
        return None
    first, last = arm["norms"][0]["layers"], arm["norms"][-1]["layers"]
    growth = {name: last[name]["l1"] / first[name]["l1"] for name in first}
    most = max(growth, key=lambda name: growth[name])
    mean = float(np.mean(list(growth.values())))
    return (
        f"{arm['title']}: the mean absolute weight of the edited layers ended at {mean:.2f} times "
        f"its value before the first edit ({growth[most]:.2f} times in {layer_name(most)})."
    )


def layer_name(name: str) -> str:
    """ "layers_3/mlp.down" -> "layer 3"."""
    return name.partition("/")[0].replace("layers_", "layer ")


def _compare(left: Mapping[str, Any], right: Mapping[str, Any], seed: int) -> list[str]:
    """Differences after all edits, fact by fact."""
    lines = []
    for key, theirs in right["outcomes"].items():
        ours = left["outcomes"].get(key, {})
        shared = sorted(set(ours) & set(theirs), key=int)
        if shared:
            difference = np.array([theirs[fact] - ours[fact] for fact in shared])  # [n]
            high, low = (right, left) if difference.mean() >= 0 else (left, right)
            told = _told(np.abs(difference.mean()), difference, seed)
            metric, _, against = key.partition(", ")
            metric += "" if against == "target" else f" ({AGAINST[against]})"
            verb = "is higher with" if told.real else "cannot be told apart:"
            lines.append(
                f"After all edits {metric} {verb} {high['title']} "
                f"{'than with' if told.real else 'less'} {low['title']}"
                f"{', by' if told.real else ' is'} {told.words}."
            )
    return lines


class _Told(NamedTuple):
    real: bool  # whether zero is outside the interval
    words: str


def _told(size: float, difference: np.ndarray, seed: int) -> _Told:
    """A mean difference, as a positive number, with its interval."""
    low, high = paired_interval(difference, seed=seed)
    if difference.mean() < 0:
        low, high = -high, -low
    words = f"{100 * size:.1f} points [{100 * low:.1f}, {100 * high:.1f}], n={len(difference)}"
    return _Told(low > 0, words)


def _who_declines_first(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    if not (left["along"] and right["along"]):
        return []
    first, second = _declined_at(left), _declined_at(right)
    one, other = left["title"], right["title"]
    question = f"Does {one} decline before {other} does?"
    if first == second:
        when = f"both had by {first} edits" if first else "neither declined"
        return [f"{question} Here {when}."]
    never = float("inf")
    answer = "yes" if (first or never) < (second or never) else "no"
    times = " and ".join(
        f"{title} {f'had by {edits} edits' if edits else 'did not'}"
        for title, edits in ((one, first), (other, second))
    )
    return [f"{question} Here {answer}: {times}."]


def paired_interval(difference: np.ndarray, *, seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean; difference [n]."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(difference), (RESAMPLES, len(difference)))
    low, high = np.quantile(difference[rows].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def _percent(score: Mapping[str, Any]) -> str:
    low, high = score["interval"]
    return f"{100 * score['value']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
