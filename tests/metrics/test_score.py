import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from jaxedit.errors import UserError
from jaxedit.metrics import Score, Setting
from jaxedit.metrics.score import bootstrap, mean_score

SETTING = Setting("after_all", "float32", version="1.2")
NAMES: dict[str, Any] = {
    "metric": "efficacy",
    "decoding": "generation",
    "reading": "exact",
    "against": "target",
}


def score(values=(1.0, 0.0, 1.0, 1.0), **more) -> Score:
    return mean_score(np.array(values), SETTING, (4, 4), **NAMES | more)


def test_a_score_prints_with_its_whole_protocol():
    text = str(score())
    for part in ("efficacy 75.00 %", "generation", "exact against target", "after_all at 4 edits",
                 "'{}'", "n=4", "seed 0", "float32", "jaxedit 1.2"):  # fmt: skip
        assert part in text
    assert score().label == "efficacy (generation, exact, target)"


@pytest.mark.parametrize("name", ["metric", "when", "dtype", "version", "reading"])
def test_a_number_without_protocol_is_no_score(name):
    with pytest.raises(UserError, match=name):
        dataclasses.replace(score(), **{name: ""})


def test_a_score_survives_json():
    before = score()
    assert Score.from_dict(json.loads(json.dumps(before.to_dict()))) == before
    for broken in ({"value": 1.0}, before.to_dict() | {"more": 1}):
        with pytest.raises(UserError, match="not a score"):
            Score.from_dict(broken)


def test_the_interval_holds_the_value_and_depends_on_the_seed_alone():
    values = np.random.default_rng(3).random(200)
    low, high = bootstrap(values, seed=1)
    assert low < values.mean() < high
    assert bootstrap(values, seed=1) == (low, high)
    assert bootstrap(values, seed=2) != (low, high)
    half = 1.96 * values.std() / np.sqrt(200)
    np.testing.assert_allclose(high - low, 2 * half, rtol=0.15)


def test_one_fact_has_an_interval_of_no_width():
    assert bootstrap(np.array([0.25])) == (0.25, 0.25)


def test_weights_and_exponential_give_a_perplexity():
    weights = np.array([1.0, 3.0])
    got = score((2.0, 4.0), weights=weights, exponential=True, reading="pooled")
    np.testing.assert_allclose(got.value, np.exp(3.5))
    np.testing.assert_allclose(got.interval, np.exp([2.0, 4.0]))
    assert "33.12" in str(got)
