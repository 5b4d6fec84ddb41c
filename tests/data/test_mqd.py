import dataclasses
import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.data import mqd
from jaxedit.data.datasets import load_facts
from jaxedit.data.jsonl import read_facts
from jaxedit.data.mqd.atomic import Triple
from jaxedit.data.mqd.cleaning import clean, key
from jaxedit.data.mqd.distractors import WrongTails
from jaxedit.data.mqd.forms import LETTERS
from jaxedit.data.mqd.relations import RELATIONS, shape
from jaxedit.data.mqd.tokens import tokens, words
from jaxedit.errors import UserError
from tests.shared import SHARED, needs_shared
from tests.tiny import tiny_tokenizer

# what a tail of a relation looks like; {} makes it unlike the others
TAILS = {
    "xWant": "to paint wall {}",
    "xNeed": "buy brush {}",
    "xEffect": "drops ladder {}",
    "oReact": "puzzled {}",
    "xAttr": "tidy {}",
    "HinderedBy": "PersonX has no key {}",
    "isAfter": "PersonX rents shed {}",
    "ObjectUse": "stir soup {}",
    "AtLocation": "kitchen {}",
}


def triples(*rows):
    return [Triple(i, *row) for i, row in enumerate(rows)]


def source(heads, tails=2, relations=tuple(TAILS)):
    """Every relation of every head, each with some tails of its own."""
    return triples(
        *(
            (f"PersonX paints PersonY's shed {head}", relation, TAILS[relation].format(n))
            for head in range(heads)
            for relation in relations
            for n in range(head, head + tails)
        )
    )


# ---- reading


def test_each_published_form_is_recognised(tmp_path):
    tabbed = "PersonX naps\txWant\tto wake up\nPersonX naps\txReact\tnone\n"
    joined = "PersonX naps @@ xWant\tto wake up| rest more\r\nPersonX naps @@ oWant\tnone\r\n"
    judged = 'head,relation,tail,label,class,split\nPersonX nap,xWant,"to, wake",0,c,tst\n'
    columns = 'event,oWant,xWant,prefix,split\nPersonX naps,"[]","[""to wake""]","[""n""]",trn\n'
    path = tmp_path / "triples"
    path.write_bytes(b"\xef\xbb\xbf" + tabbed.encode())
    assert mqd.read(path) == triples(
        ("PersonX naps", "xWant", "to wake up"), ("PersonX naps", "xReact", "none")
    )
    path.write_bytes(gzip.compress(joined.encode()))
    assert [(t.relation, t.tail) for t in mqd.read(path)] == [
        ("xWant", "to wake up"),
        ("xWant", "rest more"),
        ("oWant", "none"),
    ]
    path.write_text(judged)
    assert mqd.read(path) == [Triple(0, "PersonX nap", "xWant", "to, wake", False)]
    path.write_text(columns)
    assert mqd.read(path) == [Triple(0, "PersonX naps", "xWant", "to wake")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no file of ATOMIC triples"),
        ("a,b,c\n", "is no file of ATOMIC triples"),
        ("h\tr\tt\nh\tr\n", ":2: 2 columns"),
        ("h @@ r\tt\nh r\tt\n", ":2: is not 'head @@ relation"),
        ("head,relation,tail,label\nh,r,t,2\n", ":2: label is '2'"),
        ("head,relation,tail,label\nh,r,t\n", ":2: 3 columns; the header has 4"),
        ("head,relation,tail,label\n", "holds no triples"),
        ("event,xWant\nh,[\n", ":2: broken JSON"),
        ('event,xWant\nh,"{}"\n', ":2: xWant is not a list"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "bad.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"bad\.tsv") as raised:
        mqd.read(path)
    assert message in str(raised.value)


# ---- cleaning


def test_each_defect_is_counted_once_under_its_reason():
    good = ("PersonX naps", "xWant", "to wake")
    bad = [
        ("PersonX buys ___", "xWant", "to sit"),
        ("PersonX naps", "xWant", "to use the ____"),
        ("PersonX naps", "xWant", "None."),
        ("PersonX naps", "xWant", "."),
        ("PersonX naps", "xWant", "salt & pepper"),
        ("PersonX naps", "xWant", "to sit; to run"),
        ("PersonX naps", "xWant", "to a b c d e f g h"),
        ("PersonX naps", "xWant", "sleeping"),
        ("PersonX naps", "xGuess", "to sit"),
        ("personx naps", "xWant", "To wake."),
    ]
    implausible = Triple(99, "PersonX naps", "xWant", "to fly", False)
    cleaned = clean([*triples(good, *bad), implausible])
    assert [t[1:4] for t in cleaned.triples] == [good]
    assert cleaned.skipped == {
        "blank (___)": 2,
        "invalid character": 2,
        "no tail (none)": 1,
        "empty": 1,
        "tail longer than 8 words": 1,
        "tail does not follow its relation's phrase": 1,
        "unknown relation": 1,
        "duplicate": 1,
        "judged implausible": 1,
    }


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        ("person x does n't nap", "To  wake.", ("PersonX doesn't nap", "to wake")),
        ("Person X's\u00a0hat 's lost", "the hat", ("PersonX's hat's lost", "the hat")),
        ("PersonX naps", "I to go", ("PersonX naps", "I to go")),
        ("PersonX naps", "TO WAKE", ("PersonX naps", "to wake")),
        ("PersonX naps", "to see person y\u2019s TV", ("PersonX naps", "to see PersonY's TV")),
    ],
)
def test_texts_come_to_one_form(head, tail, expected):
    (triple,) = clean(triples((head, "xWant", tail))).triples
    assert (triple.head, triple.tail) == expected


