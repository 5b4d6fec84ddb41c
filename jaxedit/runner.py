"""Goes through the arms of a run, keeping records and checkpoints in its directory.

What an earlier process left there is taken up: arms that are done are skipped, the one that was
interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxedit import driver, hosts
from jaxedit.checkpoints import Checkpoints, check_owner
from jaxedit.config import ArmConfig, RunConfig, run_config, to_dict
from jaxedit.data.datasets import Loaded
from jaxedit.data.fact import Case, Fact
from jaxedit.editors import Editor
from jaxedit.editors.rows import Contexts
from jaxedit.errors import UserError
from jaxedit.experiment import Experiment, Resources
from jaxedit.ledger import read_json, write_json
from jaxedit.metrics import Answer, Norms, code_version, read_answers, write_answers
from jaxedit.preflight import Estimate
from jaxedit.progress import progress
from jaxedit.results import ArmFiles, along_scores, arm_result
from jaxedit.schedule import schedule
from jaxedit.serving import serve
from jaxedit.sharding import solving


def check_workdir(workdir: Path, config: RunConfig) -> None:
    """Refuses a directory that holds another run; reads only.

    Raises:
        UserError: naming the first setting that differs.
    """
    path = workdir / "config.json"
    if not path.exists():
        return
    theirs, ours = (
        {name: value for name, value in told.items() if name != "mesh"}
        for told in (_as_today(read_json(path)["config"]), to_dict(config))
    )
    for name in _differences(theirs, ours):
        raise UserError(
            f"--workdir={workdir}: holds a run with another {name}; give another --workdir, "
            "or the config that it was made with"
        )


def _as_today(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """A kept config with the settings that have come since, at their defaults."""
    try:
        return to_dict(run_config(raw))
    except UserError:  # of a setting that is no more: the comparison names it
        return raw


def check_checkpoints(workdir: Path, experiment: Experiment) -> None:
    """Refuses checkpoints of another model, config or list of facts; reads only.

    Raises:
        UserError: naming the directory and what differs.
    """
    for arm in experiment.config.arms:
        directory = ArmFiles(workdir / arm.name).checkpoints
        with Checkpoints(directory, read_only=True) as checkpoints:
            found = checkpoints.meta()
        if found is not None:
            check_owner(found, experiment.meta(arm, found.step), directory)


def write_setup(
    workdir: Path, experiment: Experiment, resources: Resources, needed: Estimate
) -> None:
    """Writes what the run consists of: config.json, facts.json, setup.json."""
    config, lm, loaded = experiment.config, experiment.lm, experiment.loaded
    write_json(workdir / "config.json", {"version": code_version(), "config": to_dict(config)})
    write_json(workdir / "facts.json", dataclasses.asdict(loaded))
    setup = {
        "version": code_version(),
        "model": {
            "name": lm.name,
            "hash": experiment.model_hash,
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(lm.params)),
            **dataclasses.asdict(lm.config),
        },
        "devices": lm.mesh.told(),
        "facts": {
            "source": config.facts.source,
            "path": config.facts.path,
            "stated": loaded.stated,
            "read": loaded.read,
            "edited": len(loaded.facts),
            "skipped": loaded.skipped,
            "notes": loaded.notes,
            "drawn": {"seed": loaded.seed, "order": loaded.order, "split": loaded.split},
        },
        "statistics": {"source": config.statistics.source, "tokens": resources.moments.tokens},
        "contexts": resources.contexts,
        "settings": {
            name: {key: _plain(value) for key, value in own.items()}
            for name, own in experiment.settings.items()
        },
        "preflight": needed.to_dict(),
    }
    write_json(workdir / "setup.json", setup)


def kept_contexts(workdir: Path) -> Contexts | None:
    """The prefix templates of a run that has begun; None before."""
    path = workdir / "setup.json"
    if not path.exists():
        return None
    return tuple(tuple(group) for group in read_json(path)["contexts"])


def read_loaded(workdir: Path) -> Loaded:
    """The facts of a run, as `write_setup` kept them."""
    raw = read_json(workdir / "facts.json")
    pairs = {name: [tuple(pair) for pair in raw[name]] for name in ("skipped", "notes")}
    return Loaded(**{**raw, **pairs, "cases": list(map(Case.from_dict, raw["cases"]))})


def unedited_answers(workdir: Path, experiment: Experiment) -> list[Answer]:
    """The unedited model's answers to everything that will be asked, taken once a run."""
    path = workdir / "before.jsonl"
    if not hosts.agreed(path.exists()):
        answers = _all_answers(experiment, experiment.lm, "before", 0, "unedited model")
        _write_answers(path, answers)
    return read_answers(path)


