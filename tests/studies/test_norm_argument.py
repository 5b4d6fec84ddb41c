"""D4S's norm argument: changes from one Gram matrix, when the norm is larger, the study."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.editors.d4s import D4S
from jaxedit.editors.least_squares import accumulate, no_sums, prior, refactor, solve_batch
from jaxedit.editors.rows import PLAIN
from jaxedit.editors.values import ValueSettings
from jaxedit.studies.norm_argument import Record, changes, equations, measure, ratios, record
from jaxedit.studies.norm_instances import Family, Tried, draw, families, summary
from jaxedit.studies.norm_report import Study, text, write
from tests.tiny import tiny_facts, tiny_model

RNG = np.random.default_rng


def _instance(seed: int, edits: int, width: int = 6, rows: int = 3):
    rng = RNG(seed)
    text_keys = rng.standard_normal((4 * width, width))
    keys = rng.standard_normal((edits, width))
    return keys, rng.standard_normal((edits, rows)), text_keys.T @ text_keys / len(text_keys)


def test_the_gram_matrix_gives_the_changes_that_the_editors_make():
    (keys, residuals, moment), count = _instance(0, 9), 8
    found = changes(equations(keys, moment, 5.0), residuals, count)
    before = prior(moment, 5.0, layer=0)
    with jax.enable_x64(True):
        keys, residuals = keys[:count], residuals[:count]
        sums = accumulate(no_sums(3, 6), jax.numpy.asarray(keys), jax.numpy.asarray(residuals))
        d4s = np.asarray(refactor(sums, before, layer=0).delta)
        memit, measured = np.zeros((3, 6)), np.zeros((3, 6))
        for key, residual in zip(keys, residuals, strict=True):
            memit += solve_batch(before, key[None], residual[None])
            measured += solve_batch(before, key[None], (residual - measured @ key)[None])
    np.testing.assert_allclose(found.d4s, d4s, atol=1e-12)
    np.testing.assert_allclose(found.memit, memit, atol=1e-12)
    np.testing.assert_allclose(found.measured, measured, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.floats(0.01, 100.0), st.integers(0, 99))
def test_one_key_many_times_is_the_case_that_the_paper_argues_from(edits, weight, seed):
    keys, residuals, moment = _instance(seed, 1)
    found = equations(np.repeat(keys, edits, axis=0), moment, weight)
    leverage = found.gram[0, 0]
    told = ratios(changes(found, residuals + RNG(seed).standard_normal((edits, 3))))
    expected = (1 + leverage) / (1 + edits * leverage)
    np.testing.assert_allclose(told[:2], expected, rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 0.95), st.floats(0.1, 1000.0))
def test_near_keys_with_opposite_residuals_make_d4s_the_larger(overlap, leverage):
    keys = np.array([[1.0, 0.0], [overlap, np.sqrt(1 - overlap**2)]])
    found = equations(keys, np.eye(2), 1 / leverage)
    both = np.array([[2.0, -1.0, 3.0]])
    apart = ratios(changes(found, np.concatenate([both, -both])))
    larger = (1 + leverage) / (1 + leverage - leverage * overlap)
    np.testing.assert_allclose(apart[:2], larger, rtol=1e-6)
    alike = ratios(changes(found, np.concatenate([both, both])))
    np.testing.assert_allclose(alike[:2], (1 + leverage) / (1 + leverage * (1 + overlap)))
    assert apart.l1 > 1 > alike.l1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.booleans())
def test_the_bound_of_two_on_the_eigenvalues_decides_the_expected_norm(seed, large):
    keys, _, moment = _instance(seed, 5, width=8)
    weight = 1.0
    values = np.linalg.eigvalsh(equations(keys, moment, weight).gram)
    # Scaled so that the greatest eigenvalue is just under 2, or the least just above.
    found = equations(keys, moment, weight * (values[0] / 2.01 if large else values[-1] / 1.99))
    root = moment * weight * (values[0] / 2.01 if large else values[-1] / 1.99)
    # Independent residuals: the expectation is the sum over unit residuals of each edit.
    every = changes(found, np.eye(5))
    memit, d4s = (float(np.einsum("uv,vw,uw->", x, root, x)) for x in (every.memit, every.d4s))
    assert d4s >= memit * (1 - 1e-9) if large else d4s <= memit * (1 + 1e-9)


def test_random_instances_are_of_the_kind_that_their_family_says():
    many = list(families())
    assert len(many) == len({*many}) == 120
    family = Family(width=32, edits=32, overlap=0.9, agreement=0.9, leverage=10.0)
    found, residuals = draw(family, RNG(1))
    assert found.solved.shape == (32, 32) and residuals.shape == (32, 8)
    assert 5 < np.diag(found.gram).mean() < 30
    lengths = np.sqrt(np.diag(found.gram))
    assert 0.8 < (found.gram / np.outer(lengths, lengths)).mean() < 0.99
    assert summary([0.5, 1.0, 2.0, 3.0]) == (0.5, 1.5, 3.0)


@pytest.fixture(scope="module")
def editor() -> D4S:
    rng, width = RNG(2), tiny_model().config.d_ff
    text_keys = rng.standard_normal((2, 4 * width, width))
    moments = {layer: x.T @ x / len(x) for layer, x in zip((1, 2), text_keys, strict=True)}
    return D4S(
        layers=(1, 2),
        statistics=moments,
        contexts=PLAIN,
        moment_weight=2.0,
        values=ValueSettings(steps=2),
    )


@pytest.fixture(scope="module")
def records(editor: D4S) -> dict[int, Record]:
    return record(tiny_model(), editor, tiny_facts(3))


def test_what_is_recorded_is_what_d4s_adds(editor, records):
    lm = tiny_model()
    _, factors = editor.update(lm, editor.init(lm), editor.prepare(lm, tiny_facts(3)))
    np.testing.assert_allclose(records[1].keys, factors.keys[0], rtol=1e-5)
    np.testing.assert_allclose(2 * records[1].residuals, factors.residuals[0], rtol=1e-5)
    np.testing.assert_allclose(records[2].residuals, factors.residuals[1], rtol=1e-5)
    # Layer 2 is recorded on the unedited model: D4S sees layer 1's change there.
    assert np.abs(records[2].keys - factors.keys[1]).max() > 1e-6
    assert records[2].weights.shape == (lm.config.d_model, lm.config.d_ff)


@pytest.fixture(scope="module")
def study(records: dict[int, Record]) -> Study:
    rng = RNG(0)
    tried = tuple(
        Tried(one, tuple(ratios(changes(*draw(one, rng))) for _ in range(2)))
        for one in families()
        if one.width == 8
    )
    recorded = tuple(measure(records, 2.0, times=(1.0, 10.0), counts=(1, 2)))
    return Study("tiny", "random", 2.0, tried, recorded)


def test_recorded_rows_and_what_is_written(study, tmp_path: Path):
    rows = [(row.layer, row.times, row.edits) for row in study.recorded]
    assert rows == [
        (layer, *more) for layer in (1, 2) for more in ((1, 1), (1, 2), (1, 3), (10, 3))
    ]
    first = study.recorded[0]
    assert first.ratios == pytest.approx((1, 1, 1, 1)) and first.overlap == 0
    assert min(study.recorded[2].growth) > 0.5
    paths = write(study, tmp_path / "new")
    assert [path.name for path in paths] == ["study.json", "study.md", "study.png"]
    told = json.loads(paths[0].read_text())
    assert len(told["random"]) == 48 and len(told["recorded"]) == 8
    assert "Of 96 instances D4S's norm is the larger one: L1 in " in text(study)
    assert text(study).count("\n| 2 |") == 4
