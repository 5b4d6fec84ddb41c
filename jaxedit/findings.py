"""What was found, in sentences: computed from a run's results, never assumed.

Arms are compared fact by fact on the same facts; a difference is stated as one only where the
95 % bootstrap interval of the mean difference leaves out zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxedit.metrics.records import OURS

RESAMPLES = 2000
DECLINE = 0.9  # of the best share along the run
DEFAULT = {"protocol": OURS, "group": ""}
FUSED = "dw_ee"  # the mode of fusion that is told of, where it was asked
AGAINST = {"truth": "the true answer", "unedited": "the unedited model"}


def findings(result: Mapping[str, Any]) -> list[str]:
    """Plain sentences about a whole result (`results.run_result`); later arms against the first."""
    arms = result["arms"]
    lines = []
    for other in arms[1:]:
        lines += _who_declines_first(arms[0], other)
        lines += _compare(arms[0], other, result["config"]["seed"])
    for arm in arms:
        parts = [part for part in (_course(arm), _decline(arm), _norms(arm)) if part]
        lines += [f"{arm['title']}: {'; '.join(parts)}."] if parts else []
        lines += _in_targets(arm)
    return lines


def pick(scores: Sequence[Mapping[str, Any]], metric: str, **wanted: str) -> Mapping | None:
    """The score of a metric over all questions; ours, teacher-forced and exact unless told so."""
    wanted = {"decoding": "teacher_forced", "reading": "exact", **DEFAULT, **wanted}
    for score in scores:
        told = {**DEFAULT, **score}
        if score["metric"] == metric and all(told[key] == wanted[key] for key in wanted):
            return score
    return None


def curve(arm: Mapping[str, Any], metric: str, **wanted: str) -> list[tuple[int, Mapping]]:
    """(edits, score) of all facts edited so far, the end included."""
    points = [(point["step"], pick(point["scores"], metric, **wanted)) for point in arm["along"]]
    points.append((arm["edits"], pick(arm["after_all"], metric, **wanted)))
    return [(edits, score) for edits, score in points if score is not None]


def _course(arm: Mapping[str, Any]) -> str | None:
    """Right after its edit against after all edits."""
    last, first = pick(arm["after_all"], "efficacy"), pick(arm["immediate"], "efficacy")
    if last is None:
        return None
    if first is None:
        return f"after {arm['edits']} edits {_percent(last)} of the facts give their targets"
    return (
        f"right after its own edit {_percent(first)} of the facts give their targets, after all "
        f"{arm['edits']} edits {_percent(last)}"
    )


def _in_targets(arm: Mapping[str, Any]) -> list[str]:
    """What an edited plug-in does for each model that it was to correct."""
    lines = []
    for target, modes in arm.get("targets", {}).items():
        mode = FUSED if FUSED in modes else list(modes)[-1]
        shares = [
            f"{_percent(found)} of the {noun}"
            for metric, noun in (("efficacy", "facts"), ("paraphrase", "paraphrases"))
            if (found := _best_known(modes[mode], metric)) is not None
        ]
        kept = _best_known(modes[mode], "specificity", against="truth")
        left = f", and neighbours are right in {_percent(kept)}" if kept else ""
        if shares:
            given = " and ".join(shares)
            lines.append(f"{arm['title']} in {target} ({mode}): {given} give their targets{left}.")
    return lines


def _best_known(scores: Sequence[Mapping[str, Any]], metric: str, **wanted: str) -> Mapping | None:
    """Of generated answers, or of teacher-forced ones where none was generated."""
    generated = pick(scores, metric, decoding="generation", **wanted)
    return generated or pick(scores, metric, **wanted)


def _decline(arm: Mapping[str, Any]) -> str | None:
    """When the scores along the run fell, and did not recover."""
    if not arm["along"] or not max(score["value"] for _, score in curve(arm, "efficacy")):
        return None
    edits = _declined_at(arm)
    share = f"{100 * DECLINE:.0f} % of its best"
    if edits is None:
        return f"efficacy over all facts so far ended above {share}"
    return f"efficacy over all facts so far fell under {share} by {edits} edits and stayed there"


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
    """Growth of the mean absolute weight, where a method changes any that was not zero."""
    grown = growth(arm["norms"])
    if not grown:
        return None
    most = max(grown, key=lambda name: grown[name])
    mean = float(np.mean(list(grown.values())))
    return (
        f"the mean absolute weight of the edited layers ended at {mean:.2f} times its value before "
        f"the first edit ({grown[most]:.2f} times in {layer_name(most)})"
    )


def growth(norms: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean absolute weight of each edited leaf at the end over that before, where there was any.

    Args:
        norms: an arm's records, in order.
    """
    if len(norms) < 2:
        return {}
    first, last = norms[0]["layers"], norms[-1]["layers"]
    return {name: last[name]["l1"] / first[name]["l1"] for name in first if first[name]["l1"]}


def layer_name(name: str) -> str:
    """ "layers_3/mlp.down" -> "layer 3"."""
    return name.partition("/")[0].replace("layers_", "layer ")


def _compare(base: Mapping[str, Any], other: Mapping[str, Any], seed: int) -> list[str]:
    """Differences after all edits, fact by fact, in one sentence."""
    groups: dict[str, list[str]] = {"ahead of": [], "behind": [], "not to be told apart from": []}
    count = 0
    for key, theirs in other["outcomes"].items():
        ours = base["outcomes"].get(key, {})
        shared = sorted(set(ours) & set(theirs), key=int)
        if shared:
            difference = np.array([theirs[fact] - ours[fact] for fact in shared])  # [n]
            low, high = paired_interval(difference, seed=seed)
            place = "ahead of" if low > 0 else "behind" if high < 0 else "not to be told apart from"
            points = f"{100 * difference.mean():+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
            groups[place].append(f"{_metric(key)} ({points})")
            count = max(count, len(shared))
    told = [
        f"{place} {base['title']} in {', '.join(metrics)}"
        for place, metrics in groups.items()
        if metrics
    ]
    if not told:
        return []
    return [f"After all edits {other['title']} is {'; '.join(told)}; n={count}, fact by fact."]


def _metric(key: str) -> str:
    metric, _, against = key.partition(", ")
    return metric if against == "target" else f"{metric} against {AGAINST[against]}"


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
