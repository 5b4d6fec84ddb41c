"""The study of how many tokens are enough: nested counts, its errors, and what it writes."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxedit.editors.rows import PLAIN
from jaxedit.editors.statistics import second_moments
from jaxedit.editors.values import ValueSettings
from jaxedit.studies.statistics_tokens import Study, nested_moments, study
from jaxedit.studies.tokens_report import table, write
from tests.tiny import tiny_facts, tiny_model

NAMES = ("Mira", "Tolan", "Ester", "Jovan", "Arden")
TEXTS = [f"{NAMES[i % 5]} {NAMES[i % 3]} {i}" for i in range(300)]


def test_nested_counts_are_those_of_separate_passes():
    counts = (30, 31, 200)  # the second is reached by the first one's last document
    found = list(nested_moments(tiny_model(), (1,), iter(TEXTS), counts))
    assert [m.tokens for m in found] == sorted(m.tokens for m in found)
    for moments, count in zip(found[::2], counts[::2], strict=True):
        alone = second_moments(tiny_model(), (1,), TEXTS, tokens=count)
        assert moments.tokens == alone.tokens
        assert np.allclose(moments.matrices[1], alone.matrices[1], rtol=1e-10, atol=0)


@pytest.fixture(scope="module")
def found() -> Study:
    return study(
        tiny_model(),
        (1, 2),
        tiny_facts(2),
        TEXTS,
        PLAIN,
        moment_weight=20.0,
        values=ValueSettings(steps=3),
        widths=(2, 8, 32),
        corpus="names",
    )


def test_errors_end_at_nothing_and_the_reference_is_the_best(found: Study):
    assert [(row.layer, round(row.widths)) for row in found.rows] == [
        (layer, width) for layer in (1, 2) for width in (2, 8, 32)
    ]
    for few, more, most in (found.rows[:3], found.rows[3:]):
        assert few.moment_error > more.moment_error > most.moment_error == 0
        assert few.update_error > more.update_error > most.update_error == 0
        # No other update has a smaller objective: it is the minimum.
        assert few.excess > more.excess > most.excess == 0


def test_what_is_written(found: Study, tmp_path: Path):
    paths = write(found, tmp_path / "new")
    assert [path.name for path in paths] == ["study.json", "study.md", "study.png"]
    assert json.loads(paths[0].read_text())["rows"][0]["layer"] == 1
    assert paths[1].read_text() == table(found)
    assert table(found).count("\n| 2 |") == 3
    assert paths[2].read_bytes().startswith(b"\x89PNG")
