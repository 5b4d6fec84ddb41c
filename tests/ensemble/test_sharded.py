"""R shared out over eight devices against R on one."""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxedit.ensemble.certificate import bounds_of
from jaxedit.ensemble.decode import Parts, Rules, decode_ids
from jaxedit.ensemble.ensemble import Ensemble
from jaxedit.ensemble.fusion import Fusion, decide
from jaxedit.ensemble.relative import Side, Space, placed
from jaxedit.ensemble.spaces import open_space
from jaxedit.ensemble.spelling import Spelling
from jaxedit.ensemble.sync import Sync
from jaxedit.sharding import make_mesh, replicate
from tests.ensemble.pair import plugin, space, target
from tests.ensemble.random_space import COMMON, PLUG, TARGET, logits, random_space
from tests.tiny import SENTENCES

WORDS = Spelling(np.asarray([300, 940]), np.asarray([[7, 8], [70, 71]]))
TEXTS = 8
PROMPTS = (SENTENCES[0], SENTENCES[2], "The")


def shared(whole: Space) -> Space:
    """The same on eight devices."""
    mesh = make_mesh(8)
    main = Side(whole.main, whole.peaks, whole.table, whole.table)
    ours = placed(main, mesh, sharded=True)
    theirs = placed(main._replace(relative=whole.plug), mesh, sharded=True)
    spelt = None if whole.spelt is None else replicate(whole.spelt, mesh)
    return dataclasses.replace(
        whole,
        main=ours.relative,
        plug=theirs.relative,
        table=ours.tops,
        plug_table=replicate(whole.plug_table, mesh),
        peaks=ours.peaks,
        spelt=spelt,
    )


def said() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    ours, theirs = logits(rng, TEXTS, TARGET), logits(rng, TEXTS, PLUG)
    theirs[6, 940] = 40
    return ours, theirs, np.linspace(0, 1, TEXTS, dtype=np.float32)


def test_each_device_holds_its_columns():
    whole = random_space(0)
    many = shared(whole)
    assert many.sharded and not whole.sharded
    assert isinstance(many.main, jax.Array)
    width = -(-COMMON // 8)
    assert {part.data.shape for part in many.main.addressable_shards} == {(TARGET, width)}
    np.testing.assert_array_equal(np.asarray(many.main)[:, :COMMON], whole.main)
    assert not np.asarray(many.main)[:, COMMON:].any()


@pytest.mark.parametrize(
    ("fusion", "certified"),
    [
        (Fusion(), False),
        (Fusion(), True),
        (Fusion(decoder="search"), True),
        (Fusion("deepen"), False),
    ],
    ids=["table", "certified", "search", "deepen"],
)
def test_devices_find_the_same_and_none_gets_all_of_r(fusion: Fusion, certified: bool):
    whole = dataclasses.replace(random_space(0), spelt=WORDS)
    many = shared(whole)
    program = jax.jit(functools.partial(decide, fusion))
    bounds = [bounds_of(one) if certified else None for one in (whole, many)]
    wanted = program(whole, *said(), bounds=bounds[0])
    compiled: Any = program.lower(many, *said(), bounds=bounds[1]).compile()
    made = compiled(many, *said(), bounds=bounds[1])
    np.testing.assert_array_equal(made.tokens, wanted.tokens)
    np.testing.assert_array_equal(made.rows, wanted.rows)
    filled = COMMON + -COMMON % 8
    assert re.search(rf"f32\[{TARGET},{filled // 8}\]", compiled.as_text())
    assert not re.search(rf"f32\[({TARGET}|{PLUG}),({COMMON}|{filled})\]", compiled.as_text())
    if fusion.looks_up:
        assert made.columns[6] == filled + 1 and made.tokens[6] == 70  # spelt


def test_what_is_shared_out_is_kept_whole(tmp_path: Path):
    ours, theirs = (dataclasses.replace(lm, mesh=make_mesh(8)) for lm in (target(), plugin().lm))
    first = open_space(ours, theirs, cache=tmp_path, sharded=True)
    count = len(list(tmp_path.iterdir()))
    again = open_space(ours, theirs, cache=tmp_path, sharded=True)
    alone = open_space(target(), plugin().lm, cache=tmp_path)
    assert count == len(list(tmp_path.iterdir())) == 2
    assert first.sharded and again.sharded and not alone.sharded
    np.testing.assert_array_equal(first.main, again.main)
    anchors = alone.main.shape[1]
    assert first.main.shape[1] % 8 == 0 and anchors % 8
    np.testing.assert_allclose(np.asarray(first.main)[:, :anchors], alone.main, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(first.table)[:anchors], alone.table)


@pytest.mark.slow
def test_an_ensemble_says_the_same():
    many = shared(space())
    alpha = np.asarray([0.2, 0.6, 1.0], np.float32)
    rows = [target().tokenizer.encode(prompt) for prompt in PROMPTS]
    said_by = []
    for lm, edited, where in ((target(), plugin(), space()), (target(8), plugin(8), many)):
        sync = Sync(lm.tokenizer, edited.lm.tokenizer)
        parts = Parts(lm, edited, where, Fusion(), sync, bounds_of(where))
        made = decode_ids(parts, PROMPTS, rows, alpha, Rules((), 4))
        ensemble = Ensemble(lm, edited, where, alpha=0.6)
        forced = ensemble.teacher_forced(PROMPTS, ["Vantor", "Old Tessan", "captain"])
        said_by.append((made, [one.predicted_ids.tolist() for one in forced]))
    assert said_by[0] == said_by[1]
