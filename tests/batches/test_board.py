"""How a batch is going, in lines and as a table."""

import io
from pathlib import Path

import pytest

from jaxedit.batches import board as boards
from jaxedit.batches.batch import Job, jobs
from jaxedit.batches.board import Board, Screen, after, begin, left, line, summary, table
from jaxedit.batches.pool import Event
from tests.jobs import batch


@pytest.fixture
def todo(tmp_path: Path) -> tuple[Job, ...]:
    return jobs(batch("a", "b", "c", "d", "e"), tmp_path)


@pytest.fixture
def board(todo: tuple[Job, ...]) -> Board:
    """One done in 10 s, one failed, one running for a minute."""
    a, b, c, *_ = todo
    events = [
        Event("started", a, reason="GPU 0"),
        Event("done", a, 10.0),
        Event("failed", b, 50.0, "error: b cannot"),
        Event("started", c, reason="GPU 1"),
    ]
    found = begin(todo, 2)
    for event in events:
        found = after(found, event, 100.0)
    return found


def test_the_table(board: Board, todo: tuple[Job, ...]):
    todo[2].log.write_text("$ command\nD4S: 3 of 9 edits\n\n")
    assert table(board, 160.0, 80, 24) == [
        "2 of 5, about 15 s left; 1 running, 1 failed, 2 waiting, 1 done",
        "  running  c  GPU 1    60 s  D4S: 3 of 9 edits",
        "  failed   b  error: b cannot",
        "  waiting  d",
        "  waiting  e",
        "  done     a  in 10 s",
    ]


def test_what_does_not_fit_is_counted(board: Board):
    text = table(board, 160.0, 20, 5)
    assert text[1].startswith("  running  c") and text[-1] == "and 2 waiting, 1..."
    assert len(text) < 5 and all(len(one) < 20 for one in text)


def test_the_table_is_drawn_over_itself(board: Board, todo: tuple[Job, ...]):
    terminal = io.StringIO()
    screen = Screen(terminal)
    screen(Event("started", todo[2]), board)
    once = terminal.getvalue()
    assert once.count("\n") == 6 and "\x1b" not in once
    screen(None, board)  # not a second later
    assert terminal.getvalue() == once
    screen(Event("started", todo[2]), board)
    assert terminal.getvalue() == f"{once}\x1b[6F\x1b[J{once}"


def test_lines(board: Board, todo: tuple[Job, ...]):
    a, b, *_ = todo
    assert line(Event("started", a, reason="GPU 0"), board) == f"started a ({a.hash}, GPU 0)"
    assert line(Event("done", a, 10.0), board) == "done    a in 10 s; 2 of 5, about 15 s left"
    again = Event("again", b, 7200.0, "error: no")
    assert line(again, board) == "again   b after 2.0 h: error: no"
    assert line(Event("busy", b, reason="x"), board) == "busy    b waits: x"
    assert line(Event("skipped", a), board) == "skipped a is done already"
    assert line(Event("stopped", a, 9.0), board) == "stopped a"


def test_how_much_is_left(board: Board, todo: tuple[Job, ...]):
    assert left(begin(todo, 2)) == "0 of 5"
    assert left(after(board, Event("skipped", todo[3]), 0.0)) == "2 of 4, about 10 s left"
    ended = board
    for job in todo[2:]:
        ended = after(ended, Event("done", job, 3.0), 0.0)
    assert left(ended) == "5 of 5"
    assert summary(ended) == [
        "5 runs: 4 done now, 1 failed",
        f"  failed: b: error: b cannot (see {todo[1].log})",
    ]
    assert boards.duration(3000) == "50 min"
