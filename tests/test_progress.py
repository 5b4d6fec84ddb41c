"""Plain lines where there is no terminal: not too many, and always the last."""

import pytest
from absl import logging

from jaxedit import progress as module
from jaxedit.progress import progress


def test_lines(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr(logging, "info", lambda text, *values: said.append(text % values))
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 1e9)
    with progress("D4S", 10, done=4) as advance:
        for _ in range(6):
            advance(1)
    assert len(said) == 1
    assert said[0].startswith("D4S: 10 of 10 edits, ") and "edits/s, 0 s left" in said[0]


def test_a_line_when_some_time_has_passed(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr(logging, "info", lambda text, *values: said.append(text % values))
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with progress("D4S", 3) as advance:
        for _ in range(3):
            advance(1, "p 0.9")
    assert [line.split()[1] for line in said] == ["1", "2", "3"]
    assert said[0].endswith("p 0.9")
