"""Prompts through every pool of some routers, by way of a gateway, into a log that `calibrate` and `replay` read.

Each row is written when its request is done: a recording that was cut off goes on where it stopped.
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

from pilotfish.api import ModelRouter
from pilotfish.api.modelrouter import Scorer
from pilotfish.base.errors import BadUpstream, ConfigError, ModelUnavailable, PilotfishError, RequestError
from pilotfish.calibrate.checks import Check, parse_check
from pilotfish.calibrate.evaluate import AnyScorer, make_scorer
from pilotfish.calibrate.learning import trainable
from pilotfish.calibrate.log import Entry, Row, Stage, line_of
from pilotfish.plugin_api.scorers import Answer, AnswerScorer, JudgeScorer, Question, TokenLogprobs
from pilotfish.plugins.registry import Registry
from pilotfish.routing.scorers.support import question_text

ALTERNATIVES = 5
"""Likeliest tokens recorded at each place."""


class Prompt(Row):
    """One line of a file of prompts. `check`: how to tell whether an answer is right."""

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
    """Prompts and their checks. Raises ConfigError with the line for one that does not fit, or two of one id."""
    found: dict[str, tuple[Prompt, Check | None]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            prompt = Prompt.model_validate(orjson.loads(line))
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise ConfigError(where, f"is no prompt with an id: {error}") from error
        if (prompt.prompt is None) == (prompt.messages is None):
            raise ConfigError(where, "give exactly one of prompt, messages")
        if prompt.id in found:
            raise ConfigError(where, f"id {prompt.id!r} is there twice")
        found[prompt.id] = prompt, parse_check(prompt.check, where) if prompt.check is not None else None
    return list(found.values())


def sample(prompts: Sequence[tuple[Prompt, Check | None]], most: int | None) -> list[tuple[Prompt, Check | None]]:
    """The prompts in an order that depends on their ids alone, at most so many: the first of them are like the rest."""
    ordered = sorted(prompts, key=lambda each: hashlib.blake2b(each[0].id.encode()).digest())
    return ordered if most is None else ordered[:most]


def done_before(path: Path) -> set[str]:
    """Ids of the requests that a log holds already. A last line that was cut off is taken out of the file."""
    if not path.exists():
        return set()
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) < len(raw):
        path.write_bytes(whole)
    return {str(orjson.loads(line)["id"]) for line in whole.splitlines() if line.strip()}


@dataclass(frozen=True)
class Judge:
    """A scorer of one stage of a router that has something to add to a row."""

    pool: str
    name: str
    scorer: AnyScorer
    roles: Mapping[str, str]


def judges_of(routers: Sequence[ModelRouter], registry: Registry) -> list[Judge]:
    """Scorers that need no artifact, each once for a pool. Raises ConfigError where two of one name differ in
    config.
    """
    found: dict[tuple[str, str], tuple[Scorer, Judge]] = {}
    for router in routers:
        cascade = router.spec.strategy.cascade
        for stage in cascade.stages if cascade else ():
            if stage.accept is None or trainable(stage.accept.scorer):
                continue
            scorer, pool = stage.accept.scorer, stage.pool_ref.name
            key = (pool, scorer.name)
            if key in found and found[key][0].config != scorer.config:
                text = f"scorer {scorer.name!r} has another config elsewhere: record it apart"
                raise ConfigError(f"router {router.name!r}", text)
            roles = {"self": pool, **{ref.role: ref.name for ref in scorer.pool_refs}}
            found[key] = scorer, Judge(pool, scorer.name, make_scorer(scorer, registry, None), roles)
    return [judge for _, judge in found.values()]


@dataclass
class Gateway:
    """The gateway's API, as far as a recording needs it."""

    http: aiohttp.ClientSession
    url: str

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's object. Raises ModelUnavailable for a refusal, BadUpstream for what is no object."""
        async with self.http.post(f"{self.url}/v1{path}", data=orjson.dumps(body)) as response:
            raw = await response.read()
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise BadUpstream(f"{self.url} answered what is no JSON: {raw[:200]!r}") from error
        if response.status != 200 or not isinstance(value, dict):
            said = value.get("error", {}).get("message") if isinstance(value, dict) else None
            raise ModelUnavailable(f"{self.url} answered {response.status}: {said or repr(raw[:200])}")
        return value


