"""What a paper says, and whether it holds in our runs: computed from their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxedit.papers.printed import PrintedTable
from jaxedit.papers.readers import Found, Reader, Value, Where

HOLDS, FAILS, PARTLY, OPEN = "holds", "does not hold", "holds in part", "not decided yet"
AGAINST = " against "  # between two numbers that are compared


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds, and the numbers that say so.

    Attributes:
        word: `HOLDS`, `FAILS`, `PARTLY` or `OPEN`.
        numbers: what was compared, in words.
    """

    word: str
    numbers: str


@dataclass(frozen=True)
class Claim:
    """One claim of a paper.

    Attributes:
        text: in our own words.
        source: where it stands, such as "D4S, section 5.1".
        test: computes the verdict.
    """

    text: str
    source: str
    test: Callable[[Found], Verdict]


@dataclass(frozen=True)
class Named:
    """A number that a claim is about, and what a reader calls it.

    Attributes:
        name: for the sentence.
        read: takes it.
    """

    name: str
    read: Callable[[Found], Value | None]


def at(name: str, reader: Reader, where: Where) -> Named:
    """A number of one place."""
    return Named(name, lambda found: reader(found, where))


def above(greater: Named, less: Named, by: float = 0.0) -> Callable[[Found], Verdict]:
    """The first number is greater than the second, by more than so much."""

    def test(found: Found) -> Verdict:
        left, right = greater.read(found), less.read(found)
        said = f"{_told(greater, left)}{AGAINST}{_told(less, right)}"
        if left is None or right is None:
            return Verdict(OPEN, said)
        return Verdict(HOLDS if left.value - right.value > by else FAILS, said)

    return test


def least(number: Named, bound: float) -> Callable[[Found], Verdict]:
    """The number is at least so much."""
    return _bounded(number, lambda value: value >= bound)


def most(number: Named, bound: float) -> Callable[[Found], Verdict]:
    """The number is at most so much."""
    return _bounded(number, lambda value: value <= bound)


def every(*tests: Callable[[Found], Verdict]) -> Callable[[Found], Verdict]:
    """All of several claims: it holds in part where some do."""

    def test(found: Found) -> Verdict:
        verdicts = [one(found) for one in tests]
        return Verdict(overall([v.word for v in verdicts]), joined([v.numbers for v in verdicts]))

    return test


def overall(words: Sequence[str]) -> str:
    """One word for several verdicts; nothing is decided while one of them is open."""
    kinds = set(words) or {OPEN}
    if len(kinds) == 1:
        return kinds.pop()
    return OPEN if OPEN in kinds else PARTLY


def joined(said: Sequence[str]) -> str:
    """What was compared, a number that is compared with several told once, and nothing twice."""
    groups: dict[str, list[str]] = {}
    for part in "; ".join(said).split("; "):
        left, between, right = part.partition(AGAINST)
        others = groups.setdefault(left, [])
        if between and right not in (*others, ", ".join(others)):
            others.append(right)
    return "; ".join(left + AGAINST * bool(o) + ", ".join(o) for left, o in groups.items())


def as_printed(
    printed: PrintedTable, numbers: Callable[[str], Sequence[float]], models: Sequence[str]
) -> Callable[[Found], Verdict]:
    """Numbers that are counted, not run, are those of a table, to the last digit.

    Args:
        printed: the table; its key is the model.
        numbers: of a model, in the order of the table's columns.
        models: the table's rows.
    """

    def test(found: Found) -> Verdict:
        del found
        pairs = [
            (f"{model}, {column}", ours, printed.value(column, model=model))
            for model in models
            for column, ours in zip(printed.units, numbers(model), strict=True)
        ]
        wrong = [
            f"{name}: {ours:g} for {theirs:g}" for name, ours, theirs in pairs if ours != theirs
        ]
        return Verdict(FAILS if wrong else HOLDS, "; ".join(wrong) or f"{len(pairs)} numbers equal")

    return test


def _bounded(number: Named, right: Callable[[float], bool]) -> Callable[[Found], Verdict]:
    def test(found: Found) -> Verdict:
        value = number.read(found)
        if value is None:
            return Verdict(OPEN, _told(number, None))
        return Verdict(HOLDS if right(value.value) else FAILS, _told(number, value))

    return test


def _told(number: Named, value: Value | None) -> str:
    return f"{number.name} {written(value)}"


def written(value: Value | None) -> str:
    """A share as %, another number with three digits."""
    if value is None:
        return "–"
    return f"{100 * value.value:.1f} %" if value.share else f"{value.value:.3g}"
