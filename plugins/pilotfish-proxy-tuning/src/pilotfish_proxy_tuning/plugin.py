"""The plugin `proxy-tuning`: its config, its parameters of requests, its models. Does not import torch."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Model
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.logits import EngineProcess, LogitsProcess, ModelRole, read_arguments
from pilotfish.plugin_api.settings import Settings, read_config

EXPERT = "expert"
ANTI_EXPERT = "anti-expert"


class Combination(StrEnum):
    """How the scores of the models become one.

    - PROXY: base + alpha (expert - anti-expert). Liu et al. 2024, "Tuning Language Models by Proxy".
    - PRODUCT: log p(base) + alpha log p(expert). Lu et al. 2023, "Inference-Time Policy Adapters".
    - MIXTURE: log((1 - w) p(base) + w p(expert)). Ormazabal et al. 2023, "CombLM". w is alpha, or the mixer's.
    - CONTRASTIVE: (1 + alpha) base - alpha anti-expert, of plausible tokens. O'Brien and Lewis 2023, "Contrastive
      Decoding Improves Reasoning in Large Language Models", after Li et al. 2023.
    """

    PROXY = "Proxy"
    PRODUCT = "Product"
    MIXTURE = "Mixture"
    CONTRASTIVE = "Contrastive"


ROLES: Mapping[Combination, tuple[str, ...]] = {
    Combination.PROXY: (EXPERT, ANTI_EXPERT),
    Combination.PRODUCT: (EXPERT,),
    Combination.MIXTURE: (EXPERT,),
    Combination.CONTRASTIVE: (ANTI_EXPERT,),
}
DEFAULT_ALPHA = {
    Combination.PROXY: 1.0,
    Combination.PRODUCT: 1.0,
    Combination.MIXTURE: 0.5,
    Combination.CONTRASTIVE: 0.5,
}
DEFAULT_PLAUSIBILITY = 0.1
"""Of the combination Contrastive, which needs one: without it, a token that both models find absurd can win."""

Alpha = Annotated[float, Field(ge=0, le=8, allow_inf_nan=False)]
Plausibility = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class Mixer(Model):
    """A weight w of the expert for each token: sigmoid(bias + baseEntropy H(base) + expertEntropy H(expert)), in nats.

    `python -m pilotfish_proxy_tuning.fitting` learns it.
    """

    bias: Weight = 0.0
    base_entropy: Weight = 0.0
    expert_entropy: Weight = 0.0


class Config(Model):
    """What a manifest sets.

    `plausibility`: only tokens with at least this share of the base model's largest probability may be sampled.
    `cacheTokens`: tokens in the KV cache of each model. Defaults to the larger of 16384 and the maximum model length.
    """

    combination: Combination = Combination.PROXY
    alpha: Alpha | None = None
    plausibility: Plausibility | None = None
    mixer: Mixer | None = None
    cache_tokens: Annotated[int, Field(ge=16, le=100_000_000)] | None = None


class Arguments(Model):
    """The parameters of a request, which take precedence over the config."""

    alpha: Alpha | None = None
    plausibility: Plausibility | None = None


class ProxyTuning:
    """Adds the scores of small models to those of the pool's own model."""

    arguments: ClassVar[type[Model]] = Arguments
    config_model: ClassVar[type[Model]] = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        config = read_config(Config, settings)
        mixes = config.combination is Combination.MIXTURE
        if config.mixer is not None and not mixes:
            raise ConfigError("config.mixer", "needs combination Mixture: remove mixer, or change combination")
        if mixes and config.alpha is not None and config.alpha > 1:
            raise ConfigError("config.alpha", f"must be at most 1 with combination Mixture; got {config.alpha}")
        return cls(config)

    @property
    def roles(self) -> tuple[ModelRole, ...]:
        """The models that the combination needs."""
        return tuple(ModelRole(name) for name in ROLES[self.config.combination])

    @classmethod
    def request_values(cls, *, arguments: Mapping[str, Any]) -> Arguments:
        """Raises ConfigError with the name of the parameter."""
        return read_arguments(Arguments, arguments)

    def open(self, *, engine: EngineProcess) -> LogitsProcess:
        """Load the models, and allocate their KV caches. Needs torch and transformers."""
        from pilotfish_proxy_tuning.steering import Steering  # noqa: PLC0415 - the operator has no torch

        return Steering(self.config, engine)
