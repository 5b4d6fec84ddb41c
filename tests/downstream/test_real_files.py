"""The published files at a few hundred items, and the world's tests, on models that ship."""

import functools
import os
import shutil

import numpy as np
import pytest

from jaxedit.data.factworld.downstream import downstream, statements
from jaxedit.data.factworld.world import World
from jaxedit.downstream import abilities, ability_table, reduce_items, run_world_tests
from jaxedit.downstream.tasks import known_tasks
from jaxedit.models.loading import load_model
from jaxedit.sharding import make_mesh
from tests.shared import SHARED, needs_shared

COUNTS = {
    "arc_challenge": 1150,  # 22 of 1,172 came without their choices' texts
    "hellaswag": 10042 - 100,  # set aside for demonstrations
    "mmlu": 14042,
    "truthfulqa_mc1": 817,
    "truthfulqa_mc2": 817,
    "winogrande": 1267 - 100,
    "gsm8k": 1319,
}


@functools.cache
def shipped():
    return load_model("embedded:gptj", mesh=make_mesh(1))


def test_the_worlds_tests_are_the_likeliest_choices():
    items = run_world_tests(shipped(), limit=6)
    found = {one.task: one for one in reduce_items(items)}
    assert len(found) == 7
    assert all(one.n == 6 for one in found.values())
    assert found["world_facts"].value > 0.8
    assert found["world_agreement"].chance == 0.5
    world = {**downstream(World(0)), "statements": statements(World(0))}
    item = items[0]
    choice = world[item.taken.task.removeprefix("world_")][item.index]
    assert len(item.responses) == len(choice.choices)
    totals = [total for total, _ in item.responses]
    assert item.values["acc"] == (np.argmax(totals) == choice.answer)


@needs_shared
@pytest.mark.parametrize("name", list(COUNTS))
def test_the_files_hold_what_was_published(name):
    source = known_tasks()[name].read(SHARED / "data" / "downstream", 0)
    assert sum(len(pool.docs) for pool in source.pools) == COUNTS[name]
    assert len(source.pools) == (57 if name == "mmlu" else 1)


@needs_shared
def test_hellaswag_has_as_many_video_captions_as_were_published():
    pool = known_tasks()["hellaswag"].read(SHARED / "data" / "downstream", 0).pools[0]
    docs = [*(doc for _, doc in pool.docs), *pool.shown]
    assert sum(doc["ctx_b"] != "" for doc in docs) == 3243


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("model", ["embedded:gptj", "stories260K"])
def test_real_files_on_small_models(tmp_path, model):
    pytest.importorskip("lm_eval", reason='needs lm-eval: pip install -e ".[harness]"')
    for path in (SHARED / "data" / "downstream").iterdir():
        os.symlink(path, tmp_path / path.name)
    texts = SHARED / "data" / "corpus" / "wikitext-2.test.raw.txt.gz"
    shutil.copy(texts, tmp_path / texts.name)
    lm = shipped() if ":" in model else load_model(SHARED / "models" / model, mesh=make_mesh(1))
    tasks = [*COUNTS, "wikitext"]
    quick = [name for name in tasks if name not in ("gsm8k", "wikitext")]
    found = abilities(lm, quick, data=tmp_path, limit=200)
    found += abilities(lm, ["gsm8k", "wikitext"], data=tmp_path, limit=16)
    print(f"\n{model}\n{ability_table(found)}")
    for one in found:
        assert np.isfinite(one.value)
        # Models that know nothing of these guess: no further from chance than four errors.
        if one.metric == "acc" and one.task in ("arc_challenge", "hellaswag", "mmlu", "winogrande"):
            assert abs(one.value - one.chance) < 0.2
