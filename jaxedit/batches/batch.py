"""A batch: many runs under one title, such as those of a table of a paper.

A batch file, runs/NAME.py, has ``get_batch(scale="tiny")`` that returns a `Batch`, or
``get_batch(scale="tiny", seed=0)`` where there can be several seeds; what a launch has written
down of one, OUT/NAME.json, is a batch file, too. A run's directory is named by the hash of its
configuration, so that runs with the same configuration are made once, whichever batches name them.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxedit.arm_settings import check_settings
from jaxedit.config import RunConfig, run_config
from jaxedit.config_files import call, json_config
from jaxedit.errors import UserError
from jaxedit.ledger import read_json
from jaxedit.papers.claims import Claim
from jaxedit.papers.figures import Figure
from jaxedit.papers.tables import Table
from jaxedit.typed import suggestion

DONE, PARTIAL, TODO = "done", "partial", "todo"
SCALE = "tiny"
SEEDS = (0,)
NAMES_SHOWN = 3


@dataclass(frozen=True)
class Batch:
    """Runs by name.

    Attributes:
        title: of its table.
        about: what is asked, and of which paper's table or figure it is the counterpart.
        runs: name -> config, in the order in which they start; none for a table that is computed.
        tables, figures, claims: what the report shows of them, in a paper's form.
        configs: the runs, checked and frozen.
    """

    title: str
    about: str
    runs: Mapping[str, ConfigDict | RunConfig | Mapping[str, Any]]
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    claims: Sequence[Claim] = ()
    configs: Mapping[str, RunConfig] = field(init=False)

    def __post_init__(self) -> None:
        """Check every run.

        Raises:
            UserError: naming the run, and what is wrong with its config.
        """
        if not self.runs and not self.tables:
            raise UserError("the batch has no runs; name at least one in Batch.runs")
        checked = {name: _checked(name, raw) for name, raw in self.runs.items()}
        object.__setattr__(self, "configs", checked)


@dataclass(frozen=True)
class Job:
    """One configuration of a batch, with the names that the batch has for it.

    Attributes:
        names: one, or more if runs of the batch are equal.
        config: the run's.
        out: directory that holds all runs.
    """

    names: tuple[str, ...]
    config: RunConfig
    out: Path

    @property
    def hash(self) -> str:
        """Of the config; names everything below ``out`` that belongs to the run."""
        return self.config.hash

    @property
    def workdir(self) -> Path:
        """The run's directory."""
        return self.out / self.hash

    @property
    def config_file(self) -> Path:
        """The config, for the run's process."""
        return self.out / f"{self.hash}.json"

    @property
    def log(self) -> Path:
        """What the run's process printed, of every attempt."""
        return self.out / f"{self.hash}.log"

    @property
    def label(self) -> str:
        """For people."""
        more = len(self.names) - NAMES_SHOWN
        shown = ", ".join(self.names[:NAMES_SHOWN])
        return f"{shown} and {more} more" if more > 0 else shown

    def state(self) -> str:
        """ "done", "partial" if the run has begun, or "todo".

        A report can be written of an unfinished run too, so its arms are counted; a broken one
        is written again by running on.
        """
        if not (self.workdir / "config.json").exists():
            return TODO
        try:
            reported = {arm["name"] for arm in read_json(self.workdir / "result.json")["arms"]}
        except UserError:
            return PARTIAL
        return DONE if reported >= {arm.name for arm in self.config.arms} else PARTIAL


def load_batches(
    paths: Sequence[str], scale: str = SCALE, seeds: Sequence[int] = SEEDS
) -> dict[str, Batch]:
    """The batches that files describe, by the names of their files below OUT.

    Args:
        paths: files, lists of files with commas between them, or globs such as "runs/d4s_*.py".
        scale: passed to each file.
        seeds: of each batch; see `load_batch`.

    Raises:
        UserError: no file matches, two batches have one name, or one of them is wrong.
    """
    files = dict.fromkeys(path for part in paths for path in _matching(part))
    found: dict[str, Batch] = {}
    for path in files:
        name = batch_name(path, scale)
        if name in found:
            raise UserError(f"--batch={path}: another batch is called {name}, too; rename one")
        found[name] = load_batch(path, scale, seeds)
    return found


def load_batch(path: str, scale: str = SCALE, seeds: Sequence[int] = SEEDS) -> Batch:
    """The batch that a file describes, at a scale; OUT/<batch>.json of a launch has its own.

    Args:
        path: the file.
        scale: passed to it.
        seeds: passed to it one after another; the runs of all but seed 0 are named after theirs,
            and the rest of the batch is that of the first.

    Raises:
        UserError: there is no such file, it does not run, it knows no seeds, or one of its runs is
            wrong.
    """
    where = f"--batch={path}"
    try:
        if path.endswith(".json"):
            if tuple(seeds) != SEEDS:
                raise UserError(f"--seeds: {path} has the seeds that it was launched with")
            return _kept(Path(path), where)
        found = {seed: _of_file(path, where, scale, seed) for seed in seeds}
        runs = {
            f"{name}, seed {seed}" if seed else name: config
            for seed, batch in found.items()
            for name, config in batch.configs.items()
        }
        return replace(next(iter(found.values())), runs=runs)
    except UserError as error:
        raise error if str(error).startswith("--") else UserError(f"{where}: {error}") from None


