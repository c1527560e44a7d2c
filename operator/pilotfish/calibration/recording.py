"""Send prompts to every pool of some routers, through a gateway, and write a log for `calibrate` and `replay`.

Each row is written when its request is done. A recording that was interrupted continues where it stopped, and one
with additional pools or scorers adds what rows lack.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import orjson
from pydantic import ConfigDict, Field, ValidationError

from pilotfish.api.validation import format_path, message_of
from pilotfish.base.errors import BadUpstream, ConfigError, ModelUnavailable, PilotfishError, RequestError
from pilotfish.calibration.checks import Check, parse_check
from pilotfish.calibration.judges import Judge
from pilotfish.calibration.log import RecordedRequest, RecordedStage, Row, line_of
from pilotfish.calibration.offline_models import OfflineModels
from pilotfish.calibration.resuming import log_so_far
from pilotfish.plugin_api.scorers import Answer, AnswerScorer, JudgeScorer, Question, TokenLogprobs, question_text
from pilotfish.plugins.score_digests import digest_of
from pilotfish.upstream.pooling_answers import scores, vectors

ALTERNATIVES = 5
"""Likeliest tokens recorded at each place."""


class Prompt(Row):
    """One line of a file of prompts. `check` decides whether an answer is right."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    id: Annotated[str, Field(min_length=1)]
    prompt: str | None = None
    messages: tuple[dict[str, Any], ...] | None = None
    category: str | None = None
    check: dict[str, Any] | None = None

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """What is sent."""
        return list(self.messages) if self.messages else [{"role": "user", "content": self.prompt or ""}]


