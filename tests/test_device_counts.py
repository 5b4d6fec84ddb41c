"""One run of each kind on 1, 2, 4 and 8 devices: the same scores, and the same run taken further.

One config has all kinds in it: statistics, edits, a plug-in that is edited and corrects another
model, generated answers. Then its checkpoints are evaluated and asked.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxedit.config import run_config
from jaxedit.data.fact import Question
from jaxedit.evaluation import evaluate, find_arm, in_target, of_run, reopen
from jaxedit.ledger import read_json
from jaxedit.models.loading import save_hf
from jaxedit.run import run
from tests.processes import arguments, finish, start
from tests.tiny import tiny_model
from tests.tiny_run import even_facts, raw_config, write_config, write_inputs

FACTS = 4
MESHES = ((2, 1), (4, 1), (8, 1), (4, 2), (2, 4), (1, 8))
NEAR = 1e-5  # of what is measured in float32
MEASURED = ("magnitude", "probability", "per_target", "pooled")  # readings that count nothing
ARMS = ("d4s", "onceedit")
TRAINING = {"epochs": 2, "batch": 4, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_inputs(tmp_path_factory.mktemp("inputs"), FACTS)
    save_hf(tiny_model(n_layers=3), made / "model")
    others = [
        dataclasses.replace(
            fact, subject=f"Other {i}", id=f"o{i}", neighbours=(Question(f"Is Lum {i} of", "Kux"),)
        )
        for i, fact in enumerate(even_facts(4))
    ]
    lines = [json.dumps(dataclasses.asdict(fact)) for fact in others]
    (made / "others.jsonl").write_text("\n".join(lines) + "\n")
    return made


def raw(inputs: Path, mesh: tuple[int, int], cache: Path) -> dict[str, Any]:
    """The run on a mesh, with statistics and relative spaces in a cache."""
    made = raw_config(inputs, mesh=dict(zip(("data", "model"), mesh, strict=True)))
    once = {"method": "onceedit", "title": "OnceEdit", "batch": 2, "replay": 0}
    made["arms"] = {"d4s": made["arms"]["d4s"], "onceedit": {**once, "training": TRAINING}}
    # A key of the first layer sees its own token alone, a value of the last one changes no answer:
    # both leave an edit to rounding errors.
    made["layers"] = (1,)
    made["statistics"]["cache"] = str(cache)
    made["ensemble"] = {
        "targets": (str(inputs / "model"),),
        "unrelated": {"source": "jsonl", "path": str(inputs / "others.jsonl")},
        "cache": str(cache),
    }
    made["eval"] = {"immediate": False, "max_new_tokens": 4, "generate": ("after_all",)}
    return made


def finished(inputs: Path, mesh: tuple[int, int], directory: Path) -> Path:
    """A directory with the whole run in it, and all that it computed in cache/."""
    run(run_config(raw(inputs, mesh, directory / "cache")), directory / "run")
    return directory


@pytest.fixture(scope="module")
def one(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(inputs, (1, 1), tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def eight(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(inputs, (8, 1), tmp_path_factory.mktemp("eight"))


def answers(run: Path) -> list[dict[str, Any]]:
    """Every raw answer: of the unedited models, of the edited ones, of the ensembles."""
    paths = [
        path for path in run.rglob("*.jsonl") if path.name not in ("metrics.jsonl", "log.jsonl")
    ]
    return [
        {"path": str(path.relative_to(run)), **json.loads(line)}
        for path in sorted(paths)
        for line in path.read_text().splitlines()
    ]


def scores(run: Path) -> Iterator[dict[str, Any]]:
    """Every score of the run."""
    result = read_json(run / "result.json")
    yield from result["before"]
    for arm in result["arms"]:
        yield from arm["after_all"]
        for modes in arm["targets"].values():
            for own in modes.values():
                yield from own


def distance(ours: Any, theirs: Any) -> float:
    """The largest difference; of numbers above 1, in proportion."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return float((np.abs(a - b) / np.maximum(1, np.abs(b))).max())


def of_answers(run: Path, other: Path) -> float:
    """How far log-probabilities differ; predicted and generated tokens have to be the same."""
    found, expected = answers(run), answers(other)
    assert len(found) == len(expected) > 40
    most = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        for name in ("logprobs", "rival_logprobs"):
            most = max(most, distance(ours.pop(name) or [0.0], theirs.pop(name) or [0.0]))
        assert ours == theirs
    return most


def of_scores(found: Iterator[dict[str, Any]], expected: Iterator[dict[str, Any]]) -> float:
    """How far measured scores differ; counted ones have to be the same."""
    most, count = 0.0, 0
    for count, (ours, theirs) in enumerate(zip(found, expected, strict=True), 1):  # noqa: B007
        if ours["reading"] in MEASURED:
            for name in ("value", "interval"):
                most = max(most, distance(ours.pop(name), theirs.pop(name)))
        assert ours == theirs
    assert count > 10
    return most


