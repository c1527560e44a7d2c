"""Statistics over an answer's tokens, each with what it can still become: early exit rests on that.

Every statistic is between 0 and 1 and grows with each token's certainty. A prefix of n tokens and at most r more then
bounds the final value: certain tokens give the most, impossible ones the least.

`entropy` is the predictive entropy of Malinin and Gales, "Uncertainty Estimation in Autoregressive Structured
Prediction", ICLR 2021, as exp(-mean entropy); `margin` is that of Ramírez et al., "Optimising Calls to Large Language
Models with Uncertainty-Based Two-Tier Selection", COLM 2024, averaged over tokens.
"""

import math
from bisect import insort
from typing import Protocol

from pilotfish.plugin_api.scorers import LEAST_LOGPROB, TokenLogprobs

LEAST_ODDS = 1e-7
"""Probabilities closer to 0 or 1 than this count as equal to it; engines send log-probabilities in single precision."""

Interval = tuple[float, float]


class TokenStatistic(Protocol):
    """A statistic over the tokens taken so far, from 0 to 1."""

    def add(self, token: TokenLogprobs) -> None:
        """Take one token."""

    def value(self) -> float:
        """The statistic over the tokens taken; at least one."""

    def interval(self, remaining: int | None) -> Interval:
        """The least and the most it can be once at most `remaining` tokens (None: any number) have followed."""


def clamped(logprob: float) -> float:
    """A log-probability between LEAST_LOGPROB and 0; not-a-number counts as impossible."""
    return min(0.0, logprob) if logprob > LEAST_LOGPROB else LEAST_LOGPROB


def likelihood(token: TokenLogprobs) -> float:
    """The token's log-probability."""
    return clamped(token.logprob)


def negative_entropy(token: TokenLogprobs) -> float:
    """Minus the entropy, in nats, over the likeliest tokens and, as one more, all others together: a lower bound of
    it.
    """
    shares = [math.exp(clamped(logprob)) for logprob in token.top or (token.logprob,)]
    shares.append(max(0.0, 1.0 - math.fsum(shares)))
    return math.fsum(share * math.log(share) for share in shares if share > 0)


def margin(token: TokenLogprobs) -> float:
    """Probability of the likeliest token less that of the second, minus 1: -1 (a tie) to 0 (certain)."""
    shares = sorted((math.exp(clamped(logprob)) for logprob in token.top or (token.logprob,)), reverse=True)
    second = shares[1] if len(shares) > 1 else min(shares[0], 1.0 - shares[0])
    return shares[0] - second - 1.0


def odds(value: float) -> float:
    """A probability by its log-odds, even ones at 0.5: probabilities close to 1 (or 0) stay apart after rounding to
    permille.
    """
    within = min(1.0 - LEAST_ODDS, max(LEAST_ODDS, value))
    return 0.5 + math.log(within / (1.0 - within)) / (2 * math.log((1.0 - LEAST_ODDS) / LEAST_ODDS))


class MeanLikelihood:
    """exp(mean log-probability)."""

    least = LEAST_LOGPROB

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def quantity(self, token: TokenLogprobs) -> float:
        """What is averaged: between `least` and 0."""
        return likelihood(token)

    def scaled(self, mean: float) -> float:
        """The mean on the scale from 0 to 1."""
        return math.exp(mean)

    def add(self, token: TokenLogprobs) -> None:
        """Take one token."""
        self._sum += self.quantity(token)
        self._count += 1

    def value(self) -> float:
        """The statistic over the tokens taken."""
        return self.scaled(self._sum / self._count)

    def interval(self, remaining: int | None) -> Interval:
        """Certain tokens pull the mean to 0, impossible ones to `least`."""
        if remaining is None:
            return self.scaled(self.least), self.scaled(0.0)
        count = self._count + remaining
        return self.scaled((self._sum + remaining * self.least) / count), self.scaled(self._sum / count)


class MeanEntropy(MeanLikelihood):
    """exp(-mean entropy)."""

    def quantity(self, token: TokenLogprobs) -> float:
        """Minus the entropy."""
        return negative_entropy(token)


class MeanMargin(MeanLikelihood):
    """Mean difference between the two likeliest tokens' probabilities."""

    least = -1.0

    def quantity(self, token: TokenLogprobs) -> float:
        """The margin less 1."""
        return margin(token)

    def scaled(self, mean: float) -> float:
        """The margin itself."""
        return 1.0 + mean


class Minimum:
    """Probability of the least likely token."""

    def __init__(self) -> None:
        self._least = 0.0

    def add(self, token: TokenLogprobs) -> None:
        """Take one token."""
        self._least = min(self._least, likelihood(token))

    def value(self) -> float:
        """The statistic over the tokens taken."""
        return math.exp(self._least)

    def interval(self, remaining: int | None) -> Interval:
        """A minimum only falls."""
        return (self.value() if remaining == 0 else math.exp(LEAST_LOGPROB)), self.value()


class Quantile:
    """Probability at a rank: the lower empirical quantile, the ceil(q·n)-th smallest, the smallest for q = 0."""

    def __init__(self, permille: int) -> None:
        self._permille = permille
        self._sorted: list[float] = []

    def add(self, token: TokenLogprobs) -> None:
        """Take one token."""
        insort(self._sorted, likelihood(token))

    def _ranked(self, below: int, above: int) -> float:
        """The quantile with `below` impossible and `above` certain tokens more."""
        count = len(self._sorted) + below + above
        rank = max(1, -(-self._permille * count // 1000)) - below
        if rank < 1:
            return LEAST_LOGPROB
        return self._sorted[rank - 1] if rank <= len(self._sorted) else 0.0

    def value(self) -> float:
        """The statistic over the tokens taken."""
        return math.exp(self._ranked(0, 0))

    def interval(self, remaining: int | None) -> Interval:
        """Tokens that follow move the rank as well as the values."""
        if remaining is None:
            # With q = 0 certain tokens change nothing; else enough of them push every taken token below the rank.
            most = self._ranked(0, 0) if self._permille == 0 else 0.0
            return math.exp(LEAST_LOGPROB), math.exp(most)
        # The rank grows with the count, so the most is had with all of them certain, the least with all impossible
        # or none at all, as the answer may end at once.
        least = min(self._ranked(0, 0), self._ranked(remaining, 0))
        most = max(self._ranked(0, 0), self._ranked(0, remaining))
        return math.exp(least), math.exp(most)
