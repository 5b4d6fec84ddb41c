"""What an ensemble's options change: every variant asked the same, counts and tables."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.data.fact import Question
from jaxedit.studies.ensemble_decoding import (
    VARIANTS,
    Variant,
    answers_table,
    asked_of,
    by_anchors,
    compare,
    decoder,
    look_up,
    look_up_table,
)
from tests.ensemble.pair import plugin, space, target
from tests.tiny import tiny_facts


def test_each_fact_is_asked_in_three_ways_but_never_for_what_it_edits():
    facts = tiny_facts(2)
    other = dataclasses.replace(facts[1], neighbours=(Question(facts[0].question, "Sarn"),))
    asked = asked_of([facts[0], other], "Q: {}")
    assert [one.role for one in asked] == [
        *("edits", "paraphrases", "neighbours"),
        *("edits", "paraphrases"),
    ]
    assert asked[0] == ("edits", f"Q: {facts[0].question}", facts[0].target)


def test_edits_are_told_apart_by_what_says_their_answers():
    asked = asked_of(tiny_facts(2))
    every = np.arange(plugin().lm.config.vocab_size)
    whole = dataclasses.replace(space().anchors, plug=every)
    assert by_anchors(asked, plugin(), whole)[0].role == "edits in anchors"
    [first, *_], [other, *rest] = asked, by_anchors(asked, plugin(), none(whole))
    assert other.role == "edits in other words" and other[1:] == first[1:]
    assert rest[0] == asked[1]


def none(anchors):
    return dataclasses.replace(anchors, plug=anchors.plug[:0])


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory):
    asked = asked_of(tiny_facts(3))
    guarded = Variant("guarded", fusion={"guard": 1.0})
    variants, cache = (*VARIANTS[:1], guarded), tmp_path_factory.mktemp("cache")
    return compare(target(), plugin(), asked, max_new_tokens=3, variants=variants, cache=cache)


def test_a_guard_of_one_is_the_target_alone(lines):
    alone, guarded = lines
    assert (alone.title, guarded.title) == ("target alone", "guarded")
    assert alone[1:] == guarded[1:] and alone.same == 1.0
    assert set(alone.right) == {"edits", "paraphrases", "neighbours"}
    table = answers_table("model", lines)
    assert table.splitlines()[0].startswith("| model | edits, right | paraphrases, right |")
    assert "| guarded | " in table


def test_every_variant_is_an_ensemble_that_exists():
    spaces = {(rule, spelt): space() for rule in ("deepen", "bytes") for spelt in (False, True)}
    made = [decoder(variant, target(), plugin(), spaces) for variant in VARIANTS]
    assert made[0] is target() and len({variant.title for variant in VARIANTS}) == len(VARIANTS)
    assert [lm.fusion.eos for lm in made[1:4]] == ["bypass", "fuse", "pair"]
    assert made[4].stop_with_plug == 0.5


def test_the_table_is_the_searchs_end_from_every_column():
    made, own = space(), space().anchors.main
    whole = look_up("whole", made, (0.15,), own)
    assert whole.columns == len(own) and whole.exceptions == {0.15: []}
    assert 0 < whole.nearest <= 1
    wrong = dataclasses.replace(made, table=made.table.at[3].set((int(made.table[3]) + 1) % 300))
    assert look_up("wrong", wrong, (0.15,), own).exceptions[0.15] == [3]
    assert look_up("wrong", wrong, (0.15,), np.asarray(wrong.table)).foreign == 0
    paired = look_up("paired", made, (0.15,), own, ends=[0])
    assert paired.columns == len(own) + 1 and len(own) not in paired.exceptions[0.15]
    level = dataclasses.replace(made, main=jnp.full_like(made.main, 0.1))
    assert look_up("level", level, (0.15,), own).ties == list(range(len(own)))
    assert len(whole.ties) < len(own)
    assert "| whole |" in look_up_table([whole, paired])
