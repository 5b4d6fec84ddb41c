"""OnceEdit on Mistral-7B-v0.1: configs/onceedit_llama2.py with another target.

python -m jaxedit.run --config=configs/onceedit_mistral.py --workdir=out/once_mistral
python -m jaxedit.run --config=configs/onceedit_mistral.py:counterfact --workdir=out/once_cf
python -m jaxedit.run --config=configs/onceedit_mistral.py:zsre,qwen2.5 --dry_run
"""

from pathlib import Path

from ml_collections import ConfigDict

from jaxedit.config_files import call

SETTING = Path(__file__).with_name("onceedit_llama2.py")


def get_config(what: str = "zsre") -> ConfigDict:
    config = call(str(SETTING), "get_config", f"--config={SETTING}", what)
    config.ensemble.targets = ("mistralai/Mistral-7B-v0.1",)
    return config
