"""Scorers that learn: what `pilotfish calibrate` gives a scorer, and what the scorer returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import numpy as np

from pilotfish.base.arrays import Floats, Integers
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.scorers import Question
from pilotfish.plugin_api.settings import FromSettings, Settings

FEWEST_EXAMPLES = 40


@dataclass(frozen=True)
class Outcomes:
    """How well the candidate and the reference answered n requests: two arrays [n] from 0 to 1."""

    small: Floats
    large: Floats

    @property
    def gain(self) -> Floats:
        """How much better the candidate answered than the reference, [n] from -1 to 1."""
        return np.asarray(self.small - self.large, np.float64)

    @property
    def as_good(self) -> Floats:
        """1 where the candidate answered as well as the reference, else 0; [n]."""
        return np.asarray(self.small >= self.large, np.float64)

    def rows(self, places: Integers) -> Self:
        """The outcomes of some of the requests."""
        return type(self)(self.small[places], self.large[places])

    def require_differences(self) -> None:
        """Raises ConfigError for fewer than FEWEST_EXAMPLES requests, or where all outcomes are equal."""
        if len(self.small) < FEWEST_EXAMPLES:
            raise ConfigError(
                "log", f"{len(self.small)} prompts with outcomes; a scorer learns from {FEWEST_EXAMPLES} or more"
            )
        if np.ptp(self.gain) == 0 or np.ptp(self.as_good) == 0:
            raise ConfigError("log", "the pools answered every prompt equally well: there is nothing to learn")


@dataclass(frozen=True)
class Examples:
    """n recorded requests. `vectors` are those of an Embed pool, None for a request that was recorded without one."""

    ids: Sequence[str]
    questions: Sequence[Question]
    vectors: Sequence[Sequence[float] | None]
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Learned:
    """The artifact, and warnings for the report of the calibration, one sentence each."""

    artifact: bytes
    warnings: tuple[str, ...] = ()


@runtime_checkable
class LearningScorer(FromSettings, Protocol):
    """A scorer that cannot score without an artifact, and makes its artifact from recorded requests."""

    @classmethod
    def learn(cls, *, settings: Settings, examples: Examples) -> Learned:
        """Learn from recorded requests. Equal examples give equal artifacts. Raises ConfigError, with the field "log",
        for examples that cannot be learned from.
        """
