"""A report of batches: whole or unfinished, in HTML and in Markdown."""

import re
from pathlib import Path

import pytest

from jaxedit.batches.batch import Batch, jobs
from jaxedit.batches.page import gather, page, write_page
from jaxedit.ledger import write_json
from jaxedit.papers.claims import Claim, above, at
from jaxedit.papers.figures import Figure, Panel, Series, along
from jaxedit.papers.printed import table
from jaxedit.papers.readers import Where, norm_growth, score
from jaxedit.papers.tables import Row, Table
from tests.jobs import raw
from tests.papers import made

EFFICACY = score("efficacy")
WRONG = table("onceedit", "1").misprints[0]  # CounterFact's OnceEdit, all models: 72 for 77


def trial(title: str = "Trial", *seeds: int) -> Batch:
    first, second = Where("first", "d4s"), Where("second", "d4s")
    runs = {"first": raw(0), "second": raw(1)}
    runs |= {f"{name}, seed {seed}": raw(10 * seed + i)
             for seed in seeds for i, name in enumerate(("first", "second"))}  # fmt: skip
    columns = {WRONG.column: EFFICACY, "norm": norm_growth}
    rows = [Row(WRONG.keys, first), Row({"method": "ours | 2"}, second, "Which?\n1. a\n2. b")]
    better = above(at("first", EFFICACY, first), at("second", EFFICACY, second))
    claim = Claim("The first is better.", "section <1>", better)
    panel = Panel("Panel", [Series("curve", along("efficacy", first))])
    return Batch(
        title,
        "What is asked?",
        runs,
        (Table("Numbers", columns, rows, table("onceedit", "1"), "A note."),),
        (Figure("Curves", "Caption", (panel,)),),
        (claim,),
    )


def play(batch: Batch, out: Path, name: str, level: float = 0.8, *, report: bool = True) -> None:
    """Leaves what a run leaves that is done."""
    [job] = [job for job in jobs(batch, out) if name in job.names]
    job.workdir.mkdir(parents=True)
    write_json(job.workdir / "config.json", {})
    write_json(job.config_file, {})
    write_json(job.workdir / "result.json", made.result(made.arm(level=level)))
    if report:
        (job.workdir / "report.html").touch()


def write(out: Path, **batches: Batch) -> tuple[str, str]:
    write_page(batches, out, "page")
    return (out / "page.html").read_text(), (out / "page.md").read_text()


def row(text: str, start: str) -> str:
    [line] = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return line


def test_a_whole_batch(tmp_path: Path):
    batch = trial()
    play(batch, tmp_path, "first", 0.75)
    play(batch, tmp_path, "second", 0.5)
    html, text = write(tmp_path, trial=batch)
    assert "2 of 2 runs are done. Claims: 1 holds." in text
    assert row(text, "The first is better.") == (
        "| The first is better. | section <1> | holds | first 75.0 % against second 50.0 % |"
    )
    assert row(text, WRONG.keys["data"]).endswith(
        f"| 75.0 [65 to 80] ({WRONG.printed:.1f}†) | 1.75 |"
    )
    assert row(text, " |").endswith("| ours \\| 2 | (Which? 1. a 2. b) | 50.0 [40 to 55] | 1.75 |")
    assert f"† {', '.join(WRONG.keys.values())}: " in text and WRONG.why in text
    assert "section &lt;1&gt;" in html and ">holds<" in html and "<figcaption>Caption" in html
    assert f"paper {WRONG.printed:.1f}<abbr" in html and "curve" in html and "A note." in html
    assert f"({75 - WRONG.printed:+.1f})" in html
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", html)


def test_links_lead_somewhere(tmp_path: Path):
    batch = trial()
    play(batch, tmp_path, "first")
    play(batch, tmp_path, "second", report=False)
    html, _ = write(tmp_path, trial=batch)
    links = re.findall(r'href="([^#"]*)"', html)
    assert links and all((tmp_path / link).exists() for link in links)
    first, second = jobs(batch, tmp_path)
    assert links.count(f"{first.hash}/report.html") == 2  # its row of the table, its own
    assert f"{second.hash}/report.html" not in links and f"{second.hash}.json" in links


@pytest.mark.parametrize("done", [[], ["second"]])
def test_an_unfinished_batch(tmp_path: Path, done: list[str]):
    batch = trial()
    for name in done:
        play(batch, tmp_path, name)
    shown = page({"trial": batch}, tmp_path)
    assert (shown["done"], shown["total"]) == (len(done), 2)
    assert [word for word, count in shown["counts"] if count] == ["not decided yet"]
    html, text = write(tmp_path, trial=batch)
    assert f"{len(done)} of 2 runs" in html and "first – against second" in text
    assert row(text, WRONG.keys["data"]).endswith(f"| – ({WRONG.printed:.1f}†) | – |")
    assert "<figcaption" not in html


def test_arms_that_are_done_before_their_run_is(tmp_path: Path):
    batch = trial()
    [job, _] = jobs(batch, tmp_path)
    arm = job.workdir / "d4s" / "result.json"
    arm.parent.mkdir(parents=True)
    write_json(arm, made.arm())
    for written in ([], ["stale"]):
        if written:  # a report was asked for before any arm was done
            write_json(job.workdir / "result.json", {**made.result(), "arms": []})
        found = gather(batch, tmp_path)
        assert EFFICACY(found, Where("first", "d4s"))
    assert page({"trial": batch}, tmp_path)["done"] == 0


def test_seeds_are_one_place(tmp_path: Path):
    batch = trial("Trial", 1, 2)
    for i, name in enumerate(("first", "first, seed 1", "first, seed 2")):
        play(batch, tmp_path, name, 0.3 + i / 10)
    found = gather(batch, tmp_path)
    assert {name: len(results) for name, results in found.runs.items()} == {"first": 3}
    _, text = write(tmp_path, trial=batch)
    assert "| 40.0 [30 to 50, 3 seeds] (" in text


def test_a_run_of_two_batches_counts_once(tmp_path: Path):
    one, two = trial("One"), trial("Two")
    play(one, tmp_path, "first")
    html, text = write(tmp_path, one=one, two=two)
    assert text.startswith("# Both papers") and "1 of 2 runs are done." in text
    assert text.count("The first is better.") == 2  # told once each, all at the top
    for name in ("one", "two"):
        assert f'<a href="#{name}">' in html and f'id="{name}"' in html


def test_a_batch_without_tables_shows_its_arms(tmp_path: Path):
    bare = Batch("Bare", "", {"x": raw(0), "y": raw(1)})
    html, text = write(tmp_path, bare=bare)
    assert "All arms" in html and html.count("to do") == 2
    assert text.startswith("# Bare") and "| x " in text
    drawn = Batch("Drawn", "", bare.runs, figures=trial().figures)
    assert "None of its runs has numbers yet." in write(tmp_path, drawn=drawn)[0]
