"""A batch whose runs are played by a small script: what a pool does, without a model."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxedit.batches.batch import Batch, Job

# argv: name, workdir, what it is told. It leaves what a run leaves: config.json, then result.json.
PLAYER = """
import fcntl, json, os, signal, sys, time
from pathlib import Path

name, workdir, (verb, *words) = sys.argv[1], Path(sys.argv[2]), sys.argv[3].split()
workdir.mkdir(exist_ok=True)
lock = open(workdir / ".lock", "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
(workdir / "config.json").write_text("{}")
with open(workdir.parent / "story", "a") as story:
    story.write(f"begin {name}\\n")
if words == ["once"]:
    verb = "ok" if (workdir / "half").exists() else verb
    (workdir / "half").touch()
if verb == "fail":
    print("deep in the log")
    sys.exit(f"error: {name} cannot\\n")
if verb == "mistake":
    print("error: the input is wrong", file=sys.stderr)
    sys.exit(2)
if verb == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if verb == "wait" and not (workdir / "half").exists():
    (workdir / "half").touch()
    time.sleep(60)
if verb == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (workdir / "half").touch()
    time.sleep(60)
if verb == "after":
    deadline = time.time() + 20
    while not Path(words[0]).exists() and time.time() < deadline:
        time.sleep(0.01)
if verb != "nothing":
    (workdir / "result.json").write_text(json.dumps({"arms": [{"name": "d4s"}]}))
with open(workdir.parent / "story", "a") as story:
    story.write(f"end {name} {sorted(os.sched_getaffinity(0))}\\n")
"""


def raw(seed: int, **changes: Any) -> dict[str, Any]:
    """A config; another seed is another configuration."""
    return {
        "model": "embedded:gptj",
        "facts": {"source": "embedded:gptj", "limit": 4},
        "arms": {"d4s": {"method": "d4s", "title": "D4S"}},
        "seed": seed,
        **changes,
    }


def batch(*names: str) -> Batch:
    """A run for each name, all different."""
    return Batch("Trial", "Which?", {name: raw(seed) for seed, name in enumerate(names)})


def player(told: Mapping[str, str]) -> Any:
    """A command for `pool.work`: what each run is told to do ("ok" unless named)."""

    def command(job: Job) -> list[str]:
        name = job.names[0]
        words = told.get(name, "ok")
        workdir = str(job.workdir.resolve())
        return [sys.executable, "-S", "-E", "-u", "-c", PLAYER, name, workdir, words]

    return command


def story(out: Path) -> list[str]:
    """What the runs did, in order: "begin NAME" and "end NAME [cores]"."""
    path = out / "story"
    return path.read_text().splitlines() if path.exists() else []
