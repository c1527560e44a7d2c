"""The plugin `calibrate-logits`: its config and its parameters of requests. Does not import torch."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Model
from pilotfish.plugin_api.logits import EngineProcess, LogitsProcess, ModelRole, read_arguments
from pilotfish.plugin_api.settings import Settings, read_config

MOST_TOKENS = 256

Token = Annotated[str, Field(min_length=1, max_length=64)]


class Config(Model):
    """What a manifest sets: logits are divided by `temperature`, then `bias` is added to those of its tokens.

    A token is written as the API writes it in `top_logprobs`, with its leading space. `biasTokens`: the bias applies to
    this many tokens from the answer's first one on; to all if unset. `pilotfish_calibrate_logits.fitting` learns
    temperature and bias.
    """

    temperature: Annotated[float, Field(ge=0.05, le=20, allow_inf_nan=False)] = 1.0
    bias: Annotated[
        dict[Token, Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]], Field(max_length=MOST_TOKENS)
    ] = {}
    bias_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class Arguments(Model):
    """The parameters of a request."""

    enabled: bool = True


class CalibrateLogits:
    """Applies a temperature and biases of tokens."""

    roles: tuple[ModelRole, ...] = ()
    config_model: ClassVar[type[Model]] = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings))

    @classmethod
    def request_values(cls, *, arguments: Mapping[str, Any]) -> Arguments:
        """Raises ConfigError with the name of the parameter."""
        return read_arguments(Arguments, arguments)

    def open(self, *, engine: EngineProcess) -> LogitsProcess:
        """Find the tokens of the biases. Needs torch and transformers."""
        from pilotfish_calibrate_logits.applying import Applying  # noqa: PLC0415 - the operator has no torch

        return Applying(self.config, engine)
