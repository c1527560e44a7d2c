"""`combined`: several judges of one answer, joined by a calibrated head.

The head is a logistic regression that `pilotfish calibrate` learns from a log in which every member's score was
recorded, as in Gupta et al., "Language Model Cascades: Token-level Uncertainty and Beyond", ICLR 2024, where a
post-hoc model joins several uncertainties.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Self

from numpy.typing import NDArray
from pydantic import AfterValidator

from pilotfish.api.common import EntryPointName, Model, Opaque, ordered_list
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.artifacts import read_artifact
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import Answer, AnswerScorer, JudgeScorer, Question, Score, permille
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers import agreement, logprob, selfcheck, verifier
from pilotfish.plugins.builtin.scorers.heads import LogisticHead

KIND = "combined"
MEMBERS: dict[str, type[AnswerScorer] | type[JudgeScorer]] = {
    "agreement": agreement.AgreementScorer,
    "logprob": logprob.LogprobScorer,
    "self-check": selfcheck.SelfCheckScorer,
    "verifier": verifier.VerifierScorer,
}
_CONFIGS: dict[str, type[Model]] = {
    "agreement": agreement.Config,
    "logprob": logprob.Config,
    "self-check": selfcheck.Config,
    "verifier": verifier.Config,
}


class Member(Model):
    """One scorer of the combination; `config` is that scorer's own."""

    name: EntryPointName
    config: Opaque = {}


def _each_once(members: tuple[Member, ...]) -> tuple[Member, ...]:
    """A log holds one score of a name: two of one name would learn, and be replayed, from the same."""
    names = [member.name for member in members]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"scorer {twice!r} is listed twice: remove one")
    return members


class Config(Model):
    """The scorers to combine. Their pools are the router's `poolRefs`, shared by role."""

    members: Annotated[tuple[Member, ...], ordered_list(minimum=2, maximum=8), AfterValidator(_each_once)]


class CombinedScorer:
    """Scores an answer by several scorers at once. Cannot bound its score from a prefix: such a stage is held."""

    config_model: ClassVar = Config

    def __init__(self, members: tuple[AnswerScorer | JudgeScorer, ...], head: LogisticHead) -> None:
        self.members = members
        self._head = head
        needed = [member.top_logprobs for member in members if member.top_logprobs is not None]
        self.top_logprobs: int | None = max(needed, default=None)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError for a member that does not exist or fit, or an artifact learned for other members."""
        config = read_config(Config, settings)
        arrays = read_artifact(settings, KIND)
        head = LogisticHead.from_arrays(arrays)
        head.expect(signal_names(config))
        members = [_scaled(member, place, arrays) for place, member in enumerate(config.members)]
        return cls(tuple(_member(member, place) for place, member in enumerate(members)), head)

    async def judge(self, *, question: Question, answer: Answer, models: Models) -> Score:
        """The head's probability over the members' scores, asked one after the other."""
        return self._joined([await _score(member, question, answer, models) for member in self.members])

    def recorded(self, scores: Mapping[str, int]) -> Score:
        """The same from members' recorded scores, permille by scorer name. Raises KeyError for one that is not
        there.
        """
        return self._joined([Score(scores[name.partition("-")[2]]) for name in self._head.names])

    def _joined(self, scores: Sequence[Score]) -> Score:
        signals = [score.permille / 1000 for score in scores]
        parts = self._head.contributions(signals)
        members = {name: dict(score.details) for name, score in zip(self._head.names, scores, strict=True)}
        return Score(permille(self._head.probability(signals)), {"contributions": parts, "members": members})


def signal_names(config: Config) -> tuple[str, ...]:
    """Names of the members' signals in the head: place and scorer."""
    return tuple(f"{place}-{member.name}" for place, member in enumerate(config.members))


def _scaled(member: Member, place: int, arrays: Mapping[str, NDArray[Any]]) -> Member:
    """The member with the scale of `logprob` that is in force named in its config. `arrays`: the combination's
    artifact.
    """
    if member.name != logprob.KIND:
        return member
    with _fault_of(member, place):
        config = read_config(logprob.Config, Settings(member.config))
    scale = logprob.scale_of(config, arrays)
    return member.model_copy(update={"config": {**member.config, "scale": scale.value}})


def roles_of(member: Member, place: int) -> frozenset[str]:
    """Roles of the pools that the member asks. Raises ConfigError for one that does not exist or fit."""
    with _fault_of(member, place):
        config = read_config(_CONFIGS[member.name], Settings(member.config))
    roles = (getattr(config, field, None) for field in ("role", "embed_role"))
    return frozenset(role for role in roles if role is not None)


def _member(member: Member, place: int) -> AnswerScorer | JudgeScorer:
    with _fault_of(member, place):
        return MEMBERS[member.name].from_settings(Settings(config=member.config))


@contextmanager
def _fault_of(member: Member, place: int) -> Iterator[None]:
    """Faults of a member with their path in the combination's config."""
    path = f"config.members.{place}"
    if member.name not in MEMBERS:
        raise ConfigError(f"{path}.name", f"{member.name!r} cannot be a member; use one of: {', '.join(MEMBERS)}")
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}.{error.field}", error.message) from error


async def _score(member: AnswerScorer | JudgeScorer, question: Question, answer: Answer, models: Models) -> Score:
    if isinstance(member, JudgeScorer):
        return await member.judge(question=question, answer=answer, models=models)
    running = member.start()
    running.add(answer.tokens)
    return running.score()
