"""What the entry points share: flags, one-line errors, plain log lines.

A mistake of the user's ends as one line on stderr and exit code 2; whatever else goes wrong is a
bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import itertools
import logging as python_logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from jaxedit import hosts
from jaxedit.compilation import LONG, keep_programs, watch_programs
from jaxedit.config_files import call, json_config
from jaxedit.errors import UserError
from jaxedit.hosts import Hosts
from jaxedit.overrides import check_override, is_ours, put
from jaxedit.typed import suggestion

BAD_INPUT = 2
INTERRUPTED = 130


_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of the first of many processes")
_PROCESSES = flags.DEFINE_integer("processes", None, "how many there are", lower_bound=1)
_PROCESS = flags.DEFINE_integer("process", None, "which this one is, from 0", lower_bound=0)
_DEVICES = flags.DEFINE_list("local_devices", None, "numbers of its GPUs; default: all, or Slurm's")


def run(main: Callable[[], None]) -> None:
    """Runs an entry point: parses the flags, calls ``main``, turns errors into exit codes.

    One of several processes joins the others first; what all of them would print, the first does.
    """

    def guarded(arguments: Sequence[str]) -> None:
        if len(arguments) > 1:
            _leave(f"{arguments[1]!r}: not a flag; flags look like --workdir=out/x")
        plain_logs()
        try:
            keep_programs()
            programs = watch_programs()
            hosts.start(_hosts())
            if not hosts.first():
                logging.set_verbosity(logging.WARNING)
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            main()
            if sum(programs.seconds.values()) > LONG:
                logging.info("%s", programs.told())
        except UserError as error:
            _leave(str(error))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _leave(
                f"{error.filename or 'the disk'}: no space left; free some and give the same "
                "command again, it goes on from the last checkpoint"
            )
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            hosts.leave(INTERRUPTED)
        except Exception:
            if not hosts.many():
                raise
            traceback.print_exc()
            hosts.leave(1)

    app.run(guarded, flags_parser=_parse)


def _hosts() -> Hosts:
    """What the flags say of other processes."""
    numbers = _DEVICES.value
    if numbers is not None and not all(number.isdigit() for number in numbers):
        raise UserError(f"--local_devices={','.join(numbers)}: give numbers such as 0,1")
    devices = None if numbers is None else tuple(map(int, numbers))
    return Hosts(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value, devices)


def mesh_flags() -> Callable[[], dict[str, Any]]:
    """``--mesh.data`` and the like, for an entry point without a config.

    Returns:
        What they say, by the name in `jaxedit.config.MeshConfig`; nothing of what is not given.
    """
    shares, copies = "shares that rows are split into", "devices that share one copy of a model"
    holders = {
        "data": flags.DEFINE_integer("mesh.data", None, shares, lower_bound=1),
        "model": flags.DEFINE_integer("mesh.model", None, copies, lower_bound=1),
    }
    return lambda: {name: one.value for name, one in holders.items() if one.value is not None}


def config_flag(name: str = "config") -> flags.FlagHolder:
    """``--config=file.py`` or ``file.py:variant``, and ``--config.a.b=value`` to change it.

    A ``.json`` file is a run's config as its directory keeps it.
    """
    parser = _ConfigFiles()
    holder = config_flags.DEFINE_config_file(
        name, None, "a run's config file", lock_config=True, sys_argv=parser.arguments
    )
    flags.FLAGS[name].parser = parser
    return holder


def read_config(holder: flags.FlagHolder) -> Mapping[str, Any]:
    """The config that ``config_flag`` parsed, as plain dictionaries.

    Raises:
        UserError: none was given.
    """
    if holder.value is None:
        raise UserError("--config: missing; give a config file such as configs/quickstart.py")
    return holder.value.to_dict()


def required(holder: flags.FlagHolder, example: str) -> str:
    """The value of a flag that has no default.

    Raises:
        UserError: none was given.
    """
    if not holder.value:
        raise UserError(f"--{holder.name}: missing; give one such as --{holder.name}={example}")
    return holder.value


def workdir_of(holder: flags.FlagHolder) -> Path:
    """The directory that ``--workdir`` names.

    Raises:
        UserError: none was given.
    """
    if not holder.value:
        raise UserError("--workdir: missing; give the run's directory such as out/x")
    return Path(holder.value)


def plain_logs() -> None:
    """Our own log lines on stderr, without prefix; others' from warnings up."""
    handler = logging.get_absl_handler()
    handler.setFormatter(python_logging.Formatter("%(message)s"))
    handler.addFilter(_ours_or_serious)
    logging.set_verbosity(logging.INFO)
    logging.set_stderrthreshold(logging.INFO)


