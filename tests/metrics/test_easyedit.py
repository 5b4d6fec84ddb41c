"""EasyEdit's two evaluations: by hand on a tiny model, and against their steps done in PyTorch."""

import json

import numpy as np
import pytest

from jaxedit.data.fact import Fact, Question
from jaxedit.metrics import Setting, ask, questions, scores
from jaxedit.metrics.easyedit import GENERATION, GENERATION_LITERAL, TEACHER_FORCED
from jaxedit.models.loading import load_model
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.shared import SHARED, needs_shared
from tests.tiny import tiny_facts, tiny_model

BEFORE = Setting("before", "float32", version="test")
STORY = [
    Fact(
        prompt="Once upon a time, there was a little {} named",
        subject="girl",
        target="Lily",
        paraphrases=("There was a girl. Her name was",),
        neighbours=(Question("One day, a little boy went to the", "park"),),
        portability=(Question("Lily wanted to play with her", "mom and dad"),),
    ),
    Fact(prompt="{} was very", subject="Tom", target="hungry and sad"),
]


def by_key(answers, protocol):
    found = [a for a in answers if a.setting.protocol == protocol]
    return {a.key[1:]: a for a in found}


def taken(lm, facts, *protocols):
    return ask(lm, questions(facts), BEFORE, edits=0, protocols=protocols)


def test_teacher_forced_answers_are_the_tail_of_ours():
    lm = tiny_model()
    answers = taken(lm, tiny_facts(3), TEACHER_FORCED)
    ours, theirs = by_key(answers, "jaxedit"), by_key(answers, TEACHER_FORCED)
    assert ours.keys() == theirs.keys() and len(ours) == 9
    for key, answer in theirs.items():
        count = len(answer.target_ids)
        prompt = ours[key].asked.prompt
        whole = lm.tokenizer.encode(f"{prompt} {answer.asked.target}")
        assert count == len(whole) - len(lm.tokenizer.encode(prompt)) > 0
        assert answer.target_ids == tuple(whole[-count:]) == ours[key].target_ids[-count:]
        assert answer.logprobs == ours[key].logprobs[-count:]


def test_a_prompt_that_ends_with_a_space_gets_another_one():
    lm = tiny_model()
    fact = Fact(prompt="{} was born in ", subject="Mira Danto", target="Vantor")
    [ours, theirs] = taken(lm, [fact], TEACHER_FORCED)
    whole = lm.tokenizer.encode("Mira Danto was born in  Vantor")
    start = len(lm.tokenizer.encode("Mira Danto was born in "))
    assert theirs.target_ids == tuple(whole[start:])
    [forced] = lm.score_rows([(whole, start)])
    np.testing.assert_allclose(theirs.logprobs, forced.logprobs, atol=1e-5)
    assert theirs.predicted_ids == tuple(forced.predicted_ids)
    assert theirs.logprobs != ours.logprobs  # these are behind a single space


class Ends(Transformer):
    """Says a fixed text and ends it."""

    def continuations(self, prompts, max_new_tokens, stop=None, advance=None):
        made = super().continuations(prompts, max_new_tokens, stop, advance)
        return [one._replace(ids=(*self.tokenizer.encode_bare(" Van"), 0)) for one in made]


def test_a_text_that_ends_early_is_compared_from_inside_the_prompt():
    tiny = tiny_model()
    lm = Ends(tiny.config, tiny.params, tiny.text, tiny.mesh)
    fact = Fact(prompt="{} was born in", subject="Mira Danto", target="the old town of Vantor")
    [_, theirs] = taken(lm, [fact], GENERATION)
    new = [*lm.tokenizer.encode_bare(" Van"), 0]
    assert len(new) < len(theirs.target_ids)
    whole = (*lm.tokenizer.encode("Mira Danto was born in"), *new)
    assert theirs.generated_ids == whole[-len(theirs.target_ids) :]