def unedited_tasks(workdir: Path, experiment: Experiment) -> list[dict[str, Any]]:
    """The unedited model's downstream tests, taken once a run; empty if it has none."""
    path = workdir / "before_tasks.json"
    if not hosts.agreed(path.exists()):
        found = driver.edited_abilities(experiment.lm, experiment.questions())
        write_json(path, [one.to_dict() for one in found])
    return read_json(path)


def run_arm(workdir: Path, experiment: Experiment, arm: ArmConfig, resources: Resources) -> None:
    """One arm from where it stands to its end.

    Raises:
        UserError: a checkpoint is of something else, or an edit went wrong.
    """
    files = ArmFiles(workdir / arm.name)
    if hosts.agreed(files.result.exists()):
        logging.info("%s: done already", arm.title)
        return
    if hosts.first():
        files.directory.mkdir(exist_ok=True)
    editor = experiment.editor(arm, dataclasses.replace(resources, partway=files.partway))
    keep = experiment.config.keep_checkpoints
    place = solving(experiment.config.mesh.solve)
    with place, Checkpoints(files.checkpoints, keep=keep) as checkpoints:
        state, step = _start(experiment, arm, editor, checkpoints, files)
        state = _edit_on(experiment, arm, editor, checkpoints, files, state, step)
        _write_answers(files.after_all, _final_answers(experiment, arm, editor, files, state))
        edited = partial(_edited, experiment, editor, checkpoints, state)
        serve(workdir, experiment, arm, edited, checkpoints.steps, _write_answers)
    write_json(files.result, arm_result(workdir, experiment.config, arm))


def _final_answers(
    experiment: Experiment, arm: ArmConfig, editor: Editor, files: ArmFiles, state: Any
) -> list[Answer]:
    """About all facts: on the model with all edits, or each on the model of its own edit."""
    if arm.alone:
        return [Answer.from_dict(line["answer"]) for line in files.generations.read()]
    edited = editor.bind(experiment.lm, state)
    count = len(experiment.facts)
    return _all_answers(experiment, edited, "after_all", count, f"{arm.title} after all edits")


def _edited(
    experiment: Experiment, editor: Editor, checkpoints: Checkpoints, last: Any, edits: int
) -> Any:
    """The model after so many edits: all of them, or those of a checkpoint."""
    if edits == len(experiment.facts):
        return editor.bind(experiment.lm, last)
    kept = checkpoints.restore(edits)
    assert kept is not None
    return editor.bind(experiment.lm, editor.restore(experiment.lm, kept.state))


def _all_answers(
    experiment: Experiment, lm: Any, when: str, edits: int, title: str
) -> list[Answer]:
    """About all facts, with a bar."""
    asking, count = experiment.questions(), len(experiment.facts)
    with progress(title, asking.rows(lm, when, 0, count), unit="rows") as advance:
        return asking.answers(lm, when, edits=edits, start=0, stop=count, advance=advance)


def _start(
    experiment: Experiment,
    arm: ArmConfig,
    editor: Editor,
    checkpoints: Checkpoints,
    files: ArmFiles,
) -> tuple[Any, int]:
    """The state to go on from, with every record cut back to it."""
    lm = experiment.lm
    restored = checkpoints.restore()
    if restored is None:
        for ledger in (files.metrics, files.generations, files.log):
            ledger.cut(-1)
        files.metrics.append(_norms_record(0, driver.edited_norms(editor, lm, lm)))
        unharmed = driver.edited_damage(editor, lm, lm, experiment.questions(), 0)
        files.metrics.append({"step": 0, "kind": "damage", **unharmed.to_dict()})
        _start_tasks(experiment, arm, files)
        return editor.init(lm), 0
    step = restored.meta.step
    check_owner(restored.meta, experiment.meta(arm, step), files.checkpoints)
    for ledger in (files.metrics, files.generations, files.log):
        ledger.cut(step)
    logging.info("%s: going on from the checkpoint at %d edits", arm.title, step)
    return editor.restore(lm, restored.state), step


def _start_tasks(experiment: Experiment, arm: ArmConfig, files: ArmFiles) -> None:
    """The first record of an arm's downstream tests."""
    if experiment.battery is None:
        return
    if arm.alone:
        logging.info("%s: edits alone, so there are no downstream tests along it", arm.title)
        return
    found = unedited_tasks(files.directory.parent, experiment)
    files.metrics.append({"step": 0, "kind": "tasks", "scores": found})


