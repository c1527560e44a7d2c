"""`logprob`: how likely the model found its own tokens.

One statistic of the tokens' natural-log probabilities, from 0 to 1, as permille; or `combination`, a learned logistic
head over all of them. The mean, 1000 · exp(mean), is the length-normalised sequence probability of Malinin and Gales,
"Uncertainty Estimation in Autoregressive Structured Prediction", ICLR 2021; quantiles over tokens and their
combination are those of Gupta et al., "Language Model Cascades: Token-level Uncertainty and Beyond", ICLR 2024. The
other statistics: see tokenstats.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pilotfish.api.common import Model
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.artifacts import read_artifact
from pilotfish.plugin_api.boundaries import Boundaries
from pilotfish.plugin_api.scorers import LEAST_LOGPROB, Bounds, RunningScore, Score, TokenLogprobs
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers.heads import LogisticHead
from pilotfish.plugins.builtin.scorers.tokenstats import (
    Interval,
    MeanEntropy,
    MeanLikelihood,
    MeanMargin,
    Minimum,
    Quantile,
    TokenStatistic,
    odds,
)

__all__ = [
    "COMBINED",
    "KIND",
    "LEAST_LOGPROB",
    "Config",
    "LogprobScorer",
    "Scale",
    "Statistic",
    "scale_arrays",
    "scale_of",
    "signals",
]

KIND = "logprob"
ALTERNATIVES = 5
"""Most likely tokens at each position that entropy and margin request; the default limit of vLLM is 20."""
LONGEST_COUNTED = 4096
"""An answer's length counts up to here in a combination."""


class Statistic(StrEnum):
    """What is taken over the tokens."""

    MEAN = "mean"
    MINIMUM = "minimum"
    QUANTILE = "quantile"
    ENTROPY = "entropy"
    MARGIN = "margin"
    COMBINATION = "combination"


class Scale(StrEnum):
    """How a single statistic becomes permille: unchanged, or by its log-odds.

    Permille of a probability give one score to most answers of a model that gives nearly every token more than 0.999.
    """

    PROBABILITY = "probability"
    ODDS = "odds"


DEFAULT_SCALE = Scale.ODDS
SCALE = "scale"
"""The array of an artifact that names the scale of its thresholds and of the scores that it was learned from."""


class Config(Model):
    """`permille` is the quantile's rank: 0 is the least likely token, 500 the median.

    `scale` is for a single statistic. None: that of the artifact, or DEFAULT_SCALE without an artifact.
    """

    statistic: Statistic = Statistic.MEAN
    scale: Scale | None = None
    permille: Annotated[int, Field(ge=0, le=1000)] = 100


def scale_of(config: Config, arrays: Mapping[str, NDArray[Any]] | None) -> Scale:
    """The scale in force. `arrays`: the artifact; None: there is none.

    An artifact without the array SCALE was made when the default was PROBABILITY, and keeps it. Raises ConfigError for
    an artifact with a scale that does not exist.
    """
    if config.scale is not None:
        return config.scale
    if arrays is None:
        return DEFAULT_SCALE
    name = str(arrays.get(SCALE, Scale.PROBABILITY.value))
    try:
        return Scale(name)
    except ValueError as error:
        raise ConfigError("artifact", f"names the scale {name!r}, which does not exist: calibrate again") from error


def scale_arrays(scale: Scale = DEFAULT_SCALE) -> dict[str, NDArray[Any]]:
    """The array that `scale_of` reads."""
    return {SCALE: np.array(scale.value)}


COMBINED: dict[str, Callable[[], TokenStatistic]] = {
    "mean": MeanLikelihood,
    "minimum": Minimum,
    "quantile100": lambda: Quantile(100),
    "quantile500": lambda: Quantile(500),
    "entropy": MeanEntropy,
    "margin": MeanMargin,
}
"""The signals of a combination, in the order of its head; the answer's length is one more, the last."""
SIGNAL_NAMES = (*COMBINED, "length")


def signals(tokens: Sequence[TokenLogprobs]) -> list[float]:
    """The signals of a combination for a whole answer of at least one token, in the order of SIGNAL_NAMES."""
    statistics = [make() for make in COMBINED.values()]
    for token in tokens:
        for statistic in statistics:
            statistic.add(token)
    return [*(odds(statistic.value()) for statistic in statistics), _length(len(tokens))]


def _length(tokens: int | None) -> float:
    """A length from 0 (none) to 1 (LONGEST_COUNTED or more; None: unknown), on a logarithmic scale."""
    counted = LONGEST_COUNTED if tokens is None else min(tokens, LONGEST_COUNTED)
    return math.log1p(counted) / math.log1p(LONGEST_COUNTED)


