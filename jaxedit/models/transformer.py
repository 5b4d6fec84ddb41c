"""A language model as a value: config, parameters, tokenizer and the devices they are on."""

import dataclasses

from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params
from jaxedit.models.text import Tokenizer
from jaxedit.sharding import Mesh


@dataclasses.dataclass(frozen=True, eq=False)
class Transformer:
    """A model that runs; ``with_params`` gives the same model with other parameters."""

    config: ModelConfig
    params: Params
    tokenizer: Tokenizer | None
    mesh: Mesh
    name: str = ""

    def with_params(self, params: Params) -> "Transformer":
        return dataclasses.replace(self, params=params)
