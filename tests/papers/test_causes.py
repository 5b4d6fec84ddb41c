"""What goes with a model's decline: correlations, the bottleneck, and the study's own batch."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxedit.batches.batch import load_batch
from jaxedit.papers import d4s
from jaxedit.papers.causes import best, bottleneck, correlation, goes, halves, lost, spearman
from jaxedit.papers.claims import FAILS, HOLDS, OPEN, PARTLY
from jaxedit.papers.readers import Found, Value, Where
from jaxedit.papers.tables import fill
from tests.papers.made import score, task_scores

pairs = st.lists(st.tuples(st.integers(-4, 4), st.integers(-3, 3)), min_size=3, max_size=5)


@settings(max_examples=30, deadline=None)
@given(pairs)
def test_the_rank_correlation_and_its_exact_chance(points):
    x, y = zip(*points, strict=True)
    found = spearman(x, y)
    if len({*x}) == 1 or len({*y}) == 1:
        assert found == (None, len(x), None)
        return
    left, right = stats.rankdata(x), stats.rankdata(y)
    expected = float(np.corrcoef(left, right)[0, 1])
    assert found.rho == pytest.approx(expected, abs=1e-12)
    # The sum of products orders as the correlation does: the ranks stay the same ones.
    sums = np.array([*permutations(right)]) @ left
    strong = sums >= left @ right if expected > 0 else sums <= left @ right
    assert abs(expected) < 1e-9 or found.chance == strong.mean()


def test_three_points_in_order_are_so_by_chance_in_one_of_six_cases():
    assert spearman([1, 2, 3], [4, 8, 9]) == (pytest.approx(1), 3, pytest.approx(1 / 6))
    assert spearman(range(9), range(9)).chance is None


def _points(values):
    return [(i + 1, Value(float(v))) for i, v in enumerate(values)]


def test_a_bottleneck_is_where_new_edits_fail_for_good():
    found = bottleneck(_points([0.9] * 60 + [0.1] * 40))
    assert found is not None and (found.edits, found.start) == (100, 61)
    assert (found.first, found.last) == (0.9, 0.1)
    dip = bottleneck(_points([0.9] * 40 + [0.1] * 20 + [0.9] * 40))
    assert dip is not None and dip.start is None and bottleneck([]) is None


def test_halves_and_the_best():
    assert halves(_points([0, 1, 7, 3, 5])) == (Value(0.5), Value(4.0))
    assert halves(_points([1])) is None
    assert best(_points([1, 3, 2])) == Value(3.0) and best([]) is None


def _pairs(*points):
    told = [(Value(x), None if y is None else Value(y)) for x, y in points]
    return lambda _: told


def test_a_correlation_decides_a_claim_only_with_all_its_points():
    rising = [(float(i), float(i)) for i in range(5)]
    assert goes("rises", "it", _pairs(*rising))(Found()).word == HOLDS
    assert goes("rises", "it", _pairs(*rising[:3]))(Found()).word == PARTLY
    assert goes("rises", "it", _pairs(*rising[:3]), independent=False)(Found()).word == HOLDS
    assert goes("falls", "it", _pairs(*rising))(Found()).word == FAILS
    assert goes("rises", "it", _pairs(*rising, (9.0, None)))(Found()).word == OPEN
    level = goes("rises", "it", _pairs((1.0, 2.0), (2.0, 2.0)))(Found())
    assert level.word == FAILS and "never changes" in level.numbers
    assert correlation([]) is None


def test_points_lost_since_before_the_first_edit():
    reader = lost(lambda found, where: Value(0.75 if where.at == 0 else 0.5, n=5))
    assert reader(Found(), Where("run", "arm")) == Value(25.0, n=5, share=False)


def _arm(name, count, speed, names):
    """An arm whose norm grows and whose efficacy falls, the faster the greater `speed`."""

    def norm(step):
        return {"step": step, "layers": {"layers_1/mlp.down": {"l1": 1 + speed * step / count}}}

    def tests(step):
        return {"step": step, "scores": task_scores(0.9 - 0.05 * speed * step / count, names)}

    def efficacy(step):
        return [score("efficacy", 1 - 0.1 * speed * step / count)]

    tenths = range(count // 10, count + 1, count // 10)
    return {
        "name": name,
        "edits": count,
        "norms": [norm(step) for step in (0, *tenths)],
        "along": [{"step": step, "scores": efficacy(step)} for step in tenths[:-1]],
        "after_all": efficacy(count),
        "immediate": [score("efficacy", 1.0)],
        "edit_log": [{"fact": i, "after": 1 - 0.1 * speed * i / count} for i in range(count)],
        "retention": [
            {"first": 0, "last": 4, "score": score("efficacy", 0.5)},
            {"first": 5, "last": 9, "score": score("efficacy", 1.0)},
        ],
        "tasks": [tests(step) for step in (0, count)],
    }


@pytest.fixture(scope="module")
def filled():
    """The batch with runs in which all that the paper says is so."""
    batch = load_batch("runs/d4s_causes.py", "tiny")
    worst = ("T/F", "MQ", "DG", "20Q", "ELKEN", "zsRE")
    names, runs = list(d4s.TASK_NAMES["tiny"].values()), {}
    for label, config in batch.configs.items():
        kind = label.rpartition(" ")[2]
        strong = worst.index(kind) + 1 if kind in worst else 0
        arms = [
            _arm(arm.name, config.facts.limit, strong or 1 + i % 4, names)
            for i, arm in enumerate(config.arms)
        ]
        perplexity = score("perplexity", 10.0 ** (1 + strong), reading="per_target")
        runs[label] = [{"before": [perplexity], "arms": arms}]
    return batch, Found(runs)


def test_where_all_is_as_the_paper_says_no_claim_fails(filled):
    batch, found = filled
    told = {claim.text: claim.test(found) for claim in batch.claims}
    assert {verdict.word for verdict in told.values()} <= {HOLDS, PARTLY}
    assert {claim.test(Found()).word for claim in batch.claims} == {OPEN}
    first = told[batch.claims[0].text].numbers
    assert "ROME, forms of question: rho +1.00 (n 3, by chance 17 %)" in first
    assert "ROME and MEMIT, kinds of data: rho +" in first


def test_every_number_of_the_study_is_found(filled):
    batch, found = filled
    data, course, kept = (fill(table, found) for table in batch.tables)
    assert data.known == 3 * len(data.rows) and len(data.rows) == 13
    rows = {tuple(row.row.keys.values()): row.cells for row in course.rows}
    along = [cell.ours for cell in rows["GPT", "MEMIT"]]
    assert [v and round(v.value, 9) for v in along] == [-1, -1, -1, 10]
    last = [cell.ours for cell in rows["GPT", "between methods, after all edits"]]
    assert last[0] and last[0].n == 6 and last[3] == Value(6, share=False)
    older, newer, start = (cell.ours for cell in kept.rows[0].cells[3:])
    assert older == Value(0.5) and newer == Value(1.0) and start is None
    panels = [panel for figure in batch.figures for panel in figure.panels]
    assert {len(series.points(found)) for p in panels for series in p.series} == {3, 10}