def of_caches(cache: Path, other: Path) -> dict[str, float]:
    """How far statistics and relative representations differ.

    Those of a fine-tuned plug-in have another name, which its last bits go into.
    """
    ours, theirs = (
        {path.name for path in where.iterdir() if path.suffix in (".npz", ".safetensors")}
        for where in (cache, other)
    )
    assert len(ours) == len(theirs) == 4  # a layer, a target, a plug-in after either arm
    assert len(ours & theirs) >= 3
    return {name: of_files(cache / name, other / name) for name in ours & theirs}


def of_files(path: Path, other: Path) -> float:
    load = np.load if path.suffix == ".npz" else load_file
    found, expected = load(path), load(other)
    assert set(found) == set(expected)
    numbers = [name for name in found if found[name].dtype.kind in "fiu"]
    return max(distance(found[name], expected[name]) for name in numbers)


def check(found: Path, expected: Path) -> None:
    differences = {
        **of_caches(found / "cache", expected / "cache"),
        "log-probabilities": of_answers(found / "run", expected / "run"),
        "scores": of_scores(scores(found / "run"), scores(expected / "run")),
    }
    print(differences)
    assert max(differences.values()) < NEAR


def test_eight_devices_are_one(one: Path, eight: Path):
    check(eight, one)


def test_a_checkpoint_of_eight_devices_is_asked_on_as_many(one: Path, eight: Path):
    asked(eight, {})


def asked(directory: Path, mesh: dict[str, int]) -> None:
    """Each arm's last checkpoint scores, alone and in the target, as the run said."""
    experiment = reopen(directory / "run", mesh)
    result = read_json(directory / "run/result.json")
    for name, arm in zip(ARMS, result["arms"], strict=True):
        subject = of_run(directory / "run", experiment, find_arm(experiment, name))
        [(target, modes)] = arm["targets"].items()
        joint = in_target(subject, experiment, find_arm(experiment, name), target)
        for one, expected in ((subject, arm["after_all"]), (joint, modes["dw_ee"])):
            found = (score.to_dict() for score in evaluate(one)[0])
            assert of_scores(found, iter(expected)) < NEAR


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [mesh for mesh in MESHES if mesh != (8, 1)])
def test_every_mesh_is_one_device(inputs: Path, one: Path, tmp_path: Path, mesh: tuple[int, int]):
    check(finished(inputs, mesh, tmp_path), one)
    asked(tmp_path, {})


@pytest.mark.slow
def test_a_run_begun_on_eight_devices_ends_on_two(
    inputs: Path, one: Path, eight: Path, tmp_path: Path
):
    workdir = shutil.copytree(eight / "run", tmp_path / "run")
    for name in ARMS:  # as if it had been killed right after its first checkpoint
        shutil.rmtree(workdir / name / "checkpoints" / "4")
        shutil.rmtree(workdir / name / "targets")
        for path in ("after_all.jsonl", "alpha.json", "result.json"):
            (workdir / name / path).unlink()
    (workdir / "result.json").unlink()
    shutil.copytree(eight / "cache", tmp_path / "cache")
    run(run_config(raw(inputs, (2, 1), eight / "cache")), workdir)
    check(tmp_path, one)
    asked(eight, {"data": 2})


@pytest.mark.slow
def test_two_processes_are_one_device(inputs: Path, one: Path, tmp_path: Path):
    workdir, output, answered = (tmp_path / name for name in ("run", "scores.json", "raw.jsonl"))
    config = write_config(inputs, raw(inputs, (4, 1), tmp_path / "cache"))
    together(arguments(config, workdir))
    check(tmp_path, one)
    kept = [f"--workdir={workdir}", "--arm=onceedit"]
    together([*kept, f"--output={output}", f"--raw={answered}"], "evaluate")
    [_, arm] = read_json(workdir / "result.json")["arms"]
    found = read_json(output)["onceedit"]["scores"]
    assert of_scores(iter(found), iter(arm["after_all"])) < NEAR
    lines = (workdir / "onceedit/after_all.jsonl").read_text().splitlines()
    assert len(answered.read_text().splitlines()) == len(lines)  # the first one alone writes
    together([*kept, "--prompt=Zub QQ was born in", "--mesh.data=2", "--mesh.model=2"], "generate")


def together(flags: list[str], module: str = "run") -> None:
    """Two processes with two devices each, which end well."""
    ended = finish(start(flags, processes=2, module=module), seconds=600)
    assert [code for code, _ in ended] == [0, 0], ended