def read_prompts(path: Path) -> list[tuple[Prompt, Check | None]]:
    """Prompts and their checks. Raises ConfigError for an invalid line, two prompts with one id, and a
    file without prompts.
    """
    found: dict[str, tuple[Prompt, Check | None]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            prompt = Prompt.model_validate(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise ConfigError(where, f"is not JSON: {error}: write one JSON object in each line") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ConfigError(where, f"{format_path(first['loc'])}: {message_of(first)}") from error
        if (prompt.prompt is None) == (prompt.messages is None):
            raise ConfigError(where, "set exactly one of prompt and messages")
        if prompt.id in found:
            raise ConfigError(where, f"id {prompt.id!r} is used twice: give each prompt its own id")
        found[prompt.id] = prompt, parse_check(prompt.check, where) if prompt.check is not None else None
    if not found:
        raise ConfigError(str(path), "has no prompt: write one JSON object with id and prompt in each line")
    return list(found.values())


def sample(prompts: Sequence[tuple[Prompt, Check | None]], most: int | None) -> list[tuple[Prompt, Check | None]]:
    """At most `most` prompts, in an order that depends on their ids only, so that the first are a random sample."""
    ordered = sorted(prompts, key=lambda each: hashlib.blake2b(each[0].id.encode()).digest())
    return ordered if most is None else ordered[:most]


@dataclass
class Gateway:
    """The gateway's API, as far as a recording needs it."""

    http: aiohttp.ClientSession
    url: str

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's object. Raises ModelUnavailable for a refusal, BadUpstream for what is cut off or no object."""
        try:
            async with self.http.post(f"{self.url}/v1{path}", data=orjson.dumps(body)) as response:
                raw = await response.read()
        except aiohttp.ClientPayloadError as error:
            raise BadUpstream(f"{self.url} closed the connection before the end of its answer: {error}") from error
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise BadUpstream(f"{self.url} returned a response that is not JSON: {raw[:200]!r}") from error
        if response.status != 200 or not isinstance(value, dict):
            said = value.get("error", {}).get("message") if isinstance(value, dict) else None
            raise ModelUnavailable(f"{self.url} answered {response.status}: {said or repr(raw[:200])}")
        return value


@dataclass
class RecordingModels(OfflineModels):
    """The pools that a scorer may call, through the gateway. Adds up the cost."""

    gateway: Gateway
    roles: Mapping[str, str]
    cost: float = 0.0

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Mapping[str, Any]:
        """One chat completion."""
        body = {**parameters, "model": self._pool(role), "messages": list(messages)}
        answer = await self.gateway.post("/chat/completions", body)
        self.cost += cost_of(answer) or 0.0
        return answer

    async def embed(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Vectors, one for each text."""
        answer = await self.gateway.post("/embeddings", {"model": self._pool(role), "input": list(texts)})
        return vectors(answer, len(texts))

    async def score(self, role: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Relevance of each text to the query."""
        body = {"model": self._pool(role), "text_1": query, "text_2": list(texts)}
        answer = await self.gateway.post("/score", body)
        return scores(answer, len(texts))

    def has(self, role: str) -> bool:
        """Whether the role has a pool."""
        return role in self.roles

    def _pool(self, role: str) -> str:
        if role not in self.roles:
            raise ConfigError("poolRefs", f"has no pool with the role {role!r}: add one")
        return self.roles[role]


def cost_of(answer: Mapping[str, Any]) -> float | None:
    """What the gateway says that an answer cost."""
    cost = (answer.get("pilotfish") or {}).get("cost") or {}
    return float(cost["amount"]) if "amount" in cost else None


@dataclass(frozen=True)
class Recorder:
    """Asks every pool of every router about a prompt, and every judge about the answers."""

    gateway: Gateway
    pools: tuple[str, ...]
    judges: tuple[Judge, ...]
    max_tokens: int
    vectors_from: str | None = None

    def waiting(
        self, prompts: Sequence[tuple[Prompt, Check | None]], before: Mapping[str, RecordedRequest]
    ) -> list[tuple[Prompt, Check | None]]:
        """Prompts for which the log lacks something. Raises ConfigError if a row has that id and another prompt, or if
        a pool whose answer has a quality would have to be asked again and nothing would judge the new answer.
        """
        found = []
        for prompt, check in prompts:
            entry = before.get(prompt.id)
            if entry is not None and entry.question.messages != tuple(prompt.conversation):
                raise ConfigError(
                    "--out", f"request {prompt.id!r} is in the log with another question: use another file"
                )
            if entry is not None and check is None:
                self._keep_judged(entry)
            if entry is None or self._lacks(entry):
                found.append((prompt, check))
        return found

    def _keep_judged(self, entry: RecordedRequest) -> None:
        for stage in entry.stages:
            if stage.quality is not None and (lacks := self._unreadable(stage)):
                text = (
                    f"request {entry.id!r} lacks {lacks} of pool {stage.pool!r}, and asking again would lose `quality`"
                )
                raise ConfigError("--out", f"{text}: add a `check` to the prompt, or use another file for --out")

    def _unreadable(self, stage: RecordedStage) -> str:
        """The field that the stage lacks for the remaining judges; empty if it lacks none."""
        missing = (judge for judge in self.judges if not judge.has_judged(stage))
        return next((lacks for judge in missing if (lacks := judge.lacks(stage))), "")

    def _lacks(self, entry: RecordedRequest) -> bool:
        held = {stage.pool for stage in entry.stages}
        judged = all(judge.has_judged(stage) for stage in entry.stages for judge in self.judges)
        return not held.issuperset(self.pools) or not judged or (self.vectors_from is not None and entry.vector is None)

    async def entry(
        self, prompt: Prompt, check: Check | None, before: RecordedRequest | None = None
    ) -> RecordedRequest:
        """The finished row, with its previous fields. Raises RequestError if a pool cannot answer."""
        held = {stage.pool: stage for stage in before.stages} if before else {}
        stages = {pool: await self._stage(pool, prompt, check, held.get(pool)) for pool in self.pools}
        vector = before.vector if before else None
        if self.vectors_from is not None and vector is None:
            embedder = RecordingModels(self.gateway, {"embedder": self.vectors_from})
            (embedded,) = await embedder.embed("embedder", [question_text(Question(tuple(prompt.conversation)))])
            vector = tuple(embedded)
        if before:
            update: dict[str, Any] = {"stages": tuple({**held, **stages}.values()), "vector": vector}
            if any(stages[pool].answer != stage.answer for pool, stage in held.items() if pool in stages):
                # These belong to the old answer.
                update |= {"action": None, "propensity": None}
            return before.model_copy(update=update)
        return RecordedRequest(
            id=prompt.id,
            prompt=prompt.prompt,
            messages=prompt.messages,
            category=prompt.category,
            stages=tuple(stages.values()),
            vector=vector,
        )

    async def _stage(self, pool: str, prompt: Prompt, check: Check | None, held: RecordedStage | None) -> RecordedStage:
        """The recorded stage with the scores that it lacks; asked again if a judge needs a missing field."""
        readable = held is not None and not self._unreadable(held)
        stage = held if held is not None and readable else await self._answered(pool, prompt, check)
        for judge in self.judges:
            if not judge.has_judged(stage):
                stage = await self._judged(stage, prompt, judge)
        return stage

    async def _answered(self, pool: str, prompt: Prompt, check: Check | None) -> RecordedStage:
        body = {
            "model": pool,
            "messages": prompt.conversation,
            "max_tokens": self.max_tokens,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": ALTERNATIVES,
        }
        started = time.perf_counter()
        answer = await self.gateway.post("/chat/completions", body)
        seconds = time.perf_counter() - started
        text, tokens = _read(answer)
        usage = answer.get("usage") or {}
        return RecordedStage(
            pool=pool,
            answer=text,
            logprobs=tuple(token.logprob for token in tokens),
            top_logprobs=tuple(token.top for token in tokens),
            quality=None if check is None else float(check.holds(text)),
            cost=cost_of(answer),
            seconds=seconds,
            input_tokens=usage.get("prompt_tokens"),
            output_tokens=usage.get("completion_tokens"),
        )

    async def _judged(self, stage: RecordedStage, prompt: Prompt, judge: Judge) -> RecordedStage:
        """The stage with the judge's score, and what asking it took."""
        tokens, name = stage.tokens(), judge.name
        update: dict[str, Any] = {"score_configs": {**stage.score_configs, name: digest_of(judge.named)}}
        if isinstance(judge.scorer, JudgeScorer):
            started = time.perf_counter()
            question = Question(tuple(prompt.conversation), max_tokens=self.max_tokens, temperature=0.0)
            models = RecordingModels(self.gateway, judge.roles)
            answer = Answer(stage.answer or "", tokens)
            score = await judge.scorer.judge(question=question, answer=answer, models=models)
            update["score_costs"] = {**stage.score_costs, name: models.cost}
            update["score_seconds"] = {**stage.score_seconds, name: time.perf_counter() - started}
        elif isinstance(judge.scorer, AnswerScorer):
            running = judge.scorer.start()
            running.add(tokens)
            score = running.score()
        else:
            raise ConfigError(
                "scorer", f"{name!r} scores prompts, not answers, so it cannot score the answers of pool {stage.pool!r}"
            )
        return stage.model_copy(update={**update, "scores": {**stage.scores, name: score.permille}})


def _read(answer: Mapping[str, Any]) -> tuple[str, tuple[TokenLogprobs, ...]]:
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"] or ""
        content = (choice.get("logprobs") or {}).get("content") or ()
        tokens = tuple(
            TokenLogprobs(float(token["logprob"]), tuple(float(other["logprob"]) for other in token["top_logprobs"]))
            for token in content
        )
    except (KeyError, IndexError, TypeError) as error:
        raise BadUpstream(f"the model server's answer is not a chat completion: {error!r}") from error
    return text, tokens


@dataclass
class Outcome:
    """The result of a recording: the number of rows written, and the error of each prompt that failed."""

    written: int = 0
    failed: dict[str, str] = field(default_factory=dict)


async def record(
    recorder: Recorder,
    prompts: Sequence[tuple[Prompt, Check | None]],
    out: Path,
    *,
    before: Mapping[str, RecordedRequest],
    at_once: int,
    on_progress: Callable[[Outcome], None],
) -> Outcome:
    """Record prompts, `at_once` at a time, and append them to `out`. `on_progress` is called after each.

    `before`: the rows of `out`, by id. A prompt that fails is reported and not written, so that a later run tries it
    again. Raises ModelUnavailable if the gateway does not answer.
    """
    outcome = Outcome()
    waiting = iter(prompts)
    fault: ExceptionGroup[PilotfishError] | None = None
    with out.open("ab") as file:

        async def work() -> None:
            for prompt, check in waiting:
                try:
                    entry = await recorder.entry(prompt, check, before.get(prompt.id))
                except RequestError as error:
                    outcome.failed[prompt.id] = str(error)
                except aiohttp.ClientConnectionError as error:
                    raise ModelUnavailable(
                        f"the gateway at {recorder.gateway.url} does not answer: {error}: start it, or correct --url"
                    ) from error
                else:
                    file.write(line_of(entry))
                    file.flush()
                    outcome.written += 1
                on_progress(outcome)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(work())
        except* PilotfishError as faults:
            fault = faults
        finally:
            # Removes the old versions of rows.
            log_so_far(out)
    if fault is not None:
        raise fault.exceptions[0]
    return outcome