def read_seeds(texts: Sequence[str]) -> tuple[int, ...]:
    """The seeds that a flag lists.

    Raises:
        UserError: one is no whole number, is negative, or stands there twice.
    """
    said = ",".join(texts)
    if not texts or not all(text.isdecimal() for text in texts):
        raise UserError(f"--seeds={said}: give whole numbers such as 0,1,2")
    found = tuple(map(int, texts))
    if len(set(found)) < len(found):
        raise UserError(f"--seeds={said}: gives a seed twice")
    return found


def _matching(paths: str) -> list[str]:
    """The files of a list with commas, globs among them in the order of their names."""
    found = []
    for part in filter(None, paths.split(",")):
        matches = sorted(glob.glob(part)) if glob.has_magic(part) else [part]
        if not matches:
            raise UserError(f"--batch={part}: no file matches; the shell's quotes may be in it")
        found += [os.path.normpath(match) for match in matches]
    return found


def _of_file(path: str, where: str, scale: str, seed: int) -> Batch:
    # A file of one seed has no argument for it.
    unable = f"--seeds={seed}: get_batch of {path} takes no seed; leave --seeds out"
    arguments = (scale, seed) if seed else (scale,)
    batch = call(path, "get_batch", where, *arguments, too_many=unable if seed else "")
    if not isinstance(batch, Batch):
        raise UserError(f"{where}: get_batch returns {type(batch).__name__}, not a Batch")
    return batch


def _kept(path: Path, where: str) -> Batch:
    """The batch that a launch has written down, with a config a run beside it."""
    if not path.is_file():
        raise UserError(f"{where}: no such file")
    raw = read_json(path)
    if not isinstance(raw, Mapping) or not {"title", "about", "runs"} <= set(raw):
        raise UserError(f"{where}: holds no batch; give OUT/<batch>.json of a launch")
    configs = {
        name: json_config(str(path.parent / f"{key}.json"), where)
        for name, key in raw["runs"].items()
    }
    return Batch(raw["title"], raw["about"], configs)


def batch_name(path: str, scale: str = SCALE) -> str:
    """Of its files: runs/methods.py -> methods, at another scale methods-paper."""
    stem = Path(path).stem
    return stem if scale == SCALE else f"{stem}-{scale}"


def jobs(batch: Batch, out: Path, only: str | None = None) -> tuple[Job, ...]:
    """The different configurations of a batch.

    Args:
        batch: what to run.
        out: directory that holds all runs.
        only: a glob over names; None takes all.

    Raises:
        UserError: no name matches.
    """
    return _jobs([(name, name, config) for name, config in batch.configs.items()], out, only)


def in_several(batches: Mapping[str, Batch]) -> frozenset[str]:
    """Hashes of the configs that more than one batch has."""
    own = [{config.hash for config in batch.configs.values()} for batch in batches.values()]
    counts = Counter(key for keys in own for key in keys)
    return frozenset(key for key, count in counts.items() if count > 1)


def jobs_of_all(
    batches: Mapping[str, Batch], out: Path, only: str | None = None
) -> tuple[Job, ...]:
    """The different configurations of several batches: one work list.

    Args:
        batches: by name; runs of several are called after their batch, too.
        out: directory that holds all runs.
        only: a glob over names of runs, with "BATCH: " before them or not; None takes all.

    Raises:
        UserError: no name matches.
    """
    if len(batches) == 1:
        [batch] = batches.values()
        return jobs(batch, out, only)
    named = [
        (f"{title}: {name}", name, config)
        for title, batch in batches.items()
        for name, config in batch.configs.items()
    ]
    return _jobs(named, out, only)


def _jobs(
    named: Sequence[tuple[str, str, RunConfig]], out: Path, only: str | None
) -> tuple[Job, ...]:
    """Of (name shown, name in its batch, config)."""
    names: dict[str, list[str]] = {}
    configs: dict[str, RunConfig] = {}
    for shown, name, config in named:
        if only is None or fnmatchcase(shown, only) or fnmatchcase(name, only):
            names.setdefault(config.hash, []).append(shown)
            configs[config.hash] = config
    if not names and only is not None:
        hint = suggestion(only, [name for _, name, _ in named])
        raise UserError(f"--only={only}: no run has such a name{hint}")
    return tuple(Job(tuple(names[key]), config, out) for key, config in configs.items())


def _checked(name: str, raw: Any) -> RunConfig:
    if not isinstance(name, str) or not name or not name.isprintable() or "|" in name:
        raise UserError(f"run {name!r}: a name is one line without '|'; tables show it")
    if not isinstance(raw, (RunConfig, ConfigDict, Mapping)):
        raise UserError(f"run {name!r}: {raw!r} is no config; start from jaxedit.config.base()")
    try:
        config = raw if isinstance(raw, RunConfig) else run_config(raw)
        for arm in config.arms:
            check_settings(arm)
    except UserError as error:
        raise UserError(f"run {name!r}: {error}") from None
    return config
