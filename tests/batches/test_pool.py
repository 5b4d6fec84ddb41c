"""Many runs at once: none twice, none lost, and no failure stops another."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from jaxedit.batches.batch import Job, jobs
from jaxedit.batches.local import Local
from jaxedit.batches.pool import Event, work
from jaxedit.batches.slots import Slot
from jaxedit.ledger import locked
from tests.jobs import batch, player, story

ONE = (Slot(0, ()),)
TWO = (Slot(0, ()), Slot(1, ()))


def on(slots: Sequence[Slot], **told: str) -> Local:
    """This machine, and what its runs are told to do."""
    return Local(slots, player(told))


def kinds(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.job.label) for event in events]


def begun(out: Path) -> list[str]:
    return [line.removeprefix("begin ") for line in story(out) if line.startswith("begin")]


def until(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_that_two_batches_name_is_made_once(tmp_path: Path):
    for names in (("a", "b"), ("other a", "other b", "c")):
        events = list(work(jobs(batch(*names), tmp_path), on(ONE)))
    assert [event.kind for event in events] == ["skipped", "skipped", "started", "done"]
    assert begun(tmp_path) == ["a", "b", "c"]


def test_a_failure_is_tried_again_after_all_others(tmp_path: Path):
    todo = jobs(batch("a", "b", "c"), tmp_path)
    events = list(work(todo, on(ONE, a="die once", b="fail"), retries=2))
    assert kinds(events) == [
        *(("started", "a"), ("again", "a"), ("started", "b"), ("again", "b")),
        *(("started", "c"), ("done", "c"), ("started", "a"), ("done", "a")),
        *(("started", "b"), ("again", "b"), ("started", "b"), ("failed", "b")),
    ]
    assert events[1].reason.startswith("killed by SIGKILL, memory may have run out; ")
    assert events[-1].reason == "error: b cannot"
    assert begun(tmp_path) == ["a", "b", "c", "a", "b", "b"]


def test_wrong_input_is_not_tried_again(tmp_path: Path):
    events = list(work(jobs(batch("a"), tmp_path), on(ONE, a="mistake"), retries=5))
    assert kinds(events) == [("started", "a"), ("failed", "a")]
    assert events[-1].reason == "error: the input is wrong"


def test_as_many_at_a_time_as_there_are_slots(tmp_path: Path):
    todo = jobs(batch("a", "b", "c", "d"), tmp_path)
    # Both of a pair end only once the other has begun: with one slot this would take for ever.
    pairs = {"a": todo[1], "b": todo[0], "c": todo[3], "d": todo[2]}
    told = {name: f"after {other.workdir / 'config.json'}" for name, other in pairs.items()}
    at_once, most = 0, 0
    for event in work(todo, on(TWO, **told)):
        at_once += {"started": 1, "done": -1}[event.kind]
        most = max(most, at_once)
    assert most == 2 and at_once == 0
    active = 0
    for line in story(tmp_path):
        active += 1 if line.startswith("begin") else -1
        assert 0 <= active <= 2


def test_two_launches_share_the_work(tmp_path: Path):
    todo = jobs(batch("a", "b", "c", "d"), tmp_path)
    gate = tmp_path / "gate"
    first = work(todo, on(ONE, a=f"after {gate}"))
    assert next(first).kind == "started"
    second = work(todo, on(ONE))
    seen = [next(second) for _ in range(7)]
    assert kinds(seen) == [
        ("busy", "a"),
        *[(kind, name) for name in "bcd" for kind in ("started", "done")],
    ]
    assert seen[0].reason == "another launch runs it"
    gate.touch()
    assert [event.kind for event in first] == ["done", "skipped", "skipped", "skipped"]
    assert kinds(list(second)) == [("skipped", "a")]  # it was waited for
    assert sorted(begun(tmp_path)) == ["a", "b", "c", "d"]


def test_a_run_that_was_started_by_hand_is_waited_for(tmp_path: Path):
    [job] = jobs(batch("a"), tmp_path)
    events = work([job], on(ONE))
    with locked(job.workdir):
        busy = next(events)
        assert f"process {os.getpid()} runs there" in busy.reason and busy.kind == "busy"
        assert story(tmp_path) == []
    assert [event.kind for event in events] == ["started", "done"]


def test_no_two_launches_use_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gate = tmp_path / "gate"
    first_jobs = jobs(batch("a", "b"), tmp_path)
    other_jobs = jobs(batch("-", "-b", "c", "d"), tmp_path)[2:]
    first = work(first_jobs[:1], on((Slot(0, (), ("0",)),), a=f"after {gate}"))
    assert next(first).kind == "started"
    both = on((Slot(0, (), ("0",)), Slot(1, (), ("1",))))
    assert {event.reason for event in work(other_jobs, both) if event.kind == "started"} == {
        "GPU 1"
    }
    waits = work(first_jobs[1:], on((Slot(0, (), ("1", "0")),)))
    blocked = next(waits)
    assert (blocked.kind, blocked.reason) == ("blocked", "others use GPU 1,0")
    gate.touch()
    assert [event.kind for event in first] == ["done"]
    assert [event.kind for event in waits] == ["started", "done"]


def test_leaving_the_loop_leaves_no_process_behind(tmp_path: Path):
    [job] = jobs(batch("a"), tmp_path)
    events = work([job], on(ONE, a="wait"))
    next(events)
    until(job.workdir / "half")
    events.close()
    with locked(job.workdir):
        assert job.state() == "partial"


LAUNCHER = """
import sys
from pathlib import Path
from jaxedit.batches.batch import jobs
from jaxedit.launch import launch
from tests.batches.test_pool import ONE, on
from tests.jobs import batch

out = Path(sys.argv[1])
launch(jobs(batch("a", "b"), out), on(ONE, a=f"after {out / 'gate'}"))
"""


def test_a_launch_that_is_killed_leaves_its_run_whole(tmp_path: Path):
    todo: tuple[Job, ...] = jobs(batch("a", "b"), tmp_path)
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(tmp_path)])
    until(todo[0].workdir / "config.json")
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert begun(tmp_path) == ["a"]
    events = work(todo, on(ONE))
    assert kinds([next(events) for _ in range(3)]) == [
        *(("busy", "a"), ("started", "b"), ("done", "b"))
    ]
    (tmp_path / "gate").touch()
    assert kinds(list(events)) == [("skipped", "a")]
    assert begun(tmp_path) == ["a", "b"]
