"""Words of the plug-in's that the target says in several tokens."""

import dataclasses
import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.ensemble.certificate import bounds_of
from jaxedit.ensemble.decode import Parts, Rules, decode_ids
from jaxedit.ensemble.ensemble import Ensemble
from jaxedit.ensemble.fusion import Ends, Fusion
from jaxedit.ensemble.relative import Space
from jaxedit.ensemble.spelling import Speller, Spelling, said_when_forced, spell
from jaxedit.ensemble.sync import Sync, anchor, text_after
from jaxedit.models.generate import NOTHING
from tests.ensemble.pair import plugin, space, target
from tests.ensemble.random_space import COMMON, PLUG, TARGET, logits, random_space
from tests.ensemble.test_fusion import decided
from tests.ensemble.test_sync import sentence_piece
from tests.tiny import SENTENCES, tiny_tokenizer

PROMPTS = ("Mira Danto was born in", "Łódź is", SENTENCES[2], "The")
WORDS = Spelling(np.asarray([300, 301, 940]), np.asarray([[7, 8, 9], [7, -1, -1], [70, 71, -1]]))


@functools.cache
def spelling() -> Spelling:
    return spell(tiny_tokenizer(), sentence_piece(), space().anchors)


@functools.cache
def spelt() -> Space:
    return dataclasses.replace(space(), spelt=spelling())


def test_words_without_an_anchor_are_spelt_and_come_out_again():
    ours, theirs, made = tiny_tokenizer(), sentence_piece(), spelling()
    assert not set(made.words.tolist()) & set(space().anchors.plug.tolist())
    assert theirs.bos_id not in made.words and theirs.eos_id not in made.words
    longest = 0
    for word, run in zip(made.words, made.tokens, strict=True):
        kept = [i for i in run if i != NOTHING]
        wanted = text_after(theirs, anchor(theirs), [word])
        assert wanted and text_after(ours, anchor(ours), kept) == wanted
        longest = max(longest, len(kept))
    assert longest == made.tokens.shape[1] > 2
    texts = {theirs.decode([i]).strip() for i in made.words}
    left = {i for i in range(theirs.vocab_size) if i not in {*made.words, *space().anchors.plug}}
    assert len(texts) > 20
    # Nothing but special tokens and single bytes is left to R.
    assert all(str(theirs.pipeline.id_to_token(i)).startswith("<") for i in left)


def test_a_target_with_word_marks_spells_too():
    made = spell(sentence_piece(), tiny_tokenizer(), space().anchors)
    ours = sentence_piece()
    shown = {
        text_after(ours, anchor(ours), [i for i in run if i != NOTHING]) for run in made.tokens
    }
    assert "\n" in shown  # a byte token of the target's
    assert not any("\ufffd" in text for text in shown)


@pytest.mark.parametrize("few_rows", [False, True])
@pytest.mark.parametrize("eos", ["bypass", "pair"])
def test_a_word_has_a_column_of_its_own(few_rows, eos):
    plain = random_space(0)
    words = dataclasses.replace(plain, spelt=WORDS)
    bounds = bounds_of(words) if few_rows else None
    rng = np.random.default_rng(2)
    ours, theirs = logits(rng, 4, TARGET), logits(rng, 4, PLUG)
    theirs[:2, 940], theirs[2, 300] = 40, 40
    ends = Ends((390,), (370,))
    alpha = np.asarray([1.0, 0.0, 0.8, 1.0], np.float32)
    fusion = Fusion(eos=eos)
    made = decided(fusion, words, ours, theirs, alpha, ends, bounds=bounds)
    without = decided(fusion, plain, ours, theirs, alpha, ends, bounds=bounds)
    columns, plainly = made.columns.tolist(), without.columns.tolist()
    # The second text gives the plug-in no share, and in the last an anchor is better.
    assert columns == [COMMON + 2, plainly[1], COMMON, plainly[3]]
    assert made.tokens.tolist() == [70, without.tokens[1], 7, without.tokens[3]]
    assert max(plainly) < COMMON
    assert (made.rows.max() > 0) == few_rows


