"""Columns of the table of targets."""

from typing import Any

from jaxedit.target_tables import ALL, COLUMNS, lines, tables


def score(metric: str, reading: str, against: str, decoding: str = "generation") -> dict[str, Any]:
    return {
        "metric": metric,
        "reading": reading,
        "against": against,
        "decoding": decoding,
        "value": 0.25,
        "interval": [0.0, 0.5],
    }


def result(*columns: tuple[str, str, str]) -> dict[str, Any]:
    scores = [score(*column) for column in columns]
    arm = {"title": "OnceEdit", "targets": {"some/gptj": {"before": scores, "dw_ee": scores}}}
    return {"arms": [arm]}


def test_what_follows_from_edits_has_columns_where_it_is_asked():
    [plain] = tables(result(*COLUMNS))
    assert len(plain["columns"]) == len(COLUMNS)
    [hops] = tables(result(*COLUMNS, ("multi_hop", "exact", "target")))
    assert hops["columns"] == [*plain["columns"], "multi_hop, exact"]
    assert [len(row["cells"]) for row in hops["rows"]] == [len(COLUMNS) + 1] * 2
    [whole] = tables(result(*ALL))
    assert whole["columns"][-2:] == ["portability, exact", "multi_hop, exact"]
    assert all(cell["value"] == 0.25 for row in whole["rows"] for cell in row["cells"])
    assert any("25.0" in line for line in lines(result(*ALL)))
