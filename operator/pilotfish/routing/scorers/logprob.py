"""`logprob`: how likely the model found its own tokens.

A statistic of the tokens' natural-log probabilities, put on the scale of a probability: permille = 1000 · exp(statistic).
The mean is the length-normalised sequence probability of Malinin and Gales, "Uncertainty Estimation in Autoregressive
Structured Prediction", ICLR 2021; quantiles over tokens are those of Gupta et al., "Language Model Cascades: Token-level
Uncertainty and Beyond", ICLR 2024.
"""

import math
from bisect import insort
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Protocol, Self

from pydantic import Field, ValidationError

from pilotfish.api.common import Model
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.scorers import Bounds, RunningScore, Score, Settings, TokenLogprobs

LEAST_LOGPROB = -100.0
"""What -inf (and anything below this) counts as, so that one impossible token does not make a mean meaningless."""


class Statistic(StrEnum):
    """What is taken over the tokens."""

    MEAN = "mean"
    MINIMUM = "minimum"
    QUANTILE = "quantile"


class Config(Model):
    """`permille` is the quantile's rank: 0 is the least likely token, 500 the median."""

    statistic: Statistic = Statistic.MEAN
    permille: Annotated[int, Field(ge=0, le=1000)] = 100


class _Statistic(Protocol):
    """A statistic over log-probabilities, none above 0, that grows with each of them."""

    def add(self, logprob: float) -> None:
        """Take one token."""

    def value(self, *, certain: int) -> float:
        """The statistic over the tokens taken and `certain` more of log-probability 0."""


class _Mean:
    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, logprob: float) -> None:
        self._sum += logprob
        self._count += 1

    def value(self, *, certain: int) -> float:
        return self._sum / (self._count + certain)


class _Minimum:
    def __init__(self) -> None:
        self._least = 0.0

    def add(self, logprob: float) -> None:
        self._least = min(self._least, logprob)

    def value(self, *, certain: int) -> float:  # noqa: ARG002 - a certain token never is the least
        return self._least


class _Quantile:
    """The lower empirical quantile: the ceil(q·n)-th smallest value, the smallest for q = 0."""

    def __init__(self, permille: int) -> None:
        self._permille = permille
        self._sorted: list[float] = []

    def add(self, logprob: float) -> None:
        insort(self._sorted, logprob)

    def value(self, *, certain: int) -> float:
        count = len(self._sorted) + certain
        rank = max(1, -(-self._permille * count // 1000))
        return self._sorted[rank - 1] if rank <= len(self._sorted) else 0.0


def to_permille(logprob: float) -> int:
    """1000 · exp(logprob), rounded; logprob is at most 0."""
    return round(1000 * math.exp(min(0.0, logprob)))


class _Running(RunningScore):
    def __init__(self, statistic: _Statistic, name: Statistic) -> None:
        self._statistic = statistic
        self._name = name
        self._count = 0

    def add(self, tokens: Sequence[TokenLogprobs]) -> None:
        for token in tokens:
            self._statistic.add(max(LEAST_LOGPROB, min(0.0, token.logprob)))
        self._count += len(tokens)

    def score(self) -> Score:
        if not self._count:
            return Score(0, {"tokens": 0})
        value = self._statistic.value(certain=0)
        return Score(to_permille(value), {"tokens": self._count, self._name.value: round(value, 4)})

    def bounds(self, remaining: int | None) -> Bounds:
        if not self._count:
            return Bounds()
        if remaining == 0:
            now = self.score().permille
            return Bounds(now, now)
        # Every statistic here grows with each token's probability, so tokens that are certain give the most it can become.
        most = self._statistic.value(certain=remaining) if remaining is not None else self._supremum()
        return Bounds(0, max(to_permille(most), self.score().permille))

    def _supremum(self) -> float:
        return self._statistic.value(certain=0) if isinstance(self._statistic, _Minimum) else 0.0


class LogprobScorer:
    """Scores an answer by its tokens' log-probabilities. Config: `statistic` mean, minimum or quantile (with `permille`)."""

    top_logprobs = 0

    def __init__(self, config: Config) -> None:
        self._config = config

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError for a statistic or permille that does not exist."""
        try:
            return cls(Config.model_validate(dict(settings.config)))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ConfigError("config" + "".join(f".{part}" for part in first["loc"]), first["msg"]) from error

    def start(self) -> RunningScore:
        """A fresh score, for one answer."""
        match self._config.statistic:
            case Statistic.MEAN:
                statistic: _Statistic = _Mean()
            case Statistic.MINIMUM:
                statistic = _Minimum()
            case Statistic.QUANTILE:
                statistic = _Quantile(self._config.permille)
        return _Running(statistic, self._config.statistic)
