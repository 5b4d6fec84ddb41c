"""What runs took is measured, and what is left is told from it."""

from pathlib import Path

import pytest

from jaxedit.batches.attempt import attempts
from jaxedit.batches.batch import Batch, jobs
from jaxedit.batches.pool import work
from jaxedit.batches.seconds import add_seconds, ahead, measured, read_seconds
from jaxedit.errors import UserError
from tests.batches.test_pool import ONE, on
from tests.jobs import batch, raw


def test_attempts_are_timed_and_added_up(tmp_path: Path):
    todo = jobs(batch("a", "twice", "bad"), tmp_path)
    list(work(todo, on(ONE, twice="die once", bad="fail"), retries=1))
    first, twice, bad = (attempts(tmp_path, job.hash).read() for job in todo)
    assert [list(record) for record in first] == [["began"], ["ended", "code", "processor"]]
    assert [record.get("code") for record in twice] == [None, -9, None, 0]
    assert [record.get("code") for record in bad] == [None, 1, None, 1]
    assert first[0]["began"] <= first[1]["ended"] and 0 < first[1]["processor"] < 10

    found = measured(tmp_path)
    assert list(found) == sorted(job.hash for job in todo[:2])
    both = twice[1]["processor"] + twice[3]["processor"]
    assert found[todo[1].hash] == pytest.approx(both, abs=0.06)


def test_an_attempt_without_an_end_is_not_known(tmp_path: Path):
    [job] = jobs(batch("a"), tmp_path)
    attempts(tmp_path, job.hash).append({"began": 1.0})  # the launcher was killed in it
    list(work([job], on(ONE)))
    assert job.state() == "done" and measured(tmp_path) == {}


def test_what_was_measured_is_kept(tmp_path: Path):
    todo, file = jobs(batch("a", "b"), tmp_path), tmp_path / "seconds.json"
    with pytest.raises(UserError, match="no run there is done"):
        add_seconds(tmp_path, file)
    list(work(todo[:1], on(ONE)))
    assert add_seconds(tmp_path, file) == (1, 1)
    list(work(todo, on(ONE)))
    assert add_seconds(tmp_path, file) == (2, 2)
    assert read_seconds(file).keys() == {job.hash for job in todo}
    with pytest.raises(UserError, match="no such directory"):
        add_seconds(tmp_path / "gone", file)


def test_what_is_left(tmp_path: Path):
    arms = {name: {"method": "d4s"} for name in "xyz"}
    runs = {name: raw(seed) for seed, name in enumerate("abcd")} | {"e": raw(9, arms=arms)}
    todo = jobs(Batch("", "", runs), tmp_path)
    a, b, c, d, _ = (job.hash for job in todo)
    list(work(todo[:1], on(ONE)))
    (tmp_path / b).mkdir()
    (tmp_path / b / "config.json").write_text("{}")
    known = {a: 1000.0, b: 100.0, c: 300.0, d: 200.0}
    # b and c begin, d follows b; e, an arm of which takes 250 s as those known do, follows c.
    said = ahead(todo, 2, 3, known)
    assert said.seconds == 300 + 750 and (said.done, said.begun, said.guessed) == (1, 1, 1)
    assert str(said) == (
        "5 runs (3 of them in several batches), 1 done, 1 begun; about 18 min on 2 slots "
        "(1 of unknown length taken as the others are)"
    )
    assert ahead(todo[:4], 1, 0, known).seconds == 600
    assert str(ahead(todo, 1, 0, {})) == "5 runs, 1 done, 1 begun; how long they take is not known"
    assert str(ahead(todo[:1], 1, 0, known)) == "1 runs, 1 done"


def test_the_seconds_of_the_package_can_be_read():
    assert all(seconds > 0 for seconds in read_seconds().values())