# ---- phrases


@pytest.mark.parametrize(
    ("head", "relation", "tail", "sentence"),
    [
        ("PersonX naps", "xWant", "to wake", "as a result, PersonX wants"),
        ("PersonX naps", "xWant", "wake up", "as a result, PersonX wants to"),
        ("PersonX naps", "xWant", "a blanket", "as a result, PersonX wants"),
        ("PersonY naps", "xWant", "wake up", "as a result, PersonY wants to"),
        ("PersonX naps", "oReact", "sad", "as a result, someone else feels"),
        ("PersonX calls PersonY", "oReact", "sad", "as a result, PersonY feels"),
        ("PersonY calls PersonX", "oEffect", "comes", "as a result, PersonX"),
        ("PersonX naps", "xEffect", "PersonX snores", "as a result,"),
        ("PersonX naps", "xIntent", "rest", "because PersonX wanted to"),
        ("PersonX naps", "HinderedBy", "the bed is hard", "which cannot happen if"),
        ("spoon", "ObjectUse", "eating soup", "which can be used for"),
        ("spoon", "ObjectUse", "bring soup", "which can be used to"),
        ("spoon", "ObjectUse", "as a lever", "which can be used"),
        ("PersonX naps", "xNeed", "runs home", None),
        ("PersonX naps", "xEffect", "jump", None),
    ],
)
def test_a_phrase_fits_the_shape_of_its_tail(head, relation, tail, sentence):
    assert RELATIONS[relation].lead(head, tail) == sentence


def test_all_relations_of_both_atomics_have_a_phrase():
    atomic = "xIntent xNeed xAttr xEffect xReact xWant oEffect oReact oWant"
    more = "isAfter isBefore HinderedBy Causes xReason HasSubEvent ObjectUse AtLocation MadeUpOf"
    rest = "HasProperty CapableOf Desires NotDesires isFilledBy"
    assert set(f"{atomic} {more} {rest}".split()) <= set(RELATIONS)
    for relation in RELATIONS.values():
        for lead in relation.leads.values():
            assert "{" not in lead.replace("{x}", "").replace("{o}", "")


def test_shapes():
    assert shape("PersonY's sister calls") == "clause"
    assert shape("them to go") == "nominal" and shape("they to go") == "marked"
    assert shape("feed the cat") == "plain" and shape("bored") == "past"
    assert shape("guess again") == "plain" and shape("guesses again") == "third"


# ---- building

