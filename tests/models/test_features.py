"""Texts as vectors: pooled hidden states, however they are batched."""

import functools

import jax
import numpy as np
import pytest

from jaxedit.errors import UserError
from jaxedit.models.features import cosines, features
from jaxedit.models.forward import forward
from jaxedit.models.text import pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.models.tiny import tiny_lm

TEXTS = ["the capital of", "is", "of the x", "is", "a long way from the sea of the"]


@pytest.fixture(scope="module")
def lm() -> Transformer:
    return tiny_lm("llama", make_mesh(1))


@functools.partial(jax.jit, static_argnums=0)
def _run(config, params, ids, mask):
    return forward(config, params, ids, mask, stop=2).hidden


def states(lm: Transformer, text: str) -> np.ndarray:
    """[T, D], what block 1 gives out for one text by itself, BOS first."""
    row = lm.tokenizer.encode(text)
    ids, mask = pad_batch([row], pad_id=0, length=40)
    return np.asarray(_run(lm.config, lm.params, ids, mask)[0, : len(row)], np.float64)


def test_the_last_tokens_state(lm: Transformer) -> None:
    found = features(lm, TEXTS, 1, "last")
    for text, vector in zip(TEXTS, found, strict=True):
        last = states(lm, text)[-1]
        np.testing.assert_allclose(vector, last / np.linalg.norm(last), atol=1e-5)


def test_the_mean_leaves_out_bos_and_weighs_tokens_alike(lm: Transformer) -> None:
    found = features(lm, TEXTS, 1)
    for text, vector in zip(TEXTS, found, strict=True):
        own = states(lm, text)[1:]
        mean = (own / np.linalg.norm(own, axis=1, keepdims=True)).mean(axis=0)
        np.testing.assert_allclose(vector, mean, atol=1e-5)


def test_equal_texts_are_equal_and_devices_do_not_matter(lm: Transformer) -> None:
    found = features(lm, TEXTS, 1)
    assert (found[1] == found[3]).all()
    many = features(tiny_lm("llama", make_mesh(8)), TEXTS, 1)
    np.testing.assert_allclose(many, found, atol=1e-6)
    assert features(lm, [], 1).shape == (0, lm.config.d_model)


def test_what_cannot_be_is_refused(lm: Transformer) -> None:
    with pytest.raises(UserError, match=r"no layer 3 .* it has 0 to 2"):
        features(lm, TEXTS, 3)
    with pytest.raises(UserError, match="pooling is 'first'"):
        features(lm, TEXTS, 1, "first")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"text 1 has .* but the model takes 64"):
        features(lm, ["of the " * 40], 1)


def test_cosines() -> None:
    left = np.array([[3.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(
        cosines(left, np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]])),
        [[1, 0, -np.sqrt(0.5)], [0, 0, 0]],
    )
