"""The plugin at work in a process of an engine: what its models score, and how the scores become one."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.logits import EngineProcess, SteeredRequest
from pilotfish_proxy_tuning.experts import Expert, Limits, vocabulary_of
from pilotfish_proxy_tuning.plugin import (
    ANTI_EXPERT,
    DEFAULT_ALPHA,
    DEFAULT_PLAUSIBILITY,
    EXPERT,
    Arguments,
    Combination,
    Config,
    Mixer,
)

logger = logging.getLogger(__name__)

LEAST_CACHE_TOKENS = 16384
MOST_STEP_TOKENS = 2048
"""Tokens of one forward pass of a small model, so that a long prompt does not need much memory at once."""


@dataclass(frozen=True)
class Strength:
    """What holds for one request."""

    alpha: float
    plausibility: float

    @classmethod
    def of(cls, config: Config, arguments: Arguments) -> "Strength":
        """The request's parameters, then the config's, then the defaults of the combination."""
        kind = config.combination
        least = DEFAULT_PLAUSIBILITY if kind is Combination.CONTRASTIVE else 0.0
        return cls(
            _first(arguments.alpha, config.alpha, DEFAULT_ALPHA[kind]),
            _first(arguments.plausibility, config.plausibility, least),
        )


class Steering:
    """Each model runs in one of the engine's processes, which sends its logits to the others.

    So every process adds the same numbers, and the models of a step run at the same time.
    """

    def __init__(self, config: Config, engine: EngineProcess) -> None:
        """Raises ConfigError for a cache that is smaller than the longest request."""
        self._config, self._engine = config, engine
        self._roles = sorted(engine.models)
        self._widths = {role: vocabulary_of(engine.models[role]) for role in self._roles}
        limits = Limits(_cache_tokens(config, engine), min(MOST_STEP_TOKENS, engine.max_step_tokens))
        self._experts = {
            role: Expert(engine.models[role], engine.device, engine.dtype, limits)
            for number, role in enumerate(self._roles)
            if self._owner(number) == engine.rank
        }
        self._evicted = 0

    def apply(self, *, logits: torch.Tensor, requests: Mapping[int, SteeredRequest]) -> None:
        """Change the rows of requests whose strength is not zero."""
        strengths = {row: Strength.of(self._config, request.values) for row, request in requests.items()}
        steered = [row for row, strength in strengths.items() if self._is_steered(strength)]
        if not steered:
            return
        scores = self._scores([requests[row] for row in steered])
        alpha = torch.tensor([[strengths[row].alpha] for row in steered], device=logits.device)
        plausibility = torch.tensor([[strengths[row].plausibility] for row in steered], device=logits.device)
        rows = torch.tensor(steered, device=logits.device)
        logits[rows] = combine(self._config, logits[rows], scores, alpha, plausibility)

    def end(self, *, request: SteeredRequest) -> None:
        """Free the caches of a request."""
        for expert in self._experts.values():
            expert.release(request)

    def _is_steered(self, strength: Strength) -> bool:
        return strength.alpha > 0 or strength.plausibility > 0 or self._config.mixer is not None

    def _owner(self, number: int) -> int:
        return number % self._engine.ranks

    def _scores(self, requests: list[SteeredRequest]) -> dict[str, torch.Tensor]:
        """Logits of each model, by role, float32 [requests, vocabulary of the model]."""
        asked = [(request, [*request.prompt, *request.output]) for request in requests]
        own = {role: expert.next_logits(asked) for role, expert in self._experts.items()}
        self._warn_of_evictions()
        scores = {}
        for number, role in enumerate(self._roles):
            computed = own.get(role)
            if computed is None:
                shape = (len(requests), self._widths[role])
                computed = torch.empty(shape, dtype=self._engine.dtype, device=self._engine.device)
            scores[role] = self._engine.broadcast(computed, self._owner(number)).float()
        return scores

    def _warn_of_evictions(self) -> None:
        evicted = sum(expert.blocks.evicted for expert in self._experts.values())
        if evicted and not self._evicted:
            logger.warning(
                "proxy-tuning: the requests of the batch do not fit into cacheTokens, so parts are computed again:"
                " increase config.cacheTokens, or decrease the engine's max_num_seqs"
            )
        self._evicted = evicted


def combine(
    config: Config,
    base: torch.Tensor,
    scores: Mapping[str, torch.Tensor],
    alpha: torch.Tensor,
    plausibility: torch.Tensor,
) -> torch.Tensor:
    """Logits from those of the models, all [requests, vocabulary]; `alpha` and `plausibility` are [requests, 1].

    Tokens that are impossible for the base model, as an output format may require, stay impossible. So do those behind
    the smallest vocabulary, which have no meaning.
    """
    width = min(base.shape[1], *(each.shape[1] for each in scores.values()))
    own = base[:, :width]
    impossible = torch.isneginf(own)
    expert, anti = (scores[role][:, :width] if role in scores else None for role in (EXPERT, ANTI_EXPERT))
    mixed = _mixed(config, own, expert, anti, alpha)
    largest = own.max(dim=1, keepdim=True).values
    # a share of the largest probability is a distance from the largest logit
    mixed[impossible | (own < largest + plausibility.log())] = -torch.inf
    found = torch.full_like(base, -torch.inf)
    found[:, :width] = mixed
    return found


def _mixed(
    config: Config,
    base: torch.Tensor,
    expert: torch.Tensor | None,
    anti: torch.Tensor | None,
    alpha: torch.Tensor,
) -> torch.Tensor:
    match config.combination, expert, anti:
        case Combination.PROXY, torch.Tensor(), torch.Tensor():
            return base + alpha * (expert - anti)
        case Combination.CONTRASTIVE, _, torch.Tensor():
            return base + alpha * (base - anti)
        case Combination.PRODUCT, torch.Tensor(), _:
            return base.log_softmax(dim=1) + alpha * expert.log_softmax(dim=1)
        case Combination.MIXTURE, torch.Tensor(), _:
            return _mixture(base.log_softmax(dim=1), expert.log_softmax(dim=1), alpha, config.mixer)
    raise ConfigError("config.combination", f"the models of combination {config.combination} are not loaded")


def _mixture(base: torch.Tensor, expert: torch.Tensor, alpha: torch.Tensor, mixer: Mixer | None) -> torch.Tensor:
    weight = alpha.clamp(max=1)
    if mixer is not None:
        score = mixer.bias + mixer.base_entropy * _entropy(base) + mixer.expert_entropy * _entropy(expert)
        weight = torch.sigmoid(score)
    return torch.logaddexp(torch.log1p(-weight) + base, weight.log() + expert)


def _entropy(logarithms: torch.Tensor) -> torch.Tensor:
    """Of distributions as log-probabilities [requests, vocabulary], in nats, [requests, 1]."""
    return -(logarithms.exp() * logarithms.clamp(min=-1e4)).sum(dim=1, keepdim=True)


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _cache_tokens(config: Config, engine: EngineProcess) -> int:
    if config.cache_tokens is None:
        return max(LEAST_CACHE_TOKENS, engine.max_model_length)
    if config.cache_tokens < engine.max_model_length:
        raise ConfigError(
            "config.cacheTokens",
            f"{config.cache_tokens} is less than the maximum model length, {engine.max_model_length}: increase it, or"
            " decrease spec.engine.maxModelLength",
        )
    return config.cache_tokens
