"""Which hyper-parameters a method runs with on a model: the model's own, or the published ones.

A model's directory may hold an editing.json: what all methods share there (layers,
moment_weight, values), and under "methods" what a method has of its own.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxedit.editors import EDITORS
from jaxedit.editors.hyper_editor import HyperEditor
from jaxedit.editors.published import PUBLISHED, SHAPES
from jaxedit.editors.values import ValueSettings
from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.models.loading import resolve
from jaxedit.typed import typed_settings

FILE = "editing.json"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a model's editing.json says.

    Attributes:
      layers: edited layers.
      moment_weight: lambda.
      values: hyper-parameters of the values.
      methods: by method, fields of its editor that differ from these or that it alone has.
    """

    layers: tuple[int, ...]
    moment_weight: float
    values: ValueSettings
    methods: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def of(self, method: str) -> dict[str, Any]:
        """The fields of a method's editor, typed; its own over those that all share."""
        known = fields(method)
        shared = {"layers": self.layers, "moment_weight": self.moment_weight, "values": self.values}
        own = dict(self.methods.get(method, {}))
        if "values" in own:
            own["values"] = {**dataclasses.asdict(self.values), **own["values"]}
        return {
            **{name: value for name, value in shared.items() if name in known},
            **typed_settings(EDITORS[method], own, f"{FILE} {method}"),
        }


def fields(method: str) -> frozenset[str]:
    """What an editor is made of: hyper-parameters and resources."""
    return frozenset(f.name for f in dataclasses.fields(EDITORS[method]) if f.init)


def settings_for(config: ModelConfig, name: str, method: str) -> dict[str, Any]:
    """A method's fields: those that the model brings, or the published ones of its shape.

    Args:
      config: the model's.
      name: what it was loaded as.
      method: a name in `EDITORS`.

    Raises:
      UserError: there are neither, or none of a method that trains a network to the model's
        measure; the message says what to pass.
    """
    own = read_settings(name)
    if own is not None:
        if issubclass(EDITORS[method], HyperEditor) and method not in own.methods:
            raise UserError(
                f"{name} brings no settings of {method}, and those published train a network for "
                "a model of billions of parameters; pass layers=, rank= and training="
            )
        return own.of(method)
    shape = (config.hf_type, config.d_model, config.n_layers, config.vocab_size)
    model = SHAPES.get(shape, "")
    if model in PUBLISHED[method]:
        return dict(PUBLISHED[method][model])
    needed = ", ".join(f"{field}=" for field in _required(method))
    raise UserError(
        f"no hyper-parameters of {method} are published for a model of the shape of {name}; "
        f"pass {needed} (published: {', '.join(PUBLISHED[method])})"
    )


def _required(method: str) -> list[str]:
    always = ("layers", "moment_weight", "values", "learning_rate")
    return [name for name in always if name in fields(method)]


def read_settings(name: str) -> Settings | None:
    """The editing.json of a model's directory or of an embedded model; None without one.

    Raises:
      UserError: it is not what it should be.
    """
    directory = Path(name) if Path(name).is_dir() else None
    if directory is None and name.startswith("embedded:"):
        directory = resolve(name)
    path = directory / FILE if directory else None
    if path is None or not path.is_file():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Settings(
            tuple(raw["layers"]),
            float(raw["moment_weight"]),
            ValueSettings(**raw["values"]),
            raw.get("methods", {}),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not an {FILE} ({error}); remove or mend it") from None


def write_settings(directory: Path, settings: Settings) -> None:
    """Writes the settings beside a model, where `settings_for` finds them."""
    raw = {
        "layers": list(settings.layers),
        "moment_weight": settings.moment_weight,
        "values": dataclasses.asdict(settings.values),
        "methods": settings.methods,
    }
    (directory / FILE).write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
