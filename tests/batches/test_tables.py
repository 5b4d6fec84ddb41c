"""The table of a batch says how far every run is, and every number's protocol."""

from pathlib import Path
from typing import Any

import pytest

from jaxedit.batches.batch import Batch, Job, jobs
from jaxedit.batches.tables import batch_table
from jaxedit.errors import UserError
from jaxedit.ledger import Ledger, write_json
from jaxedit.metrics import Score
from jaxedit.report import batch_report
from tests.jobs import raw


def score(metric: str, value: float, n: int, **changes: Any) -> dict[str, Any]:
    protocol = {
        "decoding": "teacher_forced",
        "reading": "exact",
        "against": "target",
        "prompt_format": "{}",
        "when": "after_all",
        "edits": (n, n),
        "interval": (value - 0.1, value + 0.05),
        "seed": 0,
        "dtype": "float32",
        "version": "1",
    }
    return Score(**{"value": value, "metric": metric, "n": n, **protocol, **changes}).to_dict()


def scores(efficacy: float, n: int, *, generated: bool = True) -> list[dict[str, Any]]:
    free = {"decoding": "generation"}
    found = [
        score("efficacy", efficacy, n),
        score("paraphrase", efficacy / 2, n),
        score("specificity", 0.9, n, against="truth"),
        score("specificity", 0.95, n, against="unedited"),
        score("perplexity", 3.0, 999, reading="pooled"),  # of the targets: not shown
    ]
    return [*found, score("efficacy", efficacy - 0.1, n, **free)] if generated else found


def play(
    job: Job, steps: list[int], *, done: bool, efficacy: float = 0.8, version: str = "1"
) -> None:
    """Leaves the records of a run that was scored at some steps."""
    [arm] = job.config.arms
    ledger = Ledger(job.workdir / arm.name / "metrics.jsonl")
    ledger.path.parent.mkdir(parents=True)
    write_json(job.workdir / "config.json", {})
    facts = {"edited": 1200}
    write_json(
        job.workdir / "setup.json", {"version": version, "devices": "1 x cpu", "facts": facts}
    )
    for step in [0, *steps]:
        layers = {f"layers_{i}/mlp.down": {"l1": 0.5 + i * step / 1000} for i in (1, 2)}
        ledger.append({"step": step, "kind": "norms", "layers": layers})
        text = score("perplexity", 20 + step, 50, reading="pooled", against="text")
        ledger.append({"step": step, "kind": "damage", "condition": {}, "perplexity": text})
        if step:
            found = scores(efficacy, step, generated=False)
            ledger.append({"step": step, "kind": "scores", "scores": found})
    if done:
        times = {"steady_seconds_an_edit": 0.1234}
        own = {"name": arm.name, "after_all": scores(efficacy, steps[-1]), "timing": times}
        write_json(job.workdir / arm.name / "result.json", own)
        before = [score("efficacy", 0.01, 1200), score("specificity", 0.99, 1200, against="truth")]
        whole = {"arms": [own], "before": before, "facts": facts}
        write_json(job.workdir / "result.json", whole)


def batch(**changes: Any) -> Batch:
    runs = {"first": raw(0), "second": raw(0, layers=[3]), "third": raw(0, layers=[4])}
    runs["third"] |= changes
    return Batch("A title", "What is asked?", runs)


def row(text: str, *starts: str) -> list[str]:
    """The cells of the one row that begins with these."""
    tables = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    [found] = [cells for cells in tables if cells[: len(starts)] == list(starts)]
    return found


def first_table(text: str) -> str:
    return text.partition("\n## ")[0]


def test_rows_of_done_begun_and_other_runs(tmp_path: Path):
    trial = batch()
    first, second, _ = jobs(trial, tmp_path)
    play(first, [600, 1200], done=True)
    play(second, [600], done=False)
    text = first_table(batch_table(trial, tmp_path))
    assert text.startswith("# A title\n\nWhat is asked?\n\n| run ")
    heads = row(text, "run", "arm")
    done = dict(zip(heads, row(text, "first"), strict=True))
    assert done == {
        "run": "first",
        "arm": "D4S",
        "edits": "1,200",
        "batch": "1",
        "state": "done",
        "efficacy": "80.0 / 70.0",
        "paraphrase": "40.0",
        "specificity": "90.0",
        "unchanged": "95.0",
        "norm ratio": "4.600",
        "held-out perplexity": "1.22e+03",
        "s an edit": "0.123",
        "directory": first.hash,
    }
    begun = dict(zip(heads, row(text, "second"), strict=True))
    assert (begun["state"], begun["efficacy"], begun["edits"]) == ("600 of 1,200", "-", "600")
    assert dict(zip(heads, row(text, "third"), strict=True))["state"] == "to do"
    bare = dict(zip(heads, row(text, "(1,200 facts)", "unedited model"), strict=True))
    assert (bare["efficacy"], bare["specificity"], bare["unchanged"]) == ("1.0", "99.0", "-")
    assert bare["held-out perplexity"] == "20.00"


