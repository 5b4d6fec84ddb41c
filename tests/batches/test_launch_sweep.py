"""Any config can be varied from the command line."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from jaxedit.batches.batch import jobs, load_batch
from jaxedit.batches.sweep import sweep_name, swept
from jaxedit.config import arms, base
from jaxedit.errors import UserError
from jaxedit.launch import write_names


@pytest.fixture
def config() -> ConfigDict:
    config = base()
    config.model = config.facts.source = "embedded:gptj"
    config.arms = arms(
        d4s={"method": "d4s", "moment_weight": 5.0}, memit={"method": "memit", "moment_weight": 5.0}
    )
    return config


def test_every_combination(config: ConfigDict):
    sweeps = ["config.facts.limit=4,8", "config.arms.d4s.moment_weight=1e3,2"]
    batch = swept(config, "configs/x.py", sweeps)
    assert list(batch.runs) == [
        *("limit=4, moment_weight=1e3", "limit=4, moment_weight=2"),
        *("limit=8, moment_weight=1e3", "limit=8, moment_weight=2"),
    ]
    found = [
        (run.facts.limit, run.arms[0].settings["moment_weight"]) for run in batch.configs.values()
    ]
    assert found == [(4, 1000.0), (4, 2.0), (8, 1000.0), (8, 2.0)]
    assert len({run.hash for run in batch.configs.values()}) == 4
    assert "config.facts.limit = 4, 8" in batch.about and batch.title == "Runs of configs/x.py"
    assert config.facts.limit is None  # the config itself stays


def test_values_of_every_kind(config: ConfigDict):
    def values(sweep: str) -> list:
        path = sweep.partition("=")[0].removeprefix("config.").split(".")
        found = []
        for run in swept(config, "x.py", [sweep]).configs.values():
            for name in path:
                run = getattr(run, name)
            found.append(run)
        return found

    assert values("config.layers=(1,2),(3,)") == [(1, 2), (3,)]
    assert values("config.seed=3") == [3]
    assert values("config.statistics.source=model,a.txt") == ["model", "a.txt"]


def test_settings_of_a_method_that_the_config_leaves_to_the_model(config: ConfigDict):
    sweeps = ["config.arms.d4s.values.learning_rate=0.1,3e-1", "config.arms.d4s.residual=shared"]
    runs = swept(config, "x.py", sweeps).configs.values()
    assert [run.arms[0].settings for run in runs] == [
        {"moment_weight": 5.0, "residual": "shared", "values": {"learning_rate": rate}}
        for rate in (0.1, 0.3)
    ]
    assert "values" not in config.arms.d4s


def test_parts_of_names_that_tell_settings_apart(config: ConfigDict):
    sweeps = ["config.arms.d4s.moment_weight=1", "config.arms.memit.moment_weight=1,2"]
    batch = swept(config, "x.py", sweeps)
    assert next(iter(batch.runs)) == "d4s.moment_weight=1, memit.moment_weight=1"
    assert sweep_name("configs/published.py:rome,llama3", sweeps) == (
        "published-rome-llama3-d4s.moment_weight-memit.moment_weight"
    )


def test_a_config_without_a_sweep_is_one_run(config: ConfigDict):
    assert list(swept(config, "configs/x.py", []).runs) == ["x"]
    assert sweep_name("configs/x.py", []) == "x"


@pytest.mark.parametrize(
    ("sweeps", "said"),
    [
        (["config.sed=1"], r"--config.sed: no such setting; did you mean"),
        (["config.seed=x"], r"--config.seed: expected int, got 'x'"),
        (["config.seed"], r"--sweep config.seed: give a setting and values"),
        (["config.seed=1,,2"], r"give a setting and values"),
        (["seed=1"], r"give a setting and values, such as config.seed=0,1,2"),
        (["config.seed=1,1"], r"gives a value twice"),
        (["config.seed=1", "config.seed=2"], r"gives one setting twice"),
        (["config.layers=(1,"], r"--sweep"),
        (["config.arms.d4s.residul=shared"], r"arms.d4s.residul: .*residual"),
        (["config.arms.d4s.values.rate=1"], r"arms.d4s.values.rate: "),
        (["config.arms.d4s.values=1"], r"run 'values=1': "),
        (["config.arms.d5s.residual=shared"], r"--config.arms.d5s: no such setting"),
        (["config.arms.d4s.moment_weight.x=1"], r"moment_weight"),
        (["config.arms.d4s.batch=0"], r"run 'batch=0': "),
    ],
)
def test_what_is_no_sweep(config: ConfigDict, sweeps: list[str], said: str):
    with pytest.raises(UserError, match=said):
        swept(config, "x.py", sweeps)


def test_what_a_launch_has_written_down_is_the_batch(config: ConfigDict, tmp_path: Path):
    batch = swept(config, "x.py", ["config.facts.limit=4,8"])
    write_names(batch, tmp_path, "x-limit")
    kept = load_batch(str(tmp_path / "x-limit.json"))
    assert (kept.title, kept.about) == (batch.title, batch.about)
    assert [job.hash for job in jobs(kept, tmp_path)] == [job.hash for job in jobs(batch, tmp_path)]
    with pytest.raises(UserError, match=r"no.json: no such file"):
        load_batch(str(tmp_path / "no.json"))
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match=r"list.json: holds no batch; give OUT/<batch>.json"):
        load_batch(str(tmp_path / "list.json"))
