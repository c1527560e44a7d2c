"""A model server with exact timing and chosen faults, for tests of the code around an engine.

It answers chat and plain completions like vLLM, from a script, and logs its events in order.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson
from aiohttp import web


class EngineFault(StrEnum):
    """The fault of an answer."""

    GARBAGE = "Garbage"
    HALF = "Half"
    NOTHING = "Nothing"
    REFUSES = "Refuses"
    ERROR_EVENT = "ErrorEvent"
    STALLS = "Stalls"
    UNMARKED = "Unmarked"
    """A stream whose last line has no [DONE]."""


@dataclass(frozen=True)
class Script:
    """The answer of a model: tokens with log-probabilities, `seconds` apart, and a fault `after` that many tokens."""

    tokens: Sequence[tuple[str, float]]
    seconds: float = 0.0
    fault: EngineFault | None = None
    after: int = 0
    status: int = 500
    finish_reason: str = "stop"
    tool_call: Mapping[str, str] | None = None
    arguments: Sequence[str] = ()
    """The arguments of `tool_call` in parts, where they are streamed after the tokens."""
    reasoning: Sequence[str] = ()
    """Parts of a reasoning before the tokens."""


@dataclass(frozen=True)
class Happened:
    """An event at an engine: `started`, `token` (with its number), `cancelled` or `ended`."""

    what: str
    model: str
    token: int = 0


@dataclass
class StandInEngine:
    """Serves scripts by model name. `log` is shared between engines to see the order across them."""

    scripts: dict[str, Script]
    log: list[Happened] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    _runner: web.AppRunner | None = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def start(self) -> str:
        """Listen on loopback; the base URL that ends in /v1."""
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/v1/embeddings", self._embed)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Stop the server."""
        if self._runner:
            await self._runner.cleanup()

    async def happened(self, what: str, model: str) -> Happened:
        """Wait for an event at a model."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._find(what, model) is not None)
        found = self._find(what, model)
        if found is None:
            raise RuntimeError("the log was changed while it was read")
        return found

    def _find(self, what: str, model: str) -> Happened | None:
        return next((entry for entry in self.log if entry.what == what and entry.model == model), None)

    async def _note(self, entry: Happened) -> None:
        async with self._changed:
            self.log.append(entry)
            self._changed.notify_all()

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        script = self.scripts.get(body["model"])
        if script and script.fault is EngineFault.REFUSES:
            return _refusal(script)
        rows = [{"index": i, "embedding": [float(len(text)), 1.0]} for i, text in enumerate(body["input"])]
        usage = {"prompt_tokens": len(rows), "total_tokens": len(rows)}
        return web.json_response({"object": "list", "model": body["model"], "data": rows, "usage": usage})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        script = self.scripts[body["model"]]
        if script.fault is EngineFault.REFUSES:
            return _refusal(script)
        speech = _Speech(body, script, chat=request.path.endswith("/chat/completions"))
        await self._note(Happened("started", speech.model))
        try:
            answer = self._stream(request, speech) if body.get("stream") else self._whole(request, speech)
            response = await answer
        except (asyncio.CancelledError, ConnectionResetError):
            self.log.append(Happened("cancelled", speech.model, speech.said))
            async with self._changed:
                self._changed.notify_all()
            raise
        await self._note(Happened("ended", speech.model, speech.said))
        return response

    async def _whole(self, request: web.Request, speech: "_Speech") -> web.StreamResponse:
        for index in range(len(speech.script.tokens)):
            await self._speak(speech, index)
        raw = orjson.dumps(speech.whole())
        match speech.script.fault:
            case EngineFault.GARBAGE:
                return web.Response(body=b"<html>not an answer</html>")
            case EngineFault.NOTHING | EngineFault.HALF | EngineFault.ERROR_EVENT:
                response = web.StreamResponse(headers={"Content-Length": str(len(raw))})
                await response.prepare(request)
                if speech.script.fault is EngineFault.HALF:
                    await response.write(raw[: len(raw) // 2])
                _cut(request)
                return response
        return web.Response(body=raw, content_type="application/json")

    async def _stream(self, request: web.Request, speech: "_Speech") -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if speech.chat:
            await _send(
                response, speech.chunk([speech.choice(i, {"role": "assistant", "content": ""}) for i in speech.n])
            )
        for delta in speech.reasoning():
            await _send(response, speech.chunk([speech.choice(i, delta) for i in speech.n]))
        for index, _ in enumerate(speech.script.tokens):
            if speech.script.fault and index == speech.script.after:
                return await self._fail(request, response, speech)
            await self._speak(speech, index)
            await _send(response, speech.chunk([speech.token(i, index) for i in speech.n]))
        for delta in speech.calls():
            await _send(response, speech.chunk([speech.choice(i, delta) for i in speech.n]))
        await _send(response, speech.chunk([speech.finish(i) for i in speech.n]))
        if speech.options.get("include_usage"):
            await _send(response, {**speech.head, "choices": [], "usage": speech.usage()})
        if speech.script.fault is not EngineFault.UNMARKED:
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _speak(self, speech: "_Speech", index: int) -> None:
        await asyncio.sleep(speech.script.seconds)
        if speech.script.fault is EngineFault.STALLS and index == speech.script.after:
            await asyncio.Event().wait()
        speech.said = index + 1
        await self._note(Happened("token", speech.model, index + 1))

    async def _fail(self, request: web.Request, response: web.StreamResponse, speech: "_Speech") -> web.StreamResponse:
        match speech.script.fault:
            case EngineFault.GARBAGE:
                await response.write(b"data: {not json\n\n")
            case EngineFault.HALF:
                await response.write(b'data: {"choices": [{"ind')
                _cut(request)
                return response
            case EngineFault.ERROR_EVENT:
                await _send(response, {"error": {"message": "the engine died", "code": 500}})
            case EngineFault.STALLS:
                await self._speak(speech, speech.script.after)
        await response.write_eof()
        return response


def _refusal(script: Script) -> web.Response:
    error = {"error": {"message": "the stand-in refuses", "type": "stand_in", "code": script.status}}
    return web.json_response(error, status=script.status, headers={"Retry-After": "7"})


@dataclass
class _Speech:
    """One answer in progress."""

    body: dict[str, Any]
    script: Script
    chat: bool
    said: int = 0

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def n(self) -> range:
        return range(self.body.get("n") or 1)

    @property
    def options(self) -> dict[str, Any]:
        return self.body.get("stream_options") or {}

    @property
    def head(self) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {"id": f"cmpl-{self.model}", "object": kind, "created": 1, "model": self.model}

    def usage(self) -> dict[str, int]:
        said = self.said * len(self.n)
        return {"prompt_tokens": 7, "completion_tokens": said, "total_tokens": 7 + said}

    def chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        usage = {"usage": self.usage()} if self.options.get("continuous_usage_stats") else {}
        return {**self.head, "choices": choices, **usage}

    def choice(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        body = {"delta": delta} if self.chat else {"text": delta.get("content", "")}
        return {"index": index, **body, "logprobs": None, "finish_reason": None}

    def token(self, index: int, number: int) -> dict[str, Any]:
        text = self.script.tokens[number][0]
        return self.choice(index, {"content": text}) | {"logprobs": self.logprobs([self.script.tokens[number]])}

    def reasoning(self) -> list[dict[str, Any]]:
        return [{"reasoning": part} for part in self.script.reasoning]

    def calls(self) -> list[dict[str, Any]]:
        """The parts of the tool call, the first one with its name."""
        if not self.script.arguments:
            return []
        head: dict[str, Any] = {
            "id": "call-1",
            "type": "function",
            "function": {**(self.script.tool_call or {}), "arguments": ""},
        }
        parts = [head, *({"function": {"arguments": part}} for part in self.script.arguments)]
        return [{"tool_calls": [{"index": 0, **part}]} for part in parts]

    def finish(self, index: int) -> dict[str, Any]:
        delta: dict[str, Any] = {}
        if self.script.tool_call and not self.script.arguments:
            delta = {
                "tool_calls": [{"index": 0, "id": "call-1", "type": "function", "function": self.script.tool_call}]
            }
        return self.choice(index, delta) | {"finish_reason": self.script.finish_reason}

    def logprobs(self, tokens: Sequence[tuple[str, float]]) -> dict[str, Any] | None:
        asked = self.body.get("logprobs")
        if asked is None or asked is False:
            return None
        told = [(text, None if math.isinf(logprob) else logprob) for text, logprob in tokens]
        if self.chat:
            most = self.body.get("top_logprobs") or 0
            return {
                "content": [
                    {"token": text, "logprob": logprob, "top_logprobs": [{"token": text, "logprob": logprob}] * most}
                    for text, logprob in told
                ]
            }
        return {"tokens": [text for text, _ in told], "token_logprobs": [logprob for _, logprob in told]}

    def whole(self) -> dict[str, Any]:
        text = "".join(text for text, _ in self.script.tokens)
        choices = []
        for index in self.n:
            message: dict[str, Any] = {"role": "assistant", "content": text}
            if self.script.reasoning:
                message["reasoning"] = "".join(self.script.reasoning)
            if self.script.tool_call:
                function = {**self.script.tool_call}
                if self.script.arguments:
                    function["arguments"] = "".join(self.script.arguments)
                message |= {"tool_calls": [{"id": "call-1", "type": "function", "function": function}]}
            body = {"message": message} if self.chat else {"text": text}
            choices.append(
                {
                    "index": index,
                    **body,
                    "logprobs": self.logprobs(self.script.tokens),
                    "finish_reason": self.script.finish_reason,
                }
            )
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self.head, "object": kind, "choices": choices, "usage": self.usage()}


async def _send(response: web.StreamResponse, value: object) -> None:
    await response.write(b"data: " + orjson.dumps(value) + b"\n\n")


def _cut(request: web.Request) -> None:
    """Close the connection, as a killed process does."""
    if request.transport:
        request.transport.abort()
