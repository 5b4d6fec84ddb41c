"""Second moments: against a plain sum, on one device and on eight, and their cache."""

import logging
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxedit.editors.contexts import sample_contexts
from jaxedit.editors.corpus import Corpus
from jaxedit.editors.resources import fingerprint, statistics
from jaxedit.editors.statistics import second_moments
from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.models.sites import Tap
from jaxedit.models.text import pad_batch
from tests.tiny import SENTENCES, tiny_model

TEXTS = [" ".join(SENTENCES[i % 5].split()[: 2 + i % 6]) for i in range(40)]


def plain_moments(layer: int) -> tuple[np.ndarray, int]:
    """One text at a time, summed in numpy."""
    lm = tiny_model()
    tap = (Tap(layer, "mlp.down.in"),)
    run = jax.jit(
        lambda ids, mask: forward(lm.config, lm.params, ids, mask, stop=layer + 1, taps=tap).taps[0]
    )
    total, count = np.zeros(()), 0
    for text in TEXTS:
        row = lm.tokenizer.encode(text)
        ids, mask = pad_batch([row], pad_id=0, length=48)
        keys = np.asarray(run(ids, mask), np.float64)[0, : len(row)]
        total, count = total + keys.T @ keys, count + len(row)
    return total / count, count


@pytest.mark.parametrize("devices", [1, 8])
def test_moments_are_the_mean_of_outer_products(devices: int):
    found = second_moments(tiny_model(devices), (1, 2), TEXTS, tokens=10**6)
    for layer in (1, 2):
        expected, count = plain_moments(layer)
        assert found.tokens == count
        assert found.matrices[layer].dtype == np.float64
        assert np.abs(found.matrices[layer] - expected).max() < 1e-6 * np.abs(expected).max()


def test_tokens_bound_the_pass():
    assert second_moments(tiny_model(), (1,), TEXTS * 100, tokens=300).tokens < 2000


def test_no_text_is_refused():
    with pytest.raises(UserError, match="no text"):
        second_moments(tiny_model(), (1,), [])


def test_the_cache_is_used_and_a_foreign_one_refused(tmp_path: Path, caplog):
    lm = tiny_model()
    corpus_file = tmp_path / "corpus.txt"
    corpus_file.write_text("\n".join(TEXTS))
    cache = tmp_path / "cache"
    first = statistics(lm, (1,), Corpus(str(corpus_file)), tokens=200, cache=cache)
    [path] = cache.glob("*.npz")
    stamp = path.stat().st_mtime_ns
    again = statistics(lm, (1,), Corpus(str(corpus_file)), tokens=200, cache=cache)
    assert path.stat().st_mtime_ns == stamp
    assert np.array_equal(first.matrices[1], again.matrices[1])
    np.savez(path, label="of something else", layer_1=np.eye(3), count=5)
    with caplog.at_level(logging.WARNING):
        mended = statistics(lm, (1,), Corpus(str(corpus_file)), tokens=200, cache=cache)
    assert "not used" in caplog.text
    assert np.array_equal(first.matrices[1], mended.matrices[1])


def test_another_model_has_another_fingerprint():
    lm = tiny_model()
    other = lm.with_params(jax.tree.map(lambda x: x * 1.001, lm.params))
    assert fingerprint(lm) == fingerprint(tiny_model()) != fingerprint(other)


def test_a_missing_corpus_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"nowhere\.txt does not exist.*'model'"):
        statistics(tiny_model(), (1,), Corpus("nowhere.txt"), cache=tmp_path)


def test_statistics_from_the_models_own_text(tmp_path: Path):
    moments = statistics(tiny_model(), (1,), Corpus("model"), tokens=500, cache=tmp_path)
    assert moments.tokens >= 500


def test_contexts_repeat_by_seed():
    lm = tiny_model()
    contexts = sample_contexts(lm, 3)
    assert contexts == sample_contexts(lm, 3) != sample_contexts(lm, 4)
    assert contexts[0] == ("{}",)
    assert len(contexts[1]) == 5
    assert all(template.endswith(". {}") for template in contexts[1])
