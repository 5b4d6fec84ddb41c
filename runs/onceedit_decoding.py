"""What decoding options change for an edited plug-in, and whether the look-up is the search.

    python runs/onceedit_decoding.py --workdir=out/runs/<directory of a run of runs/onceedit.py>

Takes the plug-in of a finished run with targets as it stands, edits nothing, and prints tables
for each target: what ends a text, which anchors are shared and what a guard does, and what the
paper's other modes do where their search reaches; then, for every column of the look-up table,
whether the search in float64 ends at the same token.
"""

from collections import Counter

from absl import flags, logging

from jaxedit import cli
from jaxedit.ensemble.anchors import find_anchors
from jaxedit.ensemble.spaces import open_space
from jaxedit.errors import UserError
from jaxedit.evaluation import find_arm, of_run, reopen
from jaxedit.serving import open_target, taught
from jaxedit.studies.ensemble_decoding import (
    SEARCHES,
    VARIANTS,
    answers_table,
    asked_of,
    by_anchors,
    compare,
    look_up,
    look_up_table,
)

_WORKDIR = flags.DEFINE_string("workdir", None, "the directory of a run with targets")
_ARM = flags.DEFINE_string("arm", None, "its arm; by default the first")
RATES = (0.15, 0.5, 2.0)


def main() -> None:
    workdir = cli.workdir_of(_WORKDIR)
    experiment = reopen(workdir)
    config = experiment.config
    if not config.ensemble.targets:
        raise UserError(f"--workdir={workdir}: a run without targets; give one that has some")
    arm = find_arm(experiment, _ARM.value)
    plugin = taught(experiment, arm, of_run(workdir, experiment, arm).lm)
    asked = asked_of(experiment.facts, config.eval.prompt_format)
    settings = {"max_new_tokens": config.eval.max_new_tokens, "stop": config.eval.stop}
    spaces = []
    for name in config.ensemble.targets:
        target = open_target(config, name)
        anchors = find_anchors(target.tokenizer, plugin.lm.tokenizer, "deepen")
        own = by_anchors(asked, plugin, anchors)
        counts = Counter(one.role for one in own)
        logging.info("%s: %s", name, ", ".join(f"{n} {role}" for role, n in counts.items()))
        variants = VARIANTS + SEARCHES
        print(answers_table(name, compare(target, plugin, own, variants=variants, **settings)))
        ends = sorted(target.final_ids())
        for rule in ("deepen", "bytes"):
            space = open_space(target, plugin.lm, rule)  # type: ignore[arg-type]
            own = space.anchors.main
            spaces.append(look_up(f"{name}, {rule}", space, RATES, own))
            spaces.append(look_up(f"{name}, {rule}, paired", space, RATES, own, ends))
    print(look_up_table(spaces))
    for one in spaces:
        for rate, columns in one.exceptions.items():
            if columns:
                print(f"{one.title}, rate {rate:g}: search ends elsewhere from columns {columns}")
        if one.ties:
            print(f"{one.title}: float32 ties at columns {one.ties}")


if __name__ == "__main__":
    cli.run(main)
