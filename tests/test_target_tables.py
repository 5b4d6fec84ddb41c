"""The tables of what a plug-in does for other models, from results that are at hand."""

from typing import Any

from jaxedit.target_plots import pictures
from jaxedit.target_tables import (
    along_markdown,
    curve,
    gates,
    gates_markdown,
    label,
    markdown,
    tables,
)


def score(metric: str, value: float, decoding: str = "generation", **changes: Any) -> dict:
    against = {"specificity": "truth"}.get(metric, "target")
    told = {"metric": metric, "decoding": decoding, "reading": "exact", "against": against}
    return {**told, "value": value, "interval": [value, value], "n": 4, **changes}


def arm(title: str, value: float) -> dict[str, Any]:
    modes = {"before": [score("efficacy", 0.0)], "dw_ee": [score("efficacy", value)]}
    points = [
        *({"edits": n, "score": score("efficacy", value, "teacher_forced")} for n in (2, 4)),
        {"edits": 4, "score": score("efficacy", 0.9)},
    ]
    record = {"target": "a/gptj", "mode": "dw_ee", "all": points, "first": points[:2]}
    alpha = [{"kind": "edits", "counts": [1, 3], "mean": 0.7, "open": 0.75}]
    return {
        "title": title,
        "targets": {"gptj": modes, "llama": modes},
        "targets_along": [record],
        "alpha": alpha,
    }


RESULT = {"arms": [arm("OnceEdit", 1.0), arm("D4S", 0.5)]}


def test_each_target_has_its_rows_together():
    [table] = tables(RESULT)
    assert [(row["target"], row["what"]) for row in table["rows"]] == [
        (target, what)
        for target in ("gptj", "llama")
        for what in ("unedited", "OnceEdit, dw_ee", "D4S, dw_ee")
    ]
    assert "| gptj | D4S, dw_ee | - |" in "\n".join(markdown(RESULT, "run"))


def test_a_curve_is_of_one_decoding():
    [record] = RESULT["arms"][0]["targets_along"]
    points = curve(record, "efficacy", "target", "all")
    assert [(edits, s["value"]) for edits, s in points] == [(2, 1.0), (4, 1.0)]
    whole = {**record, "all": record["all"][2:]}
    assert [s["value"] for _, s in curve(whole, "efficacy", "target", "all")] == [0.9]
    assert curve(record, "specificity", "truth", "all") == []
    assert label(record) == "gptj, dw_ee" and label({**record, "mode": "alone"}) == "gptj alone"


def test_what_lasts_as_a_table():
    lines = list(along_markdown(RESULT, "chunks"))
    assert lines[0] == "| chunks | in | % of | 2 | 4 |"
    assert "| D4S | gptj, dw_ee | the first edits | 50.0 | 50.0 |" in lines
    assert list(along_markdown({"arms": [{"title": "none"}]}, "chunks")) == []


def test_gates_of_several_runs():
    table = gates(RESULT)
    assert table == {
        "kinds": ["edits"],
        "rows": [(title, [("75.0", "mean 0.70, n 4")]) for title in ("OnceEdit", "D4S")],
    }
    lines = list(gates_markdown({"one": RESULT, "other": {"arms": []}}))
    assert (
        lines[0] == "| run | arm | edits |" and lines[2] == "| one | OnceEdit | 75.0 (mean 0.70) |"
    )
    assert gates({"arms": []}) is None


def test_their_pictures():
    alpha, along = pictures(RESULT)
    assert "OnceEdit" in alpha.panels[0] and len(alpha.panels) == 1
    assert [picture.name for picture in (alpha, along)] == ["alpha", "targets-along"]
    assert "gptj, dw_ee: all edits so far" in along.panels[0]
    assert pictures({"arms": []}) == []
