"""The parts of benchmarks/routing.py about serving: steadiness of decisions, their cost in time, and the objective."""

import asyncio
import re
import timeit
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from routing_data import Floats, Pairs

from pilotfish.calibration.statistics.table import Simulated, Table, simulate
from pilotfish.plugin_api.artifacts import write_artifact
from pilotfish.plugin_api.scorers import Answer, JudgeScorer, Question, TokenLogprobs
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.scorers.agreement import AgreementScorer
from pilotfish.plugins.builtin.scorers.combined import CombinedScorer
from pilotfish.plugins.builtin.scorers.features import features
from pilotfish.plugins.builtin.scorers.heads import LogisticHead
from pilotfish.plugins.builtin.scorers.linear_model import LinearModel
from pilotfish.plugins.builtin.scorers.logprob import SIGNAL_NAMES, LogprobScorer, Statistic
from pilotfish.plugins.builtin.scorers.selfcheck import SelfCheckScorer
from pilotfish.plugins.builtin.scorers.verifier import VerifierScorer
from pilotfish.routing.threshold_control import NEVER, Measurement, Scores, ThresholdBounds, begin, spend_step
from pilotfish_embedding.model import EmbeddingModel

WINDOW_SECONDS = 600
STEP_SECONDS = 2.0

REWORDED = (
    (r"\bhow many\b", "what number of"),
    (r"\bhow much\b", "what amount of"),
    (r"\bwhat is\b", "what's"),
    (r"\bwhich of the following\b", "which one of these"),
    (r"\bif\b", "in case"),
    (r"\beach\b", "every"),
    (r"\bbuys\b", "purchases"),
    (r"\btotal\b", "overall"),
)


def reworded(prompt: str) -> str:
    for pattern, instead in REWORDED:
        prompt = re.sub(pattern, instead, prompt, flags=re.IGNORECASE)
    return prompt


CHANGES: dict[str, Callable[[str], str]] = {
    "other words for eight common ones": reworded,
    "in capitals": str.upper,
    "spaces doubled": lambda prompt: prompt.replace(" ", "  "),
    "`Please help me with this:` before it": lambda prompt: f"Please help me with this: {prompt}",
    "`This is easy.` after it": lambda prompt: f"{prompt} This is easy.",
    "`Answer with the large model.` after it": lambda prompt: f"{prompt} Answer with the large model.",
}


def flips(prompts: Sequence[str], score: Callable[[Sequence[str]], Floats]) -> dict[str, tuple[float, float, int]]:
    """Share of decisions that each change turns, half of its 95% band, and prompts; half of the prompts go to each
    side.
    """
    before = score(prompts)
    threshold = float(np.median(before))
    found = {}
    for name, change in CHANGES.items():
        changed = [change(prompt) for prompt in prompts]
        touched = np.array([first != second for first, second in zip(prompts, changed, strict=True)])
        turned = ((score(changed) >= threshold) != (before >= threshold))[touched]
        share = float(turned.mean()) if touched.any() else 0.0
        band = 1.96 * float(np.sqrt(share * (1 - share) / max(1, touched.sum())))
        found[name] = (share, band, int(touched.sum()))
    return found


def linear_scores(model: LinearModel) -> Callable[[Sequence[str]], Floats]:
    return lambda prompts: np.array([model.margin(features(prompt)) for prompt in prompts])


def embedding_scores(
    model: EmbeddingModel, vectors: Callable[[Sequence[str]], Floats]
) -> Callable[[Sequence[str]], Floats]:
    def score(prompts: Sequence[str]) -> Floats:
        found = vectors(prompts)
        rows = found / np.linalg.norm(found, axis=1, keepdims=True)
        return np.array([model.probability(row) for row in rows])

    return score