TRIPLES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(sorted(TAILS)), st.integers(0, 5)),
    min_size=40,
    max_size=160,
)


def drawn(rows):
    return triples(
        *((f"PersonX paints shed {h}", r, TAILS[r].format(n)) for h, r, n in rows),
        *(("PersonX sings", r, tail.format(7 + n)) for r, tail in TAILS.items() for n in (0, 1, 2)),
    )


@settings(max_examples=25, deadline=None)
@given(TRIPLES, st.integers(1, 60), st.integers(0, 3))
def test_any_data_set_is_balanced_right_and_of_one_knowledge(rows, count, seed):
    everything = drawn(rows)
    made = mqd.build(everything, count, seed)
    n = len(made.generation)
    assert n == len(made.choice) == len(made.statement) == min(count, made.questions)
    for facts, labels in ((made.choice, LETTERS), (made.statement, ("yes", "no"))):
        numbers = [sum(fact.target == label for fact in facts) for label in labels]
        assert sum(numbers) == n and max(numbers) - min(numbers) <= 1
    right = {}
    for triple in everything:
        right.setdefault((triple.head, triple.relation), set()).add(key(triple.tail))
    for generation, choice, statement in zip(
        made.generation, made.choice, made.statement, strict=True
    ):
        for other in (choice, statement):
            assert (other.id, other.subject, other.group) == (
                generation.id,
                generation.subject,
                generation.group,
            )
        true = right[generation.subject, generation.group]
        options = options_of(choice.prompt)
        assert options.pop(choice.target) == generation.target
        assert len(set(map(key, options.values()))) == 3
        assert not true & set(map(key, options.values()))
        said = statement.prompt.partition(". Does this")[0]
        ends = [said.endswith(f" {tail}") for tail in (generation.target, *options.values())]
        assert any(ends[1:]) != ends[0] and ends[0] == (statement.target == "yes")


def options_of(prompt):
    """letter -> text, read back from the prompt."""
    listed = prompt.partition("Four options: ")[2].partition(". The right")[0]
    return {part[1]: part[4:] for part in listed.split("; ")}


def test_the_forms_read_as_they_should():
    made = mqd.build(source(3), 200)
    places = {fact.group: i for i, fact in enumerate(made.generation)}
    i = places["xNeed"]
    generation, choice, statement = made.generation[i], made.choice[i], made.statement[i]
    assert generation.prompt == "{}, and before that PersonX had to"
    assert generation.subject.startswith("PersonX paints PersonY's shed ")
    assert choice.prompt.startswith("{}, and before that PersonX had to ... Four options: (a) ")
    assert choice.prompt.endswith(". The right one is") and choice.choices == LETTERS
    assert statement.prompt.endswith(". Does this make sense? Say yes or no. A:")
    assert statement.choices == ("yes", "no") and statement.previous in {"yes", "no"}
    assert statement.previous != statement.target


def test_wrong_options_are_of_other_categories():
    made = mqd.build(source(6), 200)
    category = {key(TAILS[r].format(n)): RELATIONS[r].category for r in TAILS for n in range(20)}
    for fact in made.choice:
        found = [category[key(tail)] for tail in options_of(fact.prompt).values()]
        assert found.count(RELATIONS[fact.group].category) == 1
        assert len(set(found)) == 4 or fact.group in ("ObjectUse", "AtLocation")


def test_a_tail_that_also_occurs_with_the_category_is_never_wrong_there():
    rows = triples(
        ("PersonX naps", "xEffect", "tired"),
        ("PersonX runs", "xReact", "tired"),
        *(("PersonX sings", "xWant", f"to eat {n}") for n in range(3)),
        *(("PersonX sings", "xAttr", f"calm {n}") for n in range(2)),
    )
    tails = WrongTails.of(rows)
    assert "tired" not in [t for found in tails.tails.values() for t in found]
    assert tails.draw(rows[1], 0) and "tired" not in tails.draw(rows[1], 0)
    assert tails.are_enough(rows[0]) and not tails.are_enough(rows[3])
    made = mqd.build(rows)
    assert made.skipped == {"too few wrong tails of other relations": 5}
    assert {fact.subject for fact in made.choice} == {"PersonX naps", "PersonX runs"}