def test_the_caption_has_the_protocol(tmp_path: Path):
    trial = batch()
    first, second, _ = jobs(trial, tmp_path)
    play(first, [600, 1200], done=True)
    play(second, [300], done=True)
    text = batch_table(trial, tmp_path)
    assert "2 of 3 runs are done." in text
    assert "n = 300 to 1,200" in text and "at most 15.0 points wide" in text
    assert "teacher-forced / generated" in text and "after all edits of the run" in text
    assert "have nothing to do with the facts (n = 50)" in text
    for shared in (
        *("model: embedded:gptj", "prompt: '{}'", "dtype: float32", "seed: 0", "stop at '\\n'"),
        *("greedy, 16 new tokens at most", "version: jaxedit 1.", "devices: 1 x cpu"),
    ):
        assert shared in text


def test_what_differs_is_a_column(tmp_path: Path):
    trial = batch(dtype="bfloat16", eval={"prompt_format": "Q: {} A:"})
    first, second, third = jobs(trial, tmp_path)
    play(first, [4], done=True)
    play(second, [4], done=True, version="2")
    text = first_table(batch_table(trial, tmp_path))
    assert row(text, "run")[:5] == ["run", "arm", "prompt", "dtype", "version"]
    assert row(text, "first")[2:5] == ["'{}'", "float32", "jaxedit 1"]
    assert row(text, "second")[2:5] == ["'{}'", "float32", "jaxedit 2"]
    assert row(text, "third")[2:5] == ["'Q: {} A:'", "bfloat16", "-"]
    assert "dtype:" not in text and "version:" not in text and "seed: 0" in text
    assert third.state() == "todo"


def test_equal_unedited_models_are_told_once(tmp_path: Path):
    trial = batch()
    for job in jobs(trial, tmp_path):
        play(job, [4], done=True)
    assert batch_table(trial, tmp_path).count("| unedited model") == 1


def test_scores_along_the_run_have_edits_as_columns(tmp_path: Path):
    trial = batch()
    first, second, third = jobs(trial, tmp_path)
    play(first, [10, 20], done=True)
    play(second, [10], done=False, efficacy=0.5)
    play(third, list(range(1, 41)), done=True, efficacy=0.25)
    parts = batch_table(trial, tmp_path).split("\n## ")
    assert [part.splitlines()[0] for part in parts[1:]] == [
        f"{name} by number of edits"
        for name in ("Efficacy", "Paraphrase", "Specificity", "Unchanged", "Held-out perplexity")
    ]
    heads = row(parts[1], "run", "arm")
    assert 12 <= len(heads) - 2 <= 15 and heads[2] == "1" and heads[-1] == "40" and "20" in heads
    assert dict(zip(heads, row(parts[1], "first"), strict=True))["20"] == "80.0"
    assert row(parts[1], "second")[2:].count("-") >= 11
    assert set(row(parts[1], "third")[2:]) == {"25.0"}
    assert row(parts[5], "run")[2] == "0" and row(parts[5], "third")[2] == "20.00"


def test_a_batch_of_which_nothing_has_begun(tmp_path: Path):
    text = batch_table(batch(), tmp_path)
    assert text.count("to do") == 3 and "0 of 3 runs are done." in text
    assert "efficacy" not in row(text, "run") and "##" not in text


def test_names_and_titles_do_not_break_the_table(tmp_path: Path):
    strange = raw(0, arms={"d4s": {"method": "d4s", "title": "a | b"}})
    assert "a \\| b" in batch_table(Batch("T", "", {"x": strange}), tmp_path)
    with pytest.raises(UserError, match="a name is one line without"):
        Batch("T", "", {"x | y": strange})


def test_it_is_written_beside_the_runs(tmp_path: Path):
    text = batch_table(batch(), tmp_path)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1  # reads well unrendered, too
    path = tmp_path / "small.py"
    path.write_text(
        "from jaxedit.batches.batch import Batch\n"
        f"def get_batch(scale): return Batch('Small', '', {{'x': {raw(0)!r}}})"
    )
    (tmp_path / "out").mkdir()
    page = batch_report([str(path)], "paper", tmp_path / "out")
    assert page == tmp_path / "out" / "small-paper.html"
    assert "Small" in page.read_text()
    assert page.with_suffix(".md").read_text().startswith("# Small")
    with pytest.raises(UserError, match=r"gone: no such directory"):
        batch_report([str(path)], "tiny", tmp_path / "gone")
