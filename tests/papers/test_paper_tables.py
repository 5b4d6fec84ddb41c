"""A paper's table with our numbers: what has none, and what is printed wrongly."""

from jaxedit.papers.printed import table
from jaxedit.papers.readers import Found, Value, Where, score
from jaxedit.papers.tables import Row, Table, fill
from tests.papers import made

FOUND = Found({"run": [made.result()]})
HERE = Where("run", "d4s")
KEYS = {"data": "zsRE", "edits": "1000", "model": "GPT", "method": "D4S"}


def filled(*rows: Row, columns=None, printed=None):
    return fill(Table("T", columns or {"Eff.": score("efficacy")}, rows, printed), FOUND)


def test_ours_beside_what_is_printed():
    printed = table("d4s", "2")
    made_up = {**KEYS, "method": "D4S, residual recomputed"}
    rows = [Row(KEYS, HERE), Row(made_up, HERE), Row({**KEYS, "method": "ROME"}, None)]
    ours, other, none = filled(*rows, printed=printed).rows
    assert ours.cells[0].ours == score("efficacy")(FOUND, HERE)
    assert ours.cells[0].paper == printed.value("Eff.", **KEYS)
    assert other.cells[0].ours and other.cells[0].paper is None
    assert none.cells[0].ours is None and none.cells[0].paper is not None


def test_a_misprint_is_told_and_not_mended():
    printed = next(t for n in "1267" for t in [table("onceedit", n)] if t.misprints)
    wrong = printed.misprints[0]
    row = Row(wrong.keys, None)
    [[cell]] = [
        r.cells for r in filled(row, columns={wrong.column: score("x")}, printed=printed).rows
    ]
    assert cell.paper == wrong.printed and cell.misprint and wrong.why in cell.misprint


def test_numbers_by_column():
    row = Row({"model": "a"}, lambda found: {"x": Value(float(len(found.runs)))})
    columns = {"x": score("efficacy"), "y": score("efficacy")}
    done = filled(row, columns=columns)
    assert [cell.ours for cell in done.rows[0].cells] == [Value(1.0), None]
    assert done.known == 1


def test_keys_of_all_rows_in_their_order():
    rows = [Row({"model": "a"}, HERE), Row({"model": "b", "method": "c"}, Where("gone", "d4s"))]
    done = filled(*rows)
    assert (done.keys, done.known) == (("model", "method"), 1)
