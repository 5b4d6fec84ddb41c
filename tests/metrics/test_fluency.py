import dataclasses
import math
import random

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.errors import UserError
from jaxedit.metrics import Setting, read_answers, scores, write_answers
from jaxedit.metrics.consistency import Tfidf, consistency
from jaxedit.metrics.fluency import (
    ESSENCE_MEASURES,
    MEASURES,
    essence,
    ngram_entropy,
    openings,
    varied,
)
from jaxedit.metrics.records import Answer, Asked
from jaxedit.metrics.words import sentences, treebank_words, words
from tests.metrics.fake import Table
from tests.tiny import tiny_model

SETTING = Setting("after_all", "float32", version="test")
ASKED = [
    Asked(0, "edit", 0, "Mira Danto was born in", "Sarn"),
    Asked(0, "opening", 0, "Mira Danto lives where people", "Sarn"),
    Asked(0, "opening", 1, "Mira", "Sarn"),
    Asked(1, "opening", 0, "The mother tongue of Ester Halloran", "Old Tessan"),
]
SIGNS = "Dr. can't cannot \" ' '' `` ( ) ] < , : ; -- ... . ! ? 's 'tis n't I'll 3,36 $3.88 % * –"
MORE = "’ “ « ‘ #1 d'ye gonna wanna word word. e.g. a"
PIECES = [*SIGNS.split(), *MORE.split(), " ", "  ", "\n"]


def tfidf_setting():
    return dataclasses.replace(SETTING, protocol="fluency")


# ---------------------------------------------------------------- words


def test_sentences_end_where_they_end():
    text = (
        'He came. "It is," Dr. Ames said, "3.5 km." J. R. Osei (of St. Ives) left! Why? etc. so on'
    )
    assert sentences(text) == [
        "He came.",
        '"It is," Dr. Ames said, "3.5 km."',
        "J. R. Osei (of St. Ives) left!",
        "Why? etc. so on",
    ]
    assert words("A cat. A dog.") == ["A", "cat", ".", "A", "dog", "."]
    assert words("") == []


def test_the_treebanks_rules_by_hand():
    said = treebank_words("\"We can't,\" they'd said (for $3.88): it's gonna rain--soon...")
    assert said == [
        *("``", "We", "ca", "n't", ",", "''", "they", "'d", "said", "(", "for", "$", "3.88", ")"),
        *(":", "it", "'s", "gon", "na", "rain", "--", "soon", "..."),
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_words_are_nltks(text):
    destructive = pytest.importorskip("nltk.tokenize.destructive")
    assert treebank_words(text) == destructive.NLTKWordTokenizer().tokenize(text)


# ---------------------------------------------------------------- n-gram entropy


def test_entropy_by_hand():
    # a b a b c: bigrams ab ba ab bc, trigrams aba bab abc
    h2 = -(0.5 * math.log2(0.5) + 2 * 0.25 * math.log2(0.25))
    assert ngram_entropy("a b a b c") == pytest.approx((h2 + 2 * math.log2(3)) / 3)
    assert ngram_entropy("one") == ngram_entropy("") == 0
    assert ngram_entropy("to be to be to be to be") < ngram_entropy("a b c d e f g h")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["mira", "was", "born", "in", "sarn", "vantor"]), max_size=40))
def test_entropy_is_bounded_and_blind_to_names(found):
    value = ngram_entropy(" ".join(found))
    most = [math.log2(max(1, len(found) - n + 1)) for n in (2, 3)]
    assert 0 <= value <= (most[0] + 2 * most[1]) / 3 + 1e-9
    assert value == pytest.approx(ngram_entropy(" ".join(found[::-1])))
    assert value == pytest.approx(ngram_entropy(" ".join(f"x{word}" for word in found)))


def test_a_repetitive_model_scores_low():
    def score(text):
        answers = [Answer(SETTING, 3, asked, generated=text) for asked in ASKED if asked.index < 1]
        (found,) = scores(answers, measures=MEASURES)
        assert (found.metric, found.reading, found.n) == ("fluency", "ngram_entropy", 2)
        return found.value

    rng = random.Random(0)
    rich = " ".join(f"w{rng.randrange(60)}" for _ in range(80))
    assert score("the city of Sarn " * 20) < 2.1 < 5 < score(rich)


# ---------------------------------------------------------------- sampling


