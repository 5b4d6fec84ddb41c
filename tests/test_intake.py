"""Facts that the model cannot take: skipped from data sets, refused in a user's own file."""

import json
from pathlib import Path
from typing import Any

import pytest

from jaxedit import intake
from jaxedit.config import run_config
from jaxedit.errors import UserError
from jaxedit.intake import usable
from tests.tiny import tiny_model
from tests.tiny_run import raw_config


def record(number: int, **changes: Any) -> dict[str, Any]:
    """One record in MEND's form."""
    return {
        "subject": f"Zub {number}",
        "src": f"Where is Zub {number}?",
        "rephrase": f"Zub {number} is where?",
        "alt": "Vantor",
        "answers": ["Rivella"],
        "loc": "nq question: who was it",
        "loc_ans": "Danto",
        **changes,
    }


def write(tmp_path: Path, records: list[dict[str, Any]]) -> str:
    path = tmp_path / "zsre_mend_eval.json"
    path.write_text(json.dumps(records))
    return str(path)


def load(facts: dict[str, Any], tmp_path: Path):
    config = run_config(raw_config(tmp_path, facts=facts))
    first = intake.load(config.facts, config.facts.limit)
    return usable(first, config.facts, config.eval, tiny_model())


def test_what_is_too_long_is_replaced_by_the_next_and_listed(tmp_path: Path):
    long = {"loc": "nq question: " + "who " * 200}
    records = [record(0), record(1, **long), record(2, alt=""), record(3), record(4, **long)]
    path = write(tmp_path, [*records, record(5), record(6)])
    loaded = load({"source": "zsre", "path": path, "limit": 3}, tmp_path)
    assert [fact.subject for fact in loaded.facts] == ["Zub 0", "Zub 3", "Zub 5"]
    reasons = dict(loaded.skipped)
    assert set(reasons) == {"1", "2", "4"}
    assert "its neighbour question has" in reasons["1"] and "takes 128" in reasons["1"]


def test_fewer_than_asked_for_are_what_there_is(tmp_path: Path):
    path = write(tmp_path, [record(0), record(1, src="Where is Zub 1?" + " now" * 200)])
    loaded = load({"source": "zsre", "path": path, "limit": 5}, tmp_path)
    assert len(loaded.facts) == 1 and "its prompt has" in loaded.skipped[0][1]


def test_none_that_fits_is_an_error(tmp_path: Path):
    path = write(tmp_path, [record(0, src="Where is Zub 0?" + " now" * 200)])
    with pytest.raises(UserError, match="holds no fact that this model can take"):
        load({"source": "zsre", "path": path}, tmp_path)
