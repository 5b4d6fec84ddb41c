"""Scores do not depend on what is scored beside them, nor on where."""

import jax
import jax.monitoring
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.models import scoring
from jaxedit.models.forward import forward
from jaxedit.models.protocol import Row, TeacherForced
from jaxedit.models.text import pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.models.tiny import CONFIGS, VOCAB, tiny_lm

LENGTH = 40
_run = jax.jit(forward, static_argnums=0)


def rows_of(seed: int, prompts: int = 6) -> list[Row]:
    """Prompts with several targets each, of one to five tokens; some targets begin alike."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for _ in range(prompts):
        prompt = rng.integers(3, VOCAB, rng.integers(1, 20)).tolist()
        first = rng.integers(3, VOCAB, 2).tolist()
        targets = [rng.integers(3, VOCAB, rng.integers(1, 6)).tolist() for _ in range(3)]
        targets += [[*first, 5], [*first, 7, 8], first[:1]]
        rows += [(prompt + target, len(prompt)) for target in targets]
        rows.append((prompt, 1))  # its own tokens: another beginning
    return rows


def alone(lm: Transformer, rows: list[Row], side: str) -> list[TeacherForced]:
    """Every row by itself, padded on one side, all logits, in one call of the plain model."""
    ids, mask = pad_batch([ids for ids, _ in rows], pad_id=9, side=side, length=LENGTH)
    logits = _run(lm.config, lm.params, ids, mask).logits
    log_p = np.asarray(jax.nn.log_softmax(logits, axis=-1))
    made = []
    for i, (row, n) in enumerate(rows):
        start = 0 if side == "right" else LENGTH - len(row)
        own = log_p[i, start + n - 1 : start + len(row) - 1]
        labels = np.asarray(row[n:], np.int32)
        made.append(TeacherForced(labels, own.argmax(-1), own[np.arange(len(labels)), labels]))
    return made


def same(a: list[TeacherForced], b: list[TeacherForced]) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x.target_ids, y.target_ids)
        np.testing.assert_array_equal(x.predicted_ids, y.predicted_ids)
        np.testing.assert_allclose(x.logprobs, y.logprobs, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("family", CONFIGS)
def test_packed_or_alone_and_padded_on_either_side(family: str) -> None:
    lm, rows = tiny_lm(family, make_mesh(1)), rows_of(0)
    packed = lm.score_rows(rows)
    same(packed, alone(lm, rows, "right"))
    same(packed, alone(lm, rows, "left"))


@pytest.fixture(scope="module")
def lm() -> Transformer:
    return tiny_lm("llama", make_mesh(1))


@pytest.fixture(scope="module")
def known(lm: Transformer) -> tuple[list[Row], list[TeacherForced]]:
    rows = rows_of(1)
    return rows, alone(lm, rows, "right")


@settings(max_examples=15, deadline=None)
@given(data=st.data(), size=st.sampled_from(((64, 64), (128, 32), (2048, 32))))
def test_neighbours_order_and_size_of_a_batch_change_nothing(lm, known, data, size) -> None:
    (rows, expected), (each, width) = known, size
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "TOKENS", {"cpu": each})
        patch.setattr("jaxedit.models.packed.WIDTHS", (width, 128))
        got = lm.score_rows([rows[i] for i in chosen])
    same(got, [expected[i] for i in chosen])


def test_eight_devices_and_small_chunks_score_the_same(known, monkeypatch) -> None:
    rows, expected = known
    monkeypatch.setattr(scoring, "CHUNK", 24)
    same(tiny_lm("llama", make_mesh(8)).score_rows(rows), expected)


def test_progress_counts_every_row(lm: Transformer) -> None:
    rows, told = [*rows_of(2), *rows_of(2)], []
    lm.score_rows(rows, told.append)
    assert sum(told) == len(rows)
    assert lm.score_rows([]) == []


def test_a_row_of_which_nothing_is_asked(lm: Transformer) -> None:
    (nothing,) = lm.score_rows([([4, 5, 6], 3)])
    assert [len(x) for x in nothing] == [0, 0, 0]


def test_other_texts_compile_nothing_new(lm: Transformer) -> None:
    lm.score_rows(rows_of(3))
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "compile" in name else None
    )
    try:
        for seed in (4, 5):
            lm.score_rows(rows_of(seed))
    finally:
        jax.monitoring.clear_event_listeners()
    assert not compiled
