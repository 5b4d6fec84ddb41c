"""Scores and texts of a whole model, however it is batched and spread."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.models.generate import NOTHING, Sampling, generate_ids
from jaxedit.models.protocol import LanguageModel
from jaxedit.models.scoring import score_ids
from jaxedit.models.text import Tokenizer, pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.models.tiny import tiny_lm
from tests.tiny import SENTENCES, tiny_model

PROMPTS = ["the capital of", "is", "a long way from the sea of", "", "of the"]
TARGETS = ["france", "the", "is of the x", "of", "a"]


@pytest.fixture(scope="module", params=["gptj", "mistral"])
def lm(request: pytest.FixtureRequest) -> Transformer:
    return tiny_lm(request.param, make_mesh(1))


@pytest.fixture(scope="module")
def llama() -> Transformer:
    return tiny_lm("llama", make_mesh(1))


_run = jax.jit(forward, static_argnums=0)


def logits_of(lm: Transformer, ids: list[int]) -> np.ndarray:
    """[T, V] of one text by itself."""
    row, mask = pad_batch([ids], pad_id=0, length=64)
    logits = _run(lm.config, lm.params, row, mask).logits
    assert logits is not None
    return np.asarray(logits[0, : len(ids)], np.float64)


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_it_is_a_language_model(llama: Transformer) -> None:
    model: LanguageModel = llama
    assert model.tokenizer is llama.text


def test_teacher_forced_scores_one_by_one(lm: Transformer) -> None:
    got = lm.teacher_forced(PROMPTS, TARGETS)
    for prompt, target, forced in zip(PROMPTS, TARGETS, got, strict=True):
        ids, n = lm.tokenizer.encode_pair(prompt, target)
        logits = logits_of(lm, ids)[n - 1 : -1]
        np.testing.assert_array_equal(forced.target_ids, ids[n:])
        np.testing.assert_array_equal(forced.predicted_ids, logits.argmax(-1))
        expected = log_softmax(logits)[np.arange(len(ids) - n), ids[n:]]
        np.testing.assert_allclose(forced.logprobs, expected, atol=2e-5)


def test_loglikelihood_is_the_sum_over_a_text(lm: Transformer) -> None:
    texts = ["the capital of france is of the sea", "", "is"]
    got = lm.loglikelihood(texts)
    for text, (total, count) in zip(texts, got, strict=True):
        ids = lm.tokenizer.encode(text)
        assert count == len(ids) - 1
        expected = log_softmax(logits_of(lm, ids))[np.arange(count), ids[1:]].sum()
        assert abs(total - expected) < 1e-4
    assert got[1] == (0.0, 0)


def greedy(lm: Transformer, ids: list[int], new: int) -> list[int]:
    """Every token by a pass over all before it."""
    out: list[int] = []
    for _ in range(new):
        out.append(int(logits_of(lm, [*ids, *out])[-1].argmax()))
        if out[-1] == 2:
            break
    return out


def test_generation_is_greedy(lm: Transformer) -> None:
    rows = [lm.tokenizer.encode(prompt) for prompt in PROMPTS[:3]]
    got = generate_ids(lm.config, lm.params, lm.mesh, rows, 6, ends=[2])
    assert got == [greedy(lm, row, 6) for row in rows]
    texts = lm.generate(PROMPTS[:3], 6)
    for row, new, text in zip(rows, got, texts, strict=True):
        kept = new[:-1] if new[-1] == 2 else new
        assert text == lm.tokenizer.continuation(row, kept)


def test_a_row_ends_where_it_should(llama: Transformer) -> None:
    config, params, mesh = llama.config, llama.params, llama.mesh
    rows = [llama.tokenizer.encode(prompt) for prompt in PROMPTS[:3]]
    free = generate_ids(config, params, mesh, rows, 6)
    assert all(len(row) == 6 for row in free)
    end = free[0][2]
    stopped = generate_ids(config, params, mesh, rows, 6, ends=[end])
    for row, whole in zip(stopped, free, strict=True):
        cut = whole.index(end) + 1 if end in whole else 6
        assert row == whole[:cut]
    assert generate_ids(config, params, mesh, rows, 0) == [[], [], []]
    assert generate_ids(config, params, mesh, [], 4) == []
    assert NOTHING < 0


def test_a_batch_ends_with_its_last_row(llama: Transformer, monkeypatch) -> None:
    passes: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        jax.debug.callback(lambda: passes.append(1))
        return forward(*args, **kwargs)

    rows = [llama.tokenizer.encode(prompt) for prompt in PROMPTS[:3]]
    free = generate_ids(llama.config, llama.params, llama.mesh, rows, 4)
    monkeypatch.setattr("jaxedit.models.generate.forward", counted)
    # 40 tokens make a program of their own, with the passes counted.
    ends = {row[2] for row in free}
    made = generate_ids(llama.config, llama.params, llama.mesh, rows, 40, ends=sorted(ends))
    jax.effects_barrier()
    assert max(map(len, made)) <= 3
    assert len(passes) == max(map(len, made))


def test_continuations_keep_what_was_generated(llama: Transformer) -> None:
    told: list[int] = []
    (made,) = llama.continuations(["the"], 8, advance=told.append)
    row = llama.tokenizer.encode("the")
    assert [list(made.ids)] == generate_ids(
        llama.config, llama.params, llama.mesh, [row], 8, ends=[2]
    )
    assert llama.generate(["the"], 8) == [made.text]
    stop = made.text[2:4]
    (cut,) = llama.continuations(["the"], 8, stop=stop)
    assert cut.text == made.text[: made.text.index(stop)]
    assert cut.ids == made.ids[: len(cut.ids)]
    assert told == [1]


def test_positions_run_out(llama: Transformer) -> None:
    most = llama.config.max_positions
    rows = [[5] * (most - 2), [5] * most]
    got = generate_ids(llama.config, llama.params, llama.mesh, rows, 8)
    assert [len(row) for row in got] == [3, 1]  # the last token needs no position of its own
    with pytest.raises(UserError, match="text 1 has 65 tokens, but the model takes 64"):
        generate_ids(llama.config, llama.params, llama.mesh, [[5] * (most + 1)], 1)
    with pytest.raises(UserError, match="shorten it"):
        llama.teacher_forced(["x" * 70], ["y"])


def test_stop_strings_cut_the_text(llama: Transformer) -> None:
    (whole,) = llama.generate(["the"], 8)
    assert len(whole) > 3
    stop = whole[2:4]
    assert llama.generate(["the"], 8, stop=stop) == [whole[: whole.index(stop)]]
    assert llama.generate(["the"], 8, stop=["\n", stop, whole[-1]]) == [
        whole[: min(whole.index(stop), whole.index(whole[-1]))]
    ]
    assert llama.generate(["the"], 8, stop=[]) == [whole]


def test_samples_depend_on_the_key_alone(llama: Transformer) -> None:
    def draw(mesh: Any, seed: int, prompts: list[str]) -> list[str]:
        lm = tiny_lm("llama", mesh)
        return lm.sample(prompts, jax.random.key(seed), max_new_tokens=8, top_k=5)

    many = draw(make_mesh(4), 0, PROMPTS)
    assert many == draw(make_mesh(1), 0, PROMPTS)
    assert many != draw(make_mesh(1), 1, PROMPTS)
    twice = draw(make_mesh(1), 0, ["is", "is"])
    assert twice[0] != twice[1]


def test_sampling_keeps_to_the_most_probable(llama: Transformer) -> None:
    prompt = llama.tokenizer.encode("the capital of")
    key = jax.random.key(3)
    args = (llama.config, llama.params, llama.mesh, [prompt] * 64, 1)
    logits = logits_of(llama, prompt)[-1]
    best = set(np.argsort(logits)[-3:].tolist())
    drawn = {row[0] for row in generate_ids(*args, sampling=Sampling(key, top_k=3))}
    assert drawn <= best
    assert len(drawn) > 1
    sure = generate_ids(*args, sampling=Sampling(key, temperature=1e-6))
    assert {row[0] for row in sure} == {int(logits.argmax())}


def test_eight_devices_say_the_same(llama: Transformer) -> None:
    spread = tiny_lm("llama", make_mesh(8))
    prompts, targets = PROMPTS * 3, TARGETS * 3
    for a, b in zip(
        llama.teacher_forced(prompts, targets), spread.teacher_forced(prompts, targets), strict=True
    ):
        np.testing.assert_array_equal(a.predicted_ids, b.predicted_ids)
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-5)
    assert spread.generate(prompts, 5) == llama.generate(prompts, 5)


def test_a_prompt_with_nothing_to_go_by(llama: Transformer) -> None:
    quiet = {**llama.tokenizer.settings, "add_bos_token": False}
    lm = dataclasses.replace(llama, text=Tokenizer.of(llama.tokenizer.pipeline, quiet))
    assert lm.tokenizer.encode("") == []
    with_bos, without = llama.teacher_forced([""], ["of"])[0], lm.teacher_forced([""], ["of"])[0]
    np.testing.assert_allclose(with_bos.logprobs, without.logprobs, atol=1e-6)
    assert lm.generate([""], 4) == llama.generate([""], 4)
    lost = dataclasses.replace(llama, text=Tokenizer.of(llama.tokenizer.pipeline, {}))
    with pytest.raises(UserError, match="the prompt is empty"):
        lost.generate([""], 4)


def test_other_parameters_give_another_model(llama: Transformer) -> None:
    zero = jax.tree.map(jnp.zeros_like, dict(llama.params))
    other = llama.with_params(zero)
    (forced,) = other.teacher_forced(["the"], ["of"])
    np.testing.assert_allclose(forced.logprobs, -np.log(llama.config.vocab_size), atol=1e-6)
    assert other.tokenizer is llama.tokenizer


def test_a_longer_target_than_one_chunk_of_logits(llama: Transformer) -> None:
    rows = [(list(range(3, 30)), 1), (list(range(30, 55)), 20)]
    for (ids, n), forced in zip(
        rows, score_ids(llama.config, llama.params, llama.mesh, rows), strict=True
    ):
        logits = log_softmax(logits_of(llama, ids))[n - 1 : -1]
        expected = logits[np.arange(len(ids) - n), ids[n:]]
        np.testing.assert_allclose(forced.logprobs, expected, atol=2e-5)


def test_float64_and_bfloat16_models_answer() -> None:
    half = tiny_lm("gptj", make_mesh(1), jnp.bfloat16)
    (forced,) = half.teacher_forced(["the"], ["of is"])
    assert forced.logprobs.dtype == np.float32
    assert len(half.generate(["the"], 4)) == 1
    with jax.enable_x64(True):
        lm = tiny_lm("gptj", make_mesh(1), jnp.float64)
        (forced,) = lm.teacher_forced(["the"], ["of is"])
        assert forced.logprobs.dtype == np.float64
        assert len(lm.generate(["the"], 4)) == 1
        narrow = tiny_lm("gptj", make_mesh(1))
        (forced,) = narrow.teacher_forced(["the"], ["of is"])
        assert forced.logprobs.dtype == np.float32


def test_a_text_longer_than_the_model_is_scored_in_windows() -> None:
    lm = tiny_model()
    most = lm.config.max_positions
    text = " ".join(SENTENCES * 5)
    ids = lm.tokenizer.encode(text)
    assert 2 * most < len(ids) < 4 * most
    [(total, count)] = lm.loglikelihood([text])
    assert count == len(ids) - 1
    parts = [(ids[i : i + most], 1) for i in range(0, len(ids) - 1, most - 1)]
    expected = sum(float(made.logprobs.sum()) for made in lm.score_rows(parts))
    assert total == pytest.approx(expected, rel=1e-6)
    assert lm.loglikelihood(["", text])[0] == (0.0, 0)
