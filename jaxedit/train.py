"""Trains a small model of the embedded world, as the shipped ones were.

    python -m jaxedit.train --config=configs/factworld_gptj.py --workdir=out/factworld_gptj

What comes out is a Hugging Face directory: --config.model=out/factworld_gptj edits it.
"""

from __future__ import annotations

from absl import flags, logging

from jaxedit import cli
from jaxedit.training import read_recipe, train

if __name__ == "__main__":
    _CONFIG = cli.config_flag()
    _WORKDIR = flags.DEFINE_string("workdir", None, "directory of the model; made if need be")

    def _main() -> None:
        recipe = read_recipe(cli.read_config(_CONFIG))
        workdir = cli.workdir_of(_WORKDIR)
        train(recipe, workdir)
        logging.info("written: %s", workdir)

    cli.run(_main)