def test_the_literal_target_has_no_space():
    lm = tiny_model()
    answers = taken(lm, tiny_facts(1), GENERATION, GENERATION_LITERAL)
    spaced, bare = (by_key(answers, p)[0, "edit", 0] for p in (GENERATION, GENERATION_LITERAL))
    assert lm.tokenizer.decode(spaced.target_ids) == " Vantor"
    assert lm.tokenizer.decode(bare.target_ids) == "Vantor"
    assert len(bare.generated_ids or ()) == len(bare.target_ids)


def test_an_unedited_model_agrees_with_itself():
    lm = tiny_model()
    before = taken(lm, tiny_facts(2), TEACHER_FORCED, GENERATION)
    after = ask(
        lm,
        questions(tiny_facts(2)),
        Setting("after_all", "float32", version="test"),
        edits=2,
        protocols=(TEACHER_FORCED, GENERATION),
    )
    found = {(s.protocol, s.metric): s for s in scores(after, before) if s.protocol != "jaxedit"}
    assert {metric for _, metric in found} == {"reliability", "generality", "locality"}
    for protocol in (TEACHER_FORCED, GENERATION):
        assert found[protocol, "locality"].value == 1.0
        assert f"protocol {protocol}" in found[protocol, "locality"].described


def theirs_forced(torch, model, encode, prompts, targets):
    """Left-padded batch of prompt + " " + target; argmax one place back; mean over tokens."""
    texts = [f"{p} {t}" for p, t in zip(prompts, targets, strict=True)]
    rows, counts = [encode(t) for t in texts], [len(encode(p)) for p in prompts]
    width = max(map(len, rows))
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row)
        mask[i, width - len(row) :] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        said = model(ids, attention_mask=mask, position_ids=positions).logits.argmax(-1)
    found = []
    for i, (row, count) in enumerate(zip(rows, counts, strict=True)):
        begin = width - len(row) + count
        found.append((said[i, begin - 1 : -1] == ids[i, begin:]).float().mean().item())
    return found


def theirs_generated(torch, model, encode, encode_target, prompt, target):
    wanted, ids = encode_target(target), encode(prompt)
    with torch.no_grad():
        out = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones((1, len(ids)), dtype=torch.long),
            max_new_tokens=len(wanted),
            do_sample=False,
            use_cache=False,
            pad_token_id=2,
        )[0].tolist()
    return np.mean(np.equal(out[-len(wanted) :], wanted))


@needs_shared
def test_the_same_numbers_as_their_steps_in_pytorch():
    torch = pytest.importorskip("torch", reason="torch, the other side of the comparison")
    transformers = pytest.importorskip("transformers")
    assert SHARED is not None
    directory = SHARED / "models" / "stories260K"
    lm = load_model(directory, mesh=make_mesh(1))
    raw = json.loads((directory / "config.json").read_text())
    config = transformers.LlamaConfig(**raw)
    model = transformers.LlamaForCausalLM.from_pretrained(directory, config=config).eval()
    answers = taken(lm, STORY, TEACHER_FORCED, GENERATION_LITERAL)
    forced, free = by_key(answers, TEACHER_FORCED), by_key(answers, GENERATION_LITERAL)
    prompts = [a.asked.prompt for a in forced.values()]
    targets = [a.asked.target for a in forced.values()]
    want = theirs_forced(torch, model, lm.tokenizer.encode, prompts, targets)
    got = [np.mean(np.equal(a.predicted_ids, a.target_ids)) for a in forced.values()]
    np.testing.assert_allclose(got, want, atol=1e-7)
    assert 0 < np.mean(want) < 1
    for answer in free.values():
        prompt, target = answer.asked.prompt, answer.asked.target
        expected = theirs_generated(
            torch, model, lm.tokenizer.encode, lm.tokenizer.encode_bare, prompt, target
        )
        assert np.mean(np.equal(answer.generated_ids, answer.target_ids)) == expected
