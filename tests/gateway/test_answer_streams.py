"""What adaptations may do with an answer: by mode, by channel, and until which moment."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from typer.testing import CliRunner

from pilotfish.cli.main import application
from pilotfish.plugin_api.adaptations import (
    AnswerStream,
    Channel,
    Conversation,
    Escalate,
    Mode,
    OnAnswer,
    OnRequest,
    Refused,
    Release,
    Rewritten,
)
from pilotfish.plugin_api.models import Models
from pilotfish.telemetry.tracing import Tracing
from pilotfish.testing.stand_in_engine import Script

from .adapting import Configured, adapted, install, plugin
from .conftest import LARGE, Answered, House, router, slow

WORDS = Script([("one ", -0.01), ("two ", -0.01), ("three ", -0.01), ("four", -0.01)])
CALL = replace(
    WORDS,
    tokens=(),
    finish_reason="tool_calls",
    tool_call={"name": "weather", "arguments": ""},
    arguments=('{"city": "', "Par", 'is"}'),
)


class Stream:
    """Holds what it gets, and releases it where the config says so."""

    def __init__(self, config: Mapping[str, Any], channel: Channel) -> None:
        self.config = config
        self.name = "text" if channel.tool_call is None else f"call {channel.tool_call}"
        self.seen = ""
        self.released = 0

    async def push(self, text: str) -> Release | Escalate | Refused:
        self.seen += text
        if self.config.get("escalate_at", "\0") in self.seen:
            otherwise = Refused("not sure") if self.config.get("or_refuse") else Release("(unsure)")
            return Escalate("too vague", otherwise, notes={"seen": len(self.seen)})
        if self.config.get("hang_at", "\0") in self.seen:
            await asyncio.Event().wait()
        if self.config.get("hold_all"):
            return Release("", held=len(self.seen))
        return self._release(len(self.seen) - self.config.get("hold", 0))

    async def end(self, finish_reason: str | None) -> Release | Escalate | Refused:
        return self._release(len(self.seen))

    def _release(self, until: int) -> Release:
        until = max(until, self.released)
        text, self.released = self.seen[self.released : until], until
        return Release(text.upper(), notes={self.name: self.seen}, held=len(self.seen) - until)


class Rewriting(Configured):
    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        return None if channel.tool_call is not None and self.config.get("text_alone") else Stream(self.config, channel)


class Bounded(Rewriting):
    hold_tokens: ClassVar = 2


class Prefix(Configured):
    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten:
        *before, last = conversation.messages
        return Rewritten((*before, {**last, "content": f"kindly {last['content']}"}))


class Gate(Rewriting):
    mode: ClassVar = Mode.GATE


class Observing(Rewriting):
    mode: ClassVar = Mode.OBSERVE


PLUGINS: Mapping[str, type[OnRequest] | type[OnAnswer]] = {
    "rewriting": Rewriting, "bounded": Bounded, "gate": Gate, "observing": Observing,
    "prefix": Prefix,
}  # fmt: skip


@pytest.fixture(autouse=True)
def installed(house: House) -> None:
    install(house, __name__, PLUGINS)


def told(answer: Answered) -> dict[str, Any]:
    """The `pilotfish` object."""
    return answer.chunks[-1]["pilotfish"] if answer.raw.startswith(b"data:") else answer.json["pilotfish"]


def arguments(answer: Answered) -> str:
    """The arguments of the first tool call."""
    chunks = answer.chunks if answer.raw.startswith(b"data:") else [answer.json]
    parts = [choice.get("delta") or choice.get("message") for chunk in chunks for choice in chunk["choices"]]
    calls = [call for part in parts for call in (part or {}).get("tool_calls") or ()]
    return "".join(call["function"].get("arguments") or "" for call in calls)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["rewriting", "gate"])
async def test_an_escalated_answer_is_a_rejected_stage_and_the_next_one_has_streams_of_its_own(
    house: House, stream: bool, kind: str
) -> None:
    house.say(small=slow(WORDS))
    await house.serve([adapted(kind)], plugins=[plugin(kind, escalate_at="two", hold_all=True)])
    answer = await house.ask(stream=stream)
    report = told(answer)
    assert answer.text == "CANBERRA IT IS."
    assert b"one" not in answer.raw
    first, second = report["stages"]
    assert (first["verdict"], first["ground"], first["plugin"], first["reason"]) == (
        "Rejected", "Plugin", kind, "too vague",
    )  # fmt: skip
    assert (first["score"], second["verdict"], report["answered_by"]) == (990, "Accepted", "large")
    assert report["plugins"][kind] == {"text": "Canberra it is."}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("refuse", [False, True])
async def test_where_no_other_pool_answers_what_the_plugin_names_otherwise_applies(
    house: House, stream: bool, refuse: bool
) -> None:
    house.say(large=Script([("two", -0.01)]))
    await house.serve([adapted("gate")], plugins=[plugin("gate", escalate_at="two", or_refuse=refuse)])
    answer = await house.ask("assistant", stream=stream, temperature=0)
    assert answer.text == "CANBERRA."
    house.say(small=Script([("two", -0.01)]))
    answer = await house.ask(stream=stream)
    if refuse:
        assert (answer.status, answer.json["error"]["message"]) == (400, "not sure")
    else:
        assert answer.text.startswith("(unsure)")
        assert told(answer)["plugins"]["gate"]["seen"] == 3
        assert [stage["verdict"] for stage in told(answer)["stages"]] == ["Rejected", "Accepted"]


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_an_escalation_after_the_first_byte_is_a_failure(house: House, policy: str) -> None:
    house.say(small=WORDS)
    await house.serve([adapted("rewriting")], plugins=[plugin("rewriting", policy, escalate_at="three", hold=2)])
    answer = await house.ask(stream=True)
    assert {body["model"] for body in house.engine.bodies} == {"small"}
    if policy == "Fail":
        assert answer.chunks[-1]["error"]["type"] == "plugin_error"
        assert "released" in answer.chunks[-1]["error"]["message"]
        assert b"three" not in answer.raw
    else:
        assert answer.text == "ONE TWo three four"
        assert "released" in told(answer)["plugins"]["rewriting"]["error"]


async def test_a_gate_releases_nothing_unjudged(house: House) -> None:
    house.say(small=slow(replace(WORDS, reasoning=["secret ", "thought"])))
    await house.serve([adapted("gate")], plugins=[plugin("gate", hold_all=True)])
    answer = await house.ask(stream=True, logprobs=True)
    texts = [choice["delta"] for chunk in answer.chunks for choice in chunk["choices"]]
    assert [delta.get("content") for delta in texts if delta.get("content")] == ["ONE TWO THREE FOUR"]
    assert texts[0]["role"] == "assistant"
    assert b"secret" not in answer.raw
    assert b"one" not in answer.raw.lower().split(b"one two three four")[0]
    await house.serve([adapted("rewriting")], plugins=[plugin("rewriting")])
    assert b"secret" in (await house.ask(stream=True)).raw


@pytest.mark.parametrize("stream", [False, True])
async def test_the_arguments_of_a_tool_call_are_a_channel(house: House, stream: bool) -> None:
    house.say(small=CALL, large=CALL)
    await house.serve([adapted("gate")], plugins=[plugin("gate", hold=4)])
    answer = await house.ask(stream=stream)
    assert arguments(answer) == '{"CITY": "PARIS"}'
    assert told(answer)["plugins"]["gate"]["call 0"] == '{"city": "Paris"}'
    assert b'"weather"' in answer.raw
    await house.serve([adapted("gate")], plugins=[plugin("gate", text_alone=True)])
    assert arguments(await house.ask(stream=stream)) == '{"city": "Paris"}'


async def test_an_escalation_ends_the_generation_of_the_answer(house: House) -> None:
    house.say(small=slow(WORDS, 0.1))
    await house.serve([cascade_without_judge("rewriting")], plugins=[plugin("rewriting", escalate_at="one", hold=9)])
    assert (await house.ask(stream=True)).text == "CANBERRA IT IS."
    await house.engine.happened("cancelled", "small")


async def test_an_answer_can_be_escalated_for_the_arguments_of_its_tool_call(house: House) -> None:
    house.say(small=CALL, large=LARGE)
    wanted = cascade_without_judge("gate")
    await house.serve([wanted], plugins=[plugin("gate", escalate_at="Par", hold_all=True)])
    answer = await house.ask(stream=True)
    assert (answer.text, arguments(answer)) == ("CANBERRA IT IS.", "")
    assert b"weather" not in answer.raw


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_a_stream_holds_no_more_than_it_declares(house: House, stream: bool, policy: str) -> None:
    house.say(small=WORDS)
    await house.serve([adapted("bounded")], plugins=[plugin("bounded", policy, hold=7)])
    assert (await house.ask(stream=stream)).text == "ONE TWO THREE FOUR"
    await house.serve([adapted("bounded")], plugins=[plugin("bounded", policy, hold=12)])
    answer = await house.ask(stream=stream)
    if not stream:
        assert answer.text == "ONE TWO THREE FOUR"  # no client waits for a part of it
    elif policy == "Fail":
        assert "holdTokens" in answer.json["error"]["message"]
    else:
        assert answer.text == "one two three four"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_observer_changes_nothing_and_its_notes_are_in_the_report(house: House, stream: bool) -> None:
    house.say(small=WORDS)
    await house.serve([adapted("observing")], plugins=[plugin("observing")])
    answer = await house.ask(stream=stream, logprobs=True)
    assert answer.text == "one two three four"
    assert told(answer)["plugins"]["observing"] == {"text": "one two three four"}
    choices = [choice for chunk in (answer.chunks if stream else [answer.json]) for choice in chunk["choices"]]
    assert sum(len((choice["logprobs"] or {}).get("content", ())) for choice in choices) == 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("config", [{"hang_at": "one"}, {"escalate_at": "one"}], ids=str)
async def test_an_observer_that_fails_delays_no_text(house: House, stream: bool, config: Mapping[str, Any]) -> None:
    house.say(small=WORDS)
    await house.serve([adapted("observing")], plugins=[plugin("observing", "Ignore", timeout=1, **config)])
    answer = await house.ask(stream=stream)
    assert answer.text == "one two three four"
    assert "error" in told(answer)["plugins"]["observing"]
    await house.serve([adapted("observing")], plugins=[plugin("observing", "Fail", timeout=1, **config)])
    failed = await house.ask(stream=stream)
    error = failed.chunks[-1]["error"] if stream else failed.json["error"]
    assert error["type"] == "plugin_error"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hanging_stream_is_left_out_after_its_timeout(house: House, stream: bool) -> None:
    house.say(small=WORDS)
    await house.serve([adapted("rewriting")], plugins=[plugin("rewriting", "Ignore", 1, hang_at="three", hold=2)])
    assert (await house.ask(stream=stream)).text == "ONE TWo three four"
    metrics = (await house.get("/metrics")).raw.decode()
    assert 'pilotfish_plugin_failures_total{plugin="rewriting",reason="Timeout"} 1.0' in metrics


def cascade_without_judge(name: str) -> Any:
    extra = f", fallback: [{{poolRef: {{name: large}}}}], plugins: [{{pluginRef: {{name: {name}}}}}]"
    return router("assistant", "{type: Direct, direct: {poolRef: {name: small}}}", extra)


async def test_an_explanation_has_what_each_plugin_did(house: House) -> None:
    house.say(small=WORDS)
    manifests = [plugin("gate", escalate_at="two", hold_all=True), plugin("prefix")]
    await house.serve([adapted("prefix", "gate")], plugins=manifests)
    body = b'{"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}'
    explained = (await house.post("/pilotfish/v1/explain", body)).json
    (effect,) = explained["adaptations"]
    assert (effect["plugin"], effect["written"]) == ("prefix", [0])
    assert effect["messages"][0]["content"] == "kindly hi"
    small, large = explained["stages"]
    assert (small["answer"], small["verdict"], small["plugin"]) == ("one two three four", "Rejected", "gate")
    assert (large["answer"], large["released"]) == ("Canberra it is.", "CANBERRA IT IS.")
    assert (explained["answered_by"], large["notes"]["gate"]) == ("large", {"text": "Canberra it is."})
    command = ["explain", "-m", "assistant", "--url", house.url, "hi"]
    printed = await asyncio.to_thread(CliRunner().invoke, application(("explain",)), command)
    assert "plugin prefix changes the request" in printed.output
    assert "user message: kindly hi" in printed.output
    assert "reason: too vague" in printed.output


async def test_what_plugins_do_has_spans(house: House) -> None:
    exporter = InMemorySpanExporter()
    house.tracing = Tracing.exporting(SimpleSpanProcessor(exporter), "pilotfish-gateway")
    await house.serve([adapted("prefix", "observing", "gate")], plugins=[*map(plugin, ("prefix", "observing", "gate"))])
    await house.ask(stream=True)
    names = sorted(span.name for span in exporter.get_finished_spans() if span.name.startswith("adapt"))
    assert names == ["adapt answer gate", "adapt answer observing", "adapt prefix"]


async def test_a_client_that_leaves_ends_what_observes_its_answer(house: House) -> None:
    house.say(small=slow(WORDS, 0.2))
    await house.serve([cascade_without_judge("observing")], plugins=[plugin("observing", timeout=60, hang_at="one")])
    assert house.session
    body = {"model": "assistant", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with house.session.post(house.url + "/v1/chat/completions", json=body) as response:
        await response.content.readany()
        observers = [task for task in asyncio.all_tasks() if task.get_name() == "observer observing"]
    await house.engine.happened("cancelled", "small")
    assert len(observers) == 1
    done, _ = await asyncio.wait(observers, timeout=20)
    assert [task.cancelled() for task in done] == [True]


async def test_a_gate_commits_with_its_first_release_even_if_another_plugin_still_holds_it(house: House) -> None:
    house.say(small=WORDS)
    manifests = [plugin("rewriting", hold_all=True), plugin("gate", escalate_at="three", hold=2)]
    await house.serve([adapted("rewriting", "gate")], plugins=manifests)
    answer = await house.ask(stream=True)
    assert (answer.status, answer.json["error"]["type"]) == (500, "plugin_error")
    assert {body["model"] for body in house.engine.bodies} == {"small"}
    whole = await house.ask()
    assert (whole.text, told(whole)["stages"][0]["plugin"]) == ("CANBERRA IT IS.", "gate")
