"""Asks a run's model before and after its edits, side by side.

python -m jaxedit.generate --workdir=out/x --prompt="The capital of Australia is"
python -m jaxedit.generate --workdir=out/x --arm=d4s --step=50 --prompt=... --prompt=...
python -m jaxedit.generate --workdir=out/onceedit --target=embedded:gptj --prompt=...
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from absl import flags

from jaxedit import cli
from jaxedit.errors import UserError
from jaxedit.evaluation import find_arm, in_target, of_run, reopen


def side_by_side(rows: Sequence[Sequence[str]], heads: Sequence[str], width: int) -> list[str]:
    """Columns of wrapped text: the prompt, then one answer a model.

    Args:
        rows: [prompt, answer, answer, ...] each.
        heads: of the columns.
        width: of the terminal, in characters.
    """
    column = max(12, (width - 3 * (len(heads) - 1)) // len(heads))
    lines = []
    for row in [heads, ["-" * column] * len(heads), *rows]:
        cells = [textwrap.wrap(" ".join(cell.split()), column) or [""] for cell in row]
        height = max(map(len, cells))
        for line in range(height):
            parts = [cell[line] if line < len(cell) else "" for cell in cells]
            lines.append("   ".join(part.ljust(column) for part in parts).rstrip())
    return lines


if __name__ == "__main__":
    _WORKDIR = flags.DEFINE_string("workdir", None, "the run's directory")
    _ARM = flags.DEFINE_string("arm", None, "which arm; default: each of them")
    _STEP = flags.DEFINE_integer("step", None, "edits at the checkpoint; default: the latest")
    _TARGETS = flags.DEFINE_list("target", [], "models that the run's plug-in is to correct")
    _PROMPTS = flags.DEFINE_multi_string("prompt", [], "a prompt; give as many as you like")
    _LENGTH = flags.DEFINE_integer("max_new_tokens", None, "default: the run's", lower_bound=1)

    _MESH = cli.mesh_flags()

    def _main() -> None:
        workdir = cli.workdir_of(_WORKDIR)
        prompts = list(_PROMPTS.value)
        if not prompts or any(not prompt.strip() for prompt in prompts):
            raise UserError('--prompt: missing or empty; give one such as --prompt="Paris is in"')
        experiment = reopen(workdir, _MESH())
        ev = experiment.config.eval
        length = _LENGTH.value or ev.max_new_tokens
        arms = [find_arm(experiment, _ARM.value)] if _ARM.value else experiment.config.arms
        models: dict[str, Any] = {} if _TARGETS.value else {"before": experiment.lm}
        for arm in arms:
            subject = of_run(workdir, experiment, arm, _STEP.value)
            if not _TARGETS.value:
                models[f"{arm.title}, {subject.edits} edits"] = subject.lm
            for name in _TARGETS.value:
                joint = in_target(subject, experiment, arm, name)
                models[f"{name}, before"] = joint.unedited
                models[f"{name} with {arm.title}, {subject.edits} edits"] = joint.lm
        answers = [
            lm.generate(prompts, max_new_tokens=length, stop=ev.stop) for lm in models.values()
        ]
        rows = [list(row) for row in zip(prompts, *answers, strict=True)]
        width = shutil.get_terminal_size((100, 24)).columns
        for line in side_by_side(rows, ["prompt", *models], width):
            print(line)

    cli.run(_main)
