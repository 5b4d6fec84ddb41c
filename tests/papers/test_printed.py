"""The printed numbers agree with one another, but where a misprint is marked."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxedit.errors import UserError
from jaxedit.papers.printed import PrintedTable, Row, claims, table, tables

NUMBERS = {  # as counted in the papers, dashes left out
    ("onceedit", "1"): 14 * 14,
    ("onceedit", "2"): 6 * 13,
    ("onceedit", "3"): 6 * 4,
    ("onceedit", "4"): 6 * 4,
    ("onceedit", "5"): 3 * 3,
    ("onceedit", "6"): 8 * 4,
    ("onceedit", "7"): 8 * 8,
    ("onceedit", "8"): 12 * 8,
    ("onceedit", "9"): 4 * 3 - 1,
    ("d4s", "2"): 12 * 12,
    ("d4s", "3"): 10 * 8 - 2 * 4,
    ("d4s", "4"): 3 * 5,
}
Cell = tuple[PrintedTable, Row, str]
ALL = tables()


def exact(value: float | None) -> Fraction:
    assert value is not None
    return Fraction(str(value))


def numbers(row: Row) -> list[float]:
    return [value for value in row.values.values() if value is not None]


def averages() -> Iterator[tuple[Cell, Fraction]]:
    """Every cell that is a mean, with the mean of its parts: columns beside it, or models."""
    for printed in ALL:
        if "Avg." not in printed.units:
            continue
        for row in printed.rows:
            parts = [v for c, v in row.values.items() if c not in ("Avg.", "Freq.")]
            if row.keys.get("model") == "all":
                parts = [other.values["Avg."] for other in models_of(printed, row)]
            if parts and None not in parts:
                yield (printed, row, "Avg."), sum(map(exact, parts), Fraction()) / len(parts)


def models_of(printed: PrintedTable, whole: Row) -> Sequence[Row]:
    """The rows over which a row of the model "all" is taken."""
    same = [row for row in printed.rows if {**row.keys, "model": "all"} == whole.keys]
    return [row for row in same if row.keys["model"] != "all"]


def test_numbers_counted() -> None:
    found = {(t.paper, t.name): sum(len(numbers(row)) for row in t.rows) for t in ALL}
    assert found == NUMBERS
    for printed in ALL:
        assert len({tuple(row.keys.values()) for row in printed.rows}) == len(printed.rows)
        assert printed.units.keys() == printed.decimals.keys() == printed.rows[0].values.keys()


def test_averages_but_misprints() -> None:
    """A mean of rounded parts is off by less than a unit of the last digit."""
    checked, wrong = 0, []
    for (printed, row, column), mean in averages():
        checked += 1
        unit = Fraction(1, 10 ** printed.decimals[column])
        if abs(exact(row.values[column]) - mean) >= unit:
            wrong.append((printed.name, row.keys, column, row.values[column], float(mean)))
    marked = [
        (t.name, m.keys, m.column, m.printed, pytest.approx(m.should_be, abs=0.5))
        for t in ALL
        for m in t.misprints
    ]
    assert checked == 56 + 24 + 6 + 8 + 16 + 24 + 36 + 18
    assert len(wrong) == len(marked) == 5
    assert all(one in marked for one in wrong)


def test_misprints_say_what_is_meant() -> None:
    means = {(t.name, *row.keys.values()): mean for (t, row, _), mean in averages()}
    for printed in ALL:
        for one in printed.misprints:
            mean = means[(printed.name, *one.keys.values())]
            assert one.should_be == round(float(mean), printed.decimals[one.column])
            assert one.printed == printed.value(one.column, **one.keys)


def test_other_sums() -> None:
    times = table("onceedit", "4")
    for row in times.rows:
        if row.keys["model"] == "all" and row.keys["method"] not in ("MEND", "MEMIT"):
            total = sum(exact(other.values["Time"]) for other in models_of(times, row))
            once = row.keys["method"] == "OnceEdit"  # edits once for all three
            assert total == exact(row.values["Time"]) * (3 if once else 1)
    for row in table("onceedit", "5").rows:
        per_token, whole, tokens = numbers(row)
        assert tokens == -(-exact(whole) // exact(per_token))  # rounded up
    before, after, change = map(numbers, table("d4s", "4").rows)
    assert [round(b - a, 2) for a, b in zip(before, after, strict=True)] == change


def test_tables_repeat_one_another() -> None:
    whole, plug_ins = table("onceedit", "1"), table("onceedit", "3")
    for row in plug_ins.rows:
        method = row.keys["method"].replace("OE(Tiny-Llama)", "OnceEdit")
        if method != "OE(Qwen2.5-1.5B)":
            assert row.values["Avg."] == whole.value("Avg.", **{**row.keys, "method": method})
    parts, generated = table("onceedit", "2"), table("onceedit", "7")
    for row in generated.rows:
        if row.keys["method"] == "OnceEdit":
            for column, value in row.values.items():
                assert value == parts.value(column, **{**row.keys, "method": "+DW+EE"})


@pytest.mark.parametrize(
    ("paper", "name", "column", "keys", "value"),
    [
        ("onceedit", "1", "Loc.", ("Counterfact", "MEMIT", "GPT-J-6B"), 90),
        ("onceedit", "1", "Freq.", ("ZsRE", "WISE", "all"), 3),
        ("onceedit", "1", "Rel.", ("ZsRE", "WISE", "all"), None),
        ("onceedit", "2", "Rel.", ("ZsRE", "+DW", "Llama2-7B"), 88),
        ("onceedit", "3", "Avg.", ("ZsRE", "OE(Qwen2.5-1.5B)", "GPT-J-6B"), 89),
        ("onceedit", "4", "Time", ("ROME", "all"), 8.18),
        ("onceedit", "4", "Time", ("MEND", "GPT-J-6B"), None),
        ("onceedit", "5", "TFLOPS", ("GPT-J-6B",), 9.739),
        ("onceedit", "6", "Loc.", ("ZsRE", "OnceEdit", "Qwen2.5-7B"), 74),
        ("onceedit", "7", "Gen.", ("Counterfact", "WISE", "Mistral-7B-v0.1"), 8),
        ("onceedit", "8", "Gen.", ("ZsRE", "0.80", "Llama2-7B"), 98),
        ("onceedit", "9", "AW Num", ("Mistral-7B-v0.1",), 24184),
        ("onceedit", "9", "AW Num", ("Tiny-Llama",), None),
        ("d4s", "2", "Par.", ("ZsRE", "500", "Llama", "ROME"), 47.72),
        ("d4s", "2", "Avg.", ("ZsRE", "1000", "GPT", "D4S(ours)"), 88.77),
        ("d4s", "3", "Spe.", ("Mquake", "Llama", "FT"), 28.24),
        ("d4s", "3", "Eff.", ("Mquake", "GPT", "GRACE"), None),
        ("d4s", "4", "hellaswag", ("Llama", "D4S", "10,000"), 52.99),
    ],
)
def test_cells(
    paper: str, name: str, column: str, keys: tuple[str, ...], value: float | None
) -> None:
    printed = table(paper, name)
    named = dict(zip(printed.keys, keys, strict=True))
    assert printed.value(column, **named) == value
    assert printed.has(column, **named)


def test_keys_may_be_plainer() -> None:
    printed = table("D4S", "2")
    keys = {"edits": 1000, "method": "d4s", "model": "gpt"}
    assert printed.value("avg.", **keys) == 88.77
    assert (printed.note("Avg.", **keys) or "").startswith("85.77 is meant: ")
    assert printed.note("Eff.", **keys) is None
    assert printed.note("Avg.", **{**keys, "edits": "500"}) is None
    assert printed.units["Avg."] == "%" and printed.decimals["Avg."] == 2
    once = table("onceedit", "1")
    assert (once.units["Avg."], once.decimals["Avg."], once.units["Freq."]) == ("%", 0, "edits")


@given(data=st.data())
def test_every_cell_is_found_by_its_keys(data: st.DataObject) -> None:
    printed = data.draw(st.sampled_from(ALL))
    row = data.draw(st.sampled_from(printed.rows))
    column = data.draw(st.sampled_from(list(row.values)))
    given_ = data.draw(st.permutations(list(row.keys.items())))
    assert printed.value(column.upper(), **dict(given_)) == row.values[column]


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: table("onceedi", "2"), "no paper 'onceedi'; did you mean onceedit?"),
        (lambda: table("d4s", "1"), "d4s: no table of numbers '1'; known: 2, 3, 4"),
        (lambda: claims("d5s"), "no paper 'd5s'; did you mean d4s?"),
        (lambda: table("d4s", "2").value("Eff"), "no column 'Eff'; did you mean Eff.?"),
        (lambda: table("d4s", "2").value("Eff.", metod="FT"), "'metod'; did you mean method?"),
        (lambda: table("d4s", "2").value("Eff.", method="ROM"), "'ROM'; did you mean ROME?"),
        (lambda: table("d4s", "2").note("Eff.", method="ROME"), "6 rows fit; give edits and model"),
    ],
)
def test_what_is_not_there(ask, words: str) -> None:
    with pytest.raises(UserError) as told:
        ask()
    assert words in str(told.value) and "\n" not in str(told.value)


def test_has() -> None:
    printed = table("d4s", "2")
    assert not printed.has("Eff.", model="GPT", method="ROME")  # three rows
    assert not printed.has("Eff.", model="GPT", method="ROME", edits=100, residual="shared")


def test_claims_that_follow_from_the_tables() -> None:
    said = {one.name: {n.name: n.value for n in one.numbers} for one in claims("onceedit")}
    assert len(said) == len(claims("onceedit")) == 14 and len(claims("d4s")) == 17
    parts, times = table("onceedit", "2"), table("onceedit", "4")

    def gain(column: str, base: str, data: str, model: str) -> Fraction:
        more = {"deepen": "+DW", "+DW": "+DW+EE"}[base]
        low, high = (parts.value(column, data=data, model=model, method=m) for m in (base, more))
        return exact(high) - exact(low)

    three = ("Llama2-7B", "Mistral-7B-v0.1", "GPT-J-6B")
    losses = sorted(-gain("Gen.", "deepen", "ZsRE", model) for model in three)[1:]
    assert losses == list(said["DW buys locality"].values())
    losses = sorted(-gain("Loc.", "+DW", "Counterfact", model) for model in three)
    bought = said["EE buys reliability"]
    assert (losses[0], losses[-1]) == (
        bought["least loss of locality"],
        bought["greatest loss of locality"],
    )
    assert min(gain("Avg.", "+DW", "Counterfact", model) for model in three) == 12  # as noted
    others = ("FT-L", "ROME", "GRACE", "DEFER", "WISE")
    assert min(times.value("Time", method=m, model="all") or 0 for m in others) > 2
    tokens = [row.values["Num"] or 0 for row in table("onceedit", "5").rows]
    cheap = said["joining a model is cheap"]
    assert cheap["least"] < min(tokens) and max(tokens) < cheap["greatest"]


def test_claims_that_the_tables_deny() -> None:
    """Each has a note; the numbers of the notes are the tables'."""
    noted = {one.name: one.note or "" for one in claims("onceedit")}
    whole = table("onceedit", "1")

    def cell(column: str, data: str, method: str, model: str) -> float:
        return whole.value(column, data=data, method=method, model=model) or 0.0

    lead = cell("Avg.", "ZsRE", "OnceEdit", "all") - cell("Avg.", "ZsRE", "WISE", "all")
    assert lead == 10 and "10 points" in noted["best score"]
    assert cell("Gen.", "ZsRE", "MEMIT", "GPT-J-6B") == 92 and "swapped" in noted["others waver"]
    assert cell("Gen.", "Counterfact", "MEMIT", "GPT-J-6B") == 20
    more_local = {
        (row.keys["method"], row.keys["model"])
        for row in whole.rows
        if row.keys["data"] == "ZsRE" and row.keys["model"] != "all"
        if (row.values["Loc."] or 0) < cell("Loc.", "Counterfact", *list(row.keys.values())[1:])
    }
    assert more_local == {
        ("FT-L", "Llama2-7B"),
        ("FT-L", "Mistral-7B-v0.1"),
        ("ROME", "Llama2-7B"),
        ("MEMIT", "GPT-J-6B"),
    }
    assert all(f"{method} on" in noted["CounterFact is less local"] for method, _ in more_local)


def test_d4s_is_the_best_where_its_paper_says_so() -> None:
    printed = table("d4s", "2")
    for edits in (500, 1000):
        for model in ("Llama", "GPT"):
            averages_ = {
                method: printed.value("Avg.", edits=edits, model=model, method=method) or 0
                for method in ("FT", "ROME", "MEMIT", "PMET", "GRACE", "D4S")
            }
            assert max(averages_, key=lambda method: averages_[method]) == "D4S"
