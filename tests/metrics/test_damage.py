import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.metrics import Setting, condition_number, damage
from tests.tiny import SENTENCES, tiny_model

SETTING = Setting(when="checkpoint", dtype="float32", max_new_tokens=4)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_condition_number_of_a_known_matrix(shape: tuple[int, int]):
    rng = np.random.default_rng(0)
    left, _ = np.linalg.qr(rng.normal(size=(shape[0], 3)))
    right, _ = np.linalg.qr(rng.normal(size=(shape[1], 3)))
    matrix = left @ np.diag([6.0, 2.0, 0.01]) @ right.T
    assert condition_number(matrix) == pytest.approx(600, rel=1e-6)
    assert condition_number(np.zeros(shape)) == float("inf")
    assert condition_number(np.full(shape, np.nan)) == float("inf")


def test_damage_is_of_matrices_and_of_texts_that_are_given():
    lm = tiny_model()
    weights = {"a": jnp.eye(3), "a.bias": jnp.ones(3)}
    without = damage(lm, weights, (), SETTING, edits=3)
    assert without.condition == {"a": 1.0} and without.perplexity is None
    found = damage(lm, weights, SENTENCES[:3], SETTING, edits=3)
    assert found.perplexity is not None and found.perplexity.n == 3
    assert found.perplexity.value > 1
    assert found.to_dict()["perplexity"]["metric"] == "perplexity"
