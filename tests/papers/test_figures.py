"""Points of a figure, and the panels that they are drawn in."""

from typing import Any

import pytest

from jaxedit.papers import figures
from jaxedit.papers.figures import Figure, Panel, Series, draw
from jaxedit.papers.readers import Found, Value, Where, score
from tests.papers import made

HERE = Where("run", "d4s")
FOUND = Found({"run": [made.result()]})
SEEDS = Found({"run": [made.result(made.arm(level=level)) for level in (0.2, 0.6)]})
EFFICACY = score("efficacy")


def plain(points) -> list[tuple[float, Any]]:
    return [(x, pytest.approx(value.value)) for x, value in points]


def test_scores_along_the_run():
    points = figures.along("efficacy", HERE)
    assert plain(points(FOUND)) == [(10, 1.0), (20, 0.9), (30, 0.8)]
    assert points(SEEDS)[-1] == (30, Value(pytest.approx(0.4), 0.2, 0.6, 10, 2))  # type: ignore[arg-type]
    assert points(Found()) == []


def test_forgetting_by_age_is_of_one_score():
    assert plain(figures.by_age(HERE)(FOUND)) == [(5.5, 0.8), (15.5, 0.7), (25.5, 0.6)]
    truth = figures.by_age(HERE, "specificity", against="truth")
    assert plain(truth(FOUND))[0] == (5.5, 0.7)


def test_new_edits_norms_and_tests():
    log = [{"fact": 0, "after": 0.9}, {"fact": 1, "after": None}, {"fact": 2}]
    tasks = [{"step": step, "scores": made.task_scores(1 - step / 100)} for step in (0, 10)]
    found = Found({"run": [made.result(made.arm(edit_log=log, tasks=tasks))]})
    assert plain(figures.probability(HERE)(found)) == [(1, 0.9)]
    assert plain(figures.norms(HERE)(found)) == [(0, 1.0), (30, 1.75)]
    assert plain(figures.tasks(HERE, "world_facts")(found)) == [(0, 1.0), (10, 0.9)]
    assert figures.tasks(HERE, "mmlu")(found) == []
    for points in (figures.probability(HERE), figures.norms(HERE)):
        assert list(points(Found())) == []


def test_readings_leave_gaps():
    metrics = {"a": EFFICACY, "b": score("gone"), "c": score("paraphrase")}
    assert plain(figures.readings(HERE, metrics)(FOUND)) == [(0.0, 0.8), (2.0, 0.75)]


def test_alphas_are_shares_at_the_middles_of_their_bins():
    gates = [{"kind": "edits", "counts": [1, 0, 0, 3]}, {"kind": "others", "counts": [4, 0, 0, 0]}]
    found = Found({"run": [made.result({**made.arm(), "alpha": gates})]})
    points = figures.alphas(HERE, "edits")(found)
    assert plain(points) == [(0.125, 0.25), (0.375, 0.0), (0.625, 0.0), (0.875, 0.75)]
    assert points[0][1].n == 4
    assert list(figures.alphas(HERE, "gone")(found)) == []


def test_panels_are_drawn_as_far_as_the_runs_have_got():
    many = [Series(f"name {i}", figures.along("efficacy", HERE)) for i in range(4)]
    panels = [
        Panel("curves", [*many, Series("not done", figures.along("efficacy", Where("gone", "a")))]),
        Panel("empty", [Series("x", figures.norms(Where("gone", "d4s")))]),
        Panel("dots", [Series("median", figures.probability(HERE))], kind="dots"),
        Panel(
            "bars",
            [Series("b", figures.readings(HERE, {"b": EFFICACY}))],
            kind="bars",
            groups=("g",),
        ),
    ]
    picture = draw(Figure("Title", "Caption", panels), FOUND, "trial")
    assert picture is not None and (picture.name, picture.title) == ("trial", "Title")
    assert len(picture.panels) == 3
    assert all(f">name {i}<" in picture.panels[0] for i in range(4))
    assert "not done" not in picture.panels[0] and ">g<" in picture.panels[2]
    assert draw(Figure("Title", "Caption", panels), Found(), "trial") is None
