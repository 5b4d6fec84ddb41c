"""What was found, in sentences: computed from a run's results, never assumed.

Arms are compared fact by fact on the same facts; a difference is stated as one only where the
95 % bootstrap interval of the mean difference leaves out zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

RESAMPLES = 2000
DECLINE = 0.9  # of the share that the same edits reached at first


def findings(result: Mapping[str, Any]) -> list[str]:
    """Plain sentences about a whole result (`results.run_result`)."""
    arms = result["arms"]
    lines = [line for arm in arms for line in (_course(arm), _decline(arm), _norms(arm)) if line]
    for left, right in combinations(arms, 2):
        lines += _compare(left, right, result["config"]["seed"])
        lines += _who_declines_first(left, right)
    return lines


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
    if not arm["along"]:
        return None
    edits = _first_decline(arm)
    share = round(100 * DECLINE)
    if edits is None:
        return (
            f"{arm['title']}: at no evaluation did efficacy over all facts so far fall under "
            f"{share} % of its first value."
        )
    return (
        f"{arm['title']}: efficacy over all facts so far first fell under {share} % of its first "
        f"value at {edits} edits."
    )


def _first_decline(arm: Mapping[str, Any]) -> int | None:
    points = curve(arm, "efficacy")
    start = points[0][1]["value"]
    fallen = (edits for edits, score in points if score["value"] < DECLINE * start)
    return next(fallen, None)


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
        if not shared:
            continue
        difference = np.array([theirs[fact] - ours[fact] for fact in shared])
        low, high = paired_interval(difference, seed=seed)
        metric = key.replace(", target", "").replace(", ", " against the ")
        metric = metric.replace("the unedited", "the unedited model")
        points = 100 * float(difference.mean())
        told = f"{abs(points):.1f} points [{100 * low:.1f}, {100 * high:.1f}], n={len(shared)}"
        if low > 0 or high < 0:
            word = "higher" if points > 0 else "lower"
            lines.append(
                f"After all edits {metric} is {word} with {right['title']} than with "
                f"{left['title']}, by {told}."
            )
        else:
            lines.append(
                f"After all edits {metric} of {right['title']} and {left['title']} cannot be told "
                f"apart: a difference of {told}."
            )
    return lines


def _who_declines_first(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    if not (left["along"] and right["along"]):
        return []
    ends = {arm["title"]: _first_decline(arm) for arm in (left, right)}
    (one, first), (other, second) = ends.items()
    if first == second:
        when = f"both at {first} edits" if first else "neither did"
        return [f"Which of {one} and {other} declines first: {when}."]
    never = float("inf")
    winner, loser = (one, other) if (first or never) < (second or never) else (other, one)
    return [f"{winner} declined before {loser} did, by the measure above."]


def paired_interval(difference: np.ndarray, *, seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean; difference [n]."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(difference), (RESAMPLES, len(difference)))
    low, high = np.quantile(difference[rows].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def _percent(score: Mapping[str, Any]) -> str:
    low, high = score["interval"]
    return f"{100 * score['value']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
