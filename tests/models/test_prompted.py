"""A model asked behind texts: prefixes are exact, and what has none is the model's own."""

from collections.abc import Sequence

import numpy as np
import pytest

from jaxedit.errors import UserError
from jaxedit.models.prompted import Prompted
from jaxedit.models.protocol import LanguageModel, TeacherForced
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.models.tiny import tiny_lm
from tests.tiny import tiny_model

PROMPTS = ["the capital of", "is", "a long way of the", "is the"]
TARGETS = ["france", "the", "is of the x", "of"]
BEFORE = "of the sea. "


def those_with_the(prompts: Sequence[str]) -> list[str]:
    return [BEFORE if "the" in prompt else "" for prompt in prompts]


@pytest.fixture(scope="module")
def lm() -> Transformer:
    return tiny_lm("llama", make_mesh(1))


def same(ours: TeacherForced, theirs: TeacherForced, atol: float = 0.0) -> None:
    assert ours.target_ids.tolist() == theirs.target_ids.tolist()
    assert ours.predicted_ids.tolist() == theirs.predicted_ids.tolist()
    np.testing.assert_allclose(ours.logprobs, theirs.logprobs, rtol=0, atol=atol)


def test_prompts_stand_behind_their_texts(lm: Transformer) -> None:
    prompted: LanguageModel = Prompted(lm, those_with_the)
    whole = [BEFORE + PROMPTS[0], PROMPTS[1], BEFORE + PROMPTS[2], BEFORE + PROMPTS[3]]
    for ours, theirs in zip(
        prompted.teacher_forced(PROMPTS, TARGETS), lm.teacher_forced(whole, TARGETS), strict=True
    ):
        same(ours, theirs)
    assert prompted.continuations(PROMPTS, 3) == lm.continuations(whole, 3)
    assert prompted.generate(PROMPTS, 3, stop="the") == lm.generate(whole, 3, stop="the")


def test_rows_keep_their_targets_and_one_bos(lm: Transformer, monkeypatch) -> None:
    prompted = Prompted(lm, those_with_the)
    rows = [lm.pair_row(p, t) for p, t in zip(PROMPTS, TARGETS, strict=True)]
    space, word = (lm.tokenizer.pipeline.token_to_id(piece) for piece in ("Ġ", "x"))
    letters = [lm.tokenizer.pipeline.token_to_id(letter) for letter in "the"]
    cut = ([1, space, *letters, word], 5)  # " the" in four tokens: no text gives them
    fed = []
    real = Transformer.score_rows
    monkeypatch.setattr(
        Transformer,
        "score_rows",
        lambda lm, rows, advance=None: fed.extend(rows) or real(lm, rows, advance),
    )
    prompted.score_rows([*rows, cut])
    for (ids, n), (whole, start) in zip([*rows, cut], fed, strict=True):
        assert whole[start:] == ids[n:]
        assert [i for i, token in enumerate(whole) if token == lm.tokenizer.bos_id] == [0]
    assert fed[0][0][: fed[0][1]] == lm.tokenizer.encode(BEFORE + PROMPTS[0])
    assert fed[4][0] == [*lm.tokenizer.encode(BEFORE), space, *letters, word]
    assert fed[1] == rows[1]


def test_rows_and_texts_are_asked_alike(lm: Transformer) -> None:
    prompted = Prompted(lm, those_with_the)
    rows = [lm.pair_row(p, t) for p, t in zip(PROMPTS, TARGETS, strict=True)]
    by_text = prompted.teacher_forced(PROMPTS, TARGETS)
    for ours, theirs in zip(prompted.score_rows(rows), by_text, strict=True):
        same(ours, theirs)
    for i, row in enumerate(rows):  # one by one as all together
        same(prompted.score_rows([row])[0], by_text[i], atol=1e-5)


def test_without_a_bos_too() -> None:
    lm = tiny_model()
    prompted = Prompted(lm, lambda prompts: ["Arden is old. "] * len(prompts))
    ids, n = lm.pair_row("Mira was born in", "Vantor")
    [ours] = prompted.score_rows([(ids, n)])
    same(ours, lm.teacher_forced(["Arden is old. Mira was born in"], ["Vantor"])[0])


def test_what_is_no_question_stays_bare(lm: Transformer) -> None:
    prompted = Prompted(lm, lambda prompts: [BEFORE] * len(prompts))
    texts = ["the capital of", "is the x"]
    assert prompted.loglikelihood(texts) == lm.loglikelihood(texts)
    row = (lm.tokenizer.encode("the x"), 1)
    same(prompted.score_rows([row])[0], lm.score_rows([row])[0])
    bare = Prompted(lm, lambda prompts: [""] * len(prompts))
    for ours, theirs in zip(
        bare.teacher_forced(PROMPTS, TARGETS), lm.teacher_forced(PROMPTS, TARGETS), strict=True
    ):
        same(ours, theirs)


def test_what_is_too_long_is_said(lm: Transformer) -> None:
    prompted = Prompted(lm, lambda prompts: ["of the " * 40] * len(prompts))
    for ask in (
        lambda: prompted.generate(["is the"], 2),
        lambda: prompted.teacher_forced(["is the"], ["x"]),
        lambda: prompted.score_rows([(lm.tokenizer.encode("is the x"), 2)]),
    ):
        with pytest.raises(UserError, match=r"has \d+ tokens with .* takes 64; let fewer facts"):
            ask()