def _edit_on(
    experiment: Experiment,
    arm: ArmConfig,
    editor: Editor,
    checkpoints: Checkpoints,
    files: ArmFiles,
    state: Any,
    step: int,
) -> Any:
    """Runs the loop from ``step`` on, keeps what it yields, returns the last state."""
    config, facts = experiment.config, experiment.facts
    blocks = schedule(
        len(facts),
        batch=arm.batch,
        stops=_stops(experiment.loaded, arm),
        block=config.values_block,
        checkpoint_every=config.checkpoint_every,
        evaluate_every=config.eval.every,
        evaluate_at=config.eval.at,
        start=step,
    )
    before = read_answers(files.directory.parent / "before.jsonl")
    updates = driver.edits(
        experiment.lm, editor, facts, state, blocks, experiment.questions(), alone=arm.alone
    )
    with progress(arm.title, len(facts), step) as advance:
        for update in updates:
            state = update.state
            _record(files, facts, update, before, config.seed)
            if update.turn.checkpoint:
                checkpoints.save(update.snapshot, experiment.meta(arm, update.turn.stop))
                _forget(files.partway)
            advance(update.turn.stop - update.turn.start)
    hosts.wait(f"{files.directory} is written")
    return state


def _forget(partway: Path) -> None:
    """Removes what was kept of an update that a checkpoint holds now."""
    if hosts.first():
        shutil.rmtree(partway, ignore_errors=True)


def _stops(loaded: Loaded, arm: ArmConfig) -> list[int] | None:
    """The edits made after each update of an arm that takes whole cases."""
    if arm.cases is None:
        return None
    ends = np.cumsum([len(case.facts) for case in loaded.cases]).tolist()
    return [*ends[arm.cases - 1 : -1 : arm.cases], ends[-1]]


def _record(
    files: ArmFiles,
    facts: Sequence[Fact],
    update: driver.Update,
    before: Sequence[Answer],
    seed: int,
) -> None:
    """All records of one update; its checkpoint follows them."""
    step = update.turn.stop
    started = time.perf_counter()
    for answer in update.immediate:
        files.generations.append({"step": step, "answer": answer.to_dict()})
    for record in _edit_records(facts, update):
        files.metrics.append(record)
    files.metrics.append(_norms_record(step, update.norms))
    if update.damage is not None:
        files.metrics.append({"step": step, "kind": "damage", **update.damage.to_dict()})
    if update.abilities:
        found = [one.to_dict() for one in update.abilities]
        files.metrics.append({"step": step, "kind": "tasks", "scores": found})
    if update.so_far:
        found = along_scores(update.so_far, before, seed=seed)
        files.metrics.append({"step": step, "kind": "scores", "scores": found})
    files.log.append(
        {
            "step": step,
            "kind": "turn",
            "facts": step - update.turn.start,
            "prepare_seconds": update.prepare_seconds,
            "edit_seconds": update.edit_seconds,
            "score_seconds": update.score_seconds + time.perf_counter() - started,
            "time": time.time(),
        }
    )


def _edit_records(facts: Sequence[Fact], update: driver.Update) -> Iterator[dict[str, Any]]:
    """One record a fact: how its value went, and the target's probability after the edit."""
    after = {
        answer.asked.fact: float(np.exp(sum(answer.logprobs)))
        for answer in update.immediate
        if answer.asked.role == "edit" and answer.logprobs
    }
    for row, place in enumerate(range(update.turn.start, update.turn.stop)):
        yield {
            "step": update.turn.stop,
            "kind": "edit",
            "fact": place,
            "id": facts[place].id,
            **{name: column[row].item() for name, column in update.log.items()},
            "after": after.get(place),
        }


def _norms_record(step: int, norms: Mapping[str, Norms]) -> dict[str, Any]:
    layers = {name: values._asdict() for name, values in norms.items()}
    return {"step": step, "kind": "norms", "layers": layers}


def _write_answers(path: Path, answers: Sequence[Answer]) -> None:
    """The whole file or none: it is there only once every answer is."""
    if hosts.first():
        beside = path.with_name(f".{path.name}.tmp")
        beside.unlink(missing_ok=True)
        write_answers(beside, answers)
        beside.replace(path)
    hosts.wait(str(path))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def _differences(theirs: Any, ours: Any, where: str = "") -> Iterator[str]:
    """Dotted names of the settings in which two configs differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in dict.fromkeys((*ours, *theirs)):
            name = f"{where}.{key}" if where else key
            yield from _differences(theirs.get(key), ours.get(key), name)
    elif theirs != ours:
        yield where
