"""A batch from the command line: a config, and values for some of its settings.

``--sweep config.seed=0,1 --sweep config.layers=(1,2),(3,)`` makes a run of each of the four pairs.
A setting of a method may be one that the config leaves to the model:
``--sweep config.arms.d4s.values.learning_rate=0.1,0.3``.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from jaxedit.batches.batch import Batch
from jaxedit.errors import UserError
from jaxedit.overrides import check_override, is_ours, put


def swept(config: ConfigDict, source: str, sweeps: Sequence[str]) -> Batch:
    """A run for every combination of the values.

    Args:
        config: as its file and the overrides of the command line have it.
        source: its file, for people.
        sweeps: texts such as "config.seed=0,1".

    Raises:
        UserError: there is no such setting, or a value is none for it.
    """
    settings = dict(map(_setting, sweeps))
    if len(settings) < len(sweeps):
        raise UserError("--sweep: gives one setting twice; put all of its values behind one '='")
    for path, values in settings.items():
        for value in values:
            check_override(config, path, value)
    names = _short(list(settings))
    runs = {
        ", ".join(f"{names[path]}={value}" for path, value in zip(settings, chosen, strict=True))
        or sweep_name(source, ()): _changed(config, dict(zip(settings, chosen, strict=True)))
        for chosen in itertools.product(*settings.values())
    }
    about = "; ".join(f"{path} = {', '.join(values)}" for path, values in settings.items())
    return Batch(f"Runs of {source}", f"Every combination of {about}." if about else "", runs)


def sweep_name(source: str, sweeps: Sequence[str]) -> str:
    """Of the files of such a batch: the config's, and what varies."""
    names = _short([path for path, _ in map(_setting, sweeps)])
    stem = re.sub(r"\.(py|json)\b", "", Path(source).name)
    return re.sub(r"[^\w.-]+", "-", "-".join([stem, *names.values()]))


def _setting(text: str) -> tuple[str, list[str]]:
    """The setting's path and its values."""
    path, equals, values = text.partition("=")
    found = _split(values)
    if not equals or not all(found) or not path.startswith("config."):
        raise UserError(f"--sweep {text}: give a setting and values, such as config.seed=0,1,2")
    if len(set(found)) < len(found):
        raise UserError(f"--sweep {text}: gives a value twice")
    return path, found


def _split(text: str) -> list[str]:
    """What stands between the commas that are in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _short(paths: Sequence[str]) -> dict[str, str]:
    """The last parts of their names, as many as tell them apart."""
    for count in range(1, 1 + max((path.count(".") for path in paths), default=0)):
        names = {path: ".".join(path.split(".")[-count:]) for path in paths}
        if len(set(names.values())) == len(paths):
            return names
    return {path: path for path in paths}


def _changed(config: ConfigDict, values: Mapping[str, str]) -> Any:
    """The config with these settings, read as the command line reads them."""
    changed = copy.deepcopy(config)
    ours = [path for path in values if is_ours(config, path)]
    for path in ours:
        put(changed, path, values[path])
    arguments = [f"--{path}={value}" for path, value in values.items() if path not in ours]
    own = flags.FlagValues()
    holder = config_flags.DEFINE_config_dict(
        "config", changed, sys_argv=["sweep", *arguments], flag_values=own
    )
    try:
        own(["sweep", *arguments])
    except flags.Error as error:
        raise UserError(f"--sweep: {' '.join(str(error).split())}") from None
    return holder.value
