"""Scores a run's checkpoint, or any model: the same questions, by one protocol or by all of them.

    python -m jaxedit.evaluate --workdir=out/x
    python -m jaxedit.evaluate --workdir=out/x --arm=d4s --step=50 --protocols=all
    python -m jaxedit.evaluate --workdir=out/onceedit --target=embedded:gptj,embedded:llama:dw
    python -m jaxedit.evaluate --model=hf/directory --facts=counterfact --path=data --limit=100
    python -m jaxedit.evaluate --model=hf/directory --tasks=mmlu,world --data=data --task_limit=300
    python -m jaxedit.evaluate --model=out/hf --unedited=hf/directory --facts=jsonl --path=f.jsonl

A run's checkpoint gives the numbers that the run gave there. Of a model without a run, the facts
say what is asked; with ``--unedited`` it counts as edited with all of them. ``--tasks`` tests
downstream abilities, the unedited model's on the same items beside them. Writes nothing but
``--output`` (scores), ``--raw`` (answers) and ``--items`` (of tasks): from these two every score
can be taken again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from jaxedit import cli, hosts, readings
from jaxedit.config import EvalConfig, FactsConfig
from jaxedit.downstream import (
    Item,
    ability_table,
    compare,
    known_tasks,
    names_of,
    paired_table,
    reduce_items,
    run_tasks,
    write_items,
)
from jaxedit.downstream.tasks import WORLD
from jaxedit.errors import UserError
from jaxedit.evaluation import (
    Subject,
    evaluate,
    find_arm,
    heldout_score,
    in_target,
    judge_scores,
    of_model,
    of_run,
    reopen,
    statement_scores,
    without_facts,
)
from jaxedit.ledger import write_json
from jaxedit.metrics import Answer, Score, check_protocol, score_lines, write_answers
from jaxedit.metrics.judge import Judge, load_judge
from jaxedit.metrics.protocols import OTHERS
from jaxedit.sharding import make_mesh

ALL = "all"
MOMENTS = ("before", "checkpoint", "after_all")


def chosen_protocols(names: Sequence[str]) -> tuple[str, ...]:
    """The protocols that ``--protocols`` names besides ours.

    Raises:
        UserError: with the nearest name.
    """
    if list(names) == [ALL]:
        return OTHERS
    for name in names:
        check_protocol(name, "--protocols")
    return tuple(names)


def show_tasks(title: str, items: Sequence[Item], before: Sequence[Item]) -> None:
    """Prints the abilities and, beside an unedited model's, what the edits changed of them."""
    print(f"{title}: downstream tasks\n\n{ability_table(reduce_items(items))}")
    if before:
        print(f"against the unedited model, item by item\n\n{paired_table(compare(before, items))}")


def show(subject: Subject, scores: Sequence[Score]) -> None:
    """Prints the scores, and where there are other protocols, all of them side by side."""
    print(subject.title)
    for line in score_lines(scores):
        print(f"  {line}")
    plain = [score.to_dict() for score in scores]
    if subject.asking.protocols:
        print(f"\n{readings.markdown('reading', plain)}")
        sentence = readings.overstatement(plain)
        print(f"{sentence}\n" if sentence else "")


