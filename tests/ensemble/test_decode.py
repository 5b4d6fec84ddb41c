"""Decoding with two caches against the same without any."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.ensemble import decode, steps
from jaxedit.ensemble.certificate import bounds_of
from jaxedit.ensemble.decode import Parts, Rules, decode_ids
from jaxedit.ensemble.fusion import Fusion, choose
from jaxedit.ensemble.sync import Sync
from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.models.transformer import Transformer
from tests.ensemble.pair import plugin, space, target
from tests.tiny import SENTENCES

PROMPTS = ("Mira Danto was born in", "Łódź is", SENTENCES[2], "The")
ALPHA = np.array([0.0, 0.5, 0.9, 1.0], np.float32)
NEW = 8


def parts(mode: Any = "dw_ee", **more: Any) -> Parts:
    sync = Sync(target().tokenizer, plugin().lm.tokenizer)
    return Parts(target(), plugin(), space(), Fusion(mode=mode, **more), sync)


def run(
    made_of: Parts, rules: Rules, alpha: np.ndarray = ALPHA, prompts: Sequence[str] = PROMPTS
) -> list[list[int]]:
    rows = [made_of.target.tokenizer.encode(prompt) for prompt in prompts]
    return decode_ids(made_of, prompts, rows, alpha, rules)


@functools.partial(jax.jit, static_argnames="config")
def _last(params: Any, ids: Any, count: Any, *, config: Any) -> jax.Array:
    mask = jnp.arange(ids.shape[1])[None] < count
    logits = forward(config, params, ids, mask, logits_at=jnp.full((1, 1), count - 1)).logits
    assert logits is not None
    return logits[:, 0]


def last_logits(lm: Transformer, ids: Sequence[int]) -> jax.Array:
    padded = np.zeros((1, 96), np.int32)
    padded[0, : len(ids)] = ids
    return _last(lm.params, padded, np.int32(len(ids)), config=lm.config)


def plainly(made_of: Parts, prompt: str, alpha: float, rules: Rules) -> list[int]:
    """One row, everything run from the beginning at every step."""
    main, plug = made_of.target, made_of.plugin
    ids, new = main.tokenizer.encode(prompt), []
    pick = jax.jit(functools.partial(choose, made_of.fusion, gate_id=plug.gate, ends=made_of.ends))
    while len(new) < rules.max_new_tokens:
        heard = last_logits(plug.lm, made_of.sync.plug_ids(prompt + made_of.sync.added(new)))
        gate = jax.nn.sigmoid(heard[:, plug.gate]) if rules.each_step else jnp.array([alpha])
        token = pick(made_of.space, last_logits(main, [*ids, *new]), heard, gate)
        new.append(int(token[0]))
        if new[-1] in rules.ends:
            break
    return new


@pytest.mark.parametrize("each_step", [False, True])
def test_caches_change_nothing(each_step: bool) -> None:
    made_of, rules = parts(), Rules((), NEW, each_step=each_step)
    made = run(made_of, rules)
    assert made == [plainly(made_of, p, a, rules) for p, a in zip(PROMPTS, ALPHA, strict=True)]
    assert len({tuple(ids) for ids in made}) > 2


def test_the_plug_ins_cache_is_rolled_back_to_what_it_still_reads() -> None:
    """Letter by letter, so that words are cut anew again and again; the last row has ended."""
    made_of = parts()
    lm, sync = made_of.plugin.lm, made_of.sync
    letters = [
        sync.target.encode_bare(c)[0] for c in " Vantor works as a captain xxxxxxxxxxxxxxxxxxxxxxxx"
    ]
    past, before, taken_back = None, sync.read("Mira", []), 0
    past = decode._roomy(None, lm, 4, 1, Rules((), 1), lambda x: x)
    slots = past.positions.shape[1]
    for step in range(len(letters) + 1):
        read = sync.read("Mira", letters[:step], () if step == 0 else before.ids)
        taken_back += read.ids[: len(before.ids)] != before.ids
        tail = decode._tail([read] * 4, np.arange(4) < 3)
        needed = int(tail.start.max()) + tail.ids.shape[1]
        past = decode._roomy(past, lm, 4, needed, Rules((), 1), lambda x: x)
        logits, past = steps.hear(lm.params, tail, past, config=lm.config)
        expected = np.repeat(last_logits(lm, read.ids), 3, axis=0)
        np.testing.assert_allclose(logits[:3], expected, atol=2e-4)
        held = np.asarray(past.positions)
        assert sorted(held[0][held[0] >= 0]) == list(range(len(read.ids)))
        before = read
    assert taken_back > 3
    assert past.positions.shape[1] > slots
    assert (held[3] < 0).all()


def test_every_step_can_be_watched() -> None:
    made_of, seen = parts()._replace(bounds=bounds_of(space())), []
    rows = [made_of.target.tokenizer.encode(prompt) for prompt in PROMPTS]
    made = decode_ids(
        made_of, PROMPTS, rows, ALPHA, Rules((), 3), watch=lambda *now: seen.append(now)
    )
    assert sorted(np.stack([one.tokens for one, _ in seen], axis=1).tolist()) == sorted(made)
    assert all(live.all() and one.rows.max() > 0 for one, live in seen)


def test_rows_end_as_they_should() -> None:
    made_of = parts()
    whole = run(made_of, Rules((), NEW))
    end = whole[1][3]
    ended = run(made_of, Rules((end,), NEW))
    assert ended == [ids[: ids.index(end) + 1] if end in ids else ids for ids in whole]
    assert [ids[:2] for ids in whole] == run(made_of, Rules((), 2))
    assert run(made_of, Rules((), 0)) == [[]] * len(PROMPTS)


def test_a_row_can_end_where_the_plug_in_would() -> None:
    made_of = parts()
    heard = last_logits(made_of.plugin.lm, made_of.sync.plug_ids(PROMPTS[2]))
    best = int(jnp.argmax(heard.at[0, made_of.plugin.gate].set(-jnp.inf)))
    lm = made_of.plugin.lm
    lm = dataclasses.replace(lm, text=dataclasses.replace(lm.tokenizer, eos_id=best))
    made_of = made_of._replace(plugin=dataclasses.replace(made_of.plugin, lm=lm))
    ends = sorted(made_of.target.final_ids())
    for limit, expected in ((0.9, True), (0.91, False), (None, False)):
        made = run(made_of, Rules(ends, 3, stop_with_plug=limit))
        assert (made[2] == ends[:1]) is expected


def test_rows_end_where_positions_do() -> None:
    made_of = parts()
    most = made_of.plugin.lm.config.max_positions
    long = PROMPTS[0] + " b" * 23
    count = len(made_of.sync.plug_ids(long))
    assert most - 4 < count < most
    made = run(made_of, Rules((), NEW), prompts=(long, *PROMPTS[1:]))
    assert len(made[0]) < NEW == len(made[1])
    seen = made_of.sync.plug_ids(long + made_of.sync.added(made[0][:-1]))
    assert len(seen) <= most < len(made_of.sync.plug_ids(long + made_of.sync.added(made[0])))
    with pytest.raises(UserError, match="the model takes 32"):
        run(made_of, Rules((), 1), prompts=(" ".join(SENTENCES), *PROMPTS[1:]))


@pytest.mark.slow
@pytest.mark.slow
def test_eight_devices_say_what_one_says() -> None:
    made_of = parts()
    many = made_of._replace(target=target(8), plugin=plugin(8))
    assert run(many, Rules((), 4)) == run(made_of, Rules((), 4))


def test_nothing_is_compiled_anew_for_more_of_the_same() -> None:
    made_of = parts()
    programs: list[Any] = [steps.begin, steps.go_on, steps.hear, steps.choose_next]
    run(made_of, Rules((), NEW))
    sizes = [program._cache_size() for program in programs]
    run(made_of, Rules((), NEW), ALPHA[::-1], PROMPTS[::-1])
    assert sizes == [program._cache_size() for program in programs]
