"""Sentences follow from the numbers, whichever way these fall."""

import numpy as np
import pytest

from jaxedit.findings import findings, paired_interval
from jaxedit.plots import pictures

N = 40


def score(metric: str, value: float, against: str = "target") -> dict:
    return {
        "metric": metric,
        "decoding": "teacher_forced",
        "reading": "exact",
        "against": against,
        "value": value,
        "interval": [max(0, value - 0.1), min(1, value + 0.1)],
        "n": N,
    }


def arm(title: str, along: list[float], kept: float, growth: float = 1.5) -> dict:
    def norms(scale: float) -> dict:
        return {f"layers_{layer}/mlp.down": {"l1": 0.02 * scale} for layer in (3, 4)}

    outcomes = {str(fact): float(fact < kept * N) for fact in range(N)}
    return {
        "title": title,
        "edits": N,
        "immediate": [score("efficacy", 0.975)],
        "after_all": [score("efficacy", kept)],
        "along": [
            {"step": 10 * (i + 1), "scores": [score("efficacy", value)]}
            for i, value in enumerate(along)
        ],
        "norms": [{"step": 0, "layers": norms(1)}, {"step": N, "layers": norms(growth)}],
        "outcomes": {"efficacy, target": outcomes},
    }


def told(*arms: dict) -> str:
    return "\n".join(findings({"arms": list(arms), "config": {"seed": 0}}))


def test_a_decline_is_dated_and_compared():
    text = told(arm("MEMIT", [1, 0.8, 0.5], 0.25, 3.0), arm("D4S", [1, 1, 0.95], 0.95, 1.2))
    assert "Does MEMIT decline before D4S does? Here yes: MEMIT had by 20 edits and D4S did" in text
    assert "After all edits D4S is ahead of MEMIT in efficacy (+70.0 points [+" in text
    assert "n=40, fact by fact." in text
    assert "MEMIT: right after its own edit 97.5 % [87.5, 100.0] of the facts" in text
    assert "after all 40 edits 25.0 %" in text
    assert "efficacy over all facts so far fell under 90 % of its best by 20 edits" in text
    assert "the mean absolute weight of the edited layers ended at 3.00 times" in text


def test_the_other_way_round_it_says_no():
    text = told(arm("MEMIT", [1, 1, 1], 0.95), arm("D4S", [1, 0.8, 0.5], 0.25))
    assert "Does MEMIT decline before D4S does? Here no: MEMIT did not and D4S had by 20" in text
    assert "D4S is behind MEMIT in efficacy (-70.0 points [" in text


def test_what_cannot_be_told_apart_is_not_called_a_difference():
    text = told(arm("MEMIT", [1, 1, 1], 0.950), arm("D4S", [1, 1, 1], 0.975))
    assert "D4S is not to be told apart from MEMIT in efficacy (+2.5 points [+0.0, " in text
    assert "Here neither declined." in text


def test_what_a_plugin_does_for_others_is_told():
    forced = [score("efficacy", 0.5), score("specificity", 0.8, "truth")]
    said = [{**score("efficacy", 0.75), "decoding": "generation"}, *forced]
    targets = {"a": {"before": [], "dw_ee": said, "dw": []}, "b": {"before": [], "dw": forced}}
    text = told({**arm("OnceEdit", [1], 1.0), "targets": targets})
    assert "OnceEdit in a (dw_ee): 75.0 % [65.0, 85.0] of the facts give their targets" in text
    assert "OnceEdit in b (dw): 50.0 % [40.0, 60.0] of the facts give their targets" in text
    assert text.count("and neighbours are right in 80.0 % [70.0, 90.0].") == 2


def test_later_arms_are_compared_with_the_first():
    text = told(arm("A", [1], 0.2), arm("B", [1], 0.5), arm("C", [1], 0.9))
    assert "B is ahead of A" in text and "C is ahead of A" in text and "ahead of B" not in text


def test_a_dip_that_recovers_is_no_decline():
    text = told(arm("D4S", [1, 0.5, 1], 0.975))
    assert "ended above 90 % of its best" in text


def test_nothing_learnt_and_nothing_measured():
    text = told(arm("D4S", [0, 0, 0], 0.0))
    assert "fell under" not in text and "ended above" not in text
    bare = arm("D4S", [], 0.5) | {"immediate": [], "norms": []}
    assert told(bare) == "D4S: after 40 edits 50.0 % [40.0, 60.0] of the facts give their targets."
    assert findings({"arms": [], "config": {"seed": 0}}) == []


def test_the_interval_covers_the_mean_of_paired_differences():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        low, high = paired_interval(rng.normal(0.3, 1, 50), seed=seed)
        covered += low <= 0.3 <= high
    assert covered >= 51
    assert paired_interval(np.full(5, 0.25), seed=0) == pytest.approx((0.25, 0.25))


def test_a_method_that_changes_no_weights_has_no_norms():
    kept = arm("retrieval", [1, 1], 0.95)
    kept["norms"] = [{"step": step, "layers": {}} for step in (0, N)]
    assert "mean absolute weight" not in told(kept)
    kept |= {"name": "retrieval", "along": [], "edit_log": [], "retention": []}
    for perplexity, drawn in ((None, []), ({"value": 7.0}, ["damage"])):
        harm = [{"step": step, "condition": {}, "perplexity": perplexity} for step in (0, N)]
        result = {"arms": [{**kept, "damage": harm}], "model": {"d_ff": 64}}
        assert [picture.name for picture in pictures(result)] == drawn


def test_a_weight_that_was_zero_has_no_growth():
    kept = arm("FT-M", [1, 1], 0.95)
    for at in kept["norms"]:
        at["layers"]["layers_4/mlp.down.bias"] = {"l1": at["step"] * 0.1}
    assert "ended at 1.50 times its value" in told(kept)
    for at in kept["norms"]:
        del at["layers"]["layers_3/mlp.down"], at["layers"]["layers_4/mlp.down"]
    assert "mean absolute weight" not in told(kept)
