"""Reading and writing Hugging Face directories, and what damaged ones are answered."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxedit.errors import UserError
from jaxedit.models.loading import load_model, resolve, save_hf
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.models.tiny import CONFIGS, tiny_lm

MESH = make_mesh(1)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Transformer, Path]:
    lm = tiny_lm("gptj", MESH)
    save_hf(lm, tmp_path / "model")
    return lm, tmp_path / "model"


def load(directory: Path, dtype: str = "float32") -> Transformer:
    return load_model(directory, dtype, MESH)


def same(a: Any, b: Any) -> bool:
    equal = jax.tree.map(lambda x, y: x.dtype == y.dtype and bool((x == y).all()), a, b)
    return jax.tree.all(equal)


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_what_is_saved_loads(family: str, tmp_path: Path) -> None:
    lm = tiny_lm(family, MESH)
    save_hf(lm, tmp_path)
    again = load(tmp_path)
    assert again.config == lm.config
    assert same(dict(again.params), dict(lm.params))
    assert again.tokenizer.encode("the of is") == lm.tokenizer.encode("the of is")
    assert (again.tokenizer.bos_id, again.tokenizer.eos_id) == (1, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_parameters_lie_on_every_device(saved: tuple[Transformer, Path]) -> None:
    mesh = make_mesh()
    assert mesh.data == 8
    lm = load_model(saved[1], mesh=mesh)
    for leaf in jax.tree.leaves(lm.params):
        assert leaf.sharding.device_set == set(mesh.devices)
        assert leaf.is_fully_replicated


def test_shards_are_read_by_their_index(saved: tuple[Transformer, Path]) -> None:
    lm, directory = saved
    tensors = load_file(directory / "model.safetensors")
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, directory / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    (directory / "model.safetensors").unlink()
    assert same(dict(load(directory).params), dict(lm.params))

    (directory / "b.safetensors").unlink()
    with pytest.raises(UserError, match=r"b\.safetensors does not exist, but .*index"):
        load(directory)


def test_bare_names_and_untold_biases(tmp_path: Path) -> None:
    lm = tiny_lm("gpt2", MESH)
    save_hf(lm, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    bare = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    save_file(bare, tmp_path / "model.safetensors")
    assert same(dict(load(tmp_path).params), dict(lm.params))

    without = {name: value for name, value in tensors.items() if "c_attn.bias" not in name}
    save_file(without, tmp_path / "model.safetensors")
    attn = load(tmp_path).params["layers_1"]["attn"]
    assert not np.asarray(attn["q"]["bias"]).any()
    assert np.asarray(attn["o"]["bias"]).any()

    without["transformer.h.0.attn.c_attn.bias"] = tensors["transformer.h.0.attn.c_attn.bias"]
    save_file(without, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"holds no tensor transformer\.h\.1\.attn\.c_attn\.bias"):
        load(tmp_path)


def test_dtypes(saved: tuple[Transformer, Path], tmp_path: Path) -> None:
    lm, directory = saved
    half = load(directory, "bfloat16")
    assert {x.dtype for x in jax.tree.leaves(half.params)} == {jnp.dtype("bfloat16")}
    expected = jax.tree.map(lambda x: x.astype(jnp.bfloat16), dict(lm.params))
    assert same(dict(half.params), expected)

    # One edited leaf stays float32 among bfloat16 ones, to the file and back.
    mixed = jax.tree.map(lambda x: x, dict(half.params))
    mixed["layers_1"]["mlp"]["down"]["kernel"] = lm.params["layers_1"]["mlp"]["down"]["kernel"]
    save_hf(half.with_params(mixed), tmp_path / "mixed")
    assert same(dict(load(tmp_path / "mixed", "auto").params), mixed)

    with jax.enable_x64(True):
        double = load(directory, "float64")
        assert {x.dtype for x in jax.tree.leaves(double.params)} == {jnp.dtype("float64")}
        assert {x.dtype for x in jax.tree.leaves(load(directory).params)} == {jnp.dtype("float32")}
    with pytest.raises(UserError, match="float64 is there only inside"):
        load(directory, "float64")
    with pytest.raises(UserError, match="dtype 'int8' is none of float32"):
        load(directory, "int8")


def test_ends_of_text_come_from_every_config(saved: tuple[Transformer, Path]) -> None:
    directory = saved[1]
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}))
    assert load(directory).config.eos_ids == (2, 7)


def damaged(directory: Path, what: str) -> None:
    """Spoil one thing of a good directory."""
    weights = directory / "model.safetensors"
    config = directory / "config.json"
    raw, tensors = json.loads(config.read_text()), load_file(weights)
    if what == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif what == "no header":
        weights.write_bytes(b"nonsense")
    elif what == "no weights":
        weights.rename(directory / "pytorch_model.bin")
    elif what == "two files":
        save_file(tensors, directory / "other-1.safetensors")
        weights.rename(directory / "other-2.safetensors")
    elif what == "tensor gone":
        del tensors["transformer.h.1.mlp.fc_out.weight"]
        save_file(tensors, weights)
    elif what == "other shape":
        config.write_text(json.dumps(raw | {"n_inner": 40}))
    elif what == "config gone":
        config.unlink()
    elif what == "config cut":
        config.write_text(config.read_text()[:50])
    elif what == "config a list":
        config.write_text("[1]")
    elif what == "setting gone":
        del raw["n_embd"]
        config.write_text(json.dumps(raw))
    elif what == "odd heads":
        config.write_text(json.dumps(raw | {"n_head": "four"}))
    elif what == "other model":
        config.write_text(json.dumps(raw | {"model_type": "bert"}))
    elif what == "tokenizer cut":
        (directory / "tokenizer.json").write_text("{")
    elif what == "index empty":
        (directory / "model.safetensors.index.json").write_text("{}")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("truncated", r"model\.safetensors is truncated or damaged .*; fetch it again"),
        ("no header", r"model\.safetensors is truncated or damaged"),
        ("no weights", r"has no weights; save the model there as safetensors \(pickled"),
        ("two files", r"2 \*\.safetensors files and no model\.safetensors\.index\.json"),
        ("tensor gone", r"holds no tensor transformer\.h\.1\.mlp\.fc_out\.weight.*; fetch"),
        (
            "other shape",
            r"fc_in\.weight has shape \[48, 32\] where .* asks for \[40, 32\]",
        ),
        ("config gone", r"config\.json does not exist"),
        ("config cut", r"config\.json cannot be read as JSON"),
        ("config a list", r"config\.json holds no JSON object"),
        ("setting gone", r"config\.json has no 'n_embd'"),
        ("odd heads", r"config\.json makes no sense"),
        ("other model", r"config\.json: model_type 'bert' is none of .*cannot be run"),
        ("tokenizer cut", r"tokenizer\.json is not a readable tokenizer\.json"),
        ("index empty", r"index\.json has no weight_map"),
    ],
)
def test_damage_is_told_in_one_line(
    saved: tuple[Transformer, Path], what: str, message: str
) -> None:
    damaged(saved[1], what)
    with pytest.raises(UserError, match=message) as error:
        load(saved[1])
    assert "\n" not in str(error.value)
    assert str(saved[1]) in str(error.value)


def test_a_tokenizer_larger_than_the_model(saved: tuple[Transformer, Path], tmp_path: Path) -> None:
    lm, directory = saved
    pipeline = lm.tokenizer.pipeline
    pipeline.add_tokens([f"word{i}" for i in range(40)])
    lm.tokenizer.save(directory)
    with pytest.raises(UserError, match=r"tokenizer\.json has 7\d tokens but the model knows 61"):
        load(directory)


def test_names_of_models(saved: tuple[Transformer, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    directory = saved[1]
    assert resolve(str(directory)) == directory
    with pytest.raises(UserError, match="does not exist; give one, or a hub id"):
        resolve(str(directory / "not" / "there"))
    with pytest.raises(UserError, match="is a file; give the directory"):
        resolve(str(directory / "config.json"))
    with pytest.raises(UserError, match="no model 'embedded:none'; the embedded ones are"):
        resolve("embedded:none")
    with pytest.raises(UserError, match=r"EleutherAI/gpt-j-6b is no local directory, and the hub"):
        resolve("EleutherAI/gpt-j-6b")
    monkeypatch.chdir(directory.parent)
    assert load(Path("model")).name == "model"


def test_a_model_without_a_tokenizer(saved: tuple[Transformer, Path]) -> None:
    (saved[1] / "tokenizer.json").unlink()
    lm = load(saved[1])
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        lm.generate(["the"], 3)
    assert dataclasses.replace(lm, name="").text is None


def test_a_hub_id_is_fetched_without_pickles(
    saved: tuple[Transformer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(hub_id: str, allow_patterns: list[str]) -> str:
        asked.append((hub_id, allow_patterns))
        return str(saved[1])

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    lm = load_model("someone/some-model", mesh=MESH)
    assert lm.name == "someone/some-model"
    assert asked == [("someone/some-model", ["*.json", "model*.safetensors"])]
