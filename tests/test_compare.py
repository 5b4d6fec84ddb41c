"""Runs side by side: what differs in their configs, and fact by fact in what they gave."""

import json
from pathlib import Path
from typing import Any

import pytest

from jaxedit.compare import markdown, page, write
from jaxedit.comparison import compared
from jaxedit.config import run_config, to_dict
from jaxedit.errors import UserError
from jaxedit.finished_runs import Run, arms_of, read_runs
from tests.jobs import raw
from tests.test_findings import N, score
from tests.test_findings import arm as bare_arm


def arm(name: str, kept: float, **changes: Any) -> dict[str, Any]:
    found = {
        **bare_arm(name.upper(), [], kept),
        "name": name,
        "method": "d4s",
        "layers": [3, 4],
        "batch": 1,
        "settings": {"moment_weight": 15.0, "values": {"steps": 25}},
        "damage": [{"step": N, "perplexity": {"value": 31.4159}}],
        "timing": {"steady_seconds_an_edit": 0.0712, "update_seconds": 0.05},
    }
    return found | changes


def put(path: Path, *arms: dict[str, Any], facts: range = range(N), **changes: Any) -> str:
    """A run's directory, as far as it is read."""
    named = {one["name"]: {"method": "d4s", "title": one["title"]} for one in arms}
    config = to_dict(run_config(raw(0, arms=named or {"d4s": {"method": "d4s"}}, **changes)))
    cases = [{"facts": [{"prompt": "{} is", "subject": f"S{i}", "target": "t"}]} for i in facts]
    path.mkdir()
    result = {"config": config, "arms": list(arms), "version": "1", "devices": "1 x cpu"}
    (path / "result.json").write_text(json.dumps(result))
    (path / "facts.json").write_text(json.dumps({"cases": cases}))
    return str(path)


def rows(runs: tuple[Run, ...], title: str, *names: str) -> dict[str, list[str]]:
    """The values of a table's rows."""
    tables = {table.title: table for table in compared(runs, arms_of(runs, names))}
    return {name: [cell.value for cell in cells] for name, cells in tables[title].rows}


def test_only_what_differs_is_told(tmp_path: Path):
    other = arm("d4s", 0.5, settings={"moment_weight": 15.0, "values": {"steps": 9}}, layers=[3])
    one, two = put(tmp_path / "a", arm("d4s", 0.5)), put(tmp_path / "b", other, dtype="bfloat16")
    runs = read_runs([one, two])
    assert rows(runs, "What differs") == {
        "dtype": ["float32", "bfloat16"],
        "arms.d4s.values.steps": ["25", "9"],
        "arms.d4s.layers": ["3, 4", "3"],
    }
    same = read_runs([one, put(tmp_path / "c", arm("d4s", 0.9))])
    assert rows(same, "What differs") == {}
    assert "## What differs\n\nNothing differs." in markdown(compared(same, arms_of(same)))


def test_facts_are_paired_by_what_they_are(tmp_path: Path):
    """Of the run's 40 facts, other runs have each with its number or the last 30 with others."""
    low, high = arm("d4s", 0.5), arm("d4s", 0.75)
    third = arm("d4s", 1.0)
    paths = [put(tmp_path / "low", low), put(tmp_path / "high", high)]
    paths.append(put(tmp_path / "shifted", third, facts=range(10, N + 10)))
    runs = read_runs(paths)
    key = "efficacy (against the target)"
    assert rows(runs, "D4S: fact by fact") == {key: ["+25.0", "+66.7"]}
    table = compared(runs, arms_of(runs))[2]
    same, shifted = table.rows[0][1]
    assert same.told and same.range.endswith(f"n {N}") and shifted.range.endswith("n 30")
    assert rows(runs, "D4S: after all edits") == {
        "efficacy (teacher-forced, exact, against the target)": ["50.0", "75.0", "100.0"]
    }
    equal = read_runs([paths[0], put(tmp_path / "equal", low)])
    assert not compared(equal, arms_of(equal))[2].rows[0][1][0].told


def test_without_facts_nothing_is_paired(tmp_path: Path):
    paths = [put(tmp_path / name, arm("d4s", 0.5)) for name in "ab"]
    (tmp_path / "b" / "facts.json").unlink()
    runs = read_runs(paths)
    assert [table.title for table in compared(runs, arms_of(runs))] == [
        *("What differs", "D4S: after all edits", "D4S: seconds and norms"),
    ]


