"""Results in the form of result.json, made up: no model is run for the papers' layer."""

from collections.abc import Sequence
from typing import Any

TARGET = "embedded:gptj"
KINDS = (  # metric, decoding, reading, against
    ("efficacy", "teacher_forced", "exact", "target"),
    ("paraphrase", "teacher_forced", "exact", "target"),
    ("specificity", "teacher_forced", "exact", "truth"),
    ("specificity", "teacher_forced", "exact", "unedited"),
)


def score(metric: str, value: float | None, **changes: Any) -> dict[str, Any]:
    interval = None if value is None else [value - 0.1, value + 0.05]
    told = {"metric": metric, "value": value, "interval": interval, "n": 10}
    kind = {"decoding": "teacher_forced", "reading": "exact", "against": "target"}
    return told | kind | {"protocol": "jaxedit"} | changes


def scores(level: float) -> list[dict[str, Any]]:
    """Ours, and both of EasyEdit's protocols a little lower, all about one level."""
    found = [
        score(metric, level - 0.05 * i, decoding=decoding, reading=reading, against=against)
        for i, (metric, decoding, reading, against) in enumerate(KINDS)
    ]
    found.append(score("perplexity", 20.0, reading="per_target", interval=[15.0, 30.0]))
    for decoding, protocol in (
        ("teacher_forced", "easyedit_teacher_forced"),
        ("generation", "easyedit_generation"),
    ):
        told = {"decoding": decoding, "reading": "token_accuracy", "protocol": protocol}
        found += [
            score("reliability", level, **told),
            score("generality", level / 2, **told),
            score("locality", level / 4, against="unedited", **told),
        ]
    return found


def task_scores(level: float, names: Sequence[str] = ("world_facts",)) -> list[dict[str, Any]]:
    """As a run keeps downstream tests (`Ability.to_dict`), more than one metric a test."""
    plain = {"interval": [level - 0.1, level + 0.1], "n": 50, "chance": 0.25}
    return [
        {"task": name, "metric": metric, "value": value, **plain}
        for name in names
        for metric, value in (("acc", level), ("acc_norm", level / 2))
    ]


def arm(name: str = "d4s", level: float = 0.8, edits: int = 30, **changes: Any) -> dict[str, Any]:
    """An arm that was scored after 10, 20 and all edits; its level falls by a tenth each time."""
    steps = list(range(10, edits, 10))
    layers = {"layers_1/mlp.down": {"l1": 0.5}, "layers_2/mlp.down": {"l1": 1.0}}
    grown = {"layers_1/mlp.down": {"l1": 1.0}, "layers_2/mlp.down": {"l1": 1.5}}
    return {
        "name": name,
        "title": name.upper(),
        "edits": edits,
        "immediate": scores(level + 0.1),
        "after_all": scores(level),
        "along": [
            {"step": step, "scores": scores(level + 0.1 * (len(steps) - i))}
            for i, step in enumerate(steps)
        ],
        "norms": [{"step": 0, "layers": layers}, {"step": edits, "layers": grown}],
        "edit_log": [{"step": i + 1, "fact": i, "after": 1 - i / edits} for i in range(edits)],
        "retention": [
            {"first": first, "last": first + 9, "score": one}
            for first in range(0, edits, 10)
            for one in scores(level - first / 100)[:4]
        ],
        "timing": {"steady_seconds_an_edit": 0.25, "edit_seconds": 60.0, "score_seconds": 5.0},
        **changes,
    }


def fused(level: float, target: str = TARGET) -> dict[str, Any]:
    """What an arm's plug-in does for a target, by mode."""
    modes = {"before": 0.0, "deepen": level / 4, "dw": level / 2, "dw_ee": level}
    return {target: {mode: scores(value) for mode, value in modes.items()}}


def result(*arms: dict[str, Any], level: float = 0.1) -> dict[str, Any]:
    return {"arms": list(arms) or [arm()], "before": scores(level), "config": {}}
