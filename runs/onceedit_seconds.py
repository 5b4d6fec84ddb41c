"""Editing one plug-in against editing every model: the paper's Table 4 on the embedded world.

    python runs/onceedit_seconds.py

Each method edits the same facts twice, and the second time counts: everything is compiled then, and
statistics are at hand. Processor seconds of all threads, which other work on the machine does not
lengthen as it does those of the clock; both are printed. A method that takes facts one by one is
timed on a share of them and scaled. What OnceEdit needs besides its one edit is the relative space
of each target, counted apart.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
from absl import flags

from jaxedit import cli
from jaxedit.config import arms, base, run_config
from jaxedit.editors.editor import take
from jaxedit.ensemble.spaces import open_space
from jaxedit.experiment import open_experiment, open_resources
from jaxedit.models.loading import load_model

PLUG = "embedded:plugin"
TARGETS = ("embedded:gptj", "embedded:llama")
SINGLY = 5  # a method that takes facts one by one gets one in so many of them
METHODS = {"ft_l": True, "ft_m": True, "memit": True, "rome": False}  # name: in one batch
_LIMIT = flags.DEFINE_integer("limit", 200, "facts")


def spent(work: Callable[[], Any]) -> tuple[float, float]:
    """Processor and clock seconds of a call, all of its arrays included."""
    processor, clock = time.process_time(), time.perf_counter()
    jax.block_until_ready(work())
    return time.process_time() - processor, time.perf_counter() - clock


def seconds(model: str, method: str, limit: int, *, together: bool) -> tuple[float, float]:
    """Processor and clock seconds of editing, compilation left out, scaled to ``limit`` facts."""
    count = limit if together else max(1, limit // SINGLY)
    config = base()
    config.model, config.facts.source = model, "embedded:gptj"
    config.facts.limit, config.facts.seed = count, 1
    config.statistics.source = "embedded"
    config.ensemble.unrelated.limit = 400
    config.arms = arms(one={"method": method, "batch": count if together else 1})
    experiment = open_experiment(run_config(config))
    [arm], lm, facts = experiment.config.arms, experiment.lm, experiment.facts
    editor = experiment.editor(arm, open_resources(experiment))

    def edit() -> Any:
        state, prepared = editor.init(lm), editor.prepare(lm, facts)
        for start in range(0, count, arm.batch):
            state, _ = editor.edit(lm, state, take(prepared, start, start + arm.batch))
        return [leaf for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)]

    spent(edit)
    processor, clock = spent(edit)
    return processor * limit / count, clock * limit / count


def spaces(target: str) -> tuple[float, float]:
    """Likewise of both relative spaces."""
    main, plug = load_model(target), load_model(PLUG)
    make = lambda: open_space(main, plug, stored=False).table  # noqa: E731
    spent(make)
    return spent(make)


def main() -> None:
    limit = _LIMIT.value
    once = seconds(PLUG, "onceedit", limit, together=True)
    print(f"{limit} facts, seconds without compilation, processor (clock)\n")
    print(f"| method | {' | '.join(TARGETS)} | both | against OnceEdit's one edit |")
    print("|---|---|---|---|---|")
    for method, together in METHODS.items():
        each = [seconds(target, method, limit, together=together) for target in TARGETS]
        total = [sum(times) for times in zip(*each, strict=True)]
        cells = [f"{cpu:.1f} ({clock:.1f})" for cpu, clock in (*each, total)]
        print(f"| {method} | {' | '.join(cells)} | {total[0] / once[0]:.2f} |", flush=True)
    made = [spaces(target) for target in TARGETS]
    cells = [f"{cpu:.2f} ({clock:.2f})" for cpu, clock in made]
    print(f"| OnceEdit: the plug-in, once | - | - | {once[0]:.1f} ({once[1]:.1f}) | 1 |")
    print(f"| OnceEdit: relative spaces | {' | '.join(cells)} | - | - |")


if __name__ == "__main__":
    cli.run(main)
