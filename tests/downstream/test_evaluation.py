"""Whole tasks on a tiny model and tiny files, against the harness's own evaluation."""

import math
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxedit.downstream import (
    abilities,
    ability_table,
    compare,
    read_items,
    reduce_items,
    run_tasks,
    write_items,
)
from jaxedit.downstream.evaluation import build_tasks
from jaxedit.downstream.pools import chosen
from jaxedit.downstream.tasks import known_tasks
from jaxedit.errors import UserError
from jaxedit.models.protocol import Continuation, TeacherForced
from tests.downstream.made import write_data
from tests.tiny import tiny_model

try:
    import lm_eval
except ImportError:
    lm_eval = None

needs_harness = pytest.mark.skipif(
    lm_eval is None, reason='needs lm-eval: pip install -e ".[harness]"'
)
FILED = list(known_tasks())


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


class Fixed:
    """Prefers short answers and writes one sum, whatever is asked."""

    def __init__(self):
        self.lm = tiny_model()
        self.config, self.tokenizer = self.lm.config, self.lm.tokenizer

    def score_rows(self, rows, advance=None):
        if advance is not None:
            advance(len(rows))
        targets = [np.asarray(ids[n:], np.int32) for ids, n in rows]
        return [TeacherForced(t, t + 1, -0.1 * (1 + t % 7).astype(np.float32)) for t in targets]

    def continuations(self, prompts, max_new_tokens, stop=None, advance=None):
        ids = tuple(self.tokenizer.encode(" Add.\n#### 6\n\nQuestion: more"))
        return [Continuation(ids, "") for _ in prompts]


@pytest.fixture(scope="module")
def items(data):
    return run_tasks(Fixed(), FILED, data=data, shots=2)


@needs_harness
def test_all_tasks_are_scored_without_a_network(data, items, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    found = abilities(Fixed(), FILED, data=data, shots=2)
    assert [one.value for one in found] == [one.value for one in reduce_items(items)]
    assert {one.task for one in found} == set(FILED)
    assert all(math.isfinite(one.value) for one in found)
    metrics = {(one.task, one.metric) for one in found}
    assert all((name, task.metric) in metrics for name, task in known_tasks().items())
    text = ability_table(found)
    assert "by lm-eval" in text
    assert "drawn for each item" in text


@needs_harness
@pytest.mark.parametrize("name", FILED)
def test_scores_are_those_of_the_harness_itself(data, items, name):
    from lm_eval.evaluator import evaluate

    from jaxedit.downstream.harness import HarnessModel

    task = known_tasks()[name]
    shots = 0 if task.fixed else 2
    pools = chosen(name, task.read(data, 0).pools, None, 0)
    built = {
        pool.harness: one for pool, one in zip(pools, build_tasks(task, pools, shots), strict=True)
    }
    theirs = evaluate(HarnessModel(Fixed()), {"tasks": built}, bootstrap_iters=2)["results"]
    ours = reduce_items([item for item in items if item.taken.task == name])
    for one in ours:
        metric, _, kind = one.metric.partition(" (")
        if kind.startswith("mean of"):
            value = sum(result["acc,none"] for result in theirs.values()) / len(theirs)
            assert one.value == pytest.approx(value)
        elif name == "mmlu":  # equal sizes here: the weighted mean is the plain one
            assert one.value == ours[1].value
        else:
            (result,) = theirs.values()
            key = f"{metric},{kind.removesuffix(')') or 'none'}"
            assert one.value == pytest.approx(result[key])
            if name != "wikitext":
                error = result[key.replace(",", "_stderr,")]
                assert one.stderr == pytest.approx(error)


@needs_harness
def test_the_right_answer_is_found_in_what_was_generated(items):
    own = [item for item in items if item.taken.task == "gsm8k"]
    assert [item.responses[0] for item in own] == [" Add.\n#### 6\n\n"] * len(own)
    right = [item.index for item in own if item.values["exact_match (strict-match)"]]
    assert right == [3]
    assert own[3].values["exact_match (flexible-extract)"] == 1


@needs_harness
def test_prompts_are_recorded_as_cut_where_they_were(items):
    cut = {item.taken.task for item in items if item.dropped}
    assert "truthfulqa_mc1" in cut  # six question and answer pairs do not fit 128 tokens
    assert "winogrande" not in cut


@needs_harness
def test_raw_items_give_the_scores_again_and_can_be_compared(items, tmp_path):
    write_items(tmp_path / "raw.jsonl", items)
    again = read_items(tmp_path / "raw.jsonl")
    assert reduce_items(again) == reduce_items(items)
    assert all(pair.difference == 0 for pair in compare(items, again))


@needs_harness
def test_a_limit_and_a_seed_say_which_items(data):
    first, second, other = (
        run_tasks(Fixed(), ["arc_challenge"], data=data, limit=4, seed=seed, shots=0)
        for seed in (0, 0, 1)
    )
    assert first == second
    assert len(first) == 4
    assert [item.index for item in first] != [item.index for item in other]
    assert first[0].taken.limit == 4


@needs_harness
def test_mistakes_are_told_before_the_model_is_asked(data, tmp_path):
    with pytest.raises(UserError, match="needs the folder of its files; set --data"):
        run_tasks(Fixed(), ["arc_challenge"])
    with pytest.raises(UserError, match="shots=-1: must not be negative"):
        run_tasks(Fixed(), ["arc_challenge"], data=data, shots=-1)
    with pytest.raises(UserError, match="has 8 demonstrations, but 25 are to be shown"):
        run_tasks(Fixed(), ["arc_challenge"], data=data)
    with pytest.raises(UserError, match="object defines no likelihoods"):
        run_tasks(object(), ["arc_challenge"], data=data, shots=0)
    with pytest.raises(UserError, match=r"holds no winogrande_dev\.jsonl"):
        run_tasks(object(), ["winogrande"], data=tmp_path)


def test_without_the_harness_one_line_says_how_to_get_it(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    with pytest.raises(UserError, match=r'pip install "jaxedit\[harness\]"'):
        run_tasks(Fixed(), ["arc_challenge"], data=data)


@needs_harness
def test_nothing_of_ours_loads_torch():
    code = (
        "import sys; import jaxedit.downstream.harness, jaxedit.downstream.evaluation;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
