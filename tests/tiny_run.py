"""A whole run that takes seconds: a tiny model on disk, a file of facts, a config."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from jaxedit.data.fact import Fact, Question
from jaxedit.models.loading import save_hf
from tests.tiny import SENTENCES, tiny_model

VALUES = {"steps": 4, "learning_rate": 0.3, "weight_decay": 0.1, "clamp_norm_factor": 2.0}


def write_inputs(directory: Path, facts: int = 6) -> Path:
    """Writes model/, facts.jsonl and corpus.txt."""
    directory.mkdir(parents=True, exist_ok=True)
    save_hf(tiny_model(), directory / "model")
    lines = [json.dumps(dataclasses.asdict(fact)) for fact in even_facts(facts)]
    (directory / "facts.jsonl").write_text("\n".join(lines) + "\n")
    (directory / "corpus.txt").write_text("\n".join(SENTENCES * 8) + "\n")
    return directory


def even_facts(count: int) -> list[Fact]:
    """Facts of one length, so that little is compiled."""
    letters = "QWXYZJKH"
    found = []
    for i in range(count):
        a, b, c = letters[i % 8], letters[(i + 3) % 8], letters[i // 8 % 8]
        found.append(
            Fact(
                prompt="{} was born in",
                subject=f"Zub {a}{c}",
                target=f"Kux {b}",
                previous=f"Kux {a}",
                paraphrases=(f"Is Zub {a}{c} of",),
                neighbours=(Question(f"Is Vup {b}{c} of", f"Kux {a}"),),
                id=f"tiny-{i}",
            )
        )
    return found


def raw_config(inputs: Path, **changes: Any) -> dict[str, Any]:
    """A config over these inputs, as plain values."""
    arm = {"moment_weight": 20.0, "values": VALUES}
    return {
        "model": str(inputs / "model"),
        "mesh": {"data": 1},
        "layers": (1, 2),
        "facts": {"source": "jsonl", "path": str(inputs / "facts.jsonl")},
        "statistics": {
            "source": str(inputs / "corpus.txt"),
            "tokens": 400,
            "cache": str(inputs / "cache"),
        },
        "contexts": {"templates": (("{}",), ("The old harbour. {}",))},
        "arms": {
            "memit": {"method": "memit", "title": "MEMIT one by one", **arm},
            "d4s": {"method": "d4s", "title": "D4S", **arm},
        },
        "eval": {"every": 2, "max_new_tokens": 4, "generate": ("before", "after_all")},
        "checkpoint_every": 2,
        **changes,
    }


CONFIG_FILE = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({raw!r}, sort_keys=False)
"""


def write_config(inputs: Path, raw: dict[str, Any], name: str = "config") -> Path:
    """The config as a file that entry points read."""
    path = inputs / f"{name}.py"
    path.write_text(CONFIG_FILE.format(raw=raw))
    return path
