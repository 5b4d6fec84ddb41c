"""The plug-in: a small model with one more vocabulary row, whose logit tells edits apart.

OnceEdit (Ma et al. 2025), section 3.1. The row is called [WEIGHT], its logit at the end of a
prompt is the gate, and alpha = sigmoid(gate) is the plug-in's share in the ensemble. The paper
leaves open what "the logits at the position of the [WEIGHT]" are; three readings are built:

  "component"  the row's own entry of the next-token logits at the prompt's last token. No token
               is appended, nothing more is run. The default.
  "appended"   the same entry, one token later: [WEIGHT] is appended to the prompt.
  "head"       a scalar head of its own: the row's entry as in "component", but no part of the
               softmax over tokens that the model is trained with.

No tokenizer knows the row: its id is one past the model's vocabulary, and no text gives it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.errors import UserError
from jaxedit.models.batches import batches, check_lengths
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, forward, head
from jaxedit.models.loading import load_model, resolve, save_hf
from jaxedit.models.placement import put_params
from jaxedit.models.text import pad_batch, read_json
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import Mesh, data_parallel

Reading = Literal["component", "appended", "head"]
Start = Literal["free", "mean"]
WEIGHT = "[WEIGHT]"
FILE = "plugin.json"  # beside config.json: which row is the gate, and how it is read


@dataclasses.dataclass(frozen=True, eq=False)
class Plugin:
    """A model with a gate.

    Attributes:
        lm: with the gate's row in its embedding and its head.
        gate: that row's id.
        reading: see the module.
    """

    lm: Transformer
    gate: int
    reading: Reading = "component"

    def with_params(self, params: Params) -> Plugin:
        """The same plug-in with other parameters."""
        return dataclasses.replace(self, lm=self.lm.with_params(params))


class Prompts(NamedTuple):
    """Padded prompts: ids [B, T] int32, mask [B, T] bool, and each one's last column [B] int32."""

    ids: Any
    mask: Any
    last: Any


def with_gate(lm: Transformer, reading: Reading = "component", start: Start = "free") -> Plugin:
    """The model with one more row, whose id is the old vocabulary size.

    In the embedding the row is the mean of the others: where it is an input (appended), or
    compared with other rows, it is then like any token. In the head, where it is learned, it is

      "free"  the direction that the other rows use least, as long as they are on average. What
              the model writes there moves no other logit, and it is learned from at once: a row
              near zero passes no gradient on before it has grown.
      "mean"  the mean of the others, as libraries that resize a vocabulary do.

    A bias is the mean of the others. A tied head has one row for both, the head's.

    None of these shuts an untrained gate. A softmax says nothing about where its logits lie, and
    in models whose logits are centred alpha is about 1/2 with the mean row; with the free one it
    is anything. It takes texts to shut a gate: `gates.shut`.

    Raises:
        UserError: there is no such reading or start.
    """
    for name, value, known in (("reading", reading, Reading), ("start", start, Start)):
        if value not in get_args(known):
            listed = ", ".join(map(repr, get_args(known)))
            raise UserError(f"{name} is {value!r}; a gate's is one of {listed}")
    params = {**lm.params, "embed": {**lm.params["embed"]}}
    tokens = lm.params["embed"]["tokens"]
    rows = tokens if lm.config.tied else lm.params["head"]["kernel"].T  # [V, D]
    own = _free(rows) if start == "free" else _mean(rows)
    params["embed"]["tokens"] = _with_row(tokens, own if lm.config.tied else _mean(tokens))
    if "head" in lm.params:
        grown = {"kernel": own, "bias": _mean(lm.params["head"].get("bias", np.zeros(1)))}
        params["head"] = {
            name: _with_row(leaf.T, grown[name]).T for name, leaf in lm.params["head"].items()
        }
    config = dataclasses.replace(lm.config, vocab_size=lm.config.vocab_size + 1)
    grown = dataclasses.replace(lm, config=config, params=put_params(params, config, lm.mesh))
    return Plugin(grown, lm.config.vocab_size, reading)


def _mean(rows: Any) -> np.ndarray:
    return np.asarray(rows, np.float64).mean(0)


def _free(rows: Any) -> np.ndarray:
    """The direction in which [V, D] rows have the least energy, at their mean norm; one sign."""
    wide = np.asarray(rows, np.float64)
    _, directions = np.linalg.eigh(wide.T @ wide)
    least = directions[:, 0]
    return least * np.sign(least[np.abs(least).argmax()]) * np.linalg.norm(wide, axis=1).mean()


def _with_row(rows: Any, row: np.ndarray) -> jax.Array:
    return jnp.concatenate([rows, jnp.asarray(row, rows.dtype)[None]])


def without_gate(plugin: Plugin) -> Transformer:
    """The edited model by itself; what it says of all other tokens is what it says with the row.

    Raises:
        UserError: the gate is not the last row.
    """
    lm, size = plugin.lm, plugin.gate
    if size != lm.config.vocab_size - 1:
        raise UserError(f"{lm.name}: row {size} of {lm.config.vocab_size} is not the last one")
    params = {**lm.params, "embed": {**lm.params["embed"]}}
    params["embed"]["tokens"] = lm.params["embed"]["tokens"][:size]
    if "head" in lm.params:
        params["head"] = jax.tree.map(lambda leaf: leaf[..., :size], lm.params["head"])
    config = dataclasses.replace(lm.config, vocab_size=size)
    return dataclasses.replace(lm, config=config, params=put_params(params, config, lm.mesh))


