"""What is measured of MQD: lengths, and the perplexity of the editing objective (D4S 3.2, 3.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from absl import logging

from jaxedit.data.fact import Fact
from jaxedit.data.mqd import FORMS, Form, Mqd
from jaxedit.data.mqd.tokens import CONTRADICTION, PAPER, WORDS, Tokens, tokens, words
from jaxedit.errors import UserError
from jaxedit.metrics import Score, Setting, answer, named, questions, scores, target_perplexity
from jaxedit.models.text import Tokenizer
from jaxedit.models.transformer import Transformer
from jaxedit.progress import Advance, progress

Reading = Literal["per_target", "pooled"]
READINGS: Mapping[Reading, str] = {"per_target": "mean over facts", "pooled": "over all tokens"}
TITLES: Mapping[Form, str] = {
    "generation": "direct generation",
    "choice": "multiple choice",
    "statement": "true or false",
}
Perplexities = Mapping[Form, Mapping[Reading, Score]]


def count(made: Mqd, tokenizer: Tokenizer) -> dict[Form, Tokens]:
    """Numbers of tokens of each form."""
    return {form: tokens(made.form(form), tokenizer) for form in FORMS}


def fitting(made: Mqd, lm: Transformer) -> list[int]:
    """Places of the triples that the model can take in each of the three forms."""

    def fits(fact: Fact) -> bool:
        ids, _ = lm.tokenizer.encode_pair(fact.question, fact.target)
        return len(ids) <= lm.config.max_positions

    return [i for i in range(len(made.generation)) if all(fits(made.form(f)[i]) for f in FORMS)]


def perplexities(made: Mqd, lm: Transformer, dtype: str) -> Perplexities:
    """Perplexity of the editing objective (D4S equation 1) of each form, in both readings.

    All forms are taken over the same triples: those that the model can take in each form.

    Args:
        made: the data set.
        lm: the unedited model.
        dtype: of its parameters.

    Raises:
        UserError: the model can take none.
    """
    places = fitting(made, lm)
    if not places:
        raise UserError(
            f"--model={lm.name}: takes {lm.config.max_positions} tokens; every record is longer"
        )
    left_out = len(made.generation) - len(places)
    if left_out:
        logging.warning("%s: %d triples have a form that is too long for it", lm.name, left_out)
    setting = Setting("before", dtype)
    with progress("perplexity", len(FORMS) * len(places), unit="rows") as advance:
        return {
            form: _perplexity([made.form(form)[i] for i in places], lm, setting, made.seed, advance)
            for form in FORMS
        }


def _perplexity(
    facts: Sequence[Fact], lm: Transformer, setting: Setting, seed: int, advance: Advance
) -> dict[Reading, Score]:
    """Of the targets alone: neither the other choices nor the previous answer is scored."""
    asked = questions([dataclasses.replace(fact, choices=(), previous=None) for fact in facts])
    answers = answer(lm, asked, setting, edits=0, generation=False, advance=advance)
    per_target = scores(answers, seed=seed, measures=named("perplexity"))[0]
    return {"per_target": per_target, "pooled": target_perplexity(answers, seed=seed)}


def order(values: Mapping[Form, float]) -> str:
    """The forms from the lowest value to the highest, in words."""
    return " < ".join(TITLES[form] for form in sorted(values, key=lambda form: values[form]))


def orders(found: Perplexities) -> dict[Reading, str]:
    """The order of the forms by each reading of perplexity."""
    return {
        reading: order({form: found[form][reading].value for form in FORMS}) for reading in READINGS
    }


def statistics(
    made: Mqd,
    source: str,
    counted: Mapping[Form, Tokens] | None,
    found: Perplexities | None,
    names: Mapping[str, str],
) -> dict[str, Any]:
    """All that is known of the data set, JSON-able; see `jaxedit.mqd.write`."""
    relations = sorted({fact.group for fact in made.generation})
    groups = [fact.group for fact in made.generation]
    return {
        "source": source,
        "seed": made.seed,
        "triples": made.read,
        "skipped": dict(made.skipped),
        "questions": made.questions,
        "records": len(made.generation),
        "relations": {name: groups.count(name) for name in relations},
        **names,
        "forms": {
            form: {
                "words": words(made.form(form))._asdict(),
                "tokens": counted[form]._asdict() if counted else None,
                "perplexity": {r: s.to_dict() for r, s in found[form].items()} if found else None,
                "paper": PAPER[form]._asdict(),
            }
            for form in FORMS
        },
        "order": orders(found) if found else None,
        "paper_order": order({form: PAPER[form].perplexity for form in FORMS}),
    }


def markdown(record: Mapping[str, Any]) -> list[str]:
    """The statistics as a page."""
    skipped = [f"| {reason} | {n:,} |" for reason, n in record["skipped"].items()]
    lines = [
        f"# MQD from {record['source']}",
        "",
        f"{record['triples']:,} triples, {record['questions']:,} questions (event and relation) "
        f"with a usable tail; {record['records']:,} drawn with seed {record['seed']}, each in "
        "three forms.",
        "",
        "| triples left out | |",
        "|---|---|",
        *skipped,
        "",
    ]
    lines += _length_table(record)
    if record["order"]:
        lines += _perplexity_table(record)
    return lines


def _length_table(record: Mapping[str, Any]) -> list[str]:
    rows = []
    for form in FORMS:
        one = record["forms"][form]
        lengths = [one["words"], one["tokens"] or {"input": None, "target": None}]
        cells = [_length(length[part]) for part in ("input", "target") for length in lengths]
        paper = one["paper"]["input_tokens"], one["paper"]["target_tokens"]
        rows.append(
            f"| {TITLES[form]} | {cells[0]} | {cells[1]} | {paper[0]} "
            f"| {cells[2]} | {cells[3]} | {paper[1]} |"
        )
    by = f" (tokens: {record['tokenizer']})" if "tokenizer" in record else ""
    return [
        f"Mean lengths{by}. {WORDS}",
        "",
        "| form | prompt: words | tokens | D4S | target: words | tokens | D4S |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def _length(mean: float | None) -> str:
    return "" if mean is None else f"{mean:.2f}"


def _perplexity_table(record: Mapping[str, Any]) -> list[str]:
    rows, protocols = [], []
    for form in FORMS:
        one = record["forms"][form]
        found = {r: Score.from_dict(one["perplexity"][r]) for r in READINGS}
        cells = " | ".join(_cell(found[r]) for r in READINGS)
        rows.append(f"| {TITLES[form]} | {cells} | {one['paper']['perplexity']} |")
        protocols = [f"- {READINGS[r]}: {found[r].described}" for r in READINGS]
    return [
        f"Perplexity of the target given its prompt (D4S equation 1) under {record['model']}:",
        "",
        "| form | " + " | ".join(READINGS.values()) + " | D4S |",
        "|---|---|---|---|",
        *rows,
        "",
        *protocols,
        "",
        *(f"Order found, {READINGS[r]}: {text}." for r, text in record["order"].items()),
        f"Order printed: {record['paper_order']}. {CONTRADICTION}",
    ]


def _cell(score: Score) -> str:
    low, high = score.interval
    return f"{score.value:.4g} [{low:.4g}, {high:.4g}]"
