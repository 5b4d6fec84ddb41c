"""Flags: every mistake is one line and exit code 2; a bug keeps its traceback."""

import ast
import subprocess
import sys
from pathlib import Path

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
import errno
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

cli.run(main)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cli")
    (directory / "config.py").write_text(CONFIG)
    (directory / "broken.py").write_text("def get_config(:\n")
    (directory / "empty.py").write_text("x = 1\n")
    (directory / "program.py").write_text(PROGRAM)
    return directory


def call(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "program.py", *arguments]
    path = str(Path(cli.__file__).parents[1])
    return subprocess.run(
        command, cwd=program, env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


def test_overrides_reach_the_config(program: Path):
    given = ("--config.limit=3", "--config.layers=3,4", "--mesh.data=2")
    done = call(program, "--config=config.py:small", *given)
    assert done.returncode == 0 and done.stdout.startswith("{'data': 2} ")
    assert "'variant': 'small', 'limit': 3, 'layers': (3, 4)" in done.stdout
    assert done.stderr == ""


def test_a_method_takes_settings_that_the_config_leaves_out(program: Path):
    texts = ("training.epochs=3", "training.rate=1e-3", "values.clip=None", "values.steps=4")
    given = [f"--config.arms.ft.{text}" for text in (*texts, "layers=(1,2)")]
    done = call(program, "--config=config.py", *given, "--config.arms.ft.on", "yes", "--fail=")
    assert done.stderr == ""
    arm = ast.literal_eval(done.stdout.removeprefix("{} "))["arms"]["ft"]
    assert arm["training"] == {"epochs": 3, "rate": 1e-3}
    assert arm["values"] == {"steps": 4, "clip": None}
    assert (arm["layers"], arm["on"], arm["method"]) == ((1, 2), "yes", "ft_m")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
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
        ("config.py", "'config.py': not a flag"),
        ("--fail=user", "the file is wrong; mend it"),
        ("--fail=disk", "out/x/metrics.jsonl: no space left; free some"),
    ],
)
def test_a_mistake_is_one_line(program: Path, arguments: str, said: str):
    done = call(program, *arguments.split())
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ") and said in line


def test_a_bug_keeps_its_traceback_and_an_interruption_does_not(program: Path):
    assert "Traceback" in call(program, "--fail=bug").stderr
    done = call(program, "--fail=interrupt")
    assert done.returncode == 130 and len(done.stderr.splitlines()) == 1


def test_a_config_says_itself_what_is_wrong(tmp_path: Path):
    path = tmp_path / "config.py"
    path.write_text("from jaxedit.errors import UserError\ndef get_config(): raise UserError('no')")
    with pytest.raises(UserError, match=r"^no$"):
        cli.load_config(str(path))
