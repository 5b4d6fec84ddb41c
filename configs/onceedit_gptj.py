"""OnceEdit on GPT-J-6B: configs/onceedit_llama2.py with another target.

python -m jaxedit.run --config=configs/onceedit_gptj.py --workdir=out/once_gptj
python -m jaxedit.run --config=configs/onceedit_gptj.py:counterfact --workdir=out/once_cf
python -m jaxedit.run --config=configs/onceedit_gptj.py:zsre,qwen2.5 --dry_run
"""

from pathlib import Path

from ml_collections import ConfigDict

from jaxedit.config_files import call

SETTING = Path(__file__).with_name("onceedit_llama2.py")


def get_config(what: str = "zsre") -> ConfigDict:
    config = call(str(SETTING), "get_config", f"--config={SETTING}", what)
    config.ensemble.targets = ("EleutherAI/gpt-j-6b",)
    return config
