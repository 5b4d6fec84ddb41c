"""Rows as tokens: what is marked in the text is marked in the tokens."""

import itertools

import numpy as np
import pytest

from jaxedit.data.factworld import World, training_rows, vocabulary
from jaxedit.data.factworld.batches import batches, encode


@pytest.fixture(scope="module", params=["byte_level", "sentencepiece"])
def tokenizer(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "OTHER_WORLDS", range(100, 103))
        return vocabulary.TOKENIZERS[request.param](800)


def test_marks_decode_to_subjects_and_answers(tokenizer):
    for row in itertools.islice(training_rows(World(0), 0), 100):
        made = encode(tokenizer, row)
        assert made.ids[-1] == tokenizer.eos_id and made.answer[-1]
        assert tokenizer.decode(made.ids) == row.text
        for number, (_, start, end) in enumerate(row.subjects):
            at = np.flatnonzero(made.subject == number)
            assert tokenizer.decode(made.ids[at]).strip() == row.text[start:end]
            assert made.subject_last[at].tolist() == [False] * (len(at) - 1) + [True]
        assert made.subject_last.sum() == len(row.subjects)
        answers = "".join(row.text[start:end] for _, start, end in row.answers)
        pieces = tokenizer.decode(made.ids[np.flatnonzero(made.answer)[:-1]])
        assert pieces.replace(" ", "") == answers.replace(" ", "")


def test_batches_fill_their_lengths(tokenizer):
    for batch in itertools.islice(batches(tokenizer, World(0), 0, 480, (64, 24, 40)), 12):
        rows, length = batch.ids.shape
        assert length in (24, 40, 64) and rows == 480 // length
        assert np.array_equal(batch.mask, np.sort(batch.mask, axis=1)[:, ::-1])  # pads behind
        shorter = {64: 40, 40: 24, 24: 0}[length]
        assert (batch.mask.sum(1) > shorter).all()
        assert not (batch.subject_last | batch.answer | (batch.subject >= 0))[~batch.mask].any()
