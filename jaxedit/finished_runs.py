"""Runs that are to be compared, read from their directories: result.json and facts.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxedit.errors import UserError
from jaxedit.ledger import read_json

WHAT = ("prompt", "subject", "target")  # tells facts apart


class Run(NamedTuple):
    """A run's directory, read.

    Attributes:
        name: for people.
        result: its result.json.
        facts: what each fact is, by its number; None if that is not kept.
    """

    name: str
    result: Mapping[str, Any]
    facts: tuple[tuple[str, ...], ...] | None

    def arm(self, name: str) -> Mapping[str, Any]:
        """Of those that are done, the one of this name."""
        return next(arm for arm in self.result["arms"] if arm["name"] == name)


def read_runs(workdirs: Sequence[str]) -> tuple[Run, ...]:
    """The runs, named by their directories.

    Raises:
        UserError: fewer than two, one of them twice, or one that has no result.
    """
    paths = [Path(workdir) for workdir in workdirs]
    if len(paths) < 2:
        raise UserError("--workdir: give two runs or more, such as --workdir=out/a --workdir=out/b")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError("--workdir: gives a directory twice")
    short = [path.resolve().name for path in paths]
    names = short if len(set(short)) == len(short) else list(map(str, paths))
    return tuple(_read(path, name) for path, name in zip(paths, names, strict=True))


def _read(path: Path, name: str) -> Run:
    where = f"--workdir={path}"
    if (path / "config.json").exists() and not (path / "result.json").exists():
        raise UserError(
            f"{where}: the run has no result yet; let it end, or give "
            f"`python -m jaxedit.report --workdir={path}` for what is there"
        )
    result = read_json(path / "result.json")
    if not isinstance(result, Mapping) or not {"config", "arms"} <= set(result):
        raise UserError(f"{where}: result.json is no run's; give the directory of a run")
    if not result["arms"]:
        raise UserError(f"{where}: no arm of it is done yet; let it go on")
    return Run(name, result, _facts(path / "facts.json"))


def _facts(path: Path) -> tuple[tuple[str, ...], ...] | None:
    """Prompt, subject and target of each, in the order of editing."""
    cases = read_json(path).get("cases") if path.exists() else None
    if cases is None:
        return None
    facts = [fact for case in cases for fact in case["facts"]]
    return tuple(tuple(str(fact[part]) for part in WHAT) for fact in facts)


def arms_of(runs: Sequence[Run], asked: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """Which arms stand side by side: for each comparison, the name of an arm of every run.

    Args:
        runs: to compare.
        asked: names of arms that all of them have; empty takes all such, else each run's first.

    Raises:
        UserError: a run has no such arm that is done.
    """
    own = [[arm["name"] for arm in run.result["arms"]] for run in runs]
    for name in asked:
        for run, names in zip(runs, own, strict=True):
            if name not in names:
                known = ", ".join(names)
                raise UserError(f"--arm={name}: {run.name} has no such arm done; it has {known}")
    common = asked or [name for name in own[0] if all(name in names for names in own)]
    if not common:
        return [tuple(names[0] for names in own)]
    return [(name,) * len(runs) for name in common]
