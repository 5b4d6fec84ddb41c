"""An ensemble as a language model."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.data.fact import Case, Fact, Question
from jaxedit.ensemble import ensemble as module
from jaxedit.ensemble import forced, steps
from jaxedit.ensemble.ensemble import Ensemble
from jaxedit.ensemble.fusion import Ends, Fusion, choose
from jaxedit.ensemble.plugin import alpha
from jaxedit.ensemble.sync import Sync
from jaxedit.errors import UserError
from jaxedit.metrics.asking import answer, questions
from jaxedit.metrics.records import Setting
from jaxedit.models.protocol import LanguageModel
from tests.ensemble.pair import plugin, space, target
from tests.ensemble.test_decode import last_logits
from tests.tiny import SENTENCES

PROMPTS = [" ".join(text.split()[:-1]) for text in SENTENCES[:4]]
TARGETS = ["New Calder", "captain", "Old Tessan", "Rivella"]


def ensemble(**more: Any) -> Ensemble:
    fusion = Fusion(**{key: more.pop(key) for key in ("mode", "guard") if key in more})
    return Ensemble(target(), plugin(), space(), fusion, **more)


def test_it_is_a_language_model() -> None:
    lm: LanguageModel = ensemble()
    assert lm.tokenizer is target().tokenizer
    made = lm.continuations(PROMPTS, 5)
    assert [one.text for one in made] == lm.generate(PROMPTS, 5)
    assert {len(one.ids) for one in made} <= {1, 2, 3, 4, 5}


def test_forced_tokens_are_those_of_a_plain_loop() -> None:
    lm = ensemble()
    sync = Sync(lm.tokenizer, plugin().lm.tokenizer)
    prompts, targets = [*PROMPTS[:3], PROMPTS[0]], [*TARGETS[:3], "Łódź"]
    gates = alpha(plugin(), prompts)
    for made, prompt, said, gate in zip(
        lm.teacher_forced(prompts, targets), prompts, targets, gates, strict=True
    ):
        ids, n = lm.tokenizer.encode_pair(prompt, said)
        assert made.target_ids.tolist() == ids[n:]
        assert not made.logprobs.size
        expected = []
        for stop in range(n, len(ids)):
            heard = sync.plug_ids(prompt + sync.added(ids[n:stop]))
            expected.append(plain(ids[:stop], heard, gate))
        assert made.predicted_ids.tolist() == expected


@functools.cache
def pick() -> Any:
    ends = Ends(*(tuple(lm.final_ids()) for lm in (target(), plugin().lm)))
    return jax.jit(functools.partial(choose, Fusion(), gate_id=plugin().gate, ends=ends))


def plain(ids: list[int], heard: list[int], gate: float) -> int:
    logits = last_logits(target(), ids), last_logits(plugin().lm, heard)
    return int(pick()(space(), *logits, jnp.array([gate]))[0])


def test_what_is_forced_is_what_is_generated() -> None:
    """Fed its own answer, it says the same again."""
    lm = ensemble(alpha=0.6)
    made = [one.ids for one in lm.continuations(PROMPTS, 5)]
    rows = [(lm.target.prompt_row(p), list(new)) for p, new in zip(PROMPTS, made, strict=True)]
    again = lm.score_rows([([*ids, *new], len(ids)) for ids, new in rows])
    assert [tuple(one.predicted_ids) for one in again] == made


def test_each_step_reads_the_gate_anew() -> None:
    lm = ensemble(each_step=True)
    made = [one.ids for one in lm.continuations(PROMPTS, 5)]
    rows = [(lm.target.prompt_row(p), list(new)) for p, new in zip(PROMPTS, made, strict=True)]
    again = lm.score_rows([([*ids, *new], len(ids)) for ids, new in rows])
    assert [tuple(one.predicted_ids) for one in again] == made


def test_below_the_guard_the_target_speaks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "hear", None)  # the plug-in does not run
    monkeypatch.setattr(forced, "_choose", None)
    lm = ensemble(alpha=0.3, guard=0.5)
    assert lm.continuations(PROMPTS, 5) == target().continuations(PROMPTS, 5)
    ours, alone = (each.teacher_forced(PROMPTS, TARGETS) for each in (lm, target()))
    for one, other in zip(ours, alone, strict=True):
        assert one.predicted_ids.tolist() == other.predicted_ids.tolist()


def test_the_guard_parts_rows_and_keeps_their_order() -> None:
    gates = alpha(plugin(), PROMPTS)
    middle = float(np.sort(gates)[2])
    guarded, free = ensemble(guard=middle), ensemble()
    made, whole, alone = (
        [one.ids for one in lm.continuations(PROMPTS, 4)] for lm in (guarded, free, target())
    )
    assert made == [a if g < middle else w for g, w, a in zip(gates, whole, alone, strict=True)]
    done: list[int] = []
    said = guarded.teacher_forced(PROMPTS, TARGETS, done.append)
    own, theirs = (lm.teacher_forced(PROMPTS, TARGETS) for lm in (free, target()))
    for gate, one, joint, other in zip(gates, said, own, theirs, strict=True):
        expected = other if gate < middle else joint
        assert one.predicted_ids.tolist() == expected.predicted_ids.tolist()
    assert sum(done) == len(PROMPTS)


def test_a_certificate_changes_nothing() -> None:
    made = ensemble(alpha=0.6, certified=True).continuations(PROMPTS, 5)
    assert made == ensemble(alpha=0.6).continuations(PROMPTS, 5)


def test_stop_strings_cut_the_text() -> None:
    lm = ensemble(alpha=0.6)
    whole = lm.generate(PROMPTS, 6)
    letter = next(c for text in whole for c in text[1:] if c.isascii())
    assert lm.generate(PROMPTS, 6, stop=letter) == [text.split(letter)[0] for text in whole]


@pytest.mark.parametrize("size", [1, 2])
def test_rows_may_be_scored_in_groups(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = ensemble(alpha=0.6)
    whole = lm.teacher_forced(PROMPTS[:2], TARGETS[:2])
    monkeypatch.setattr(module, "GROUP", size)
    for one, other in zip(lm.teacher_forced(PROMPTS[:2], TARGETS[:2]), whole, strict=True):
        assert one.predicted_ids.tolist() == other.predicted_ids.tolist()


def test_what_it_cannot_say_is_refused() -> None:
    with pytest.raises(UserError, match="no likelihoods"):
        ensemble().loglikelihood(["Mira Danto"])
    assert not hasattr(ensemble(), "sample")


def test_parts_that_do_not_go_together_are_refused() -> None:
    appended = dataclasses.replace(plugin(), reading="appended")
    with pytest.raises(UserError, match="each_step"):
        Ensemble(target(), appended, space(), each_step=True)
    with pytest.raises(UserError, match="alpha=2"):
        ensemble(alpha=2)
    with pytest.raises(UserError, match="one mesh"):
        Ensemble(target(2), plugin(), space())


def test_the_plug_ins_share_is_its_gate_unless_it_is_given() -> None:
    np.testing.assert_array_equal(ensemble().alphas(PROMPTS), alpha(plugin(), PROMPTS))
    assert set(ensemble(alpha=0.25).alphas(PROMPTS)) == {0.25}
    assert set(ensemble(mode="deepen").alphas(PROMPTS)) == {0.5}


def test_questions_of_several_hops_are_asked_of_it() -> None:
    facts = tuple(
        Fact(f"{{}} {prompt.split(' ', 2)[2]}", " ".join(prompt.split()[:2]), said)
        for prompt, said in zip(PROMPTS[:2], TARGETS[:2], strict=True)
    )
    first = dataclasses.replace(facts[0], portability=(Question(PROMPTS[2], TARGETS[2]),))
    case = Case("two", (first, facts[1]), {"multi_hop": (Question(PROMPTS[3], TARGETS[3]),)})
    lm, setting = ensemble(alpha=0.6), Setting(when="after_all", dtype="float32", max_new_tokens=5)
    made = {a.asked.role: a for a in answer(lm, questions([case]), setting, edits=2)}
    forced = lm.teacher_forced(PROMPTS, TARGETS)
    texts = lm.generate(PROMPTS, 5, setting.stop)
    for role, place in (("edit", 1), ("portability", 2), ("multi_hop", 3)):
        assert made[role].predicted_ids == tuple(forced[place].predicted_ids)
        assert made[role].generated == texts[place] and not made[role].logprobs
