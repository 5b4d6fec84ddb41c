"""Checkpoints keep every dtype and shape, survive a kill and know their owner."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import textwrap

import ml_dtypes
import numpy as np
import pytest

from jaxedit.checkpoints import Checkpoints, Meta, check_owner
from jaxedit.errors import UserError


def meta(step, **changes):
    written = Meta(step, arm="d4s", model="m", config="c", facts=("a", "b"), version="0")
    return dataclasses.replace(written, **changes)


def state():
    rng = np.random.default_rng(0)
    return {
        "sums": {3: rng.normal(size=(5, 7)), 4: np.float64(1) / 3},
        "count": 12,
        "scale": 0.1,
        "layers": (3, 4),
        "weights": [rng.normal(size=(2, 3)).astype(ml_dtypes.bfloat16), None],
        "nothing": np.zeros((0, 4), np.float32),
        "empty": {},
    }


def restored(checkpoints, step=None):
    found = checkpoints.restore(step)
    assert found is not None
    return found


def same(left, right):
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert list(left) == list(right)
        return all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.tobytes() == right.tobytes()
    return left == right


def test_everything_comes_back_as_it_was(tmp_path):
    saved = state()
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(saved, meta(10))
    saved["sums"][4] = np.asarray(saved["sums"][4])  # a numpy scalar is an array of no axes
    with Checkpoints(tmp_path / "c", read_only=True) as checkpoints:
        found = restored(checkpoints)
    assert found.meta == meta(10)
    assert same(found.state, saved)


def test_any_step_can_be_restored_and_a_missing_one_is_named(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (5, 10, 15):
            checkpoints.save({"x": np.full(3, float(step))}, meta(step))
        assert checkpoints.steps == (5, 10, 15)
        assert restored(checkpoints, 10).state["x"][0] == 10
        assert restored(checkpoints).meta.step == 15
        with pytest.raises(UserError, match=r"--step=7: .*5, 10, 15"):
            checkpoints.restore(7)


def test_only_the_latest_are_kept_if_asked(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (5, 10, 15):
            checkpoints.save({"x": np.ones(3)}, meta(step))
        assert checkpoints.steps == (10, 15)


def test_reading_a_directory_that_is_not_there_makes_none(tmp_path):
    with Checkpoints(tmp_path / "none", read_only=True) as checkpoints:
        assert checkpoints.restore() is None and checkpoints.meta() is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("change", "noun"),
    [({"model": "x"}, "model"), ({"config": "x"}, "config"), ({"facts": ()}, "list of facts")],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, change, noun):
    check_owner(meta(5), meta(10), tmp_path)
    with pytest.raises(UserError, match=f"another {noun}"):
        check_owner(meta(5, **change), meta(5), tmp_path)


def test_what_cannot_be_kept_is_refused_before_anything_is_written(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(TypeError, match="cannot hold object"):
            checkpoints.save({"x": object()}, meta(1))
        assert checkpoints.steps == ()


def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch):
    def full(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED: write failed: No space left on device")

    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save({"x": np.ones(3)}, meta(1))
        monkeypatch.setattr(checkpoints._manager, "save", full)
        with pytest.raises(OSError, match="No space left") as error:
            checkpoints.save({"x": np.ones(3)}, meta(2))
        assert error.value.errno == errno.ENOSPC and str(tmp_path) in str(error.value.filename)
        assert checkpoints.steps == (1,)


def test_a_kill_while_saving_leaves_whole_checkpoints_only(tmp_path):
    writer = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        import numpy as np
        from jaxedit.checkpoints import Checkpoints, Meta
        with Checkpoints(Path(sys.argv[1])) as checkpoints:
            for step in range(1, 10_000):
                state = {"x": np.full((200, 200), float(step))}
                checkpoints.save(state, Meta(step, "a", "m", "c", (), "0"))
                print(step, flush=True)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", writer, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 5:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Checkpoints(tmp_path) as checkpoints:
        for step in checkpoints.steps:
            assert (restored(checkpoints, step).state["x"] == step).all()
        assert checkpoints.steps[-1] >= 5
        checkpoints.save({"x": np.ones(2)}, meta(20_000))
        assert restored(checkpoints).meta.step == 20_000
