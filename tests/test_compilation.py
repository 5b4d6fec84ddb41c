"""Programs that one process compiled are found by the next."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
import pytest
from absl import logging

from jaxedit.compilation import COMPILED, LONG, LOWERED, Programs, keep_programs
from jaxedit.sharding import data_parallel, make_mesh

SCRIPT = """
from jaxedit.compilation import keep_programs, watch_programs
keep_programs()
programs = watch_programs()
from tests.tiny import tiny_model
lm = tiny_model(n_layers=1)
lm.generate(["Mira"], 2), lm.teacher_forced(["Mira"], ["Danto"])
print(programs.told())
"""


def start(cache: Path) -> str:
    """What a process says of its programs that begins with this cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")}
    environment = {**kept, "JAXEDIT_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_second_start_compiles_nothing(tmp_path: Path) -> None:
    first, second = start(tmp_path), start(tmp_path)
    assert ", 0 found compiled" in first
    assert second.startswith("programs: 0 compiled")
    assert " 0 found" not in second


def test_a_directory_of_the_users_own(tmp_path: Path) -> None:
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
        "jax_compilation_cache_max_size",
    )
    before = {name: getattr(jax.config, name) for name in names}
    try:
        chosen = keep_programs({"JAX_COMPILATION_CACHE_DIR": str(tmp_path)})
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    assert chosen == tmp_path


def test_what_is_told_of_them() -> None:
    seconds = {"add": 0.2, "decode": 31.0, "score": 1.6, "hear": 2.0, "begin": 3.0}
    assert Programs(5, 3, {"add": 0.2}).told() == "programs: 2 compiled, 3 found compiled, 0 s"
    said = Programs(9, 0, seconds).told()
    assert said.endswith("9 compiled, 0 found compiled, 38 s (decode 31 s, begin 3 s, hear 2 s)")


class Clock:
    """A timer that goes off when it is told to."""

    made: ClassVar[list["Clock"]] = []

    def __init__(self, seconds: float, call: Callable[..., None], arguments: tuple):
        assert seconds == LONG
        self.call, self.arguments, self.daemon, self.runs = call, arguments, False, False
        self.made.append(self)

    def start(self) -> None:
        assert self.daemon  # no process waits for it
        self.runs = True

    def cancel(self) -> None:
        self.runs = False


def test_a_long_compilation_is_told_of_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(logging, "info", lambda text, *values: said.append(text % values))
    monkeypatch.setattr("jaxedit.compilation.threading.Timer", Clock)
    programs = Programs()
    monkeypatch.setattr(jax.monitoring, "record_event", programs.happened)
    rows = np.zeros((8, 3)), np.zeros(8)
    for name, seconds in (("jit(add)", 0.1), ("jit(_fun)", 7.0), ("jit(_score)", 0.1)):
        data_parallel(_score, make_mesh(2), chunk=4)(1.0, rows)  # is traced once
        programs.timed(LOWERED, 0.1, fun_name=name)
        [clock] = Clock.made
        assert clock.runs
        if seconds > LONG:
            clock.call(*clock.arguments)
        programs.timed(COMPILED, seconds, fun_name=name)
        assert not clock.runs
        Clock.made.clear()
    whole = "score of 4 x 3, 4 on a device"
    assert said == [f"compiling {whole} ...", f"compiled {whole} in 7 s"]
    assert programs.seconds == {"add": 0.1, "score": 7.1} and programs.asked == 3


def _score(params: Any, batch: Any) -> Any:
    return batch[0] + params
