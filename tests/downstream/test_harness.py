"""Our models as a model type of lm-evaluation-harness."""

import pytest

pytest.importorskip("lm_eval", reason='needs lm-eval: pip install -e ".[harness]"')

from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model

from jaxedit.downstream.harness import HarnessModel, positions
from jaxedit.errors import UserError
from tests.tiny import SENTENCES, tiny_model

LONG = " ".join(SENTENCES * 2)


def ask(kind: str, *arguments) -> Instance:
    return Instance(kind, {}, arguments, 0)


@pytest.fixture(scope="module")
def model() -> HarnessModel:
    return HarnessModel(tiny_model())


def test_answers_come_in_order_and_are_those_of_the_model(model):
    pairs = [(s[:k], s[k:]) for s in SENTENCES for k in (s.index(" "), s.rindex(" "))]
    asked = [ask("loglikelihood", *pair) for pair in pairs]
    scored = model.loglikelihood(asked, disable_tqdm=True)
    forced = model.lm.teacher_forced([a for a, _ in pairs], [b.strip() for _, b in pairs])
    assert [total for total, _ in scored] == pytest.approx([f.logprobs.sum() for f in forced])
    backwards = model.loglikelihood(asked[::-1], disable_tqdm=True)
    assert [t for t, _ in backwards] == pytest.approx([t for t, _ in scored[::-1]])
    assert model.dropped == [0] * len(pairs)


def test_what_the_model_says_itself_is_greedy(model):
    prompt = model.tok_encode(SENTENCES[0])
    (forced,) = model.lm.score_rows([([*prompt, 0], len(prompt))])
    said = int(forced.predicted_ids[0])
    rows = [(prompt, [said]), (prompt, [said + 1])]
    right, wrong = model._loglikelihood_tokens([(None, *r) for r in rows], disable_tqdm=True)
    assert right[1] is True
    assert wrong[1] is False


def test_a_long_prompt_loses_its_front(model):
    ids, answer = model.tok_encode(LONG), model.tok_encode(" Rivella")
    assert len(ids) > model.max_length == 128
    whole, cut = model._loglikelihood_tokens(
        [(None, ids, answer), (None, ids[-(129 - len(answer)) :], answer)], disable_tqdm=True
    )
    assert whole == cut
    assert model.dropped == [len(ids) + len(answer) - 129, 0]


def test_an_answer_longer_than_the_model_is_scored_in_windows(model):
    ids = model.tok_encode(LONG)
    ((total, _),) = model._loglikelihood_tokens([(None, [0], ids)], disable_tqdm=True)
    assert model.dropped == [len(ids) + 1 - 129]
    (whole,) = model.loglikelihood_rolling([ask("loglikelihood_rolling", LONG)], disable_tqdm=True)
    assert total == pytest.approx(whole, rel=1e-6)


def test_an_answer_without_a_token_is_refused(model):
    with pytest.raises(UserError, match="the answer '' has no token to score"):
        model._loglikelihood_tokens([(("a", ""), [1], [])], disable_tqdm=True)


def test_an_empty_context_is_the_end_of_text(model):
    ((total, _),) = model.loglikelihood([ask("loglikelihood", "", "Mira")], disable_tqdm=True)
    ids = [model.prefix_token_id, *model.tok_encode("Mira")]
    (forced,) = model.lm.score_rows([(ids, 1)])
    assert total == pytest.approx(forced.logprobs.sum())


def test_every_token_of_a_long_text_is_scored_once(model):
    ids = model.tok_encode(LONG)
    (total,) = model.loglikelihood_rolling([ask("loglikelihood_rolling", LONG)], disable_tqdm=True)
    first = [model.prefix_token_id, *ids[:128]]
    last = ids[-129:]  # full context for what the first window left
    left = len(ids) - 128
    assert 0 < left < 128
    forced = model.lm.score_rows([(first, 1), (last, 129 - left)])
    assert [len(f.logprobs) for f in forced] == [128, left]
    assert total == pytest.approx(sum(f.logprobs.sum() for f in forced), rel=1e-6)
    assert model.loglikelihood_rolling([], disable_tqdm=True) == []


def test_generation_stops_and_leaves_room(model):
    settings = {"until": ["e", "zz"], "max_gen_toks": 6}
    asked = [ask("generate_until", text, settings) for text in (SENTENCES[1], LONG)]
    asked.append(ask("generate_until", SENTENCES[2], {"max_gen_toks": 5, "do_sample": False}))
    stopped, long, free = model.generate_until(asked, disable_tqdm=True)
    (whole,) = model.lm.generate([SENTENCES[1]], 6)
    assert stopped == whole.split("e")[0]
    assert "e" not in long
    assert free == model.lm.generate([SENTENCES[2]], 5)[0]
    kept = len(model.tok_encode(LONG)) - model.dropped[1]
    assert model.dropped[0] == model.dropped[2] == 0
    assert 100 < kept <= 128 - 6
    assert model._wanted({"max_gen_toks": 500}) == ((), 64)
    with pytest.raises(UserError, match="decodes greedily"):
        model.generate_until([ask("generate_until", "a", {"do_sample": True, "temperature": 1.0})])


def test_the_harness_knows_the_type_by_name():
    assert get_model("jaxedit") is HarnessModel


def test_progress_is_told_in_place_of_a_bar(capfd):
    done: list[int] = []
    model = HarnessModel(tiny_model(), advance=done.append)
    model.loglikelihood([ask("loglikelihood", s, " a") for s in SENTENCES], disable_tqdm=True)
    assert sum(done) == len(SENTENCES)
    assert capfd.readouterr().err == ""


def test_a_model_without_likelihoods_is_refused():
    class Mixture:
        tokenizer = None

    with pytest.raises(UserError, match="Mixture defines no likelihoods of given tokens") as caught:
        HarnessModel(Mixture())
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not say how long a text may be"):
        positions(Mixture())


def test_a_model_that_wraps_another_takes_as_many_tokens():
    class Wrapped:
        model = tiny_model()

    assert positions(tiny_model()) == positions(Wrapped()) == 128
