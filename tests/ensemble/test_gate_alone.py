"""The gate taught alone: a convex problem solved, and written where it is read."""

import numpy as np
import pytest

from jaxedit.ensemble.gates import Gate, features, fit_gate, regress, shut
from jaxedit.ensemble.plugin import alpha, gate_logits, with_gate
from jaxedit.ensemble.prompts import Unrelated
from jaxedit.errors import UserError
from tests.tiny import tiny_facts, tiny_model

OTHERS = [Unrelated(f"Jovan Osei lives in street {i} of", "Sarn") for i in range(5)]


@pytest.mark.parametrize("intercept", [True, False])
def test_the_slope_is_zero_at_the_end(intercept):
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(40, 6)), (rng.random(40) < 0.4).astype(float)
    shares, penalty = np.full(40, 1 / 40), 1e-2
    row, bias, loss = regress(x, label, shares, penalty, intercept=intercept)
    z = x @ row + bias
    p = 1 / (1 + np.exp(-z))
    ridge = penalty * np.mean(x**2) * 6
    np.testing.assert_allclose(x.T @ (shares * (p - label)) + ridge * row, 0, atol=1e-5)
    if intercept:
        assert abs(shares @ (p - label)) < 1e-5
    plain = np.mean(np.logaddexp(0, z) - label * z)
    assert loss == pytest.approx(plain + 0.5 * ridge * row @ row, rel=1e-6)
    assert plain < np.log(2)


def test_separable_prompts_are_told_apart():
    plugin = with_gate(tiny_model())
    facts = tiny_facts(5)
    taught, loss = fit_gate(plugin, facts, OTHERS, Gate(penalty=1e-6))
    edits = alpha(taught, [fact.question for fact in facts])
    others = alpha(taught, [item.prompt for item in OTHERS])
    assert loss < 0.1 and edits.min() > 0.8 and others.max() < 0.2
    row = np.asarray(taught.lm.params["head"]["kernel"])[:, taught.gate]
    bias = float(taught.lm.params["head"]["bias"][taught.gate])
    prompts = [fact.question for fact in facts]
    np.testing.assert_allclose(
        features(taught, prompts) @ row + bias, gate_logits(taught, prompts), rtol=1e-4, atol=1e-4
    )
    old = np.asarray(plugin.lm.params["head"]["kernel"])[:, :-1]
    np.testing.assert_array_equal(np.asarray(taught.lm.params["head"]["kernel"])[:, :-1], old)


def test_nothing_to_tell_apart():
    with pytest.raises(UserError, match="give both"):
        fit_gate(with_gate(tiny_model()), tiny_facts(2), [])


def test_a_gate_is_shut():
    plugin, prompts = with_gate(tiny_model()), [fact.question for fact in tiny_facts(5)]
    assert alpha(shut(plugin, prompts, penalty=1e-6), prompts).max() < 0.05
