"""The papers' batches: every file builds at both scales, and shows the numbers that are printed."""

from collections import Counter
from pathlib import Path

import pytest

from jaxedit.batches.batch import Batch, load_batches
from jaxedit.papers.claims import HOLDS, OPEN
from jaxedit.papers.readers import Found
from jaxedit.papers.tables import fill

RUNS = Path(__file__).parents[2] / "runs"
FILES = (
    "d4s_*.py",
    "onceedit_table*.py",
    "onceedit_figure*.py",
    "onceedit_prompts.py",
    "ablation_*.py",
)
PRINTED = {  # numbers of the papers' tables that stand beside ours: tiny, paper
    "d4s_table2": (144, 144),
    "d4s_table3": (72, 72),
    "d4s_table4": (0, 10),
    "onceedit_table1": (126, 182),
    "onceedit_table2": (48, 72),
    "onceedit_table3": (18, 24),
    "onceedit_table4": (15, 20),
    "onceedit_table5": (9, 9),
    "onceedit_table6": (0, 32),
    "onceedit_table7": (32, 64),
    "onceedit_table8": (48, 96),
    "onceedit_table9": (9, 9),
}
COMPUTED = ("onceedit_table5", "onceedit_table9")  # need no runs


@pytest.fixture(scope="module", params=["tiny", "paper"])
def scaled(request: pytest.FixtureRequest) -> tuple[str, dict[str, Batch]]:
    found = load_batches([str(RUNS / pattern) for pattern in FILES], request.param)
    return request.param, {name.removesuffix("-paper"): b for name, b in found.items()}


def test_tables_find_what_is_printed(scaled: tuple[str, dict[str, Batch]]):
    scale, batches = scaled
    counts = Counter(
        {
            name: sum(
                cell.paper is not None
                for table in batch.tables
                for row in fill(table, Found()).rows
                for cell in row.cells
            )
            for name, batch in batches.items()
        }
    )
    assert (
        +counts == Counter({n: both[scale == "paper"] for n, both in PRINTED.items()}) + Counter()
    )


def test_nothing_is_decided_before_a_run(scaled: tuple[str, dict[str, Batch]]):
    for name, batch in scaled[1].items():
        words = {claim.test(Found()).word for claim in batch.claims}
        assert words <= ({HOLDS} if name in COMPUTED else {OPEN}), name
        assert batch.tables or batch.figures


def test_every_place_is_an_arm_of_a_run(scaled: tuple[str, dict[str, Batch]]):
    """A reader of a place that no run has would leave its cell empty for ever."""
    for name, batch in scaled[1].items():
        known = {(run, arm.name) for run, c in batch.configs.items() for arm in c.arms}
        named = {
            (row.source.run, row.source.arm)
            for table in batch.tables
            for row in table.rows
            if row.source is not None and not callable(row.source)
        }
        assert named <= known, (name, named - known)


def test_runs_that_several_batches_name_are_made_once(scaled: tuple[str, dict[str, Batch]]):
    scale, batches = scaled
    hashes = {name: {c.hash for c in b.configs.values()} for name, b in batches.items()}
    different = frozenset[str]().union(*hashes.values())
    assert len(different) < sum(map(len, hashes.values())) / 2
    assert hashes["d4s_table2"] == hashes["d4s_figure7"] == hashes["d4s_figure8"]
    if scale == "tiny":
        assert len(different) <= 55  # two hours on two cores; more only on purpose
