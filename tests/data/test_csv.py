"""A user's own facts as a table."""

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxedit.data.datasets import load_facts
from jaxedit.data.fact import Fact
from jaxedit.data.jsonl import read_facts
from jaxedit.errors import UserError

HEADER = "prompt,subject,target"


def write(tmp_path, *lines, end="\n", start=b""):
    path = tmp_path / "facts.csv"
    path.write_bytes(start + end.join(lines).encode())
    return path


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_three_columns_are_enough(tmp_path, start, end):
    lines = (HEADER, "Rome is in,Rome,Peru", '"{} is, of old, in",Oslo," Chad "', "")
    rome, oslo = read_facts(write(tmp_path, *lines, end=end, start=start))
    assert rome == Fact("{} is in", "Rome", "Peru", id="line 3" if end == "\n\n" else "line 2")
    assert (oslo.prompt, oslo.target) == ("{} is, of old, in", "Chad")


def test_optional_columns_in_any_order(tmp_path):
    lines = ("id, group,target,note,subject,prompt,previous", "a,g,Peru,x,Rome,{} is in,Italy")
    (fact,) = read_facts(write(tmp_path, *lines, ",,Chad,,Oslo,{} is in,"))[:1]
    assert fact == Fact("{} is in", "Rome", "Peru", "Italy", id="a", group="g")
    empty = read_facts(write(tmp_path, *lines, ",,Chad,,Oslo,{} is in,"))[1]
    assert (empty.id, empty.previous, empty.group) == ("line 3", None, "")


def test_a_source_gzipped_or_not(tmp_path):
    path = tmp_path / "facts.CSV.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{{}} is in,Rome,Peru".encode()))
    assert load_facts("csv", path).facts[0].target == "Peru"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((HEADER, "{} is,Rome"), ":2: has 2 cells, the header 3"),
        ((HEADER, "{} is,Rome,Peru,x"), ":2: has 4 cells"),
        ((HEADER, "{} is,Rome,Peru", "{} is,Rome,Chad"), ":3: contradicts line 2"),
        ((HEADER, '"{} is', 'in",Rome,Peru', "{} is,Oslo, "), ':4: "target" is empty'),
        ((HEADER, '{} is,"Rome,Peru'), ":2: broken CSV"),
        ((HEADER, '{} is,"Ro"me,Peru'), ":2: broken CSV"),
        ((HEADER, "Oslo is,Rome,Peru"), ":2: the subject 'Rome' does not occur"),
        (("prompt,subject", "{} is,Rome"), ":1: the header lacks target"),
        (("", "prompt,subject"), ":2: the header lacks target"),
        ((f"{HEADER},target", "a,b,c,d"), ":1: the header names 'target' twice"),
        ((f"{HEADER},aliases", "a,b,c,d"), ":1: a table cannot hold the list 'aliases'"),
        ((f"{HEADER},previuos", "{} a,b,c,d"), ':2: unknown key "previuos"; did you mean'),
        ((HEADER.replace(",", ";"), "a;b;c"), ":1: .* separate columns by commas"),
        ((f"{HEADER},id", "{} is,a,b,1", "{} is,b,c,1"), ":3: id '1' is line 2's already"),
        ((HEADER,), ": holds no facts; write a header and one row a fact"),
        (("",), ": holds no facts"),
    ],
)
def test_a_bad_line_is_named(tmp_path, lines, message):
    with pytest.raises(UserError, match=rf"facts\.csv{message}"):
        read_facts(write(tmp_path, *lines))


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
CLEAN = CELL.map(str.strip).filter(bool)
PROMPT = CLEAN.filter(lambda text: "{}" not in text).map(lambda text: f"{{}} {text}")
ROWS = st.lists(
    st.tuples(PROMPT, CLEAN, CLEAN, CELL), min_size=1, max_size=4, unique_by=lambda row: row[:2]
)


@given(ROWS)
def test_whatever_a_spreadsheet_writes_is_read(tmp_path_factory, rows):
    text = io.StringIO()
    csv.writer(text).writerows([("prompt", "subject", "target", "previous"), *rows])
    path = tmp_path_factory.getbasetemp() / "sheet.csv"
    path.write_bytes(text.getvalue().encode())
    found = [(f.prompt, f.subject, f.target, f.previous) for f in read_facts(path)]
    assert found == [(p, s, t, before.strip() or None) for p, s, t, before in rows]
