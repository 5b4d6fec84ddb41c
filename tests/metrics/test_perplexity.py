import numpy as np
import pytest

from jaxedit.data.fact import Fact
from jaxedit.errors import UserError
from jaxedit.metrics import Setting, answer, heldout_perplexity, questions, target_perplexity
from tests.metrics.fake import Table

SETTING = Setting("before", "float32", version="test")
FACTS = [
    Fact(prompt="{} is", subject="a", target="one"),
    Fact(prompt="{} is", subject="b", target="two three four"),
]


def test_targets_are_pooled_over_tokens():
    lm = Table({"a is": "one"}, right=0.5, wrong=0.25)
    got = target_perplexity(answer(lm, questions(FACTS), SETTING, edits=0, generation=False))
    np.testing.assert_allclose(got.value, np.exp(-(np.log(0.5) + 3 * np.log(0.25)) / 4))
    assert (got.n, got.reading, got.against) == (2, "pooled", "target")


def test_heldout_text():
    got = heldout_perplexity(Table({}, right=0.125), ["a b c", "d e"], SETTING, edits=9)
    np.testing.assert_allclose(got.value, 8.0)
    np.testing.assert_allclose(got.interval, (8.0, 8.0))
    assert (got.edits, got.n) == ((9, 9), 2)


def test_a_broken_models_perplexity_is_huge_but_a_number():
    class Broken(Table):
        def loglikelihood(self, texts):
            return [(float("nan"), 3) for _ in texts]

    got = heldout_perplexity(Broken({}), ["a b c"], SETTING, edits=1)
    assert got.value > 1e200
    assert np.isfinite(got.value)


def test_nothing_to_measure_is_an_error():
    with pytest.raises(UserError, match="none"):
        target_perplexity([])
    with pytest.raises(UserError, match="two tokens"):
        heldout_perplexity(Table({}), [""], SETTING, edits=0)