def _through(rising: Callable[[float], float], interval: Interval) -> Interval:
    return rising(interval[0]), rising(interval[1])


def _permille(value: float) -> int:
    return round(1000 * value)


class _Single(RunningScore):
    """The running score of one statistic."""

    def __init__(self, statistic: TokenStatistic, name: Statistic, scaled: Callable[[float], float]) -> None:
        self._statistic = statistic
        self._name = name
        self._scaled = scaled
        self._count = 0

    def add(self, tokens: Sequence[TokenLogprobs]) -> None:
        for token in tokens:
            self._statistic.add(token)
        self._count += len(tokens)

    def score(self) -> Score:
        if not self._count:
            return Score(0, {"tokens": 0})
        value = self._statistic.value()
        return Score(_permille(self._scaled(value)), {"tokens": self._count, self._name.value: round(value, 6)})

    def bounds(self, remaining: int | None) -> Bounds:
        if not self._count:
            return Bounds(0, 0 if remaining == 0 else 1000)
        low, high = _through(self._scaled, self._statistic.interval(remaining))
        return Bounds(_permille(low), _permille(high))


class _Combined(RunningScore):
    """The running score of a learned combination."""

    def __init__(self, head: LogisticHead) -> None:
        self._head = head
        self._statistics = [make() for make in COMBINED.values()]
        self._count = 0

    def add(self, tokens: Sequence[TokenLogprobs]) -> None:
        for token in tokens:
            for statistic in self._statistics:
                statistic.add(token)
        self._count += len(tokens)

    def score(self) -> Score:
        if not self._count:
            return Score(0, {"tokens": 0})
        values = [*(odds(statistic.value()) for statistic in self._statistics), _length(self._count)]
        details = {"tokens": self._count, "contributions": self._head.contributions(values)}
        return Score(_permille(self._head.probability(values)), details)

    def bounds(self, remaining: int | None) -> Bounds:
        if not self._count:
            return Bounds(0, 0 if remaining == 0 else 1000)
        intervals = [_through(odds, statistic.interval(remaining)) for statistic in self._statistics]
        longest = None if remaining is None else self._count + remaining
        low, high = self._head.interval([*intervals, (_length(self._count), _length(longest))])
        return Bounds(_permille(low), _permille(high))


class LogprobScorer:
    """Scores an answer by its tokens' log-probabilities. Config: `statistic`; `permille` with quantile.

    An artifact is needed by `combination` alone. With any statistic it may carry stopping boundaries.
    """

    config_model: ClassVar = Config

    def __init__(self, config: Config, head: LogisticHead | None = None, boundaries: Boundaries | None = None) -> None:
        needs_alternatives = config.statistic in (Statistic.ENTROPY, Statistic.MARGIN, Statistic.COMBINATION)
        self.top_logprobs = ALTERNATIVES if needs_alternatives else 0
        self.boundaries = boundaries
        self._config = config
        self._head = head

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError for a statistic or permille that does not exist, or an artifact that does not fit."""
        config = read_config(Config, settings)
        combined = config.statistic is Statistic.COMBINATION
        if settings.artifact is None and not combined:
            return cls(config.model_copy(update={"scale": scale_of(config, None)}))
        arrays = read_artifact(settings, KIND)
        config = config.model_copy(update={"scale": scale_of(config, arrays)})
        boundaries = Boundaries.from_arrays(arrays) if "boundaries" in arrays else None
        if not combined:
            return cls(config, boundaries=boundaries)
        head = LogisticHead.from_arrays(arrays)
        head.expect(SIGNAL_NAMES)
        return cls(config, head, boundaries)

    @property
    def scale(self) -> Scale:
        """The scale in force."""
        return self._config.scale or DEFAULT_SCALE

    def start(self) -> RunningScore:
        """A fresh score, for one answer."""
        if self._head is not None:
            return _Combined(self._head)
        match self._config.statistic:
            case Statistic.MINIMUM:
                statistic: TokenStatistic = Minimum()
            case Statistic.QUANTILE:
                statistic = Quantile(self._config.permille)
            case Statistic.ENTROPY:
                statistic = MeanEntropy()
            case Statistic.MARGIN:
                statistic = MeanMargin()
            case _:
                statistic = MeanLikelihood()
        return _Single(statistic, self._config.statistic, float if self.scale is Scale.PROBABILITY else odds)