if __name__ == "__main__":
    _WORKDIR = flags.DEFINE_string("workdir", None, "the run's directory")
    _ARM = flags.DEFINE_string("arm", None, "which arm; default: each of them")
    _STEP = flags.DEFINE_integer("step", None, "edits at the checkpoint; default: the latest")
    _TARGETS = flags.DEFINE_list("target", [], "models that the run's plug-in is to correct")
    _MODEL = flags.DEFINE_string("model", None, "a model in place of a run")
    _UNEDITED = flags.DEFINE_string("unedited", None, "what --model was before its edits")
    _FACTS = flags.DEFINE_string("facts", None, "their source, such as counterfact or jsonl")
    _PATH = flags.DEFINE_string("path", None, "their file or directory")
    _LIMIT = flags.DEFINE_integer("limit", None, "at most so many records", lower_bound=1)
    _SEED = flags.DEFINE_integer("seed", None, "draws the records; default: the first ones")
    _SPLIT = flags.DEFINE_string("split", None, "train, validation or test: a share of them")
    _PROMPT = flags.DEFINE_string("prompt_format", "{}", "what every prompt is wrapped in")
    _LENGTH = flags.DEFINE_integer("max_new_tokens", 16, "of an answer", lower_bound=1)
    _GENERATE = flags.DEFINE_bool("generate", True, "generate freely, besides teacher forcing")
    _DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "of the parameters")
    _PROTOCOLS = flags.DEFINE_list("protocols", [], f"others to ask by: {', '.join(OTHERS)}; all")
    _STATEMENTS = flags.DEFINE_string("statements", None, "a file of 20Q or PEP3k: F1 of them all")
    _HELDOUT = flags.DEFINE_string("heldout", None, "text for its perplexity, or embedded")
    _JUDGE = flags.DEFINE_string("judge", None, "module:function that judges generated answers")
    _VERDICTS = flags.DEFINE_string("verdicts", None, "a file that keeps the judge's verdicts")
    _TASKS = flags.DEFINE_list("tasks", [], f"downstream: {', '.join((*known_tasks(), WORLD))}")
    _DATA = flags.DEFINE_string("data", None, "the directory of the tasks' files")
    _TASK_LIMIT = flags.DEFINE_integer("task_limit", None, "most items of a task", lower_bound=1)
    _SHOTS = flags.DEFINE_integer("shots", None, "demonstrations; default: the leaderboard's")
    _OUTPUT = flags.DEFINE_string("output", None, "a JSON file for the scores")
    _RAW = flags.DEFINE_string("raw", None, "a JSON-lines file for the raw answers")
    _ITEMS = flags.DEFINE_string("items", None, "a JSON-lines file for the tasks' items")
    _MESH = cli.mesh_flags()

    def _subjects() -> Iterator[tuple[str, Subject]]:
        protocols = chosen_protocols(_PROTOCOLS.value)
        if _MODEL.value:
            yield "model", _of_model(_MODEL.value, protocols)
            return
        workdir = cli.workdir_of(_WORKDIR)
        experiment = reopen(workdir, _MESH())
        arms = [find_arm(experiment, _ARM.value)] if _ARM.value else experiment.config.arms
        for arm in arms:
            subject = of_run(workdir, experiment, arm, _STEP.value, protocols)
            if not _TARGETS.value:
                yield arm.name, subject
            for target in _TARGETS.value:
                yield f"{arm.name} in {target}", in_target(subject, experiment, arm, target)

    def _of_model(model: str, protocols: tuple[str, ...]) -> Subject:
        if _WORKDIR.value:
            raise UserError("--model: not with --workdir; a run has its own model")
        if not _FACTS.value and (_TASKS.value or _STATEMENTS.value or _HELDOUT.value):
            return without_facts(model, _UNEDITED.value, _DTYPE.value, make_mesh(**_MESH()))
        source = cli.required(_FACTS, "counterfact")
        drawn = FactsConfig(source, _PATH.value, _LIMIT.value, _SEED.value, split=_SPLIT.value)
        ev = EvalConfig(
            generate=MOMENTS if _GENERATE.value else (),
            max_new_tokens=_LENGTH.value,
            prompt_format=_PROMPT.value,
            protocols=protocols,
        )
        how: dict[str, Any] = {
            "unedited": _UNEDITED.value,
            "dtype": _DTYPE.value,
            "mesh": make_mesh(**_MESH()),
        }
        subject, loaded = of_model(model, drawn, ev, **how)
        print(f"{len(loaded.cases)} records, {len(loaded.skipped)} skipped on the way")
        return subject

    def _scores(subject: Subject, judge: Judge | None) -> tuple[list[Score], list[Answer]]:
        seed = _SEED.value or 0
        scores, answers = evaluate(subject, seed=seed)
        if judge is not None:
            scores += judge_scores(answers, judge, str(_JUDGE.value), _VERDICTS.value, seed=seed)
        if _STATEMENTS.value:
            scores += statement_scores(subject, _STATEMENTS.value, seed=seed)
        if _HELDOUT.value:
            scores.append(heldout_score(subject, _HELDOUT.value, seed=seed))
        return scores, answers

    def _items(lm: Any) -> list[Item]:
        asked = {"limit": _TASK_LIMIT.value, "seed": _SEED.value or 0, "shots": _SHOTS.value}
        return run_tasks(lm, _TASKS.value, data=_DATA.value, **asked)

    def _main() -> None:
        judge = load_judge(_JUDGE.value) if _JUDGE.value else None
        if _TASKS.value:
            names_of(_TASKS.value)
        raw, kept = (_RAW.value, _ITEMS.value) if hosts.first() else (None, None)
        for path in filter(None, (raw, kept)):
            Path(path).unlink(missing_ok=True)
        found: dict[str, Any] = {}
        before: list[Item] = []
        for name, subject in _subjects():
            scores, answers = _scores(subject, judge)
            if scores:
                show(subject, scores)
            found[name] = {"step": subject.edits, "scores": [score.to_dict() for score in scores]}
            if raw:
                write_answers(raw, answers)
            if _TASKS.value:
                items = _items(subject.lm)
                if subject.unedited is not None:
                    before = before or _items(subject.unedited)
                show_tasks(subject.title, items, before)
                abilities = reduce_items(items)
                found[name]["tasks"] = [dataclasses.asdict(one) for one in abilities]
                if kept:
                    write_items(kept, items)
        if _OUTPUT.value:
            write_json(Path(_OUTPUT.value), found)

    cli.run(_main)
