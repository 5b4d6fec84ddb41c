"""Batches: named configurations, checked when they are read, kept under their hashes."""

from pathlib import Path

import pytest

from jaxedit.batches.batch import (
    Batch,
    batch_name,
    jobs,
    jobs_of_all,
    load_batch,
    load_batches,
    read_seeds,
)
from jaxedit.config import RunConfig, arms, base, run_config, to_dict
from jaxedit.config_files import json_config
from jaxedit.errors import UserError
from jaxedit.ledger import write_json
from tests.jobs import batch, raw

IMPORT = "from jaxedit.batches.batch import Batch\n"
FILE = """
from jaxedit.batches.batch import Batch
from jaxedit.config import arms, base
from jaxedit.errors import UserError

def get_batch(scale="tiny"):
    if scale not in ("tiny", "paper"):
        raise UserError(f"--scale={scale}: give tiny or paper")
    config = base()
    config.model = config.facts.source = "embedded:gptj"
    config.facts.limit = 4 if scale == "tiny" else 1000
    config.arms = arms(d4s={"method": METHOD})
    return Batch("Table 1", "Of a paper.", {"d4s": config})
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str, name: str = "table.py") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_a_file_at_a_scale(write):
    path = write(FILE.replace("METHOD", "'d4s'"))
    assert load_batch(path).configs["d4s"].facts.limit == 4
    assert load_batch(path, "paper").configs["d4s"].facts.limit == 1000
    assert (batch_name(path), batch_name(path, "paper")) == ("table", "table-paper")
    with pytest.raises(UserError, match=r"^--scale=large: give tiny or paper$"):
        load_batch(path, "large")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FILE.replace("METHOD", "'d44s'"), r"table.py: run 'd4s': --config.arms.d4s.*d44s"),
        ("def get_batch(:", r"table.py: the file does not run \(SyntaxError"),
        ("x = 1", "table.py: has no function get_batch"),
        ("def get_batch(scale): return {}", "table.py: get_batch returns dict, not a Batch"),
        (
            IMPORT + "def get_batch(s): return Batch('', '', {'a': 3})",
            "table.py: run 'a': 3 is no config",
        ),
        (
            IMPORT + "def get_batch(s): return Batch('', '', {})",
            "table.py: the batch has no runs",
        ),
    ],
)
def test_a_mistake_names_file_and_run(write, text: str, said: str):
    with pytest.raises(UserError, match=said):
        load_batch(write(text))
    with pytest.raises(UserError, match=r"--batch=gone.py: no such file"):
        load_batch("gone.py")


def test_equal_runs_are_one_job_with_all_its_names(tmp_path: Path):
    both = Batch("", "", {"a": raw(1), "b": run_config(raw(2)), "a again": raw(1)})
    first, second = jobs(both, tmp_path)
    assert (first.names, first.label, second.names) == (("a", "a again"), "a, a again", ("b",))
    assert first.workdir == tmp_path / run_config(raw(1)).hash != second.workdir
    assert [job.label for job in jobs(both, tmp_path, "a*")] == ["a, a again"]
    assert [job.label for job in jobs(both, tmp_path, "* again")] == ["a again"]
    with pytest.raises(UserError, match=r"--only=c: no run has such a name"):
        jobs(both, tmp_path, "c")


def test_the_same_run_of_another_batch_is_the_same_directory(tmp_path: Path):
    [job] = jobs(Batch("Other", "", {"else": raw(1)}), tmp_path)
    assert job.workdir == jobs(batch("x", "y"), tmp_path)[1].workdir


SEEDED = FILE.replace('(scale="tiny")', '(scale="tiny", seed=0)').replace(
    "config.facts.limit =", "config.seed = seed; config.facts.limit ="
)


def test_seeds_make_one_batch(write):
    path = write(SEEDED.replace("METHOD", "'d4s'"))
    both = load_batch(path, seeds=(0, 3))
    assert both.title == "Table 1"
    assert {name: config.seed for name, config in both.configs.items()} == {
        "d4s": 0,
        "d4s, seed 3": 3,
    }
    assert list(load_batch(path, seeds=(3,)).configs) == ["d4s, seed 3"]


def test_a_batch_without_seeds_says_so(write):
    path = write(FILE.replace("METHOD", "'d4s'"))
    assert load_batch(path, seeds=(0,)).configs
    with pytest.raises(UserError, match=r"^--seeds=2: get_batch of .*table.py takes no seed"):
        load_batch(path, seeds=(0, 2))


@pytest.mark.parametrize("texts", [[], [""], ["x"], ["1", "-1"], ["2", "2"]])
def test_seeds_that_are_none(texts: list[str]):
    assert read_seeds(["0", "12"]) == (0, 12)
    with pytest.raises(UserError, match=r"^--seeds="):
        read_seeds(texts)


def test_several_files_are_one_work_list(write, tmp_path: Path):
    text = FILE.replace("METHOD", "'d4s'")
    one = write(text, "t1.py")
    two = write(
        text.replace('{"d4s": config}', '{"same": config, "x": {**config.to_dict(), "seed": 5}}'),
        "t2.py",
    )
    for paths in ([one, two], [f"{one},{two}"], [str(tmp_path / "t*.py"), one]):
        found = load_batches(paths)
        assert list(found) == ["t1", "t2"]
    shared, own = jobs_of_all(found, tmp_path)
    assert shared.names == ("t1: d4s", "t2: same") and own.label == "t2: x"
    assert jobs_of_all({"t1": found["t1"]}, tmp_path)[0].label == "d4s"
    for only in ("x", "t2: x", "?"):
        assert [job.label for job in jobs_of_all(found, tmp_path, only)] == ["t2: x"]
    with pytest.raises(UserError, match=r"--batch=.*no\*.py: no file matches"):
        load_batches([one, str(tmp_path / "no*.py")])
    (tmp_path / "other").mkdir()
    again = write(text, "other/t1.py")
    with pytest.raises(UserError, match="another batch is called t1, too"):
        load_batches([one, again])


def test_many_names_are_counted(tmp_path: Path):
    [job] = jobs(Batch("", "", {name: raw(1) for name in "abcde"}), tmp_path)
    assert job.label == "a, b, c and 2 more"


def test_done_means_every_arm(tmp_path: Path):
    [job] = jobs(batch("a"), tmp_path)
    assert job.state() == "todo"
    job.workdir.mkdir()
    assert job.state() == "todo"
    write_json(job.workdir / "config.json", {})
    assert job.state() == "partial"
    for names, state in ((["d4s"], "done"), ([], "partial")):
        write_json(job.workdir / "result.json", {"arms": [{"name": name} for name in names]})
        assert job.state() == state
    (job.workdir / "result.json").write_text("{")
    assert job.state() == "partial"


def test_a_config_comes_back_from_json_and_can_be_changed(tmp_path: Path):
    config = base()
    config.model = config.facts.source = "embedded:gptj"
    config.layers = (1, 2)
    config.contexts.templates = (("{}",), ("So. {}",))
    values = {"steps": 4, "kl_factor": 0.5, "stop_below": None}
    config.arms = arms(
        b={"method": "d4s", "title": "B", "layers": (3,), "values": values}, a={"method": "memit"}
    )
    frozen: RunConfig = run_config(config)
    for kept in (to_dict(frozen), {"version": "1", "config": to_dict(frozen)}):
        write_json(tmp_path / "config.json", kept)
        back = json_config(str(tmp_path / "config.json"), "--config=x")
        assert run_config(back) == frozen and run_config(back).hash == frozen.hash
        assert [arm.name for arm in run_config(back).arms] == ["b", "a"]
        back.facts.limit, back.arms.a.layers, back.eval.every = 3, (5,), 2
        assert run_config(back).facts.limit == 3 and run_config(back).arms[1].layers == (5,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "holds no config of a run"),
        ('{"a": 1}', "holds no config of a run"),
        ("{", "broken JSON"),
        ('{"arms": {"a": {"method": "d4s"}}, "seed": "x"}', "a setting has the wrong type"),
        ('{"arms": {"a": 3}}', "a setting has the wrong type"),
    ],
)
def test_json_that_is_no_config(tmp_path: Path, text: str, said: str):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=said):
        json_config(str(tmp_path / "x.json"), "--config=x.json")
    with pytest.raises(UserError, match=r"--config=y: no such file"):
        json_config(str(tmp_path / "y.json"), "--config=y")
