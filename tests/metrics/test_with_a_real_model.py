"""The metrics over a real Transformer and real records."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from jaxedit.data.datasets import load_facts
from jaxedit.metrics import Setting, answer, heldout_perplexity, questions, scores
from jaxedit.models import load_model
from jaxedit.sharding import make_mesh

SHARED = os.environ.get("JAXEDIT_SHARED")
pytestmark = pytest.mark.skipif(not SHARED, reason="the small model needs JAXEDIT_SHARED")


@pytest.fixture(scope="module")
def lm():
    return load_model(Path(SHARED or "", "models", "stories260K"), mesh=make_mesh(1))


def test_raw_answers_and_scores_of_real_records(lm):
    zsre = Path(SHARED or "", "data", "zsre", "zsre_mend_train_10000_full.json.gz")
    facts = load_facts("zsre", zsre, limit=6).facts
    setting = Setting("before", "float32", max_new_tokens=4)
    asked = questions(facts)
    answers = answer(lm, asked, setting, edits=0)
    assert len(answers) == 18
    for item in answers:
        ids, start = lm.tokenizer.encode_pair(item.asked.prompt, item.asked.target)
        assert item.target_ids == tuple(ids[start:])
        assert len(item.predicted_ids) == len(item.logprobs) == len(item.target_ids)
        assert all(x <= 0 for x in item.logprobs)
        assert item.generated is not None
    after = [
        dataclasses.replace(a, setting=Setting("after_all", "float32"), edits=6) for a in answers
    ]
    found = {(s.metric, s.decoding, s.against): s.value for s in scores(after, answers)}
    assert found["locality", "teacher_forced", "unedited"] == 1
    assert found["locality", "generation", "unedited"] == 1
    assert 0 <= found["efficacy", "teacher_forced", "target"] <= 1


def test_a_story_is_likelier_than_its_words_shuffled(lm):
    story = "Once upon a time, there was a little girl named Lily. She loved to play outside."
    words = story.split()
    np.random.default_rng(0).shuffle(words)
    setting = Setting("before", "float32")
    told = heldout_perplexity(lm, [story], setting, edits=0).value
    assert 1 < told < heldout_perplexity(lm, [" ".join(words)], setting, edits=0).value / 5
