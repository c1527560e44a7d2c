"""Scores in a log: by the name of the scorer, with a digest of its config."""

from pilotfish.api.strategy import Scorer
from pilotfish.calibration.log import RecordedStage
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers import combined
from pilotfish.plugins.score_digests import digests_of, is_without_digest

OF_ANOTHER = " (the recorded score has another config)"


def asked_of(scorer: Scorer) -> tuple[Scorer, ...]:
    """The scorers whose scores a log holds for this one: the members of a combination, else the scorer itself.

    Raises ConfigError for members that do not fit.
    """
    if scorer.name != combined.KIND:
        return (scorer,)
    members = read_config(combined.Config, Settings(scorer.config)).members
    roles = [combined.roles_of(member, place) for place, member in enumerate(members)]
    return tuple(
        Scorer(
            name=member.name,
            config=member.config,
            pool_refs=tuple(ref for ref in scorer.pool_refs if ref.role in asked),
        )
        for member, asked in zip(members, roles, strict=True)
    )


def holds(stage: RecordedStage, scorer: Scorer) -> bool:
    """Whether the log has this scorer's score."""
    return scorer.name in stage.scores and not is_of_another(stage, scorer)


def is_of_another(stage: RecordedStage, scorer: Scorer) -> bool:
    """Whether the stage has a score of that name by a scorer with another config."""
    if scorer.name not in stage.scores:
        return False
    digest = stage.score_configs.get(scorer.name)
    return not is_without_digest(scorer) if digest is None else digest not in digests_of(scorer)


def lacking(stage: RecordedStage, scorers: tuple[Scorer, ...]) -> str:
    """The name of the first score that the log lacks, with the reason if it has one by another config."""
    first = next(scorer for scorer in scorers if not holds(stage, scorer))
    return f"scores.{first.name}{' by this config' + OF_ANOTHER if is_of_another(stage, first) else ''}"
