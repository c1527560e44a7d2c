"""Learns temperature and biases: `python -m pilotfish_calibrate_logits.fitting LOG`.

LOG is JSONL. A line has `label`, the token that would have been right, and `logprobs`, the natural-log probability of
each likely token at its place, as an object: `{"label": " yes", "logprobs": {" yes": -0.9, " no": -0.6}}`.

With log-probabilities l of the labels, the model is softmax(l / T + b): vector scaling with one temperature
(Guo et al. 2017, "On Calibration of Modern Neural Networks"; Zhao et al. 2021, "Calibrate Before Use").
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pilotfish.base.arrays import Floats, Integers
from pilotfish.base.errors import ConfigError

FEWEST_LINES = 40
RIDGE = 1e-2
"""Penalty on the squared parameters, in units of one line: it keeps the biases of rare labels near 0."""
MOST_STEPS = 100
LEAST_GAIN = 1e-9


@dataclass(frozen=True)
class Decisions:
    """n decisions among k labels: log-probabilities [n, k], and the number of the right label [n]."""

    labels: tuple[str, ...]
    logprobs: Floats
    right: Integers

    def rows(self, places: Integers) -> "Decisions":
        """Some of the decisions."""
        return Decisions(self.labels, self.logprobs[places], self.right[places])


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the bias of each label [k]."""

    temperature: float
    bias: Floats

    def log_loss(self, decisions: Decisions) -> float:
        """Mean of -log p(right label), in nats."""
        scores = _log_softmax(decisions.logprobs / self.temperature + self.bias)
        return float(-scores[np.arange(len(decisions.right)), decisions.right].mean())

    def accuracy(self, decisions: Decisions) -> float:
        """Share of decisions whose likeliest label is right."""
        likeliest = (decisions.logprobs / self.temperature + self.bias).argmax(axis=1)
        return float((likeliest == decisions.right).mean())


def read(lines: Iterable[str]) -> Decisions:
    """The decisions of a log. A label that is not among the likely tokens of a line counts as the least likely of them.

    Raises ConfigError that names the line, or for a log with fewer than FEWEST_LINES lines or one label.
    """
    parsed = [_line(number, text) for number, text in enumerate(lines, 1) if text.strip()]
    labels = tuple(sorted({label for label, _ in parsed}))
    if len(parsed) < FEWEST_LINES or len(labels) < 2:
        raise ConfigError(
            "log", f"has {len(parsed)} lines and {len(labels)} labels: at least {FEWEST_LINES} and 2 are needed"
        )
    logprobs = np.array([[given.get(label, min(given.values())) for label in labels] for _, given in parsed])
    right = np.array([labels.index(label) for label, _ in parsed])
    return Decisions(labels, logprobs, right)


def fit(decisions: Decisions) -> Calibration:
    """The temperature and biases with the least penalised log-loss, by Newton's method. The biases sum to 0."""
    n, k = decisions.logprobs.shape
    # features [n, k, k + 1]: of each label its log-probability, and which label it is
    features = np.concatenate([decisions.logprobs[:, :, None], np.broadcast_to(np.eye(k), (n, k, k))], axis=2)
    center = np.zeros(k + 1)
    center[0] = 1.0
    weights = center.copy()
    loss = _penalised(features, decisions.right, weights, center)
    for _ in range(MOST_STEPS):
        direction = _newton(features, decisions.right, weights, center)
        size = 1.0
        while (after := _penalised(features, decisions.right, weights - size * direction, center)) > loss:
            size /= 2
            if size < 1e-6:
                return _calibration(weights)
        weights, gain, loss = weights - size * direction, loss - after, after
        if gain < LEAST_GAIN:
            break
    return _calibration(weights)


def report(decisions: Decisions, seed: int = 0) -> tuple[Calibration, str]:
    """The calibration of all decisions, and what one of half of them does to the other half."""
    order = np.random.default_rng(seed).permutation(len(decisions.right))
    half = len(order) // 2
    held_out = decisions.rows(order[half:])
    learned, plain = fit(decisions.rows(order[:half])), Calibration(1.0, np.zeros(len(decisions.labels)))
    figures = ", ".join(
        f"{name} {getattr(plain, of)(held_out):.3f} -> {getattr(learned, of)(held_out):.3f}"
        for name, of in (("log-loss", "log_loss"), ("accuracy", "accuracy"))
    )
    return fit(decisions), f"held-out half of {len(order)} lines: {figures}"


def main(arguments: Sequence[str]) -> int:
    """Print the config of an AdaptationPlugin to standard output, and the report to standard error."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m pilotfish_calibrate_logits.fitting LOG.jsonl\n")
        return 2
    try:
        with Path(arguments[0]).open() as lines:
            decisions = read(lines)
    except (OSError, ConfigError) as error:
        sys.stderr.write(f"error: {arguments[0]}: {error}\n")
        return 1
    found, figures = report(decisions)
    bias = {label: round(float(each), 4) for label, each in zip(decisions.labels, found.bias, strict=True)}
    config = {"temperature": round(found.temperature, 4), "bias": bias, "biasTokens": 1}
    sys.stdout.write(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    sys.stderr.write(figures + "\n")
    return 0


def _line(number: int, text: str) -> tuple[str, dict[str, float]]:
    try:
        value = json.loads(text)
        label, given = value["label"], value["logprobs"]
        logprobs = {str(token): float(logprob) for token, logprob in given.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError("log", f"line {number}: needs `label` and `logprobs`, an object of numbers") from error
    if not isinstance(label, str) or not logprobs or not np.isfinite(list(logprobs.values())).all():
        raise ConfigError("log", f"line {number}: `label` must be a string, and `logprobs` finite numbers")
    return label, logprobs


def _log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def _penalised(features: Floats, right: Integers, weights: Floats, center: Floats) -> float:
    scores = _log_softmax(features @ weights)
    return float(-scores[np.arange(len(right)), right].sum() + RIDGE * ((weights - center) ** 2).sum())


def _newton(features: Floats, right: Integers, weights: Floats, center: Floats) -> Floats:
    shares = np.exp(_log_softmax(features @ weights))
    expected = np.einsum("nk,nkf->nf", shares, features)
    gradient = (expected - features[np.arange(len(right)), right]).sum(axis=0) + 2 * RIDGE * (weights - center)
    second = np.einsum("nk,nkf,nkg->fg", shares, features, features) - expected.T @ expected
    return np.asarray(np.linalg.solve(second + 2 * RIDGE * np.eye(len(weights)), gradient), np.float64)


def _calibration(weights: Floats) -> Calibration:
    scale = min(max(float(weights[0]), 0.05), 20.0)
    return Calibration(1 / scale, weights[1:] - weights[1:].mean())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