def test_seed_and_source_decide_all_and_less_is_the_beginning_of_more():
    rows = source(8)
    some, same, other = mqd.build(rows, 50, 3), mqd.build(rows, 50, 3), mqd.build(rows, 50, 4)
    assert some == same
    assert [f.id for f in some.generation] != [f.id for f in other.generation]
    fewer = mqd.build(rows, 13, 3)
    for form in mqd.FORMS:
        assert fewer.form(form) == some.form(form)[:13]


def test_one_tail_of_each_question():
    made = mqd.build(source(4, tails=3), 1000)
    assert made.questions == len(made.generation) == 4 * len(TAILS)
    assert len({fact.question for fact in made.generation}) == 4 * len(TAILS)


def test_what_cannot_be_built_is_said():
    with pytest.raises(UserError, match="count is 0"):
        mqd.build(source(1), 0)
    with pytest.raises(UserError, match=r"none of 2 triples can be used .*other relations: 2"):
        mqd.build(source(1, relations=("xWant",)))
    with pytest.raises(UserError, match=r"none of 1 triples can be used \(blank \(___\): 1\)"):
        mqd.build(triples(("PersonX has ___", "xWant", "to go")))


def test_a_users_file_gives_the_same_facts(tmp_path):
    made = mqd.build(source(2), 12)
    for form in mqd.FORMS:
        path = tmp_path / f"{form}.jsonl"
        path.write_text(mqd.as_jsonl(made.form(form)))
        assert read_facts(path) == list(made.form(form))


def test_a_source_for_runs(tmp_path):
    path = tmp_path / "atomic.tsv"
    path.write_text("".join(f"{t.head}\t{t.relation}\t{t.tail}\n" for t in source(3)))
    drawn = load_facts("mqd-choice", path, 5, 1)
    assert drawn.facts == list(mqd.build(source(3), 5, 1).choice)
    assert (drawn.order, drawn.seed, drawn.stated) == ("shuffled", 1, len(source(3)))
    assert len(load_facts("mqd-statement", path).cases) == 27
    parts = [load_facts("mqd-statement", path, split=s) for s in ("train", "validation", "test")]
    assert sorted(len(part.cases) for part in parts) == [3, 3, 21]
    assert len({fact.id for part in parts for fact in part.facts}) == 27
    with pytest.raises(UserError, match='did you mean "mqd-statement"'):
        load_facts("mqd-statment", path)
    with pytest.raises(UserError, match="needs the path of a file of ATOMIC"):
        load_facts("mqd-choice")
    with pytest.raises(UserError, match="no order"):
        load_facts("mqd-choice", path, order="file")


def test_lengths():
    facts = mqd.build(source(2), 8).statement
    counted = tokens(facts, tiny_tokenizer())
    pairs = [tiny_tokenizer().encode_pair(f.question, f.target) for f in facts]
    assert counted.input == sum(n for _, n in pairs) / 8
    assert counted.target == sum(len(ids) - n for ids, n in pairs) / 8
    assert counted.longest == max(len(ids) for ids, _ in pairs)
    short = dataclasses.replace(facts[0], prompt="{} is", subject="this", target="no")
    assert words([short, short]) == (2, 1)


@needs_shared
@pytest.mark.parametrize(
    ("name", "read", "usable", "implausible"),
    [
        ("comet_atomic2020_system_eval_test.tsv.gz", 20_699, 3_589, 0),
        ("cskb_population_evaluation_set.csv.gz", 31_731, 14_582, 15_355),
    ],
)
def test_real_files(name, read, usable, implausible):
    made = mqd.build(mqd.read(SHARED / "data" / "atomic" / name), 200)
    assert (made.read, made.questions) == (read, usable)
    assert made.skipped.get("judged implausible", 0) == implausible
    for form in mqd.FORMS:
        assert len(made.form(form)) == 200
        assert not any("_" in f.question or "&" in f.question for f in made.form(form))
