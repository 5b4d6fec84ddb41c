"""MQD's entry point: what it writes, what it measures, what it refuses."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jaxedit import mqd
from jaxedit.data import mqd as data
from jaxedit.data.jsonl import read_facts
from jaxedit.data.mqd import FORMS
from jaxedit.data.mqd.atomic import Triple
from jaxedit.data.mqd.tokens import PAPER
from jaxedit.errors import UserError
from jaxedit.metrics import Score
from jaxedit.mqd_statistics import Perplexities, count, fitting, order, orders, perplexities
from tests.metrics.fake import Table

TAILS = (("xWant", "to eat {}"), ("xReact", "calm {}"), ("xEffect", "sees {}"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "atomic.tsv"
    rows = [f"PersonX runs {i}\t{r}\t{t.format(i)}\n" for i in range(4) for r, t in TAILS]
    path.write_text("".join(rows))
    return path


@dataclass
class Limited(Table):
    """A table that takes a number of words, as a real model takes a number of tokens."""

    name: str = "table"
    config: Any = field(default_factory=lambda: SimpleNamespace(max_positions=40))


@pytest.fixture(scope="module")
def made() -> data.Mqd:
    """Four triples in three forms."""
    names = "ab"
    return data.build(
        [
            Triple(3 * i + j, f"{name} ran", relation, tail.format(name))
            for i, name in enumerate(names)
            for j, (relation, tail) in enumerate(TAILS)
        ]
        + [Triple(9, "c ran", "xWant", "to go"), Triple(10, "c ran", "HinderedBy", "it is hot")],
        count=4,
    )


@pytest.fixture(scope="module")
def model(made: data.Mqd) -> Any:
    """Says a tail rightly, and the half of "yes" and "no" that is "yes"."""
    known = {fact.question: fact.target for fact in made.generation}
    known |= {fact.question: "yes" for fact in made.statement}
    return Limited(known)


@pytest.fixture(scope="module")
def found(made: data.Mqd, model: Any) -> Perplexities:
    return perplexities(made, model, "float32")


def test_perplexity_is_equation_1(made: data.Mqd, found: Perplexities):
    assert len(made.statement) == 4
    for form, per_target, pooled in (
        ("generation", 2.0, 2.0),
        ("choice", 10.0, 10.0),
        ("statement", (2 + 10) / 2, math.sqrt(2 * 10)),
    ):
        assert found[form]["per_target"].value == pytest.approx(per_target)
        assert found[form]["pooled"].value == pytest.approx(pooled)
        assert found[form]["pooled"].n == 4
    assert orders(found) == {
        "per_target": "direct generation < true or false < multiple choice",
        "pooled": "direct generation < true or false < multiple choice",
    }


def test_neither_choices_nor_the_previous_answer_is_scored(made: data.Mqd, model: Any):
    model.calls.clear()
    perplexities(made, model, "float32")
    assert model.calls == [("teacher_forced", 4)] * 3


def test_forms_are_compared_over_the_same_triples(made: data.Mqd):
    lengths = [len(fact.question.split()) + 1 for fact in made.choice]
    limit = sorted(lengths)[1]
    lm: Any = Limited({}, config=SimpleNamespace(max_positions=limit))
    places = [i for i, n in enumerate(lengths) if n <= limit]
    assert fitting(made, lm) == places and 0 < len(places) < 4
    for scores in perplexities(made, lm, "float32").values():
        assert scores["per_target"].n == scores["pooled"].n == len(places)


def test_a_model_that_takes_none_is_named(made: data.Mqd):
    lm: Any = Limited({}, config=SimpleNamespace(max_positions=3))
    with pytest.raises(UserError, match="--model=table: takes 3 tokens; every record is longer"):
        perplexities(made, lm, "float32")


def test_what_is_written_can_be_read(
    tmp_path: Path, made: data.Mqd, model: Any, found: Perplexities
):
    counted = count(made, model.tokenizer)
    names = {"tokenizer": "tiny", "model": "tiny"}
    mqd.write(tmp_path / "new" / "mqd", made, "atomic.tsv", counted, found, names)
    out = tmp_path / "new" / "mqd"
    for form in FORMS:
        assert read_facts(out / f"{form}.jsonl") == list(made.form(form))
    record = json.loads((out / "statistics.json").read_text())
    assert record["records"] == sum(record["relations"].values()) == len(made.choice)
    assert record["seed"] == 0 and record["triples"] == 8
    one = record["forms"]["choice"]
    assert one["tokens"]["input"] == counted["choice"].input
    assert Score.from_dict(one["perplexity"]["pooled"]) == found["choice"]["pooled"]
    assert one["paper"]["perplexity"] == 43.3
    assert record["order"] == orders(found)
    page = (out / "statistics.md").read_text()
    assert f"Order found, over all tokens: {orders(found)['pooled']}." in page
    assert (
        f"| multiple choice | {one['words']['input']:.2f} | {counted['choice'].input:.2f} " in page
    )
    assert f"{found['statement']['pooled'].value:.4g} [" in page and "| 297.4 |" in page


def test_the_printed_order():
    printed = order({form: PAPER[form].perplexity for form in FORMS})
    assert printed == "direct generation < multiple choice < true or false"


def test_without_model_or_tokenizer(tmp_path: Path, made: data.Mqd):
    mqd.write(tmp_path, made, "atomic.tsv")
    record = json.loads((tmp_path / "statistics.json").read_text())
    assert record["order"] is None and record["forms"]["choice"]["tokens"] is None
    page = (tmp_path / "statistics.md").read_text()
    assert "Perplexity of the target" not in page and "None" not in page
    assert f"| true or false | {record['forms']['statement']['words']['input']:.2f} |  |" in page


def test_from_a_file_to_a_directory(tmp_path: Path, source: Path):
    page = mqd.make(str(source), tmp_path / "out", records=8, seed=2)
    assert page.startswith("# MQD from atomic.tsv\n") and "drawn with seed 2" in page
    for form in FORMS:
        expected = data.build(data.read(source), 8, 2).form(form)
        assert read_facts(tmp_path / "out" / f"{form}.jsonl") == list(expected)


def test_nothing_is_written_before_all_is_measured(tmp_path: Path, source: Path):
    with pytest.raises(UserError, match=r"no/tokenizer\.json"):
        mqd.make(str(source), tmp_path / "out", tokenizer=str(tmp_path / "no"))
    with pytest.raises(UserError, match=r"no\.tsv: no such file"):
        mqd.make(str(tmp_path / "no.tsv"), tmp_path / "out")
    with pytest.raises(UserError, match=r"--out=.*atomic\.tsv/out: .*atomic\.tsv is a file"):
        mqd.make(str(source), source / "out")
    assert not (tmp_path / "out").exists()


def test_the_entry_point(tmp_path: Path, source: Path):
    command = [sys.executable, "-m", "jaxedit.mqd", f"--out={tmp_path / 'out'}", "--count=0"]
    done = subprocess.run(
        [*command, f"--atomic={source}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: count is 0; ask for at least one record of each form\n"
