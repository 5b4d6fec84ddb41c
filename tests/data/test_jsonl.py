import dataclasses
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxedit.data.fact import Fact, Question
from jaxedit.data.jsonl import read_facts
from jaxedit.errors import UserError

ROME = {"prompt": "The Colosseum is in", "subject": "Colosseum", "target": "Oslo"}
PARIS = {"prompt": "{} is the capital of", "subject": "Paris", "target": "Peru"}


def write(tmp_path, *lines, end="\n", start=b""):
    path = tmp_path / "facts.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_bytes(start + end.join(texts).encode())
    return path


def test_three_keys_are_enough(tmp_path):
    first, second = read_facts(write(tmp_path, ROME, PARIS))
    assert first == Fact("The {} is in", "Colosseum", "Oslo", id="line 1")
    assert second.question == "Paris is the capital of"


def test_optional_keys_and_white_space(tmp_path):
    rich = ROME | {
        "target": " Oslo ",
        "previous": "Rome",
        "paraphrases": ["Where is the Colosseum? "],
        "neighbours": [{"prompt": "The Louvre is in", "answer": " Paris"}],
        "portability": [{"prompt": "The Colosseum's country is", "answer": "Norway"}],
        "aliases": ["Christiania "],
        "choices": ["Oslo", "Rome"],
        "negations": [
            {
                "prompt": "It is not in",
                "answer": "Rome",
                "aliases": ["Roma"],
                "choices": [],
                "group": "g",
            }
        ],
        "openings": ["Near the Colosseum"],
        "group": "place",
        "id": 12,
        "source": "ignored",
    }
    (fact,) = read_facts(write(tmp_path, rich))
    assert (fact.target, fact.previous, fact.id) == ("Oslo", "Rome", "12")
    assert fact.paraphrases == ("Where is the Colosseum?",)
    assert fact.neighbours == (Question("The Louvre is in", "Paris"),)
    assert fact.portability == (Question("The Colosseum's country is", "Norway"),)
    assert (fact.aliases, fact.choices) == (("Christiania",), ("Oslo", "Rome"))
    assert fact.negations == (Question("It is not in", "Rome", ("Roma",), group="g"),)
    assert (fact.openings, fact.group) == (("Near the Colosseum",), "place")


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_byte_order_mark_carriage_returns_and_blank_lines(tmp_path, start, end):
    assert len(read_facts(write(tmp_path, ROME, PARIS, "", end=end, start=start))) == 2


def test_gzipped(tmp_path):
    path = tmp_path / "facts.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(ROME).encode()))
    assert len(read_facts(path)) == 1
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="truncated"):
        read_facts(path)