def test_seconds_and_norms(tmp_path: Path):
    slow = arm("d4s", 0.5, timing={}, norms=[], damage=[])
    runs = read_runs([put(tmp_path / "a", arm("d4s", 0.5)), put(tmp_path / "b", slow)])
    assert rows(runs, "D4S: seconds and norms") == {
        "seconds an edit, nothing compiled": ["0.0712", "–"],
        "of which the update": ["0.05", "–"],
        "mean absolute weight after over before, mean over layers": ["1.5", "–"],
        "the same, where it grew most": ["1.5", "–"],
        "held-out perplexity": ["31.4", "–"],
    }


def test_which_arms_stand_side_by_side(tmp_path: Path):
    a = put(tmp_path / "a", arm("memit", 0.2), arm("d4s", 0.5), arm("rome", 0.1))
    b = put(tmp_path / "b", arm("d4s", 0.6), arm("memit", 0.3))
    c = put(tmp_path / "c", arm("emmet", 0.4))
    runs = read_runs([a, b])
    assert arms_of(runs) == [("memit", "memit"), ("d4s", "d4s")]
    assert arms_of(runs, ["d4s"]) == [("d4s", "d4s")]
    with pytest.raises(UserError, match=r"^--arm=rome: b has no such arm done; it has d4s, memit"):
        arms_of(runs, ["rome"])
    apart = read_runs([a, c])
    assert arms_of(apart) == [("memit", "emmet")]
    assert rows(apart, "What differs")["arm.title"] == ["MEMIT", "EMMET"]
    key = "efficacy (against the target)"
    assert rows(apart, "MEMIT / EMMET: fact by fact") == {key: ["+20.0"]}


def test_plugins_in_models_that_both_have(tmp_path: Path):
    def served(value: float, *modes: str) -> dict[str, Any]:
        found = [score("efficacy", value), score("efficacy", 0.1) | {"decoding": "generation"}]
        return {"targets": {"big": dict.fromkeys(modes, found)}}

    one, two = (
        arm("once", 0.5, **served(0.7, "before", "dw")),
        arm("once", 0.5, **served(0.8, "dw", "ee")),
    )
    runs = read_runs([put(tmp_path / "a", one), put(tmp_path / "b", two)])
    assert rows(runs, "ONCE: in other models, after all edits") == {
        "big, dw: efficacy (generated, exact, against the target)": ["10.0", "10.0"]
    }


def test_what_cannot_be_compared(tmp_path: Path):
    one, bare = put(tmp_path / "a", arm("d4s", 0.5)), put(tmp_path / "bare")
    begun, other = tmp_path / "begun", tmp_path / "other"
    for path, name, text in ((begun, "config.json", "{}"), (other, "result.json", "[]")):
        path.mkdir()
        (path / name).write_text(text)
    for paths, said in (
        ([one], "give two runs or more"),
        ([one, f"{one}/../a"], "gives a directory twice"),
        ([one, bare], "bare: no arm of it is done"),
        ([one, str(begun)], "begun: the run has no result yet"),
        ([one, str(other)], "other: result.json is no run's"),
        ([one, str(tmp_path / "gone")], "gone/result.json: no such file"),
    ):
        with pytest.raises(UserError, match=said):
            read_runs(paths)


def test_the_page_and_the_text(tmp_path: Path):
    paths = [put(tmp_path / name, arm("d4s", kept)) for name, kept in (("<a>", 0.5), ("b|c", 0.9))]
    runs = read_runs(paths)
    tables = compared(runs, arms_of(runs))
    out = tmp_path / "new" / "x.html"
    write(out, runs, tables)
    html, text = out.read_text(), out.with_suffix(".md").read_text()
    assert html == page(runs, tables) and text == markdown(tables, "b|c against <a>")
    assert "&lt;a&gt;" in html and "<a>" not in html and 'class="told">+40.0<' in html
    assert "http" not in html
    assert "| **+40.0** (+" in text and "b\\|c" in text
    with pytest.raises(UserError, match=r"--out=x.txt: give the name of a page"):
        write(Path("x.txt"), runs, tables)
    with pytest.raises(UserError, match="cannot write there"):
        write(tmp_path / "<a>" / "facts.json" / "x.html", runs, tables)