def test_a_search_knows_no_words():
    words = dataclasses.replace(random_space(0), spelt=WORDS)
    rng = np.random.default_rng(2)
    said = logits(rng, 4, TARGET), logits(rng, 4, PLUG), np.ones(4, np.float32)
    for fusion in (Fusion("dw"), Fusion(decoder="search")):
        made, plain = (decided(fusion, s, *said) for s in (words, random_space(0)))
        np.testing.assert_array_equal(made.tokens, plain.tokens)


def test_what_is_left_of_words():
    speller = Speller(COMMON, WORDS.tokens)
    assert [speller.run(COMMON + i) for i in (-1, 0, 1, 2, 3)] == [
        (),
        (7, 8, 9),
        (7,),
        (70, 71),
        (),
    ]
    columns, fused = jnp.asarray([COMMON, COMMON, 3, COMMON + 2, COMMON]), jnp.arange(5) != 3
    left = speller.behind(columns, fused, [(), (8, 9), (), ()])
    assert left == [(8, 9), (9,), (), ()]  # the third is an anchor, the fourth not the ensemble's


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ([7, 8, 9, 4], [7, 8, 9, 4]),
        ([7, 8, 1, 4], [7, 8, 9, 4]),  # the last token is another: a new word begins behind it
        ([7, 1, 1, 4], [7, 8, 3, 4]),
        ([1, 1, 1, 1], [7, 2, 3, 4]),
        ([7, 8], [7, 8]),
    ],
)
def test_a_text_that_is_fed_ends_words_where_it_leaves_them(gold, said):
    free, runs = [7, 2, 3, 4], [(7, 8, 9), (), (), ()]
    n = len(gold)
    assert said_when_forced(gold, free[:n], runs[:n]) == said


def parts(certified: bool = False) -> Parts:
    sync = Sync(target().tokenizer, plugin().lm.tokenizer)
    bounds = bounds_of(spelt()) if certified else None
    return Parts(target(), plugin(), spelt(), Fusion(), sync, bounds)


def decoded(made_of: Parts, share: float) -> list[list[int]]:
    rows = [made_of.target.tokenizer.encode(prompt) for prompt in PROMPTS]
    alpha = np.full(len(rows), share, np.float32)
    return decode_ids(made_of, PROMPTS, rows, alpha, Rules((), 8))


def test_alone_the_plug_in_says_its_own_words():
    """Also those that the target has in pieces."""
    made_of = parts(certified=True)
    lm = made_of.plugin.lm
    known = np.concatenate([spelling().words, space().anchors.plug])
    heard = jnp.zeros(lm.config.vocab_size).at[known].set(1)  # no single bytes
    lm = lm.with_params({**lm.params, "head": {"kernel": lm.params["head"]["kernel"] * heard}})
    made_of = made_of._replace(plugin=dataclasses.replace(made_of.plugin, lm=lm))
    own = [one.ids[0] for one in lm.continuations(PROMPTS, 1)]
    assert set(own) & set(spelling().words.tolist())
    ours, theirs = target().tokenizer, lm.tokenizer
    for word, ids in zip(own, decoded(made_of, 1.0), strict=True):
        wanted = text_after(theirs, anchor(theirs), [word])
        assert text_after(ours, anchor(ours), ids).startswith(wanted)


def test_a_certificate_changes_no_word():
    assert decoded(parts(), 0.6) == decoded(parts(certified=True), 0.6)


def test_what_is_forced_is_what_is_generated():
    lm = Ensemble(target(), plugin(), spelt(), alpha=0.9)
    made = [one.ids for one in lm.continuations(PROMPTS, 8)]
    runs = [tuple(run[:2]) for run in spelling().tokens if run[1] != NOTHING]
    rows = [(lm.target.prompt_row(p), list(new)) for p, new in zip(PROMPTS, made, strict=True)]
    again = lm.score_rows([([*ids, *new], len(ids)) for ids, new in rows])
    assert [tuple(one.predicted_ids) for one in again] == made
    assert any(set(runs) & set(itertools.pairwise(ids)) for ids in made)  # words are spelt
