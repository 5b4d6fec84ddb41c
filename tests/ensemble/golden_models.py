"""The small models of the reference arrays: a plug-in, and every main model that is there."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from safetensors.numpy import save_file

from jaxedit.models.loading import load_model
from jaxedit.models.text import Tokenizer
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.shared import GOLDEN

ROOT = GOLDEN / "onceedit"


def read(name: str) -> Any:
    return json.loads((ROOT / name).read_text())


def mains() -> list[str]:
    """The main models with greedy traces."""
    return list(read("greedy_sync.json")) if (ROOT / "greedy_sync.json").is_file() else []


@functools.cache
def tokenizer(name: str) -> Tokenizer:
    """BOS before every text of a Llama, as the arrays were made."""
    pipeline = tokenizers.Tokenizer.from_file(str(ROOT / f"tokenizer_{name}.json"))
    config = read("configs.json")[name]
    known = {
        f"{kind}_token": pipeline.id_to_token(config[f"{kind}_token_id"]) for kind in ("bos", "eos")
    }
    return Tokenizer.of(pipeline, {**known, "add_bos_token": config["model_type"] == "llama"})


def model(name: str, directory: Path) -> Transformer:
    """The model "plug" or a main one, by way of a directory of ours."""
    directory = directory / name
    directory.mkdir(exist_ok=True)
    prefix = "" if name == "plug" else "main_"
    with np.load(ROOT / f"{prefix}{name}_params.npz") as stored:
        tensors = {key: np.ascontiguousarray(value) for key, value in stored.items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(read("configs.json")[name]))
    tokenizer(name).save(directory)
    return load_model(directory, mesh=make_mesh(1))
