"""Runs one config: edits facts with each of its arms, scores them, writes a report.

    python -m jaxedit.run --config=configs/quickstart.py --workdir=out/quickstart
    python -m jaxedit.run --config=configs/d4s_gptj.py --workdir=out/x --config.facts.limit=100
    python -m jaxedit.run --config=configs/d4s_gptj.py --dry_run

The same command given again goes on where the run stopped.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jax
from absl import flags, logging

from jaxedit import cli
from jaxedit.arm_settings import check_settings
from jaxedit.config import ArmConfig, RunConfig, run_config
from jaxedit.errors import NotFinite, UserError
from jaxedit.experiment import (
    Experiment,
    Resources,
    open_experiment,
    open_resources,
)
from jaxedit.ledger import locked, refuse_if_busy
from jaxedit.models.loading import load_config, resolve
from jaxedit.preflight import (
    available_memory,
    estimate,
    host_memory,
    known_shape,
    refuse_if_too_large,
    remedies,
)
from jaxedit.report import text_table, write_report
from jaxedit.runner import (
    check_checkpoints,
    check_workdir,
    kept_contexts,
    run_arm,
    unedited_answers,
    write_setup,
)
from jaxedit.serving import check_targets


def run(config: RunConfig, workdir: Path) -> None:
    """A whole run; nothing is written before all of its input has been checked.

    Raises:
        UserError: something in the input is wrong, or an edit went wrong.
    """
    refuse_if_busy(workdir)
    check_workdir(workdir, config)
    targets = {name: load_config(resolve(name)) for name in config.ensemble.targets}
    model = load_config(resolve(config.model))
    needed = estimate(config, model, targets)
    ways = partial(remedies, config, model, targets, jax.device_count())
    refuse_if_too_large(needed, available_memory(), host_memory(), ways)
    experiment = open_experiment(config)
    check_targets(experiment)
    check_checkpoints(workdir, experiment)
    resources = open_resources(experiment, kept_contexts(workdir))
    with locked(workdir):
        write_setup(workdir, experiment, resources, needed)
        unedited_answers(workdir, experiment)
        tried = [_run_arm(workdir, experiment, arm, resources) for arm in config.arms]
        result = write_report(workdir)
    for line in [*text_table(result), *result["findings"]]:
        logging.info("%s", line)
    logging.info("report: %s", workdir / "report.html")
    broken = "; ".join(error for error in tried if error)
    if broken:
        raise UserError(broken)


def _run_arm(
    workdir: Path, experiment: Experiment, arm: ArmConfig, resources: Resources
) -> str | None:
    """Runs one arm; one whose numbers are not finite any more stops no other, and says why."""
    try:
        run_arm(workdir, experiment, arm, resources)
    except NotFinite as error:
        logging.error("%s: %s", arm.title, error)
        return f"{arm.title}: {error}"
    return None


def dry_run(config: RunConfig) -> None:
    """Prints the memory that a run needs, by part, from shapes alone."""
    for arm in config.arms:
        check_settings(arm)
    targets = {name: known_shape(name, "ensemble.targets") for name in config.ensemble.targets}
    for line in estimate(config, known_shape(config.model), targets).lines():
        print(line)


if __name__ == "__main__":
    _CONFIG = cli.config_flag()
    _WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run; made if need be")
    _DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the memory needed, by part, and stop")

    def _main() -> None:
        config = run_config(cli.read_config(_CONFIG))
        if _DRY_RUN.value:
            dry_run(config)
        else:
            run(config, cli.workdir_of(_WORKDIR))

    cli.run(_main)
