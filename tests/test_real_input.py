"""Shipped configs on real records and on the embedded world."""

from pathlib import Path

import pytest

from jaxedit.config import run_config
from jaxedit.ledger import read_json
from jaxedit.models.loading import EMBEDDED, resolve
from jaxedit.run import run
from tests.shared import GOLDEN, SHARED, needs_golden, needs_shared
from tests.test_configs import published

FILES = {
    "zsre": "data/zsre/zsre_mend_eval_portability_gpt4.json.gz",
    "zsre-train-10000": "data/zsre/zsre_mend_train_10000_full.json.gz",
    "counterfact": "data/counterfact/counterfact.json.gz",
}


def small(source: str, limit: int, cache: Path) -> dict:
    """``configs/d4s_gptj.py:small`` with the golden folder's small GPT-J and its layers."""
    assert SHARED is not None
    raw = published("d4s_gptj:small")
    raw["model"] = str(GOLDEN / "locate_then_edit/data/tiny-gpt-j")
    raw["layers"] = (2, 3, 4)
    raw["facts"] |= {"source": source, "path": str(SHARED / FILES[source]), "limit": limit}
    raw["statistics"] |= {"cache": str(cache), "tokens": 2000}
    raw["mesh"]["data"] = 1
    return raw


def has_embedded_gptj() -> bool:
    try:
        return resolve(EMBEDDED + "gptj").is_dir()
    except Exception:
        return False


@needs_shared
@needs_golden
def test_a_few_real_records(tmp_path: Path):
    raw = small("zsre", 3, tmp_path / "cache")
    raw["eval"] |= {"every": None, "generate": ()}
    run(run_config(raw), tmp_path / "run")
    result = read_json(tmp_path / "run/result.json")
    assert result["arms"][0]["edits"] == 3 and (tmp_path / "run/report.html").exists()


@needs_shared
@needs_golden
@pytest.mark.slow
@pytest.mark.parametrize("source", FILES)
def test_a_hundred_real_records(tmp_path: Path, source: str):
    run(run_config(small(source, 100, tmp_path / "cache")), tmp_path / "run")
    result = read_json(tmp_path / "run/result.json")
    assert result["facts"]["edited"] == 100
    page = (tmp_path / "run/report.html").read_text()
    for name, reason in result["facts"]["skipped"]:
        assert f"<td>{name}</td>" in page and reason[:20] in page


@pytest.mark.skipif(not has_embedded_gptj(), reason="the embedded GPT-J is not installed")
def test_the_start_of_the_quickstart(tmp_path: Path):
    raw = published("quickstart")
    raw["facts"]["limit"] = 3
    raw["eval"]["generate"] = ()
    raw["arms"] = {name: raw["arms"][name] for name in ("memit", "d4s")}
    raw["statistics"] |= {"cache": str(tmp_path / "cache"), "tokens": 5000}
    raw["mesh"]["data"] = 1
    run(run_config(raw), tmp_path / "run")
    result = read_json(tmp_path / "run/result.json")
    assert [arm["edits"] for arm in result["arms"]] == [3, 3]
    before = {score["metric"]: score["value"] for score in result["before"]}
    assert before["efficacy"] < 0.5
