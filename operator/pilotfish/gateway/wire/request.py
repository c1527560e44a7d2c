"""A client's request, and the bodies that pools get. Engines add parameters: only what the gateway reads is checked."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import orjson

from pilotfish.base.errors import BadRequest
from pilotfish.plugin_api.adaptations import Conversation, Rewritten
from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish.plugin_api.scorers import Question

MAX_CHOICES = 128
"""The largest `n`."""
MAX_ANSWERS = 1024
"""The largest number of answers to one request: `n` times the number of prompts of a completion."""
DEFAULT_COMPLETION_TOKENS = 16
"""`max_tokens` of OpenAI's completions API where the client names none."""

EXPECTED_COMPLETION_TOKENS = 256
"""What an answer is expected to have at most where the client names no limit."""

SHOWN = frozenset(
    {"model", "messages", "prompt", "tools", "n", "stream", "stream_options", "max_tokens", "max_completion_tokens"}
)
"""Parameters that a conversation has fields for, or that the gateway sets."""

HIDDEN = ("suffix", "functions", "prediction", "documents")
"""Parameters with strings that are no message and no tool."""

NOT_STREAMED = frozenset({"tools", "functions", "prompt_logprobs", "use_beam_search", "best_of"})
"""Parameters for which engines return other answers streamed than whole, or return only whole answers."""


class Task(StrEnum):
    """What is asked for, by its path below /v1."""

    CHAT = "/chat/completions"
    COMPLETION = "/completions"

    @property
    def operation(self) -> str:
        """The name of the operation in the semantic conventions."""
        return "chat" if self is Task.CHAT else "text_completion"


