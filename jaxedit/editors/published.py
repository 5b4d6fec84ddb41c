"""Published hyper-parameters, by the shape of a model.

MEMIT's own files and EasyEdit's (which D4S runs with): GPT-2 XL and GPT-J from
MEMIT/hparams, Llama-2, Mistral and Qwen2.5 from EasyEdit/hparams/MEMIT, Llama-3 from AlphaEdit's.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxedit.editors.values import ValueSettings
from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.models.loading import resolve

SETTINGS_FILE = "editing.json"


@dataclass(frozen=True)
class Settings:
    """What MEMIT and D4S need to know about a model.

    Attributes:
      layers: edited layers.
      moment_weight: lambda.
      values: hyper-parameters of the values.
      legacy_targets: whether the published numbers were made with the "▁" of Llama-2 tokenizers.
    """

    layers: tuple[int, ...]
    moment_weight: float
    values: ValueSettings
    legacy_targets: bool = False

    def fields(self) -> dict[str, Any]:
        """As keyword arguments of an editor."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


_LIKE_GPTJ = ValueSettings(
    steps=25, learning_rate=0.5, weight_decay=0.5, clamp_norm_factor=0.75, kl_factor=0.0625
)
_LIKE_LLAMA2 = ValueSettings(
    steps=25, learning_rate=0.5, weight_decay=1e-3, clamp_norm_factor=4.0, kl_factor=0.0625
)
_GPT2_XL = ValueSettings(
    steps=20, learning_rate=0.5, weight_decay=0.5, clamp_norm_factor=0.75, kl_factor=0.0625
)
_LLAMA3 = ValueSettings(
    steps=25, learning_rate=0.1, weight_decay=0.5, clamp_norm_factor=0.75, kl_factor=0.0625
)

# (model_type, d_model, n_layers, vocabulary): Llama-2-7B and Llama-3-8B differ in the last.
PUBLISHED: Mapping[tuple[str, int, int, int], Settings] = {
    ("gpt2", 1600, 48, 50257): Settings((13, 14, 15, 16, 17), 20_000, _GPT2_XL),
    ("gptj", 4096, 28, 50400): Settings((3, 4, 5, 6, 7, 8), 15_000, _LIKE_GPTJ),
    ("llama", 4096, 32, 32000): Settings((4, 5, 6, 7, 8), 15_000, _LIKE_LLAMA2, True),
    ("llama", 4096, 32, 128256): Settings((4, 5, 6, 7, 8), 15_000, _LLAMA3),
    ("mistral", 4096, 32, 32000): Settings((4, 5, 6, 7, 8), 15_000, _LIKE_LLAMA2),
    ("mistral", 4096, 32, 32768): Settings((4, 5, 6, 7, 8), 15_000, _LIKE_LLAMA2),
    ("qwen2", 3584, 28, 152064): Settings((4, 5, 6, 7, 8), 15_000, _LIKE_LLAMA2),
}


def settings_for(config: ModelConfig, name: str) -> Settings:
    """The settings that a model brings in its directory, or the published ones of its shape.

    Args:
      config: the model's.
      name: what it was loaded as.

    Raises:
      UserError: there are neither; the message says what to pass.
    """
    own = _own(name)
    if own is not None:
        return own
    shape = (config.hf_type, config.d_model, config.n_layers, config.vocab_size)
    if shape in PUBLISHED:
        return PUBLISHED[shape]
    raise UserError(
        f"no hyper-parameters are published for a model of the shape of {name}; pass layers=, "
        "moment_weight= and values= (for GPT-J: layers 3 to 8 of 28, 15000)"
    )


def _own(name: str) -> Settings | None:
    directory = Path(name) if Path(name).is_dir() else None
    if directory is None and name.startswith("embedded:"):
        directory = resolve(name)
    path = directory / SETTINGS_FILE if directory else None
    if path is None or not path.is_file():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Settings(
            tuple(raw["layers"]), float(raw["moment_weight"]), ValueSettings(**raw["values"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not an {SETTINGS_FILE} ({error}); remove or mend it") from None


def write_settings(directory: Path, settings: Settings) -> None:
    """Writes the settings beside a model, where `settings_for` finds them."""
    raw = {
        "layers": list(settings.layers),
        "moment_weight": settings.moment_weight,
        "values": asdict(settings.values),
    }
    (directory / SETTINGS_FILE).write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
