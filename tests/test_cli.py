"""Flags: every mistake is one line and exit code 2; a bug keeps its traceback."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from jaxedit import cli
from jaxedit.errors import UserError

CONFIG = """
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

def get_config(variant="none"):
    config = ConfigDict(sort_keys=False)
    config.variant = variant
    config.limit = placeholder(int)
    config.layers = placeholder(tuple)
    arms = {"d4s": {"weight": 3.0}, "ft": {"method": "ft_m", "values": {"steps": 2}}}
    config.arms = ConfigDict(arms, sort_keys=False)
    return config
"""

PROGRAM = """
import errno, json, os, sys
from absl import flags
from jaxedit import cli
from jaxedit.errors import UserError

_CONFIG = cli.config_flag()
_MESH = cli.mesh_flags()
_FAIL = flags.DEFINE_string("fail", None, "how")

def main():
    if _FAIL.value == "user":
        raise UserError("the file is wrong;\\n mend it")
    if _FAIL.value == "disk":
        raise OSError(errno.ENOSPC, "No space left on device", "out/x/metrics.jsonl")
    if _FAIL.value == "bug":
        raise ZeroDivisionError("oh")
    if _FAIL.value == "interrupt":
        raise KeyboardInterrupt
    print(_MESH(), dict(cli.read_config(_CONFIG)))

# One process for each way of calling it; what they import, they import once.
for number, arguments in enumerate(json.load(open("calls.json"))):
    if os.fork() == 0:
        for kind, where in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{number}.{where}", os.O_WRONLY | os.O_CREAT), kind)
        sys.argv = ["program.py", *arguments]
        cli.run(main)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""

OVERRIDES = "--config=config.py:small --config.limit=3 --config.layers=3,4 --mesh.data=2"
LEFT_OUT = (
    "--config=config.py --config.arms.ft.training.epochs=3 --config.arms.ft.training.rate=1e-3 "
    "--config.arms.ft.values.clip=None --config.arms.ft.values.steps=4 "
    "--config.arms.ft.layers=(1,2) --config.arms.ft.on yes --fail="
)
MISTAKES = [
    ("--config=config.py --config.limmit=3", "--config.limmit: no such setting; did you mean"),
    ("--config=config.py --config.arms.d4s.wait=3", "--config.arms.d4s.wait: no such setting"),
    ("--config=config.py --config.arms.d4s.weight.x=3", "weight.x: no such setting; it is a v"),
    ("--config=config.py --config.limit=many", "--config.limit: expected int, got 'many'"),
    ("--config config.py --config.limit 1.5", "--config.limit: expected int, got '1.5'"),
    ("--config=gone.py", "--config=gone.py: no such file"),
    ("--config=broken.py", "--config=broken.py: the file does not run (SyntaxError"),
    ("--config=empty.py", "--config=empty.py: has no function get_config"),
    ("--config.limit=3", "--config.limit: needs --config=FILE before it"),
    ("", "--config: missing; give a config file"),
    ("--cofnig=config.py", "--cofnig: no such flag; did you mean config?"),
    ("--mesh.data=0", "mesh.data"),
    ("config.py", "'config.py': not a flag"),
    ("--fail=user", "the file is wrong; mend it"),
    ("--fail=disk", "out/x/metrics.jsonl: no space left; free some"),
]
CALLS = (OVERRIDES, LEFT_OUT, "--fail=bug", "--fail=interrupt", *(given for given, _ in MISTAKES))


class Done(NamedTuple):
    """What became of a call."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """Every call by its arguments."""
    directory = tmp_path_factory.mktemp("cli")
    (directory / "config.py").write_text(CONFIG)
    (directory / "broken.py").write_text("def get_config(:\n")
    (directory / "empty.py").write_text("x = 1\n")
    (directory / "program.py").write_text(PROGRAM)
    (directory / "calls.json").write_text(json.dumps([call.split() for call in CALLS]))
    made = subprocess.run(
        [sys.executable, "program.py"],
        cwd=directory,
        env={"PYTHONPATH": str(Path(cli.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    codes = map(int, made.stdout.split())
    return {
        call: Done(code, *((directory / f"{n}.{what}").read_text() for what in ("out", "err")))
        for n, (call, code) in enumerate(zip(CALLS, codes, strict=True))
    }


def test_overrides_reach_the_config(done: dict[str, Done]):
    made = done[OVERRIDES]
    assert made.returncode == 0 and made.stdout.startswith("{'data': 2} ")
    assert "'variant': 'small', 'limit': 3, 'layers': (3, 4)" in made.stdout
    assert made.stderr == ""


def test_a_method_takes_settings_that_the_config_leaves_out(done: dict[str, Done]):
    made = done[LEFT_OUT]
    assert made.stderr == ""
    arm = ast.literal_eval(made.stdout.removeprefix("{} "))["arms"]["ft"]
    assert arm["training"] == {"epochs": 3, "rate": 1e-3}
    assert arm["values"] == {"steps": 4, "clip": None}
    assert (arm["layers"], arm["on"], arm["method"]) == ((1, 2), "yes", "ft_m")


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_a_mistake_is_one_line(done: dict[str, Done], arguments: str, said: str):
    assert done[arguments].returncode == 2
    [line] = done[arguments].stderr.splitlines()
    assert line.startswith("error: ") and said in line


def test_a_bug_keeps_its_traceback_and_an_interruption_does_not(done: dict[str, Done]):
    assert "Traceback" in done["--fail=bug"].stderr
    made = done["--fail=interrupt"]
    assert made.returncode == 130 and len(made.stderr.splitlines()) == 1


def test_a_config_says_itself_what_is_wrong(tmp_path: Path):
    path = tmp_path / "config.py"
    path.write_text("from jaxedit.errors import UserError\ndef get_config(): raise UserError('no')")
    with pytest.raises(UserError, match=r"^no$"):
        cli.load_config(str(path))
