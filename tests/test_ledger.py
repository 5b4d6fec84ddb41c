"""Records are append-only, cut back to a step, and guarded by a lock that dies with its owner."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxedit.errors import UserError
from jaxedit.ledger import Ledger, locked, read_json, refuse_if_busy, write_json


def test_records_come_back_and_are_cut_to_a_step(tmp_path):
    ledger = Ledger(tmp_path / "metrics.jsonl")
    assert ledger.read() == []
    for step in (1, 2, 2, 3):
        ledger.append({"step": step, "value": np.float32(0.1), "list": (1, np.int64(2))})
    assert [record["step"] for record in ledger.read()] == [1, 2, 2, 3]
    before = ledger.path.read_bytes().splitlines()
    ledger.cut(2)
    assert ledger.path.read_bytes().splitlines() == before[:3]
    ledger.cut(2)
    assert ledger.path.read_bytes().splitlines() == before[:3]


def test_a_torn_last_line_is_dropped(tmp_path):
    ledger = Ledger(tmp_path / "metrics.jsonl")
    ledger.append({"step": 1, "text": "é"})
    with open(ledger.path, "ab") as file:
        file.write(b'{"step": 2, "te')
    assert ledger.read() == [{"step": 1, "text": "é"}]
    ledger.cut(5)
    ledger.append({"step": 2})
    assert [record["step"] for record in ledger.read()] == [1, 2]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl:2: not a JSON record"):
        Ledger(path).read()


def test_floats_survive_exactly_and_not_finite_ones_become_null(tmp_path):
    value = 0.1 + 0.2
    write_json(tmp_path / "x.json", {"a": value, "b": float("nan"), "c": [float("inf")]})
    assert read_json(tmp_path / "x.json") == {"a": value, "b": None, "c": [None]}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config.json: no such file"):
        read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"config.json: broken JSON"):
        read_json(tmp_path / "config.json")


def test_a_full_disk_is_told_with_the_file():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError, match="/dev/full") as error:
        Ledger(Path("/dev/full")).append({"step": 1})
    assert error.value.errno == errno.ENOSPC


def test_two_owners_of_a_directory(tmp_path):
    with locked(tmp_path / "run"):
        second = locked(tmp_path / "run")
        with pytest.raises(UserError, match=f"process {os.getpid()} runs there"):
            second.__enter__()
        with pytest.raises(UserError, match="runs there"):
            refuse_if_busy(tmp_path / "run")
    refuse_if_busy(tmp_path / "run")
    with locked(tmp_path / "run"):
        pass


def test_looking_whether_a_directory_is_busy_writes_nothing(tmp_path):
    refuse_if_busy(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    holder = (
        "import sys, time; from pathlib import Path; from jaxedit.ledger import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {process.pid} runs there"):
        refuse_if_busy(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with locked(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text()) == os.getpid()