@dataclass(frozen=True)
class ClientRequest:
    """A request as the client sent it. `body` is never changed; bodies for pools are created from it."""

    task: Task
    body: dict[str, Any]

    @classmethod
    def parse(cls, task: Task, raw: bytes) -> "ClientRequest":
        """Raises BadRequest with the parameter's name for a body that cannot be acted on."""
        body = parse_body(raw)
        _check_content(task, body)
        _check_integer(body, "n", 1, MAX_CHOICES)
        _check_type(body, "stream", bool, "true or false")
        _check_type(body, "stream_options", dict, "an object")
        request = cls(task, body)
        if request.choices > MAX_ANSWERS:
            raise BadRequest(
                f"`n` times the number of prompts is {request.choices}, more than {MAX_ANSWERS}: send several requests",
                param="prompt",
            )
        return request

    @property
    def model(self) -> str:
        """What the client wrote in `model`."""
        return str(self.body["model"])

    @property
    def stream(self) -> bool:
        """Whether the client wants a stream."""
        return bool(self.body.get("stream"))

    @property
    def include_usage(self) -> bool:
        """Whether the client wants a last chunk with usage."""
        return bool((self.body.get("stream_options") or {}).get("include_usage"))

    @property
    def continuous_usage(self) -> bool:
        """Whether the client wants usage in every chunk."""
        return bool((self.body.get("stream_options") or {}).get("continuous_usage_stats"))

    @cached_property
    def choices(self) -> int:
        """How many choices the answer has: `n`, times the number of prompts of a completion."""
        count = int(self.body.get("n") or 1)
        prompt = self.body.get("prompt")
        several = isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
        return count * len(prompt) if several and isinstance(prompt, list) else count

    @property
    def max_tokens(self) -> int | None:
        """The most tokens of an answer that the client allows, None where it set no limit."""
        value = self.body.get("max_completion_tokens") or self.body.get("max_tokens")
        if value is None and self.task is Task.COMPLETION:
            return DEFAULT_COMPLETION_TOKENS
        return value if isinstance(value, int) and value > 0 else None

    @property
    def estimated_tokens(self) -> int:
        """The tokens that the request may use: its prompt, and all that its answer may have."""
        answer = self.max_tokens or EXPECTED_COMPLETION_TOKENS
        return self.estimated_prompt_tokens + answer * self.choices

    @property
    def estimated_prompt_tokens(self) -> int:
        """The tokens of the prompt, estimated from the length of what was sent."""
        return estimate_tokens(orjson.dumps(self.body.get("messages") or self.body.get("prompt")))

    @property
    def wants_logprobs(self) -> bool:
        """Whether the client asked for log-probabilities itself."""
        value = self.body.get("logprobs")
        return bool(value) if self.task is Task.CHAT else value is not None

    @property
    def top_logprobs(self) -> int:
        """How many alternatives for each token the client asked for."""
        value = self.body.get("top_logprobs" if self.task is Task.CHAT else "logprobs")
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    @property
    def can_be_streamed(self) -> bool:
        """Whether a streamed answer can be assembled into a whole one without loss."""
        return not any(self.body.get(name) for name in NOT_STREAMED)

    def body_for(
        self, model: str, *, stream: bool, extra: Mapping[str, Any], usage_in_every_chunk: bool = False
    ) -> bytes:
        """The body for a pool: the client's parameters with `model`, and `extra`, what a judge needs.

        Usage is always requested, because the gateway accounts for it. The encoder hides it from other clients.
        """
        body = {**self.body, "model": model, **extra}
        body.pop("stream_options", None)
        body.pop("stream", None)
        if stream:
            options = {**(self.body.get("stream_options") or {}), "include_usage": True}
            if usage_in_every_chunk:
                options["continuous_usage_stats"] = True
            body |= {"stream": True, "stream_options": options}
        return orjson.dumps(body)

    @property
    def question(self) -> Question:
        """What a scorer sees of the request."""
        temperature = self.body.get("temperature")
        return Question(
            self._messages(), self.max_tokens, temperature if isinstance(temperature, int | float) else None
        )

    @property
    def conversation(self) -> Conversation:
        """What an adaptation sees of the request: copies, because a plugin may change them and then fail."""
        return Conversation(
            messages=copy.deepcopy(self._messages()),
            tools=copy.deepcopy(tuple(self.body.get("tools") or ())),
            choices=self.choices,
            stream=self.stream,
            max_tokens=self.max_tokens,
            parameters=copy.deepcopy({name: value for name, value in self.body.items() if name not in SHOWN}),
        )

    @property
    def answerable(self) -> bool:
        """Whether a string can be the answer."""
        return True

    @property
    def hidden(self) -> tuple[str, ...]:
        """Parameters whose strings are not in `conversation`."""
        named = tuple(name for name in HIDDEN if self.body.get(name))
        whole = self.task is Task.CHAT or isinstance(self.body["prompt"], str)
        return named if whole else ("prompt", *named)

    def rewritten(self, by: Rewritten) -> "ClientRequest":
        """The request with what a plugin changed.

        Raises BadRequest for messages that are none of OpenAI's API, and for a completion whose prompt is a list.
        """
        body = dict(self.body)
        if by.parameters is not None:
            shown = {name: value for name, value in body.items() if name in SHOWN}
            body = shown | {name: value for name, value in by.parameters.items() if name not in SHOWN}
        messages = list(by.messages)
        _check_content(Task.CHAT, {"messages": messages})
        if self.task is Task.CHAT:
            body["messages"] = messages
            if by.tools is not None:
                body["tools"] = list(by.tools)
        elif isinstance(body["prompt"], str):
            body["prompt"] = "\n\n".join(str(message.get("content") or "") for message in messages)
        else:
            raise BadRequest("`prompt` must be one string, because a plugin of this model rewrites it", param="prompt")
        return ClientRequest(self.task, body)

    def _messages(self) -> tuple[dict[str, Any], ...]:
        if self.task is Task.CHAT:
            return tuple(self.body["messages"])
        prompt = self.body["prompt"]
        return ({"role": "user", "content": prompt if isinstance(prompt, str) else str(prompt)},)


def parse_body(raw: bytes) -> dict[str, Any]:
    """The body of any request. Raises BadRequest for one that is not a JSON object that names a `model`."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error}", code="invalid_json") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise BadRequest("`model` must name a model, as a string", param="model")
    return body


def _check_content(task: Task, body: dict[str, Any]) -> None:
    if task is Task.COMPLETION:
        if not isinstance(body.get("prompt"), str | list):
            raise BadRequest("`prompt` must be a string or a list", param="prompt")
        return
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` must be a list of at least one message", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRequest("each message must be an object with a `role`", param=f"messages[{index}]")


def _check_integer(body: dict[str, Any], name: str, least: int, most: int) -> None:
    value = body.get(name)
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadRequest(f"`{name}` must be an integer from {least} to {most}", param=name)


def _check_type(body: dict[str, Any], name: str, kind: type, expected: str) -> None:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise BadRequest(f"`{name}` must be {expected}", param=name)