def alpha(plugin: Plugin, prompts: Sequence[str]) -> np.ndarray:
    """[N] float32: the plug-in's share for each prompt, read at the end of the bare prompt."""
    return _sigmoid(gate_logits(plugin, prompts))


def gate_logits(plugin: Plugin, prompts: Sequence[str]) -> np.ndarray:
    """[N] float32: the gate's logit at the end of each prompt; alpha is its sigmoid.

    Raises:
        UserError: a prompt is longer than the model's positions.
    """
    found = np.zeros(len(prompts), np.float32)
    for rows, batch, each in prompt_batches(plugin, prompts):
        read = data_parallel(
            _read, plugin.lm.mesh, chunk=each, config=plugin.lm.config, gate=plugin.gate
        )
        found[rows] = read(plugin.lm.params, batch)
    return found


def prompt_batches(plugin: Plugin, prompts: Sequence[str]):
    """Yields (indices of the prompts, `Prompts`, rows a device) in few shapes."""
    ids = [prompt_ids(plugin, prompt) for prompt in prompts]
    check_lengths(ids, plugin.lm.config.max_positions)
    lengths = [len(row) for row in ids]
    for rows, length, each in batches(lengths, plugin.lm.mesh.data):
        chosen = [ids[i] for i in rows]
        padded, mask = pad_batch(chosen, pad_id=plugin.lm.tokenizer.pad_id, length=length)
        last = np.asarray([len(row) - 1 for row in chosen], np.int32)
        yield rows, Prompts(padded, mask, last), each


def prompt_ids(plugin: Plugin, prompt: str) -> list[int]:
    """A prompt's tokens as the gate is read from them; at their last one.

    Raises:
        UserError: the prompt has no token, not even one that opens a text.
    """
    tokenizer = plugin.lm.tokenizer
    ids = tokenizer.encode(prompt)
    if not ids:
        opening = [i for i in (tokenizer.bos_id, tokenizer.eos_id) if i is not None]
        if not opening:
            raise UserError("a prompt is empty and the tokenizer has no BOS or EOS; give a prompt")
        ids = opening[:1]
    return [*ids, plugin.gate] if plugin.reading == "appended" else ids


def gate_logit(config: ModelConfig, params: Params, gate: int, hidden: jax.Array) -> jax.Array:
    """The gate's logit alone: hidden [..., D] before the final norm -> [...]."""
    own: dict[str, Any] = {"norm": params["norm"]}
    own["head"] = jax.tree.map(lambda leaf: leaf[..., gate : gate + 1], params.get("head", {}))
    if config.tied:
        own["embed"] = {"tokens": params["embed"]["tokens"][gate : gate + 1]}
    return head(dataclasses.replace(config, vocab_size=1), own, hidden)[..., 0]


def last_hidden(config: ModelConfig, params: Params, prompts: Prompts) -> jax.Array:
    """[B, D], the last layer's output at the prompts' last tokens."""
    hidden = forward(config, params, prompts.ids, prompts.mask, logits_at=False).hidden
    return jnp.take_along_axis(hidden, prompts.last[:, None, None], axis=1)[:, 0]


def _read(params: Params, prompts: Prompts, *, config: ModelConfig, gate: int) -> jax.Array:
    return gate_logit(config, params, gate, last_hidden(config, params, prompts))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """Without overflow on either side."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)


def save_plugin(plugin: Plugin, directory: str | Path) -> None:
    """A Hugging Face directory, and beside its config which row is the gate."""
    directory = Path(directory)
    save_hf(plugin.lm, directory)
    text = json.dumps({"gate": plugin.gate, "reading": plugin.reading}, indent=2)
    (directory / FILE).write_text(text + "\n", encoding="utf-8")


def load_plugin(name: str | Path, dtype: str = "float32", mesh: Mesh | None = None) -> Plugin:
    """A plug-in that `save_plugin` wrote, or one whose tokenizer has a token [WEIGHT].

    Raises:
        UserError: as `load_model`; or the model has no gate.
    """
    directory = resolve(str(name))
    lm = load_model(name, dtype, mesh)
    if (directory / FILE).is_file():
        raw = read_json(directory / FILE)
        gate, reading = _checked(directory / FILE, raw, lm.config.vocab_size)
        return Plugin(lm, gate, reading)
    gate = None if lm.text is None else lm.text.pipeline.token_to_id(WEIGHT)
    if gate is None:
        raise UserError(
            f"{name} is no plug-in: it has neither {FILE} nor a token {WEIGHT}; "
            "edit it first, or add the row with jaxedit.ensemble.plugin.with_gate"
        )
    return Plugin(lm, gate)


def _checked(path: Path, raw: Mapping[str, Any], size: int) -> tuple[int, Reading]:
    gate, reading = raw.get("gate"), raw.get("reading", "")
    if not isinstance(gate, int) or not 0 <= gate < size:
        raise UserError(f"{path}: the gate is row {gate!r}, but the model has {size} rows")
    if reading not in get_args(Reading):
        raise UserError(f"{path}: there is no reading {reading!r} of a gate")
    return gate, reading