@dataclass
class Asked:
    """The pools that a scorer may ask, by way of the gateway; adds up what that costs."""

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
        return [row["embedding"] for row in sorted(answer["data"], key=lambda row: row["index"])]

    async def score(self, role: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Relevance of each text to the query."""
        body = {"model": self._pool(role), "text_1": query, "text_2": list(texts)}
        answer = await self.gateway.post("/score", body)
        return [float(row["score"]) for row in sorted(answer["data"], key=lambda row: row["index"])]

    def _pool(self, role: str) -> str:
        if role not in self.roles:
            raise ConfigError("poolRefs", f"names no pool in the role {role!r}")
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

    async def entry(self, prompt: Prompt, check: Check | None) -> Entry:
        """The finished row. Raises RequestError where a pool cannot answer."""
        stages = [await self._stage(pool, prompt, check) for pool in self.pools]
        vector: Sequence[float] | None = None
        if self.vectors_from is not None:
            question = Question(tuple(prompt.conversation))
            (vector,) = await Asked(self.gateway, {"embedder": self.vectors_from}).embed(
                "embedder", [question_text(question)]
            )
        return Entry(
            id=prompt.id,
            prompt=prompt.prompt,
            messages=prompt.messages,
            category=prompt.category,
            stages=tuple(stages),
            vector=None if vector is None else tuple(vector),
        )

    async def _stage(self, pool: str, prompt: Prompt, check: Check | None) -> Stage:
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
        scores, costs, times = await self._judged(pool, prompt, Answer(text, tokens))
        usage = answer.get("usage") or {}
        return Stage(
            pool=pool,
            answer=text,
            logprobs=tuple(token.logprob for token in tokens),
            top_logprobs=tuple(token.top for token in tokens),
            scores=scores,
            score_costs=costs,
            score_seconds=times,
            quality=None if check is None else float(check.holds(text)),
            cost=cost_of(answer),
            seconds=seconds,
            input_tokens=usage.get("prompt_tokens"),
            output_tokens=usage.get("completion_tokens"),
        )

    async def _judged(
        self, pool: str, prompt: Prompt, answer: Answer
    ) -> tuple[dict[str, int], dict[str, float], dict[str, float]]:
        question = Question(tuple(prompt.conversation), max_tokens=self.max_tokens, temperature=0.0)
        scores: dict[str, int] = {}
        costs: dict[str, float] = {}
        times: dict[str, float] = {}
        for judge in self.judges:
            if judge.pool != pool:
                continue
            started = time.perf_counter()
            if isinstance(judge.scorer, JudgeScorer):
                models = Asked(self.gateway, judge.roles)
                score = await judge.scorer.judge(question=question, answer=answer, models=models)
                scores[judge.name], costs[judge.name] = score.permille, models.cost
                times[judge.name] = time.perf_counter() - started
            elif isinstance(judge.scorer, AnswerScorer):
                running = judge.scorer.start()
                running.add(answer.tokens)
                scores[judge.name] = running.score().permille
        return scores, costs, times


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
        raise BadUpstream(f"the model server's answer is of no known shape: {error!r}") from error
    return text, tokens


@dataclass
class Outcome:
    """What became of a recording: rows written, and what was said of the prompts that failed."""

    written: int = 0
    failed: dict[str, str] = field(default_factory=dict)


async def record(
    recorder: Recorder,
    prompts: Sequence[tuple[Prompt, Check | None]],
    out: Path,
    *,
    at_once: int,
    told: Callable[[Outcome], None],
) -> Outcome:
    """Record prompts, `at_once` at a time, appending to `out`; `told` hears of each that is done.

    A prompt that fails is told and left out, so that a later run tries it again. Raises ModelUnavailable if the
    gateway is gone.
    """
    outcome = Outcome()
    waiting = iter(prompts)
    fault: ExceptionGroup[PilotfishError] | None = None
    with out.open("ab") as file:

        async def work() -> None:
            for prompt, check in waiting:
                try:
                    entry = await recorder.entry(prompt, check)
                except RequestError as error:
                    outcome.failed[prompt.id] = str(error)
                except aiohttp.ClientConnectionError as error:
                    raise ModelUnavailable(f"{recorder.gateway.url} does not answer: {error}") from error
                else:
                    file.write(line_of(entry))
                    file.flush()
                    outcome.written += 1
                told(outcome)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(work())
        except* PilotfishError as faults:
            fault = faults
    if fault is not None:
        raise fault.exceptions[0]
    return outcome
