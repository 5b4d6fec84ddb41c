"""The page holds what the result says, whatever a record is called."""

import re
from typing import Any

import pytest

from jaxedit.metrics import Score
from jaxedit.plots import INK, pictures
from jaxedit.report import render, text_table
from tests.test_findings import arm as bare_arm


def scores(when: str, value: float, n: int = 40) -> list[dict[str, Any]]:
    columns = [
        ("efficacy", "exact", "target"),
        ("paraphrase", "exact", "target"),
        ("specificity", "exact", "truth"),
        ("specificity", "exact", "unedited"),
        ("locality", "token_accuracy", "unedited"),
    ]
    return [
        Score(value, metric, decoding, reading, against, "{}", when, (0, n), n,
              (value - 0.1, value + 0.1), 0, "float32", "1").to_dict()
        for decoding in ("teacher_forced", "generation")
        for metric, reading, against in columns
    ]  # fmt: skip


def arm(title: str, kept: float) -> dict[str, Any]:
    bare = bare_arm(title, [1, 0.9, 0.8], kept)
    return bare | {
        "name": title.lower().replace(" ", "_"),
        "method": "d4s",
        "layers": [3, 4],
        "batch": 1,
        "settings": {"moment_weight": 15.0, "values": {"steps": 25}},
        "immediate": scores("immediate", 0.9),
        "after_all": scores("after_all", kept),
        "along": [
            {"step": step, "scores": scores("checkpoint", 0.9, step)} for step in (10, 20, 30)
        ],
        "edit_log": [{"fact": i, "after": 0.5 + i / 100} for i in range(40)],
        "retention": [
            {"first": i, "last": i + 9, "score": scores("after_all", kept)[0]}
            for i in range(0, 40, 10)
        ],
        "timing": {
            "edit_seconds": 3.0,
            "score_seconds": 2.0,
            "update_seconds": 0.05,
            "steady_seconds_an_edit": 0.07,
        },
    }


@pytest.fixture
def result() -> dict[str, Any]:
    return {
        "version": "1",
        "about": "A trial <of> & things.",
        "model": {"name": "/somewhere/tiny", "parameters": 2_500_000, "d_ff": 1024},
        "facts": {
            "source": "zsre",
            "stated": 100,
            "read": 90,
            "edited": 40,
            "skipped": [["r<1>", "its target is empty"]],
        },
        "statistics": {"source": "model", "tokens": 10_240},
        "contexts": [["{}"], ["The harbour. {}"]],
        "devices": "1 x cpu",
        "config": {"seed": 0, "dtype": "float32"},
        "before": scores("before", 0.1)[:3] + scores("before", 0.1)[4:],
        "arms": [arm("MEMIT one by one", 0.4), arm("D4S", 0.8)],
        "findings": ["D4S is what it is."],
    }


def test_the_page_has_all_parts(result: dict[str, Any]):
    page = render(result)
    assert "Editing tiny: MEMIT one by one / D4S" in page
    assert "A trial &lt;of&gt; &amp; things." in page and "r&lt;1&gt;" in page
    assert "D4S is what it is." in page
    assert "40 / 1,024 = 3.9 %" in page
    assert "moment_weight" in page and "values.steps" in page
    assert "n = 40 facts" in page
    assert page.count("<svg") == 3 + 2 + 2 + 1
    assert "its target is empty" in page
    assert page.count("right after its edit</td>") == 4
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    assert 'name="viewport"' in page


def test_no_address_is_ever_fetched(result: dict[str, Any]):
    page = re.sub(r'xmlns(:\w+)?="[^"]*"', "", render(result))
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_pictures_take_the_colour_of_the_page_and_state_the_ratio(result: dict[str, Any]):
    for picture in pictures(result):
        assert "40 edits = 3.9 % of d_ff 1,024" in picture.caption
        for svg in picture.panels:
            assert svg.startswith("<svg") and "currentColor" in svg and INK not in svg
    assert pictures(result) == pictures(result)


def test_a_page_without_arms_or_skipped_records(result: dict[str, Any]):
    facts = {**result["facts"], "skipped": []}
    page = render({**result, "arms": [], "findings": [], "facts": facts})
    assert "No arm has finished yet." in page and "<svg" not in page


def test_different_counts_are_shown_in_each_cell(result: dict[str, Any]):
    result["arms"][0]["after_all"] = scores("after_all", 0.4, n=33)
    page = render(result)
    assert "mean over n facts" in page and "n 33" in page and "n 40" in page


def test_the_table_in_plain_lines(result: dict[str, Any]):
    lines = text_table(result)
    assert lines[0].split()[:2] == ["teacher-forced", "efficacy"]
    assert any(line.startswith("D4S") and "80.0" in lines[i + 1] for i, line in enumerate(lines))
    assert max(map(len, lines)) < 220
