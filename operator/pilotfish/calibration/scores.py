"""Scores in a log: by the name of the scorer, with a digest of its config."""

import hashlib
from typing import Any

import orjson

from pilotfish.api.strategy import Scorer
from pilotfish.calibration.log import Stage
from pilotfish.plugin_api.artifacts import read_artifact
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers import combined, logprob


def asked_of(scorer: Scorer, artifact: bytes | None = None) -> tuple[Scorer, ...]:
    """The scorers whose scores a log holds for this one: the members of a combination, else the scorer itself.

    `artifact`: that of a combination, which may name the scale of its members' scores. Raises ConfigError for members
    that do not fit.
    """
    if scorer.name != combined.KIND:
        return (scorer,)
    settings = Settings(scorer.config, artifact)
    arrays = None if artifact is None else read_artifact(settings, combined.KIND)
    members = [
        combined.scaled(member, place, arrays)
        for place, member in enumerate(read_config(combined.Config, settings).members)
    ]
    roles = [combined.roles_of(member, place) for place, member in enumerate(members)]
    return tuple(
        Scorer(
            name=member.name,
            config=member.config,
            pool_refs=tuple(ref for ref in scorer.pool_refs if ref.role in asked),
        )
        for member, asked in zip(members, roles, strict=True)
    )


def digest_of(scorer: Scorer) -> str:
    """A digest of the config and the pools of the scorer, on which its scores depend besides the artifact."""
    identity = {"config": _settled(scorer), "pools": {ref.role: ref.name for ref in scorer.pool_refs}}
    return hashlib.blake2b(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def _settled(scorer: Scorer) -> dict[str, Any]:
    """The config with the scale of `logprob` in it, which has no key where it is PROBABILITY: so digests of logs that
    were recorded while that was the default stay true.
    """
    if scorer.name != logprob.KIND:
        return dict(scorer.config)
    scale = logprob.scale_of(read_config(logprob.Config, Settings(scorer.config)), None)
    others = {name: value for name, value in scorer.config.items() if name != "scale"}
    return others if scale is logprob.Scale.PROBABILITY else {**others, "scale": scale.value}


def holds(stage: Stage, scorer: Scorer) -> bool:
    """Whether the log has this scorer's score, and no digest of another config."""
    return scorer.name in stage.scores and not is_of_another(stage, scorer)


def is_of_another(stage: Stage, scorer: Scorer) -> bool:
    """Whether the score of that name is known to be of a scorer with another config."""
    digest = digest_of(scorer)
    return stage.score_configs.get(scorer.name, digest) != digest


def lacking(stage: Stage, scorers: tuple[Scorer, ...]) -> str:
    """The name of the first score that the log lacks, with the reason if it has one by another config."""
    first = next(scorer for scorer in scorers if not holds(stage, scorer))
    other = " by this config (the recorded score has another config)" if is_of_another(stage, first) else ""
    return f"scores.{first.name}{other}"
