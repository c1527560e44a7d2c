"""The scorers that judge recorded answers: those of the routers' cascades, once for each pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilotfish.api import ModelRouter
from pilotfish.api.strategy import Scorer
from pilotfish.base.errors import ConfigError
from pilotfish.calibration.evaluate import AnyScorer, make_scorer
from pilotfish.calibration.learning import trainable
from pilotfish.calibration.log import RecordedStage
from pilotfish.calibration.scores import asked_of, holds
from pilotfish.plugin_api.scorers import AnswerScorer, JudgeScorer
from pilotfish.plugins.registry import Registry
from pilotfish.plugins.score_digests import digest_of


@dataclass(frozen=True)
class Judge:
    """A scorer of one stage of a router that adds scores to rows."""

    pool: str
    named: Scorer
    scorer: AnyScorer

    @property
    def name(self) -> str:
        """Under which the log holds its scores."""
        return self.named.name

    @property
    def roles(self) -> Mapping[str, str]:
        """The pools that it may ask."""
        return {"self": self.pool, **{ref.role: ref.name for ref in self.named.pool_refs}}

    def has_judged(self, stage: RecordedStage) -> bool:
        """Whether the stage needs no score of this judge: it is another pool's, or it has the score."""
        return stage.pool != self.pool or holds(stage, self.named)

    def lacks(self, stage: RecordedStage) -> str:
        """The required field that the stage lacks; empty if the answer can be judged."""
        scorer = self.scorer
        if isinstance(scorer, JudgeScorer) and stage.answer is None:
            return "answer"
        reads_tokens = isinstance(scorer, AnswerScorer | JudgeScorer) and scorer.top_logprobs is not None
        return "logprobs" if reads_tokens and stage.logprobs is None else ""


def judges_of(routers: Sequence[ModelRouter], registry: Registry) -> list[Judge]:
    """Scorers that need no artifact, and the members of combinations. Raises ConfigError where two of one name differ
    in config, or in the pools that they ask.
    """
    found: dict[tuple[str, str], Judge] = {}
    for router in routers:
        cascade = router.spec.strategy.cascade
        for stage in cascade.stages if cascade else ():
            for named in asked_of(stage.accept.scorer) if stage.accept else ():
                if trainable(named, registry):
                    continue
                pool = stage.pool_ref.name
                known = found.setdefault((pool, named.name), Judge(pool, named, make_scorer(named, registry, None)))
                if digest_of(known.named) != digest_of(named):
                    text = f"scorer {named.name!r} has another config in another router: record the routers separately"
                    raise ConfigError(f"router {router.name!r}", text)
    return list(found.values())