def test_openings_are_sampled_kept_and_seeded(tmp_path):
    lm = tiny_model()
    made = openings(lm, ASKED, SETTING, jax.random.key(1), edits=7)
    assert [a.asked for a in made] == ASKED[1:]
    for answer in made:
        assert answer.setting.protocol == "fluency" and answer.edits == 7
        assert answer.generated.startswith(answer.asked.prompt)
        assert 20 < len(lm.tokenizer.encode(answer.generated)) <= 101  # NFKD may split one
    assert made == openings(lm, ASKED, SETTING, jax.random.key(1), edits=7)
    assert made != openings(lm, ASKED, SETTING, jax.random.key(2), edits=7)
    write_answers(tmp_path / "raw.jsonl", made)
    again = read_answers(tmp_path / "raw.jsonl")
    assert [varied(a) for a in again] == [varied(a) for a in made]
    assert scores(again, measures=MEASURES) == scores(made, measures=MEASURES)


def test_what_cannot_sample_or_is_not_asked_gives_nothing():
    assert openings(Table({}), ASKED, SETTING, jax.random.key(0), edits=0) == []
    assert openings(tiny_model(), ASKED[:1], SETTING, jax.random.key(0), edits=0) == []


def test_blank_lines_and_composed_letters():
    class Fixed(Table):
        def sample(self, prompts, key, *, max_new_tokens, top_k):
            assert top_k == 5 and max_new_tokens == 99
            return [" café\n\nﬁn" for _ in prompts]

    class Text:
        def encode(self, text):
            return text.split()

    lm = Fixed({}, Text())
    (made,) = openings(lm, ASKED[2:3], SETTING, jax.random.key(0), edits=0)
    assert made.generated == "Mira cafe\u0301 fin"


# ---------------------------------------------------------------- consistency

TERMS = ["paris", "is", "city", "of", "oslo", "the", "a", "poet", "xx"]
TEXTS = st.lists(st.sampled_from(TERMS)).map(" ".join)
CORPUS = ["Paris is a city in France.", "A poet of the city", "Oslo lies in Norway; Oslo is old"]


def test_tfidf_by_hand():
    weights = Tfidf.fit(["red red blue", "blue a"])
    assert weights.idf == {"red": math.log(3 / 2) + 1, "blue": 1.0}
    red = 2 * (math.log(3 / 2) + 1)
    assert weights.cosine("RED blue red", "blue") == pytest.approx(1 / math.hypot(red, 1))
    assert weights.cosine("green", "blue") == 0


@settings(max_examples=40, deadline=None)
@given(TEXTS, TEXTS)
def test_cosine_is_bounded_symmetric_and_scikit_learns(a, b):
    weights = Tfidf.fit(CORPUS)
    value = weights.cosine(a, b)
    assert 0 <= value <= 1 and value == pytest.approx(weights.cosine(b, a))
    text = pytest.importorskip("sklearn.feature_extraction.text")
    theirs = text.TfidfVectorizer().fit(CORPUS).transform([a, b]).toarray()
    assert value == pytest.approx(float(theirs[0] @ theirs[1]), abs=1e-12)


def test_consistency_joins_a_facts_texts():
    texts = ["Oslo lies", "in Norway", "Paris poet"]
    made = [
        Answer(tfidf_setting(), 2, asked, generated=text)
        for asked, text in zip(ASKED[1:], texts, strict=True)
    ]
    references = {0: ["Oslo", "in Norway lies"], 1: ["green"], 5: ["unasked"]}
    found = consistency(made, references, CORPUS)
    assert found.value == pytest.approx(0.5)  # the same words in another order; none in common
    assert (found.n, found.metric, found.protocol) == (2, "consistency", "fluency")
    with pytest.raises(UserError, match="none has both"):
        consistency(made, {}, CORPUS)
    with pytest.raises(UserError, match="no words"):
        Tfidf.fit(["a", ""])


# ---------------------------------------------------------------- essence


def test_essence_divides_by_all_tokens():
    lm = Table({}, wrong=0.25)
    made = essence(lm, {0: ["Mira is", "old"], 3: ["x " * 400], 4: ["one"]}, SETTING, edits=1)
    assert [len(a.logprobs) for a in made] == [2, 99], "a single token has nothing to foresee it"
    (found,) = scores(made[:1], measures=ESSENCE_MEASURES)
    assert found.value == pytest.approx(4 ** (2 / 3))
    assert (found.metric, found.protocol) == ("essence", "essence")
    # What a run keeps beside other answers is reduced with them.
    assert scores(made[:1]) == [found]
