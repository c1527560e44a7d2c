"""Judges: how sure is a pool of its answer, and is that sure enough? One for each stage, made when its route is built.

A judge reads as much of an answer ahead of the client as its scorer needs. The answer keeps what was read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from pilotfish.api.strategy import Accept
from pilotfish.base.errors import BadUpstream, ConfigError
from pilotfish.gateway.answer_reader import AnswerReader
from pilotfish.gateway.wire import logprobs
from pilotfish.gateway.wire.assembly import Assembly
from pilotfish.gateway.wire.request import ClientRequest
from pilotfish.gateway.wire.upstream import Chunk, Piece, choice_text
from pilotfish.plugin_api.boundaries import boundaries_of
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import Answer, AnswerScorer, JudgeScorer
from pilotfish.plugins.score_digests import digest_of, in_force
from pilotfish.routing.cascade import AcceptancePolicy, Decision, StageJudge, judge_whole

ModelsFor = Callable[[Mapping[str, str]], Models]
"""What a scorer may ask, from the pool of each role."""


class Judge(Protocol):
    """Judges the answers of one stage."""

    @property
    def accept(self) -> Accept:
        """Scorer and threshold, from the manifest."""

    @property
    def digest(self) -> str:
        """Labels the scores in the request log."""

    @property
    def incremental(self) -> bool:
        """Whether the decision may be made while the answer is being written."""

    def at(self, accept: Accept) -> Self:
        """The same judge with another threshold."""

    def parameters(self, request: ClientRequest) -> Mapping[str, Any]:
        """What the pool is asked for besides what the client asks for."""

    async def decide(
        self, answer: AnswerReader, request: ClientRequest, models_for: ModelsFor, *, early: bool
    ) -> Decision:
        """The decision on the answer. `early`: it may be made on the beginning of a streamed answer."""


def judge_of(accept: Accept, pool: str, scorer: object) -> Judge:
    """The judge of a stage at `pool`. Raises ConfigError for a scorer that does not score answers."""
    digest = digest_of(in_force(accept.scorer, scorer))
    if isinstance(scorer, AnswerScorer):
        return TokenJudge(accept, scorer, digest)
    if isinstance(scorer, JudgeScorer):
        roles = {"self": pool, **{ref.role: ref.name for ref in accept.scorer.pool_refs}}
        return WholeJudge(accept, scorer, roles, digest)
    raise ConfigError(
        f"scorer {accept.scorer.name}", "it scores prompts, not answers: use it in a strategy of type Predictive"
    )


@dataclass(frozen=True)
class TokenJudge:
    """Judges token by token, with a scorer that reads log-probabilities."""

    accept: Accept
    scorer: AnswerScorer
    digest: str
    incremental = True

    def at(self, accept: Accept) -> Self:
        """The same judge with another threshold."""
        return replace(self, accept=accept)

    def parameters(self, request: ClientRequest) -> Mapping[str, Any]:
        """Log-probabilities."""
        return logprobs.ask_for(request, self.scorer.top_logprobs)

    async def decide(
        self, answer: AnswerReader, request: ClientRequest, _models_for: ModelsFor, *, early: bool
    ) -> Decision:
        """Read ahead until the decision is certain, or the answer has ended."""
        piece = await answer.read_ahead()
        if piece and piece.whole and piece.chunks:
            return self._decide_whole(request, piece.chunks[0])
        policy = AcceptancePolicy(
            self.accept.threshold_permille,
            self.accept.decide_within_tokens,
            request.max_tokens,
            early=early,
            boundaries=boundaries_of(self.scorer),
        )
        judge = StageJudge(self.scorer, policy, request.choices)
        while piece:
            for chunk in piece.chunks or ():
                answer.counted_tokens += self._feed(judge, request, chunk)
            piece = None if judge.decision else await answer.read_ahead()
        return judge.decision or judge.end()

    def _decide_whole(self, request: ClientRequest, answer: Chunk) -> Decision:
        """The decision on the choices that are there, because some model servers ignore `n`."""
        policy = AcceptancePolicy(self.accept.threshold_permille, self.accept.decide_within_tokens, early=False)
        judge = StageJudge(self.scorer, policy, max(1, len(answer["choices"])))
        for place, choice in enumerate(answer["choices"]):
            judge.add(place, logprobs.read(request, choice))
        return judge.end()

    def _feed(self, judge: StageJudge, request: ClientRequest, chunk: Chunk) -> int:
        counted = 0
        for choice in chunk["choices"]:
            index = choice.get("index", 0)
            if not 0 <= index < request.choices:
                raise BadUpstream(f"the model server sent choice {index}, but {request.choices} were requested")
            tokens = logprobs.read(request, choice)
            counted += len(tokens)
            judge.add(index, tokens)
            if choice.get("finish_reason"):
                judge.end_choice(index)
        return counted


@dataclass(frozen=True)
class WholeJudge:
    """Judges a whole answer, with a scorer that may ask models about it. The least sure choice counts."""

    accept: Accept
    scorer: JudgeScorer
    roles: Mapping[str, str]
    digest: str
    incremental = False

    def at(self, accept: Accept) -> Self:
        """The same judge with another threshold."""
        return replace(self, accept=accept)

    def parameters(self, request: ClientRequest) -> Mapping[str, Any]:
        """Log-probabilities, if the scorer reads them."""
        return {} if self.scorer.top_logprobs is None else logprobs.ask_for(request, self.scorer.top_logprobs)

    async def decide(
        self, answer: AnswerReader, request: ClientRequest, models_for: ModelsFor, *, early: bool
    ) -> Decision:
        """Read the whole answer ahead and score each choice."""
        pieces = []
        while piece := await answer.read_ahead():
            pieces.append(piece)
        models = models_for(self.roles)
        scores = []
        for choice in _whole(request, pieces)["choices"]:
            tokens = tuple(logprobs.read(request, choice))
            said = Answer(choice_text(choice), tokens)
            score = await self.scorer.judge(question=request.question, answer=said, models=models)
            scores.append((score, len(tokens)))
        if not scores:
            raise BadUpstream("the model server sent an answer without choices")
        score, count = min(scores, key=lambda scored: scored[0].permille)
        return judge_whole(score, self.accept.threshold_permille, count)


def _whole(request: ClientRequest, pieces: list[Piece]) -> Chunk:
    if len(pieces) == 1 and pieces[0].whole and pieces[0].chunks:
        return pieces[0].chunks[0]
    assembly = Assembly(request)
    for piece in pieces:
        for chunk in piece.chunks or ():
            assembly.add(chunk)
    return assembly.whole()
