"""How much of a model passes through the host at a time: measured, on a few hundred MB."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxedit.models.config import ModelConfig
from jaxedit.models.families import write_config
from jaxedit.models.forward import param_shapes
from jaxedit.models.loading import stored_tensors
from jaxedit.models.stored import INDEX

CONFIG = ModelConfig(
    family="llama",
    hf_type="llama",
    vocab_size=8000,
    d_model=1024,
    n_layers=6,
    n_heads=8,
    n_kv_heads=8,
    head_dim=128,
    d_ff=2816,
    max_positions=128,
    activation="silu",
    rotary_dim=128,
)
SHARDS = 4
MIB = 2**20

# Prints bytes: of anonymous memory before, at its peak while the model is loaded, and after.
SCRIPT = """
import gc, sys, threading, time
import jax
from jaxedit.models.loading import load_model
from jaxedit.sharding import make_mesh

def used():
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon"))

data, model = map(int, sys.argv[2:4])
mesh = make_mesh(data, model)
jax.block_until_ready(jax.jit(lambda x: x.T + 1)(jax.numpy.ones((64, 64))))
peak, over = [0], threading.Event()

def watch():
    while not over.is_set():
        peak[0] = max(peak[0], used())
        time.sleep(0.001)

before = used()
watcher = threading.Thread(target=watch)
watcher.start()
lm = load_model(sys.argv[1], "float32", mesh)
jax.block_until_ready(lm.params)
over.set()
watcher.join()
gc.collect()
print(before, peak[0], used())
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights in several files."""
    import jax

    made = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape, np.float32), param_shapes(CONFIG)
    )
    tensors = dict(stored_tensors(CONFIG, params))
    names = list(tensors)
    each = -(-len(names) // SHARDS)
    index = {}
    for number in range(SHARDS):
        own = names[number * each : (number + 1) * each]
        file = f"model-{number}.safetensors"
        save_file({name: np.ascontiguousarray(tensors[name]) for name in own}, made / file)
        index |= dict.fromkeys(own, file)
    (made / INDEX).write_text(json.dumps({"weight_map": index}))
    (made / "config.json").write_text(json.dumps(write_config(CONFIG)))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [(1, 1), (1, 8)])
def test_no_more_than_a_shard_is_there_twice(directory: Path, mesh: tuple[int, int]) -> None:
    shards = [path.stat().st_size for path in directory.glob("*.safetensors")]
    assert sum(shards) > 250 * MIB
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(directory), *map(str, mesh)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    before, peak, after = map(int, done.stdout.split())
    # A CPU's devices hold the parameters in the host's memory, too.
    assert after - before > 0.9 * sum(shards)
    assert peak - after < max(shards), f"{(peak - after) / MIB:.0f} MiB on their way"