def _ours_or_serious(record: python_logging.LogRecord) -> bool:
    ours = str(Path(__file__).parent)
    return record.pathname.startswith(ours) or record.levelno >= python_logging.WARNING


def _parse(arguments: list[str]) -> list[str]:
    try:
        rest, ours = _without_ours(arguments)
        known: Any = flags.FLAGS
        if "config" in known:
            known["config"].parser.arguments[:] = rest
        left = known(rest)
        for path, value in ours:
            put(known["config"].value, path, value)
        return left
    except flags.UnrecognizedFlagError as error:
        _leave(f"--{error.flagname}: no such flag{suggestion(error.flagname, flags.FLAGS)}")
    except flags.IllegalFlagValueError as error:
        _leave(_one_line(error).removeprefix("flag "))
    except (UserError, flags.Error) as error:
        _leave(_one_line(error))
    raise AssertionError("not reached")


def _without_ours(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The arguments but those that set what config_flags cannot, and these as (path, value).

    Loads the config file and looks every ``--config.a.b`` up in it. ``config_flags`` does both as
    well, but what it says of a mistake is no line for a user.
    """
    named = [(_flag(*pair), pair) for pair in itertools.pairwise([*arguments, ""])]
    files = [value for (name, value), _ in named if name == "config" and value]
    paths = [(name, value) for (name, value), _ in named if name.startswith("config.")]
    if paths and not files:
        raise UserError(f"--{paths[0][0]}: needs --config=FILE before it")
    if not files or "config" not in flags.FLAGS:
        return list(arguments), []
    config = load_config(files[-1])
    for path, value in paths:
        check_override(config, path, value)
    rest, ours, beside = [], [], False
    for (name, value), (argument, following) in named:
        if beside:  # the value of the flag before
            beside = False
        elif name.startswith("config.") and is_ours(config, name):
            ours.append((name, value))
            beside = "=" not in argument and not following.startswith("-")
        else:
            rest.append(argument)
    return rest, ours


def _flag(argument: str, following: str) -> tuple[str, str]:
    """(flag, value), the value after "=" or in the next argument; ("", "") of no flag."""
    name, equals, value = argument.partition("=")
    if not name.startswith("-"):
        return "", ""
    beside = "" if following.startswith("-") else following
    return name.lstrip("-"), value if equals else beside


def load_config(location: str) -> Any:
    """What ``get_config`` of a config file returns; ``file.py:variant`` passes the variant on.

    Raises:
        UserError: there is no such file, it does not run, or it has no ``get_config``.
    """
    path, colon, variant = location.partition(":")
    where = f"--config={location}"
    if path.endswith(".json"):
        return json_config(path, where)
    return call(path, "get_config", where, *([variant] if colon else []))


class _ConfigFiles(flags.ArgumentParser):
    """``load_config`` in place of config_flags' own parser, which knows Python files alone.

    Attributes:
        arguments: of the command line, that config_flags looks for overrides in.
    """

    syntactic_help = "a config file"

    def __init__(self) -> None:
        """No arguments yet."""
        super().__init__()
        self.arguments: list[str] = []

    def parse(self, argument: str) -> Any:
        config = load_config(argument)
        config.lock()
        return config

    def flag_type(self) -> str:
        return "config file"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _leave(message: str) -> None:
    whose = "" if hosts.first() else f"process {hosts.index()}: "
    print(f"error: {whose}{' '.join(message.split())}", file=sys.stderr)
    hosts.leave(BAD_INPUT)