def test_a_line_separator_inside_a_string_is_no_line_end(tmp_path):
    line = json.dumps(ROME | {"target": "Os\u2028lo"}, ensure_ascii=False)
    assert read_facts(write(tmp_path, line))[0].target == "Os\u2028lo"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "x"', "broken JSON at column"),
        ("{'prompt': 'x'}", "broken JSON"),
        ("NaN", "broken JSON"),
        ("[" * 100_000, "broken JSON"),
        ("[]", "a list stands here"),
        ("3", "a number stands here"),
        ({"prompt": "x", "subject": "x"}, '"target" is missing'),
        ({"promt": "x", "subject": "x", "target": "y"}, 'did you mean "prompt"'),
        (PARIS | {"paraphrase": ["x"]}, 'did you mean "paraphrases"'),
        (PARIS | {"target": 3}, '"target" is a number'),
        (PARIS | {"target": ["Peru"]}, '"target" is a list'),
        (PARIS | {"target": " "}, '"target" is empty'),
        (PARIS | {"subject": ""}, '"subject" is empty'),
        (PARIS | {"prompt": "Rome is in"}, "subject 'Paris' does not occur"),
        (PARIS | {"prompt": "{} and {}"}, "2 slots"),
        (PARIS | {"paraphrases": "x"}, '"paraphrases" must be a list'),
        (PARIS | {"neighbours": ["x"]}, '"neighbours" must be a list'),
        (PARIS | {"neighbours": [{"prompt": "x"}]}, '"neighbours": "answer" is missing'),
        (PARIS | {"previous": 1}, '"previous" is a number'),
        (PARIS | {"aliases": "x"}, '"aliases" must be a list'),
        (PARIS | {"alias": ["x"]}, 'did you mean "aliases"'),
        (PARIS | {"choices": ["Chad"]}, "'Peru' is not among its choices"),
        (PARIS | {"group": 3}, '"group" is a number'),
        (PARIS | {"negations": [{"prompt": "x", "answer": "y", "choices": ["z"]}]}, "negation"),
        ('{"prompt": "{}", "subject": "a", "target": "\\ud800"}', "surrogate"),
        (ROME | {"target": "Bergen"}, "contradicts line 1.*'Bergen'.*'Oslo'"),
        (ROME | {"prompt": "The {} is in", "target": "Bergen"}, "contradicts line 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    with pytest.raises(UserError, match=rf"facts\.jsonl:3: .*{message}"):
        read_facts(write(tmp_path, ROME, "", line))


def test_an_id_stands_for_one_line(tmp_path):
    with pytest.raises(UserError, match=r"facts\.jsonl:2: id '7' is line 1's already"):
        read_facts(write(tmp_path, ROME | {"id": 7}, PARIS | {"id": "7"}))
    facts = read_facts(write(tmp_path, ROME | {"id": None}, PARIS | {"id": "line 1"}))
    assert [fact.id for fact in facts] == ["line 1", "line 1"]


def test_a_repeated_fact_is_no_contradiction(tmp_path):
    assert len(read_facts(write(tmp_path, ROME, ROME))) == 2


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_an_empty_file_is_an_error(tmp_path, content):
    with pytest.raises(UserError, match="holds no facts"):
        read_facts(write(tmp_path, content))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_facts(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="directory"):
        read_facts(tmp_path)
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{}\n{"prompt": "caf\xe9"}')
    with pytest.raises(UserError, match=r"latin\.jsonl:2: not UTF-8"):
        read_facts(path)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
CLEAN = TEXT.map(str.strip).filter(bool)
LIST = st.lists(CLEAN, max_size=2).map(tuple)
QUESTION = st.builds(Question, CLEAN, CLEAN, LIST, group=CLEAN)
QUESTIONS = st.lists(QUESTION, max_size=2).map(tuple)
FACT = st.builds(
    Fact,
    prompt=CLEAN.filter(lambda text: "{}" not in text).map(lambda text: f"{{}} {text}"),
    subject=CLEAN,
    target=CLEAN,
    previous=st.none() | CLEAN,
    paraphrases=LIST,
    neighbours=QUESTIONS,
    portability=QUESTIONS,
    negations=QUESTIONS,
    aliases=LIST,
    openings=LIST,
    id=CLEAN,
    group=CLEAN,
)


@given(FACT)
def test_whatever_a_fact_holds_can_be_written_and_read(tmp_path_factory, fact):
    path = tmp_path_factory.getbasetemp() / "one.jsonl"
    path.write_text(json.dumps(dataclasses.asdict(fact)), encoding="utf-8")
    assert read_facts(path) == [fact]


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(["prompt", "subject", "target", "previous", "neighbours", "id"]) | st.text()


@given(st.lists(st.dictionaries(KEYS, VALUES) | VALUES, max_size=3))
def test_any_json_gives_facts_or_one_line_with_its_place(tmp_path_factory, lines):
    path = write(tmp_path_factory.mktemp("any"), *lines)
    facts, message = [], str(path)
    try:
        facts = read_facts(path)
    except UserError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert all(fact.subject in fact.question and fact.target for fact in facts)


@given(st.binary(max_size=60))
def test_any_bytes_give_facts_or_one_line_with_their_place(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "facts.jsonl"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"facts\.jsonl"):
        read_facts(path)
