"""Judges whether a stage's answer is good enough, while its tokens arrive.

The verdict is made at the first of: a token after which no continuation can change the outcome, a calibrated stopping
boundary, the stage's `decideWithinTokens`, the end of the answer. It does not depend on how the tokens are divided
into chunks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from pilotfish.plugin_api.boundaries import Boundaries
from pilotfish.plugin_api.scorers import AnswerScorer, Bounds, RunningScore, Score, TokenLogprobs


class Verdict(StrEnum):
    """Whether a stage's answer was used."""

    ACCEPTED = "Accepted"
    REJECTED = "Rejected"
    FAILED = "Failed"


class Ground(StrEnum):
    """What made the verdict possible at this token."""

    CERTAIN = "Certain"
    STOPPING_BOUNDARY = "StoppingBoundary"
    DECIDE_WITHIN_TOKENS = "DecideWithinTokens"
    END_OF_ANSWER = "EndOfAnswer"
    LAST_STAGE = "LastStage"
    EXPLORATION = "Exploration"
    PLUGIN = "Plugin"
    ERROR = "Error"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and its basis. `tokens` is the number of tokens judged, of the choice that decided.

    `final`: whether `score` covers all tokens that the stage judges, and not only a prefix. `propensity` is the
    probability of this verdict, given the answer: 1 without exploration.
    """

    verdict: Verdict
    ground: Ground
    score: int | None = None
    threshold: int | None = None
    tokens: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    final: bool = True
    propensity: float = 1.0


@dataclass(frozen=True, slots=True)
class AcceptancePolicy:
    """A stage's threshold, and how much of an answer is judged: `horizon` tokens, or all of it."""

    threshold: int
    horizon: int | None = None
    max_tokens: int | None = None
    early: bool = True
    """Whether the verdict may be made before the horizon or the end of the answer."""
    boundaries: Boundaries | None = None
    """Calibrated stopping boundaries, for answers of one choice."""

    @property
    def longest(self) -> int | None:
        """The most tokens that can be judged."""
        known = [limit for limit in (self.horizon, self.max_tokens) if limit is not None]
        return min(known) if known else None


class _Choice:
    """One of the `n` answers to a request."""

    def __init__(self, running: RunningScore) -> None:
        self.running = running
        self.taken = 0
        self.ended = False
        self.done = False
        """Whether later tokens are not judged."""

    def take(self, tokens: Sequence[TokenLogprobs], horizon: int | None) -> None:
        wanted = tokens if horizon is None else tokens[: max(0, horizon - self.taken)]
        self.running.add(wanted)
        self.taken += len(wanted)

    def bounds(self, longest: int | None) -> Bounds:
        if self.done:
            score = self.running.score().permille
            return Bounds(score, score)
        return self.running.bounds(None if longest is None else max(0, longest - self.taken))


class StageJudge:
    """Judges one stage's answer. With several choices the lowest score counts."""

    def __init__(self, scorer: AnswerScorer, policy: AcceptancePolicy, choices: int = 1) -> None:
        self._policy = policy
        self._choices = [_Choice(scorer.start()) for _ in range(choices)]
        self._open = choices
        """Choices that may still change the decision."""
        # kept for all choices, because a token changes those of its own choice alone
        bounds = self._choices[0].bounds(policy.longest)
        self._lows = [bounds.low] * choices
        self._highs = [bounds.high] * choices
        self._decision: Decision | None = None

    @property
    def decision(self) -> Decision | None:
        """The decision; None before it is made."""
        return self._decision

    def add(self, choice: int, tokens: Sequence[TokenLogprobs]) -> Decision | None:
        """Add tokens of one choice, one by one, until the verdict is made. Later tokens are not judged."""
        judged = self._choices[choice]
        for token in tokens:
            if self._decision is not None:
                break
            judged.take((token,), self._policy.horizon)
            self._decision = self._decide(choice)
        return self._decision

    def end_choice(self, choice: int) -> Decision | None:
        """One choice has ended."""
        self._choices[choice].ended = True
        if self._decision is None:
            self._decision = self._decide(choice)
        return self._decision

    def end(self) -> Decision:
        """The whole answer has ended. Makes the verdict if there is none."""
        for choice in self._choices:
            choice.ended = True
        self._decision = self._decision or self._conclude(Ground.END_OF_ANSWER)
        return self._decision

    def _decide(self, place: int) -> Decision | None:
        """The decision, if it is certain after a change of the choice at `place`."""
        choice, horizon = self._choices[place], self._policy.horizon
        if not choice.done and (choice.ended or (horizon is not None and choice.taken >= horizon)):
            choice.done = True
            self._open -= 1
        if not self._open:
            ended = all(each.ended for each in self._choices)
            return self._conclude(Ground.END_OF_ANSWER if ended else Ground.DECIDE_WITHIN_TOKENS)
        if not self._policy.early:
            return None
        bounds = choice.bounds(self._policy.longest)
        self._lows[place], self._highs[place] = bounds.low, bounds.high
        low, high = min(self._lows), min(self._highs)
        if high < self._policy.threshold or low >= self._policy.threshold:
            return self._conclude(Ground.CERTAIN, accepted=low >= self._policy.threshold)
        return self._stop()

    def _stop(self) -> Decision | None:
        """The decision if a stopping boundary is crossed."""
        boundaries, choice = self._policy.boundaries, self._choices[0]
        if boundaries is None or len(self._choices) > 1 or choice.taken not in boundaries.looks:
            return None
        score = choice.running.score().permille
        verdict = boundaries.verdict(tokens=choice.taken, score=score, threshold=self._policy.threshold)
        return None if verdict is None else self._conclude(Ground.STOPPING_BOUNDARY, accepted=verdict)

    def _conclude(self, ground: Ground, *, accepted: bool | None = None) -> Decision:
        scored = [(choice.running.score(), choice.taken) for choice in self._choices]
        score, tokens = min(scored, key=lambda pair: pair[0].permille)
        if accepted is None:
            accepted = score.permille >= self._policy.threshold
        return _decision(score, ground, self._policy.threshold, tokens, accepted=accepted)


def judge_whole(score: Score, threshold: int, tokens: int) -> Decision:
    """The verdict on a whole answer that a scorer judged at once."""
    return _decision(score, Ground.END_OF_ANSWER, threshold, tokens, accepted=score.permille >= threshold)


def explored(decision: Decision, permille: int, uniform: float) -> Decision:
    """The decision after exploration: of accepted answers, `permille` are rejected. `uniform` is drawn from [0, 1)."""
    if decision.verdict is not Verdict.ACCEPTED or not permille:
        return decision
    chance = permille / 1000
    if uniform < chance:
        return replace(decision, verdict=Verdict.REJECTED, ground=Ground.EXPLORATION, propensity=chance)
    return replace(decision, propensity=1 - chance)


def rejected_by_plugin(decision: Decision) -> Decision:
    """The decision after a plugin asked for the answer of the next pool."""
    return replace(decision, verdict=Verdict.REJECTED, ground=Ground.PLUGIN)


def _decision(score: Score, ground: Ground, threshold: int, tokens: int, *, accepted: bool) -> Decision:
    verdict = Verdict.ACCEPTED if accepted else Verdict.REJECTED
    final = ground in {Ground.END_OF_ANSWER, Ground.DECIDE_WITHIN_TOKENS}
    return Decision(verdict, ground, score.permille, threshold, tokens, score.details, final)
