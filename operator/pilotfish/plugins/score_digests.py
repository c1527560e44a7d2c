"""Digests of scorers, by which a log labels scores: two scorers with one digest give an answer the same score."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from pilotfish.api.strategy import Scorer
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers import combined, logprob
from pilotfish.plugins.builtin.scorers.logprob import Scale, Statistic

SCALE = "scale"


def in_force(named: Scorer, made: object) -> Scorer:
    """The scorer with the scale of `logprob` that is in force in its config, because an artifact may set it.

    `made`: the instance of `named`.
    """
    return named.model_copy(update={"config": _in_force(named.config, made)})


def digest_of(scorer: Scorer) -> str:
    """A digest of the config and the pools of the scorer, on which its scores depend besides the artifact."""
    return _digest(scorer, _settled(scorer.name, scorer.config))


def digests_of(scorer: Scorer) -> frozenset[str]:
    """`digest_of`, and the digests by which earlier versions labelled the same scores."""
    configs = [_settled(scorer.name, scorer.config)]
    if scorer.name == logprob.KIND and not _needs_odds(scorer.config):
        configs.append({**configs[0], SCALE: Scale.PROBABILITY.value})
        if _is_combination(scorer.config):
            configs.append({**configs[0], SCALE: Scale.ODDS.value})
    return frozenset(_digest(scorer, config) for config in configs)


def is_without_digest(scorer: Scorer) -> bool:
    """Whether a score without a digest may be of this scorer.

    Such scores of `logprob` were recorded while PROBABILITY was the default scale, so they are never taken for odds.
    """
    if scorer.name == combined.KIND:
        members = read_config(combined.Config, Settings(scorer.config)).members
        return not any(member.name == logprob.KIND and _needs_odds(member.config) for member in members)
    return scorer.name != logprob.KIND or not _needs_odds(scorer.config)


def _in_force(config: Mapping[str, Any], made: object) -> dict[str, Any]:
    if isinstance(made, logprob.LogprobScorer):
        return {**config, SCALE: made.scale.value}
    if isinstance(made, combined.CombinedScorer):
        pairs = zip(config["members"], made.members, strict=True)
        members = [{**member, "config": _in_force(member.get("config", {}), scorer)} for member, scorer in pairs]
        return {**config, "members": members}
    return dict(config)


def _settled(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the scale of `logprob` in it only where it is ODDS and matters, because logs that were recorded
    while PROBABILITY was the default have no scale in their digests.
    """
    if name == combined.KIND:
        members = read_config(combined.Config, Settings(config)).members
        return {
            "members": [{"name": member.name, "config": _settled(member.name, member.config)} for member in members]
        }
    if name != logprob.KIND:
        return dict(config)
    others = {field: value for field, value in config.items() if field != SCALE}
    return {**others, SCALE: Scale.ODDS.value} if _needs_odds(config) else others


def _needs_odds(config: Mapping[str, Any]) -> bool:
    """Whether the scores of `logprob` are on the scale ODDS. A combination has no scale."""
    read = read_config(logprob.Config, Settings(config))
    return not _is_combination(config) and logprob.scale_of(read, None) is Scale.ODDS


def _is_combination(config: Mapping[str, Any]) -> bool:
    return read_config(logprob.Config, Settings(config)).statistic is Statistic.COMBINATION


def _digest(scorer: Scorer, config: Mapping[str, Any]) -> str:
    identity = {"config": config, "pools": {ref.role: ref.name for ref in scorer.pool_refs}}
    return hashlib.blake2b(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
