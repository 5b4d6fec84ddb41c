"""Each mistake is one line that says what and where; exit code 2; nothing is written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxedit.config import run_config
from jaxedit.errors import UserError
from jaxedit.run import run
from tests.tiny_run import raw_config, write_config, write_inputs


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return write_inputs(tmp_path / "inputs")


def fact(**changes: object) -> str:
    return json.dumps({"prompt": "{} is in", "subject": "Paris", "target": "France", **changes})


def refused(raw: dict, workdir: Path) -> str:
    """The message of a run that is refused and leaves no directory behind."""
    with pytest.raises(UserError) as error:
        run(run_config(raw), workdir)
    assert not workdir.exists()
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ("", "facts.jsonl: holds no facts"),
        (fact() + '\n{"prompt": "{} is', "facts.jsonl:2: broken JSON"),
        (fact(prompt="Rome is in"), "facts.jsonl:1: .*Paris"),
        (fact(target=" "), 'facts.jsonl:1: "target" is empty'),
        (fact() + "\n" + fact(target="Italy"), "facts.jsonl:2: .*contradict"),
        (fact(prompt="{} " + "is " * 200), "facts.jsonl: fact line 1: its prompt has .* tokens"),
    ],
)
def test_a_file_of_facts(inputs: Path, tmp_path: Path, facts: str, said: str):
    (inputs / "facts.jsonl").write_text(facts)
    message = refused(raw_config(inputs), tmp_path / "run")
    assert re.search(said, message), message


def test_no_file_of_facts(inputs: Path, tmp_path: Path):
    (inputs / "facts.jsonl").unlink()
    assert "facts.jsonl: no such file" in refused(raw_config(inputs), tmp_path / "run")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_model_file_is_missing(inputs: Path, tmp_path: Path, name: str):
    (inputs / "model" / name).unlink()
    message = refused(raw_config(inputs), tmp_path / "run")
    assert name in message or "safetensors" in message


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_model_file_is_truncated(inputs: Path, tmp_path: Path, name: str):
    path = inputs / "model" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert name in refused(raw_config(inputs), tmp_path / "run")


def test_the_tokenizer_of_another_model(inputs: Path, tmp_path: Path):
    path = inputs / "model" / "tokenizer.json"
    raw = json.loads(path.read_text())
    raw["model"]["vocab"] |= {f"extra{i}": len(raw["model"]["vocab"]) + i for i in range(9)}
    path.write_text(json.dumps(raw))
    assert "tokenizer.json has" in refused(raw_config(inputs), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": (1, 7)}, "--config.layers: layer 7 does not exist; .* has layers 0 to 3"),
        ({"layers": None}, "--config.layers: missing"),
        ({"model": "no/such dir"}, "model directory no/such dir does not exist"),
        ({"model": "embedded:none"}, "no model 'embedded:none'"),
        ({"mesh": {"data": 99}}, "mesh.data=99"),
        ({"statistics": {"source": "gone.txt"}}, "the corpus gone.txt does not exist"),
        ({"facts": {"source": "zsrre"}}, 'unknown source of facts .* did you mean "zsre"'),
        ({"facts": {"source": "zsre", "path": "gone.json"}}, "gone.json: no such file"),
    ],
)
def test_a_setting(inputs: Path, tmp_path: Path, changes: dict, said: str):
    message = refused(raw_config(inputs, **changes), tmp_path / "run")
    assert re.search(said, message), message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "d5s"}, "--config.arms.x.method: 'd5s' is no editing method; did you mean d4s"),
        ({"method": "d4s", "moment_wieght": 1.0}, "moment_wieght: no such .* moment_weight"),
        ({"method": "d4s", "residual": "other"}, "residual: expected one of 'shared'"),
        ({"method": "memit", "values": {"step": 1}}, "values.step: no such .* steps"),
    ],
)
def test_an_arm(inputs: Path, tmp_path: Path, settings: dict, said: str):
    message = refused(raw_config(inputs, arms={"x": settings}), tmp_path / "run")
    assert re.search(said, message), message


def test_a_model_that_cannot_fit(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jaxedit.run.available_memory", lambda: 10_000)
    message = refused(raw_config(inputs), tmp_path / "run")
    assert "on a device that has" in message and "the largest part is" in message


def test_the_entry_points_say_it_in_one_line(inputs: Path, tmp_path: Path):
    """One process for each kind of way that a mistake comes in."""
    config, workdir = write_config(inputs, raw_config(inputs)), tmp_path / "run"
    for module, arguments, said in (
        ("run", [f"--config={config}", "--config.layers=1,7"], "layer 7 does not exist"),
        ("run", [f"--config={config}", "--config.evall.every=3"], "did you mean eval?"),
        ("evaluate", [], "no such file; is this the --workdir of a run?"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", f"jaxedit.{module}", f"--workdir={workdir}", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "XLA_FLAGS": ""},
            check=False,
        )
        assert done.returncode == 2
        assert done.stdout == ""
        [line] = done.stderr.splitlines()
        assert line.startswith("error: ") and said in line
        assert not workdir.exists()
