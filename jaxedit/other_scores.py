"""The table of everything that was asked beside the headline: what follows, what is denied, cases.

Portability, negation, multiple choice, multi-hop questions, events: by our own protocol, the
unedited model beside every arm, groups of questions below the score of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxedit.metrics.records import OURS
from jaxedit.metrics.score import PER_CENT

HEADLINE = {"efficacy", "paraphrase", "specificity", "reliability", "generality", "locality"}
CURVES = {"target_probability", "perplexity"}  # drawn or tabled elsewhere
KEY = ("metric", "decoding", "reading", "against", "group")
Key = tuple[str, ...]


def other_scores(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Models (the unedited one, then the arms after all edits) and rows; None if there are none."""
    models = [("unedited", result["before"])]
    models += [(arm["title"], arm["after_all"]) for arm in result["arms"]]
    found = [{_key(s): s for s in scores if _belongs(s)} for _, scores in models]
    keys = dict.fromkeys(key for own in found[::-1] for key in own)
    if not keys:
        return None
    rows = [
        {**dict(zip(KEY, key, strict=True)), "cells": [_cell(own.get(key)) for own in found]}
        for key in keys
    ]
    return {"models": [name for name, _ in models], "rows": rows}


def lines(table: Mapping[str, Any]) -> Iterator[list[str]]:
    """The table as rows of text, its heads first."""
    yield ["asked", "read as", *table["models"]]
    for row in table["rows"]:
        group = f": {row['group']}" if row["group"] else ""
        read = f"{row['decoding'].replace('_', '-')}, {row['reading'].replace('_', ' ')}"
        values = [cell["value"] if cell else "-" for cell in row["cells"]]
        yield [row["metric"].replace("_", " ") + group, f"{read}, {row['against']}", *values]


def _belongs(score: Mapping[str, Any]) -> bool:
    if score.get("protocol", OURS) != OURS or score["metric"] in CURVES:
        return False
    headline = score["metric"] in HEADLINE and score["reading"] not in ("choice", "magnitude")
    return not headline or bool(score.get("group"))


def _key(score: Mapping[str, Any]) -> Key:
    return tuple(score.get(name, "") for name in KEY)


def _cell(score: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if score is None:
        return None
    values: Sequence[float] = (score["value"], *score["interval"])
    scale, digits = (100, 1) if score["reading"].partition(":")[0] in PER_CENT else (1, 3)
    value, low, high = (f"{scale * x:.{digits}f}" for x in values)
    return {"value": value, "range": f"{low} to {high}", "n": score["n"]}
