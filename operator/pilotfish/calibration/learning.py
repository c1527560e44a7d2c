"""Training of scorers from a log."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pilotfish.api import ModelRouter
from pilotfish.api.strategy import Scorer
from pilotfish.base.arrays import Integers
from pilotfish.base.errors import ConfigError
from pilotfish.calibration.log import RecordedRequest, RecordedStage
from pilotfish.calibration.scores import asked_of, holds, lacking
from pilotfish.calibration.statistics.diagnose import CalibrationWarning, WarningCode
from pilotfish.calibration.train import train_head
from pilotfish.plugin_api.artifacts import read_artifact, write_artifact
from pilotfish.plugin_api.learning import Examples, LearningScorer, Outcomes
from pilotfish.plugin_api.scorers import question_text
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers import combined, logprob
from pilotfish.plugins.builtin.scorers.heads import LogisticHead
from pilotfish.plugins.extension_points import SCORERS
from pilotfish.plugins.registry import Registry

LEARNED_FROM = "taught"
"""The array of an artifact that identifies the requests it was learned from, by `request_digests`."""


def request_digests(entries: Sequence[RecordedRequest]) -> Integers:
    """A digest of each request [n], computed from its id and its prompt."""
    identities = (f"{entry.id}\n{question_text(entry.question)}" for entry in entries)
    digests = (hashlib.blake2b(identity.encode(), digest_size=8).digest() for identity in identities)
    return np.array([int.from_bytes(digest, "big", signed=True) for digest in digests], np.int64)


def not_learned_from(
    entries: Sequence[RecordedRequest], router: ModelRouter, registry: Registry, artifacts: Mapping[int, bytes]
) -> list[RecordedRequest]:
    """The requests that taught none of the artifacts: only these show what a scorer is worth. Raises ConfigError where
    there are none.
    """
    taught: set[int] = set()
    for place, scorer in enumerate(router.scorers):
        if place in artifacts and trainable(scorer, registry):
            arrays = read_artifact(Settings(scorer.config, artifacts[place]), scorer.name)
            taught.update(arrays.get(LEARNED_FROM, np.array([], np.int64)).tolist())
    left = [entry for entry, mark in zip(entries, request_digests(entries).tolist(), strict=True) if mark not in taught]
    if not left:
        raise ConfigError(
            "log", "the scorer learned from every request in it: use another log, or calibrate with --relearn"
        )
    return left


def trainable(scorer: Scorer, registry: Registry) -> bool:
    """Whether the scorer has to learn before it can score. Raises PluginError for one that cannot be loaded."""
    if scorer.name == logprob.KIND:
        return scorer.config.get("statistic") == logprob.Statistic.COMBINATION.value
    return scorer.name == combined.KIND or _learning(scorer, registry) is not None


def _learning(scorer: Scorer, registry: Registry) -> type[LearningScorer] | None:
    plugin: type = registry.load(SCORERS, scorer.name)
    return plugin if issubclass(plugin, LearningScorer) else None


@dataclass(frozen=True)
class Trained:
    """The artifact of a scorer, and what its training showed."""

    artifact: bytes
    warnings: tuple[CalibrationWarning, ...] = ()


def train(entries: Sequence[RecordedRequest], router: ModelRouter, registry: Registry, place: int) -> Trained:
    """The scorer at `place`, learned from the log. Raises ConfigError where it cannot be."""
    scorer = router.scorers[place]
    pools = router.strategy_pools
    candidate = pools[place] if router.spec.strategy.cascade else pools[0]
    pairs = [(entry, entry.stage(candidate), entry.stage(pools[-1])) for entry in entries]
    known = [
        (entry, small, large.quality)
        for entry, small, large in pairs
        if small is not None and large is not None and small.quality is not None and large.quality is not None
    ]
    outcomes = Outcomes(
        np.array([small.quality for _, small, _ in known], np.float64),
        np.array([quality for _, _, quality in known], np.float64),
    )
    if (plugin := _learning(scorer, registry)) is not None:
        recorded = [entry for entry, _, _ in known]
        examples = Examples(
            [entry.id for entry in recorded],
            [entry.question for entry in recorded],
            [entry.vector for entry in recorded],
            outcomes,
        )
        learned = plugin.learn(settings=Settings(scorer.config), examples=examples)
        return Trained(
            learned.artifact, tuple(CalibrationWarning(WarningCode.NOTHING_LEARNED, text) for text in learned.warnings)
        )
    head, kind = _train_head(scorer, [small for _, small, _ in known], outcomes)
    return Trained(write_artifact(kind, {**head.to_arrays(), **logprob.scale_arrays()}))


def _train_head(scorer: Scorer, stages: Sequence[RecordedStage], outcomes: Outcomes) -> tuple[LogisticHead, str]:
    if scorer.name == logprob.KIND:
        rows = [logprob.signals(stage.tokens()) for stage in stages if stage.logprobs]
        good = np.array([value for stage, value in zip(stages, outcomes.as_good, strict=True) if stage.logprobs])
        return train_head(logprob.SIGNAL_NAMES, np.array(rows), good), logprob.KIND
    config = read_config(combined.Config, Settings(scorer.config))
    asked = asked_of(scorer)
    incomplete = [stage for stage in stages if not all(holds(stage, member) for member in asked)]
    if incomplete:
        raise ConfigError(
            "log",
            f"{len(incomplete)} answers lack {lacking(incomplete[0], asked)}: record them with `pilotfish record`",
        )
    rows = [[stage.scores[member.name] / 1000 for member in asked] for stage in stages]
    return train_head(combined.signal_names(config), np.array(rows), outcomes.as_good), combined.KIND
