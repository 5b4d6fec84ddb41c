"""Second moments: against a plain sum, on one device and on eight, cut by tokens and documents."""

from typing import Any

import jax
import numpy as np
import pytest

from jaxedit.editors import statistics as module
from jaxedit.editors.contexts import sample_contexts
from jaxedit.editors.statistics import Budget, Moments, check_moments, go_through, second_moments
from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.models.sites import Tap
from jaxedit.models.text import pad_batch
from tests.tiny import SENTENCES, tiny_model

TEXTS = [" ".join(SENTENCES[i % 5].split()[: 2 + i % 3]) for i in range(40)]


def plain_moments(layer: int, texts: list[str] = TEXTS) -> tuple[np.ndarray, int]:
    """Each text by itself, summed in numpy."""
    lm = tiny_model()
    rows = [lm.tokenizer.encode(text) for text in texts]
    ids, mask = pad_batch(rows, pad_id=0, length=16)
    tap = (Tap(layer, "mlp.down.in"),)
    run = jax.jit(
        lambda ids, mask: forward(lm.config, lm.params, ids, mask, stop=layer + 1, taps=tap).taps[0]
    )
    keys = np.asarray(run(ids, mask), np.float64)[mask]
    return keys.T @ keys / len(keys), len(keys)


@pytest.mark.parametrize("devices", [1, 8])
def test_moments_are_the_mean_of_outer_products(devices: int):
    found = second_moments(tiny_model(devices), (1, 2), TEXTS, tokens=10**6)
    for layer in (1, 2):
        expected, count = plain_moments(layer)
        assert found.tokens == count
        assert found.matrices[layer].dtype == np.float64
        assert np.abs(found.matrices[layer] - expected).max() < 1e-6 * np.abs(expected).max()


def test_the_document_that_reaches_the_tokens_is_the_last():
    lengths = np.cumsum([len(tiny_model().tokenizer.encode(text)) for text in TEXTS])
    found = second_moments(tiny_model(), (1,), TEXTS, tokens=int(lengths[17]) - 1)
    expected, count = plain_moments(1, TEXTS[:18])
    assert found.tokens == count == lengths[17]
    assert np.allclose(found.matrices[1], expected, rtol=1e-5, atol=1e-8)


def test_documents_and_their_length_bound_the_pass(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "GROUP", 7)
    lengths = [len(tiny_model().tokenizer.encode(text)) for text in TEXTS]
    for documents in (1, 7, 14, 20):
        found = second_moments(tiny_model(), (1,), TEXTS, documents=documents, length=5)
        assert found.tokens == sum(min(n, 5) for n in lengths[:documents])


def test_a_pass_goes_on_from_any_batch_with_equal_sums(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "GROUP", 15)
    lm, wanted = tiny_model(), Budget(None, 40, 16)
    states = list(go_through(lm, (1,), TEXTS, wanted))
    assert [(s.groups, s.batches) for s in states] == [(0, 1), (1, 1), (2, 1)]
    for begun in states:
        again = [begun, *go_through(lm, (1,), TEXTS[begun.start :], wanted, begun)][-1]
        assert again[1:] == states[-1][1:]
        assert np.array_equal(again.sums[1], states[-1].sums[1])


def test_no_text_is_refused_by_name():
    with pytest.raises(UserError, match=r"notes\.txt holds no text"):
        second_moments(tiny_model(), (1,), [], source="notes.txt")


@pytest.mark.parametrize(
    "bound", [{"tokens": 5, "documents": 5}, {"tokens": 0}, {"documents": 0}, {"length": -1}]
)
def test_bounds_that_make_no_sense(bound: dict[str, Any]):
    with pytest.raises(UserError, match=r"both given|at least 1"):
        second_moments(tiny_model(), (1,), TEXTS, **bound)


def test_keys_that_are_not_finite_name_the_layer():
    lm = tiny_model()
    broken = lm.with_params(jax.tree.map(lambda x: x * np.float32(np.nan), lm.params))
    with pytest.raises(UserError, match="layer 1 has keys that are not finite"):
        second_moments(broken, (1, 2), TEXTS)


def good() -> np.ndarray:
    return np.diag(np.arange(1.0, 5.0))


def test_good_moments_pass():
    check_moments({3: good()}, (3,), 4, "statistics=")
    check_moments(Moments({3: good().astype(np.float32)}, 9).matrices, (3,), 4, "statistics=")


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (good()[:3, :3], r"layer 3 have shape \(3, 3\), but .* 4 wide"),
        (good().ravel(), "layer 3 have shape"),
        (np.where(good() == 2, np.nan, good()), "layer 3 are not finite"),
        (np.where(good() == 2, -2.0, good()), "layer 3 are no mean of squares"),
        (np.zeros((4, 4)), "layer 3 are no mean of squares"),
        (good() + np.eye(4, k=1), "layer 3 are not symmetric"),
        (good().astype(str), "layer 3 are of type"),
    ],
)
def test_moments_that_cannot_be_some(matrix: np.ndarray, said: str):
    with pytest.raises(UserError, match=f"^statistics=: the statistics of {said}"):
        check_moments({3: matrix}, (3,), 4, "statistics=")


def test_a_missing_layer_is_named():
    with pytest.raises(UserError, match=r"no statistics of layer 5 \(of 3\)"):
        check_moments({3: good()}, (3, 5), 4, "statistics=")


def test_contexts_repeat_by_seed():
    lm = tiny_model()
    contexts = sample_contexts(lm, 3)
    assert contexts == sample_contexts(lm, 3) != sample_contexts(lm, 4)
    assert contexts[0] == ("{}",)
    assert len(contexts[1]) == 5
    assert all(template.endswith(". {}") for template in contexts[1])
