"""Requests that models answer with numbers: embeddings, scores, rankings, classes. The answer is passed on whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from pilotfish.api.modelpool import Task
from pilotfish.base.errors import BadRequest, ModelUnavailable, RequestError
from pilotfish.gateway.pool_calls import PoolCaller
from pilotfish.gateway.records import RequestRecord, StageRecord
from pilotfish.gateway.wire.request import parse_body
from pilotfish.gateway.wire.upstream import parse_object, read_usage
from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish.routing.plan import Plan


class PoolingTask(StrEnum):
    """What is asked for, by its path below /v1."""

    EMBEDDINGS = "/embeddings"
    SCORE = "/score"
    RERANK = "/rerank"
    CLASSIFY = "/classify"

    @property
    def operation(self) -> str:
        """The name of the operation in spans."""
        return self.removeprefix("/")


POOL_TASKS: Mapping[PoolingTask, frozenset[Task]] = {
    PoolingTask.EMBEDDINGS: frozenset({Task.EMBED}),
    PoolingTask.SCORE: frozenset({Task.EMBED, Task.SCORE}),
    PoolingTask.RERANK: frozenset({Task.EMBED, Task.SCORE}),
    PoolingTask.CLASSIFY: frozenset({Task.SCORE}),
}
"""The tasks of the pools that answer."""

_CONTENT: Mapping[PoolingTask, tuple[str, ...]] = {
    PoolingTask.EMBEDDINGS: ("input",),
    PoolingTask.SCORE: ("text_1", "text_2"),
    PoolingTask.RERANK: ("query", "documents"),
    PoolingTask.CLASSIFY: ("input",),
}


@dataclass(frozen=True)
class PoolingRequest:
    """A request as the client sent it."""

    task: PoolingTask
    body: dict[str, Any]

    @classmethod
    def parse(cls, task: PoolingTask, raw: bytes) -> "PoolingRequest":
        """Raises BadRequest with the parameter's name for a body that cannot be acted on."""
        body = parse_body(raw)
        for name in _CONTENT[task]:
            if not isinstance(body.get(name), str | list | dict):
                raise BadRequest(f"`{name}` must be a string or a list", param=name)
        return cls(task, body)

    @property
    def model(self) -> str:
        """What the client wrote in `model`."""
        return str(self.body["model"])

    @property
    def estimated_tokens(self) -> int:
        """The tokens of what was sent, estimated from its length."""
        return estimate_tokens(orjson.dumps([self.body[name] for name in _CONTENT[self.task]]))


async def run(request: PoolingRequest, plan: Plan, caller: PoolCaller, record: RequestRecord) -> bytes:
    """The answer of the first pool of the plan that has one.

    Raises BadRequest for a pool with another task, and the last pool's error where none answers.
    """
    failure: RequestError = ModelUnavailable(f"route {record.route!r} has no pool to ask")
    for step in plan.steps:
        stage = StageRecord(step.pool)
        record.stages.append(stage)
        try:
            with caller.begin(stage, request.task.operation) as call:
                _check_task(request, call.view.pool.spec.task, step.pool)
                reply = await call.post(request.task.value, orjson.dumps({**request.body, "model": call.view.model}))
                raw = await reply.read()
                stage.usage = read_usage(parse_object(raw)) or stage.usage
                return raw
        except BadRequest:
            raise
        except RequestError as error:
            failure = error
    raise failure


def _check_task(request: PoolingRequest, task: Task, pool: str) -> None:
    wanted = POOL_TASKS[request.task]
    if task not in wanted:
        tasks = " or ".join(sorted(wanted))
        raise BadRequest(
            f"/v1{request.task} needs a pool with task {tasks}, and {pool!r} has task {task.value}", param="model"
        )
