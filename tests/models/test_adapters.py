"""Adapters that travel with the parameters: in every call, a row at a time, over cached steps."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.models.generate import generate_ids
from jaxedit.models.loading import save_hf
from jaxedit.models.protocol import Row
from jaxedit.models.scoring import score_ids
from jaxedit.models.sites import Context, Tap
from jaxedit.models.text import pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.models.tiny import VOCAB, tiny_lm

PLACE = "layers_1/mlp.down"
NEW = 5
LENGTH = 24


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Turned:
    """Turns the output around in rows whose prompt lies beyond a level, on average."""

    axis: jax.Array  # [F]
    level: jax.Array  # []

    def __call__(self, x: jax.Array, y: jax.Array, context: Context) -> tuple[jax.Array, Any]:
        chosen = context.memory
        if chosen is None:
            here = (x @ self.axis - self.level) * context.prompt  # [B, T]
            chosen = here.sum(axis=1) > 0
        return jnp.where(chosen[:, None, None], -y, y), chosen


@pytest.fixture(scope="module")
def lm() -> Transformer:
    return tiny_lm("llama", make_mesh(1))


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [rng.integers(3, VOCAB, n).tolist() for n in (2, 7, 7, 12, 3, 9)]


@pytest.fixture(scope="module")
def turned(lm: Transformer, prompts: list[list[int]]) -> Transformer:
    axis = np.random.default_rng(0).standard_normal(lm.config.d_ff).astype(np.float32)
    ids, mask = pad_batch(prompts, pad_id=0, side="right", length=16)
    ids, mask = jnp.asarray(ids), jnp.asarray(mask)
    (keys,) = _keys(lm.config, lm.params, ids, mask)
    along = np.asarray(keys @ axis)
    level = np.median(
        [row[: len(prompt)].mean() for row, prompt in zip(along, prompts, strict=True)]
    )
    return lm.with_adapters({PLACE: Turned(jnp.asarray(axis), jnp.float32(level))})


@jax.jit(static_argnums=0)
def _keys(config, params, ids, mask):
    return forward(config, params, ids, mask, taps=[Tap(1, "mlp.down.in")]).taps


@jax.jit(static_argnums=0)
def _run(config, params, ids, mask, prompt):
    out = forward(config, params, ids, mask, prompt=prompt)
    assert out.logits is not None
    return jax.nn.log_softmax(out.logits, axis=-1), out.aux


def run(lm: Transformer, ids: Sequence[int], n: int) -> tuple[np.ndarray, Any]:
    """log p [T, V] and what the adapter chose, of this row alone; n tokens are its prompt."""
    row, mask = pad_batch([ids], pad_id=0, side="right", length=LENGTH)
    log_p, aux = _run(lm.config, lm.params, row, mask, np.arange(LENGTH)[None] < n)
    return np.asarray(log_p[0]), aux


def chosen(lm: Transformer, prompt: list[int]) -> bool:
    return bool(run(lm, prompt, len(prompt))[1][1, "mlp.down"][0])


def scores(lm: Transformer, rows: list[Row]) -> list[np.ndarray]:
    return [x.logprobs for x in score_ids(lm.config, lm.params, lm.mesh, rows)]


def alone(lm: Transformer, ids: Sequence[int], n: int, prompt: int) -> np.ndarray:
    """log p of ids[n:]; the first tokens count as prompt."""
    log_p, _ = run(lm, ids, prompt)
    return log_p[np.arange(n - 1, len(ids) - 1), ids[n:]]


def test_each_prompt_is_judged_by_itself(lm, turned, prompts):
    which = [chosen(turned, prompt) for prompt in prompts]
    assert True in which and False in which, "the test needs both"
    rows: list[Row] = [(p + t, len(p)) for p in prompts for t in ([5], [6, 7, 8], [5, 9])]
    made, plain = scores(turned, rows), scores(lm, rows)
    for i, (ids, n) in enumerate(rows):
        np.testing.assert_allclose(made[i], alone(turned, ids, n, n), rtol=1e-5, atol=1e-5)
        assert (np.abs(made[i] - plain[i]).max() < 1e-5) != which[i // 3]


def test_a_text_is_its_own_prompt(turned, prompts):
    rows: list[Row] = [([3, *prompt], 1) for prompt in prompts]
    for found, (ids, _) in zip(scores(turned, rows), rows, strict=True):
        # The last token is predicted, never fed, and so judges nothing.
        expected = alone(turned, ids, 1, len(ids) - 1)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_what_was_chosen_at_the_prompt_holds_while_tokens_follow(turned, prompts):
    made = generate_ids(turned.config, turned.params, turned.mesh, prompts, NEW)
    for prompt, new in zip(prompts, made, strict=True):
        ids = list(prompt)
        for token in new:
            log_p, _ = run(turned, ids, len(prompt))
            assert int(log_p[len(ids) - 1].argmax()) == token
            ids.append(token)


def test_devices_do_not_matter(turned, prompts):
    mesh = make_mesh(2)
    rows: list[Row] = [([*p, 5, 6], len(p)) for p in prompts]
    spread = dataclasses.replace(turned, mesh=mesh).with_adapters(turned.params["adapters"])
    for one, two in zip(scores(turned, rows), scores(spread, rows), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)
    same = [generate_ids(x.config, x.params, x.mesh, prompts, NEW) for x in (turned, spread)]
    assert same[0] == same[1]


def test_a_directory_has_no_place_for_them(turned, tmp_path):
    with pytest.raises(UserError, match="layers_1/mlp"):
        save_hf(turned, tmp_path / "out")
    assert not (tmp_path / "out").exists()