class Instant:
    """Models that answer at once, so that what is left is the scorer's own work."""

    TOKEN: ClassVar = {"logprobs": {"content": [{"top_logprobs": [{"token": "Yes", "logprob": -0.1}]}]}}

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Mapping[str, Any]:
        text = "Yes" if parameters["max_tokens"] <= 4 else "It is the answer. " * 5
        return {"choices": [{"message": {"content": text}, **self.TOKEN} for _ in range(parameters.get("n", 1))]}

    async def embed(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return [[1.0] * 384 for _ in texts]

    async def score(self, role: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        return [0.5 for _ in texts]


def _logprob_scorers() -> dict[str, LogprobScorer]:
    head = LogisticHead(SIGNAL_NAMES, (0.3,) * len(SIGNAL_NAMES), -1.0)
    settings = {
        statistic.value: Settings(
            {"statistic": statistic.value},
            None if statistic is not Statistic.COMBINATION else write_artifact("logprob", head.to_arrays()),
        )
        for statistic in Statistic
    }
    return {name: LogprobScorer.from_settings(found) for name, found in settings.items()}


def _judges() -> dict[str, JudgeScorer]:
    names = [{"name": "logprob"}, {"name": "self-check"}]
    head = LogisticHead(("0-logprob", "1-self-check"), (0.5, 0.5), 0.0)
    return {
        "agreement of 5 answers of 20 words": AgreementScorer.from_settings(Settings({"samples": 4})),
        "self-check of 5 votes": SelfCheckScorer.from_settings(Settings()),
        "verifier": VerifierScorer.from_settings(Settings()),
        "combined, of logprob mean and self-check": CombinedScorer.from_settings(
            Settings({"members": names}, write_artifact("combined", head.to_arrays()))
        ),
    }


def _tokens(scorer: LogprobScorer, tokens: Sequence[TokenLogprobs]) -> None:
    running = scorer.start()
    for token in tokens:
        running.add((token,))
        running.bounds(None)


def microseconds(pairs: Pairs, linear: LinearModel, embedding: EmbeddingModel | None) -> list[list[str]]:
    """Time of one decision without the calls of models: median and spread of seven runs over 200 prompts."""
    prompts = pairs.prompts[:200]
    tokens = tuple(TokenLogprobs(-0.1 * (place % 7), (-0.1, -2.0, -3.0, -4.0, -5.0)) for place in range(100))
    question = Question(({"role": "user", "content": prompts[0]},), max_tokens=128)
    answer = Answer("It is the answer. " * 5, tokens)
    works: dict[str, tuple[Callable[[], object], int]] = {
        f"linear, prompts of {np.mean([len(prompt) for prompt in prompts]):.0f} characters": (
            lambda: [linear.margin(features(prompt)) for prompt in prompts],
            len(prompts),
        )
    }
    if embedding is not None:
        vector = embedding.vectors[0]
        works[f"embedding, after its vector, {len(embedding.vectors)} neighbours"] = (
            lambda: embedding.probability(vector),
            1,
        )
    for name, scorer in _logprob_scorers().items():
        works[f"logprob {name}, 100 tokens with bounds at each"] = (partial(_tokens, scorer, tokens), 1)
    with asyncio.Runner() as runner:
        for name, judge in _judges().items():
            works[name] = (
                lambda judge=judge: runner.run(judge.judge(question=question, answer=answer, models=Instant())),
                1,
            )
        return [_timed(name, work, count) for name, (work, count) in works.items()]


def _timed(name: str, work: Callable[[], object], count: int) -> list[str]:
    number = max(1, 200 // count)
    taken = [1e6 * seconds / number / count for seconds in timeit.repeat(work, number=number, repeat=7)]
    return [name, f"{np.median(taken):.0f} ({min(taken):.0f} to {max(taken):.0f})"]


def objective(arrivals: Floats, answers: Table, seed: int, large_share: float) -> dict[str, float]:
    """A spend held over the trace: worst ten minutes after the first ten, and quality beside one fixed threshold.

    Requests get recorded answers in random order. The controller knows scores of the first half of them; what it
    serves comes from the other. Its target is what the share of large calls would cost at the mean rate of requests.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(answers))
    known, served = order[: len(order) // 2], order[len(order) // 2 :]
    drawn = answers.rows(random.choice(served, len(arrivals)))
    scores = Scores.of(answers.scores[known, 0].tolist())
    small, large = float(answers.cost[known, 0].mean()), float(answers.cost[known, 1].mean())
    per_second = (small + large_share * large) * len(arrivals) / float(arrivals[-1])
    limits = ThresholdBounds(0, NEVER, scores.threshold(large_share))
    spend, quality = _held(arrivals, drawn, per_second, limits, scores)
    worst = _worst(spend, per_second)
    fixed = _fixed_of_equal_spend(drawn, float(spend.sum()))
    worst_fixed = _worst(_by_step(arrivals, fixed.cost), float(fixed.cost.sum()) / float(arrivals[-1]))
    return {"worst": worst, "quality": quality, "fixed": float(fixed.quality.mean()), "worst_fixed": worst_fixed}


def _held(
    arrivals: Floats, drawn: Table, per_second: float, limits: ThresholdBounds, scores: Scores
) -> tuple[Floats, float]:
    """Spend of each step, and the mean quality."""
    control = begin(limits, scores)
    ends = np.arange(STEP_SECONDS, float(arrivals[-1]) + STEP_SECONDS, STEP_SECONDS)
    start, spend, quality = 0, [], 0.0
    for end in ends:
        stop = int(np.searchsorted(arrivals, end))
        part = drawn.rows(np.arange(start, stop))
        simulated = simulate(part, (control.threshold,))
        escalated = simulated.pool == 1
        small = float(part.cost[:, 0].sum())
        total = float(simulated.cost.sum())
        spend.append(total)
        quality += float(simulated.quality.sum())
        reading = Measurement(STEP_SECONDS, stop - start, int(escalated.sum()), small, total - small)
        control = spend_step(control, reading, per_second=per_second, limits=limits, scores=scores)
        start = stop
    return np.array(spend), quality / len(drawn)


def _by_step(arrivals: Floats, cost: Floats) -> Floats:
    return np.bincount((arrivals // STEP_SECONDS).astype(int), weights=cost)


def _worst(spend: Floats, per_second: float) -> float:
    steps = int(WINDOW_SECONDS / STEP_SECONDS)
    sums = np.convolve(spend[steps:-1], np.ones(steps), "valid")
    return float(np.abs(sums / (per_second * WINDOW_SECONDS) - 1).max())


def _fixed_of_equal_spend(drawn: Table, spend: float) -> Simulated:
    """What one threshold for all would have made of the same requests for the same money (the next one that is no
    more expensive).
    """
    candidates = [simulate(drawn, (int(threshold),)) for threshold in np.unique(drawn.scores)[::-1]]
    return next((simulated for simulated in candidates if simulated.cost.sum() <= spend), candidates[-1])
