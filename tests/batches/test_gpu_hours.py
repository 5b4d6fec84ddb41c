"""GPU hours are counted from shapes: of published settings, and as the settings say."""

from typing import Any

import pytest

from jaxedit.batches.batch import Batch, jobs
from jaxedit.batches.gpu_answers import TASKS
from jaxedit.batches.gpu_hours import Hours, edits_of, hours
from jaxedit.batches.gpu_work import WIDE_PEAK, Work
from jaxedit.batches.needs import need_of, needs
from jaxedit.cli import load_config
from jaxedit.config import RunConfig, run_config
from jaxedit.downstream.tasks import known_tasks
from jaxedit.preflight import known_shape
from tests.jobs import raw


def config(location: str, **changes: Any) -> RunConfig:
    found = load_config(location)
    for path, value in changes.items():
        group, _, name = path.rpartition("__")
        (found[group] if group else found)[name] = value
    return run_config(found)


def stages(asked: RunConfig) -> dict[str, float]:
    return counted(asked).by_stage()


def counted(asked: RunConfig) -> Hours:
    targets = {name: known_shape(name) for name in asked.ensemble.targets}
    return hours(asked, known_shape(asked.model), targets)


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("JAXEDIT_DATA", str(tmp_path))


def test_whichever_takes_longer_counts():
    assert Work("x", wide=WIDE_PEAK).on_a_gpu("bfloat16") == pytest.approx(2.5)
    assert Work("x", dense=WIDE_PEAK).on_a_gpu("float32") == pytest.approx(2.5)
    assert Work("x", dense=WIDE_PEAK).on_a_gpu("bfloat16") < 0.2
    slow = Work("x", dense=1.0, moved=5.76e12, seconds=1.0)
    assert slow.on_a_gpu("bfloat16") == pytest.approx(3.0)


def test_values_of_d4s_by_hand():
    # GPT-J: 28 blocks of 2 (4 d^2 + 2 d v) operations a token, 19 of them above layer 8.
    block, head = 2 * (4 * 4096**2 + 2 * 4096 * 16384), 2 * 4096 * 50400
    once = 7 * 30 * 28 * block
    step = 7 * (12 * 19 * block + 4 * head)
    seconds = 2000 * (once + 49 * step) / (0.4 * 60e12)
    assert stages(config("configs/d4s_gptj.py"))["values"] * 3600 == pytest.approx(
        seconds, rel=0.01
    )


def test_what_a_setting_changes():
    plain = stages(config("configs/d4s_gptj.py"))
    half = stages(config("configs/d4s_gptj.py", facts__limit=1000))
    assert half["values"] == pytest.approx(plain["values"] / 2, rel=0.01)
    assert plain["scores"] > 3 * half["scores"]  # along the run all facts so far are asked
    seldom = stages(config("configs/d4s_gptj.py", eval__every=None))
    assert seldom["scores"] < plain["scores"] / 3
    assert "generation" not in stages(config("configs/d4s_gptj.py", eval__generate=()))
    more = stages(config("configs/d4s_gptj.py", statistics__documents=100_000))
    assert more["statistics"] > 100 * plain["statistics"]
    narrow = stages(config("configs/d4s_gptj.py", dtype="bfloat16"))
    assert narrow["values"] < plain["values"] / 10 and narrow["solves"] == plain["solves"]
    host = stages(config("configs/d4s_gptj.py", mesh__solve="host"))
    assert host["solves"] > 5 * plain["solves"]


def test_ensembles_and_networks_trained_once():
    once = config("configs/onceedit_llama2.py")
    found = stages(once)
    assert {"fine-tuning", "ensembles"} <= set(found) and "values" not in found
    three = config("configs/onceedit_llama2.py", ensemble__modes=("deepen", "dw", "dw_ee"))
    assert stages(three)["ensembles"] > 2 * found["ensembles"]
    assert stages(config("configs/published.py:mend,gptj"))["training once"] > 1


def test_downstream_tests_are_taken_whenever_facts_are_scored():
    assert set(TASKS) == {*known_tasks(), "world"}
    tasks = {"eval__tasks": ("mmlu", "gsm8k", "truthfulqa", "world"), "eval__tasks_data": "x"}
    often = stages(config("configs/d4s_gptj.py", **tasks))["downstream"]  # every 100 of 2,000
    twice = stages(config("configs/d4s_gptj.py", **tasks, eval__every=None))["downstream"]
    assert often == pytest.approx(10.5 * twice) and twice > 1
    few = stages(config("configs/d4s_gptj.py", **tasks, eval__every=None, eval__tasks_limit=100))
    assert few["downstream"] < twice / 10


@pytest.mark.parametrize("what", ["rome,gptj", "alphaedit,llama3", "ft_l,gptj", "wise,llama2"])
def test_published_settings_take_some_hours(what: str):
    need = need_of(config(f"configs/published.py:{what}"))
    assert 0.1 < need.gpu_hours < 3 and need.devices == 1
    assert need.facts == 1000 and need.note == "zsre-train-10000 not there"


def test_facts_that_are_not_there_are_counted_by_the_limit():
    assert edits_of(config("configs/d4s_gptj.py")) == (2000, False)
    assert edits_of(config("configs/d4s_gptj.py", facts__limit=None)) == (10_000, False)
    assert edits_of(run_config(raw(0))) == (4, True)


def test_the_table_of_a_work_list(tmp_path):
    large = config("configs/d4s_llama3_70b.py")
    odd = run_config({**raw(0), "model": "no/such", "layers": [1]})
    runs = {"d4s": config("configs/d4s_gptj.py"), "large": large, "odd": odd, "tiny": raw(1)}
    todo = jobs(Batch("", "", runs), tmp_path)
    _, heads, first, second, third, sums, _ = needs(todo)
    assert heads.split()[:3] == ["run", "arms", "facts"]
    assert first.split()[:6] == ["d4s", "1", "2,000", "100", "GiB", "1"]
    assert first.endswith("zsre-train-10000 not there")
    assert second.split()[5] == "8" and "its shape is not known" in third
    one, other = (need_of(runs[name]).gpu_hours for name in ("d4s", "large"))
    assert sums.startswith(f"3 jobs of at most 8 devices: {one + other:.1f} GPU hours")
    assert needs(todo[3:]) == []
