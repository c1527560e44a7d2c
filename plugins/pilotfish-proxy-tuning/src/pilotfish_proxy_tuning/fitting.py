"""Learns the mixer of the combination Mixture: `python -m pilotfish_proxy_tuning.fitting --help`.

DOCUMENTS is JSONL with a `text` in each line, of the domain that the models are to write in. The weights maximise the
likelihood of their tokens under the mixture by expectation maximisation. A token's responsibility, the probability that
the expert wrote it, is the target of a logistic regression on the entropies of both models (Ormazabal et al. 2023,
"CombLM", with entropies as the features of the combination).
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pilotfish.base.arrays import Floats
from pilotfish.base.errors import ConfigError

FEWEST_TOKENS = 200
MOST_TOKENS_OF_A_DOCUMENT = 1024
ROUNDS = 200
LEAST_GAIN = 1e-7
"""Nats for each token."""
RIDGE = 1e-3
"""Penalty on the squared weights for each token."""


@dataclass(frozen=True)
class TokenStatistics:
    """n tokens: the natural-log probability that each model gives them [n], and the entropies of the models there."""

    base: Floats
    expert: Floats
    base_entropy: Floats
    expert_entropy: Floats

    @property
    def features(self) -> Floats:
        """1 and the entropies, [n, 3]."""
        return np.stack([np.ones_like(self.base), self.base_entropy, self.expert_entropy], axis=1)

    def rows(self, places: slice) -> "TokenStatistics":
        """Some of the tokens."""
        return TokenStatistics(*(getattr(self, name)[places] for name in self.__dataclass_fields__))

    def likelihood(self, weights: Floats) -> float:
        """Mean log-probability of the tokens under the mixture, in nats."""
        score = self.features @ weights
        return float(np.logaddexp(self.base - np.logaddexp(0, score), self.expert - np.logaddexp(0, -score)).mean())


def fit(tokens: TokenStatistics) -> Floats:
    """The weights of bias, base entropy and expert entropy. Raises ConfigError for fewer than FEWEST_TOKENS tokens."""
    if len(tokens.base) < FEWEST_TOKENS:
        raise ConfigError("documents", f"have {len(tokens.base)} tokens: at least {FEWEST_TOKENS} are needed")
    features, weights = tokens.features, np.zeros(3)
    before = tokens.likelihood(weights)
    for _ in range(ROUNDS):
        share = _sigmoid(features @ weights)
        odds = tokens.expert - tokens.base + features @ weights
        weights = _step(features, _sigmoid(odds), share, weights)
        after = tokens.likelihood(weights)
        if after - before < LEAST_GAIN:
            break
        before = after
    return weights


def statistics_of(base: Any, expert: Any, documents: Iterable[Sequence[int]]) -> TokenStatistics:
    """What two causal language models of transformers give the tokens of documents, except the first token of each."""
    import torch  # noqa: PLC0415 - the operator has no torch

    columns: list[list[Floats]] = [[], [], [], []]
    for text in documents:
        ids = torch.tensor([text[:MOST_TOKENS_OF_A_DOCUMENT]], device=base.device)
        with torch.no_grad():
            scores = [model(ids).logits[0, :-1].float() for model in (base, expert)]
        width = min(each.shape[1] for each in scores)
        found = [each[:, :width].log_softmax(dim=1) for each in scores]
        given = [each.gather(1, ids[0, 1:, None])[:, 0] for each in found]
        entropies = [-(each.exp() * each).sum(dim=1) for each in found]
        for column, values in zip(columns, (*given, *entropies), strict=True):
            column.append(values.double().cpu().numpy())
    return TokenStatistics(*(np.concatenate(column) for column in columns))


def main(arguments: Sequence[str]) -> int:
    """Print the `mixer` to standard output, and the gain on the last fifth of the tokens to standard error."""
    parser = argparse.ArgumentParser(prog="python -m pilotfish_proxy_tuning.fitting")
    parser.add_argument("documents", type=Path, help="JSONL with a `text` in each line")
    parser.add_argument("--base", type=Path, required=True, help="folder of the pool's model")
    parser.add_argument("--expert", type=Path, required=True, help="folder of the expert")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    try:
        documents = list(_documents(options.documents))
        tokens = _loaded_statistics(options, documents)
        cut = len(tokens.base) * 4 // 5
        learned, held_out = fit(tokens.rows(slice(cut))), tokens.rows(slice(cut, None))
    except (OSError, ConfigError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    names = ("bias", "baseEntropy", "expertEntropy")
    mixer = {name: round(float(weight), 4) for name, weight in zip(names, fit(tokens), strict=True)}
    sys.stdout.write(json.dumps({"combination": "Mixture", "mixer": mixer}, indent=2) + "\n")
    sys.stderr.write(
        f"mean log-probability of {len(held_out.base)} held-out tokens: base {held_out.base.mean():.3f},"
        f" expert {held_out.expert.mean():.3f}, half of each {held_out.likelihood(np.zeros(3)):.3f},"
        f" learned {held_out.likelihood(learned):.3f}\n"
    )
    return 0


def _loaded_statistics(options: argparse.Namespace, documents: Sequence[str]) -> TokenStatistics:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - the operator has none

    tokenizer = AutoTokenizer.from_pretrained(options.base, local_files_only=True)
    base, expert = (
        AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).to(options.device).eval()
        for folder in (options.base, options.expert)
    )
    encoded = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in documents)
    return statistics_of(base, expert, (ids for ids in encoded if len(ids) > 1))


def _documents(path: Path) -> Iterator[str]:
    with path.open() as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = json.loads(line)["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError("documents", f"{path}: line {number}: must be an object with `text`") from error
            if not isinstance(text, str):
                raise ConfigError("documents", f"{path}: line {number}: `text` must be a string")
            yield text


def _step(features: Floats, targets: Floats, shares: Floats, weights: Floats) -> Floats:
    """One step of Newton's method for the logistic regression on the responsibilities."""
    count = len(targets)
    gradient = features.T @ (targets - shares) - RIDGE * count * weights
    second = (features * (shares * (1 - shares))[:, None]).T @ features + RIDGE * count * np.eye(features.shape[1])
    return np.asarray(weights + np.linalg.solve(second, gradient), np.float64)


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0, -values)), np.float64)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
