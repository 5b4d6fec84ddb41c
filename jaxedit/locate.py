"""Where a model keeps its facts, and which layers to edit: causal tracing and a layer sweep.

    python -m jaxedit.locate --model=embedded:gptj --workdir=out/locate
    python -m jaxedit.locate --model=path/or/hub-id --facts=known_1000.json --corpus=text.txt \\
        --workdir=out/locate
    python -m jaxedit.run --config=out/locate/config.py --workdir=out/edits

Writes trace.json (average effects, and every fact's), sweep.json (the scores of every window of
layers), locate.png, and config.py: the config of a run with the layers that were found. Facts that
the model does not know are left out of tracing, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging

from jaxedit import cli
from jaxedit.config_checks import DTYPES
from jaxedit.data.fact import Fact
from jaxedit.errors import UserError
from jaxedit.ledger import locked, refuse_if_busy, write_json
from jaxedit.location.effects import suggested_layers
from jaxedit.location.plots import draw
from jaxedit.location.run_config import write_run_config
from jaxedit.location.sweep import Tried, Window, best
from jaxedit.location.task import (
    Task,
    editing,
    read,
    sweep_layers,
    sweep_record,
    trace_facts,
    trace_record,
)
from jaxedit.models.loading import load_model
from jaxedit.sharding import Mesh, make_mesh


def locate(
    task: Task,
    workdir: Path,
    *,
    tracing: bool = True,
    sweeping: bool = True,
    mesh: Mesh | None = None,
) -> Window:
    """Traces, sweeps, writes what was found; returns the layers.

    Args:
      task: what is to be found out.
      workdir: where it is written.
      tracing, sweeping: what of the two to do; the sweep decides if it is done.
      mesh: devices; by default all.

    Raises:
      UserError: something in the input is wrong, or the model knows none of the facts.
    """
    if not tracing and not sweeping:
        raise UserError("--notrace --nosweep: nothing is left to do; leave one of them out")
    refuse_if_busy(workdir)
    task.text.check()
    facts = read(task)
    lm = load_model(task.model, task.dtype, mesh)
    how = editing(task, lm)
    traced = trace_facts(task, lm, facts) if tracing else None
    with locked(workdir):
        if traced is not None:  # at once: the sweep takes longer, and may be stopped
            write_json(workdir / "trace.json", trace_record(task, traced, facts, lm))
        tried, edited = sweep_layers(task, lm, facts, how) if sweeping else ([], [])
        if tried:
            write_json(workdir / "sweep.json", sweep_record(task, tried, edited))
            layers, why = _by_sweep(task, tried, edited)
        else:
            assert traced is not None
            layers = suggested_layers(traced.effects, how.length, lm.config.n_layers)
            why = "around the peak of causal tracing (MLPs, last subject token)"
        write_run_config(workdir, task, layers, why, how.settings, facts, edited)
        effects, window = (traced.effects, traced.settings.window) if traced else (None, 0)
        draw(workdir / "locate.png", task.model, effects, window, tried, layers)
    if traced is not None:
        for kind in traced.effects.mean:
            logging.info(
                "%s: largest effect at the %s, layer %d: %.3f", kind, *traced.effects.peak(kind)
            )
    logging.info("layers %s: %s", ", ".join(map(str, layers)), why)
    logging.info("config: %s, picture: %s", workdir / "config.py", workdir / "locate.png")
    return layers


def _by_sweep(task: Task, tried: Sequence[Tried], edited: Sequence[Fact]) -> tuple[Window, str]:
    """The best window, and how it was found."""
    top = best(tried)
    return top.layers, (
        f"best of {len(tried)} windows by single edits of {len(edited)} facts with "
        f"{task.method} (harmonic mean {100 * top.harmonic:.1f} %)"
    )


if __name__ == "__main__":
    _MODEL = flags.DEFINE_string("model", None, "directory, hub id or embedded:NAME")
    _WORKDIR = flags.DEFINE_string("workdir", None, "where results go; made if need be")
    _FACTS = flags.DEFINE_string(
        "facts", None, "'embedded', a .json file like known_1000, a .jsonl file, or a data set"
    )
    _LIMIT = flags.DEFINE_integer("limit", 50, "facts that are read")
    _TRACE = flags.DEFINE_bool("trace", True, "causal tracing")
    _SWEEP = flags.DEFINE_bool("sweep", True, "single edits of every window of layers")
    _METHOD = flags.DEFINE_string("method", "memit", "what the sweep edits with")
    _EDITS = flags.DEFINE_integer("edits", 16, "facts that the sweep edits")
    _LENGTH = flags.DEFINE_integer("length", None, "layers of a window; default: the method's")
    _LAYERS = flags.DEFINE_list("layers", None, "layers that may be edited; default: all")
    _CORPUS = flags.DEFINE_string("corpus", None, "text file or folder for the statistics")
    _TOKENS = flags.DEFINE_integer("tokens", None, "of the statistics; default: 10 x d_ff")
    _WINDOW = flags.DEFINE_integer("window", None, "layers of a module that are put back together")
    _SEVERED = flags.DEFINE_bool("severed", False, "trace with MLPs and attention severed, too")
    _SINGLE = flags.DEFINE_bool("single_token", False, "trace answers of one token only")
    _DTYPE = flags.DEFINE_enum("dtype", "float32", DTYPES, "of the parameters")

    _MESH = cli.mesh_flags()

    def _layers() -> Window | None:
        try:
            return None if _LAYERS.value is None else tuple(map(int, _LAYERS.value))
        except ValueError:
            raise UserError(f"--layers={_LAYERS.value}: give numbers such as 3,4,5") from None

    def _main() -> None:
        if not _MODEL.value:
            raise UserError("--model: missing; name a directory, a hub id or embedded:gptj")
        workdir = cli.workdir_of(_WORKDIR)
        task = Task(
            model=_MODEL.value,
            facts=_FACTS.value,
            limit=_LIMIT.value,
            method=_METHOD.value,
            edits=_EDITS.value,
            length=_LENGTH.value,
            layers=_layers(),
            corpus=_CORPUS.value,
            tokens=_TOKENS.value,
            window=_WINDOW.value,
            severed=_SEVERED.value,
            single_token=_SINGLE.value,
            dtype=_DTYPE.value,
        )
        mesh = make_mesh(**_MESH())
        locate(task, workdir, tracing=_TRACE.value, sweeping=_SWEEP.value, mesh=mesh)

    cli.run(_main)
