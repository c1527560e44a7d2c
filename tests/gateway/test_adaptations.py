"""Adaptations of a router: what pools are asked, what the client gets, and what happens when a plugin fails."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from pilotfish.api import AdaptationPlugin
from pilotfish.api.adaptationplugin import FailurePolicy
from pilotfish.calibration.log import read_log
from pilotfish.plugin_api.adaptations import (
    Answered,
    AnswerStream,
    Channel,
    Conversation,
    OnAnswer,
    OnRequest,
    Refused,
    Release,
    Rewritten,
)
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import Settings
from pilotfish.routing.snapshot import PoolState
from pilotfish.testing.stand_in_engine import Script

from .adapting import Configured, adapted, install, plugin
from .conftest import SURE, UNSURE, House, cascade


class Prefix(Configured):
    """Puts a word before the last message, and asks a pool for it where a role is given."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten:
        word = self.config["word"]
        if word == "asked":
            word = (await models.complete("helper", [{"role": "user", "content": "word?"}]))["choices"][0]["message"][
                "content"
            ]
        *before, last = conversation.messages
        return Rewritten((*before, {**last, "content": f"{word} {last['content']}"}), notes={"word": word})


class Canned(Configured):
    """Answers or refuses by itself."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> Answered | Refused:
        return Refused("not here") if self.config.get("refuse") else Answered("Forty-two.")


class Failing(Configured):
    """Raises, or never returns."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> None:
        if self.config.get("hang"):
            await asyncio.Event().wait()
        raise ValueError("broken")


class Mutating(Configured):
    """Changes the messages in place, and fails."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> None:
        conversation.messages[0]["content"] = "changed"  # type: ignore[index]
        raise ValueError("broken")


class Wrong(Configured):
    """Returns what the contract does not allow."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> Any:
        return Rewritten(None) if self.config["returns"] == "messages" else self.config["returns"]  # type: ignore[arg-type]


class WrongAnswers(Configured):
    """Opens no stream, or one that releases nothing."""

    def on_answer(self, *, conversation: Conversation, state: Any, models: Models, channel: Channel) -> AnswerStream:
        if self.config["opens"]:
            return self  # type: ignore[return-value]
        raise KeyError("stream")

    async def push(self, text: str) -> None:
        return None

    async def end(self, finish_reason: str | None) -> None:
        return None


class Unmade(Configured):
    """Cannot be made."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        raise KeyError("setting")

    async def on_request(self, *, conversation: Conversation, models: Models) -> None:
        return None


class Upper:
    """Releases words in capitals, whole words only. Can refuse or fail at a word."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.rest = ""

    async def push(self, text: str) -> Release | Refused:
        self.rest += text
        if self.config.get("refuse_at", "\0") in self.rest:
            return Refused("not this word")
        if self.config.get("fail_at", "\0") in self.rest:
            raise ValueError("broken")
        words, _, self.rest = self.rest.rpartition(" ")
        return Release(f"{words} ".upper() if words else "")

    async def end(self, finish_reason: str | None) -> Release:
        return Release(self.rest.upper(), notes={"finish": finish_reason})


class Capitals(Configured):
    """An adaptation of answers."""

    def on_answer(self, *, conversation: Conversation, state: Any, models: Models, channel: Channel) -> AnswerStream:
        return Upper(self.config)


PLUGINS: Mapping[str, type[OnRequest] | type[OnAnswer]] = {
    "prefix": Prefix, "canned": Canned, "failing": Failing, "capitals": Capitals,
    "mutating": Mutating, "wrong": Wrong, "wrong-answers": WrongAnswers, "unmade": Unmade,
}  # fmt: skip


@pytest.fixture(autouse=True)
def installed(house: House) -> None:
    install(house, __name__, PLUGINS)


async def test_pools_are_asked_what_the_plugins_made_of_the_request(house: House) -> None:
    house.say(small=UNSURE)
    await house.serve([adapted("prefix")], plugins=[plugin("prefix", word="kindly")])
    answer = await house.ask()
    assert [body["messages"][-1]["content"] for body in house.engine.bodies] == ["kindly hi", "kindly hi"]
    assert answer.json["pilotfish"]["plugins"] == {"prefix": {"word": "kindly"}}


async def test_what_a_plugin_asks_of_a_pool_is_on_the_requests_account(house: House) -> None:
    await house.serve([adapted("prefix")], plugins=[plugin("prefix", word="asked")])
    answer = await house.ask()
    assert house.engine.bodies[-1]["messages"][-1]["content"] == "Canberra it is. hi"
    calls = answer.json["pilotfish"]["plugin_calls"]
    assert [(call["pool"], call["completion_tokens"]) for call in calls] == [("large", 3)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_a_plugin_answers_in_place_of_the_pools(house: House, stream: bool, path: str) -> None:
    await house.serve([adapted("canned", "capitals")], plugins=[plugin("canned"), plugin("capitals")])
    answer = await house.ask(path=path, stream=stream)
    if path == "/v1/chat/completions":
        assert answer.text == "Forty-two."
    told = answer.chunks[-1]["pilotfish"] if stream else answer.json["pilotfish"]
    assert (answer.status, told["stages"], told["answered_by"]) == (200, [], None)
    assert house.engine.bodies == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_plugin_refuses_a_request_and_no_pool_is_asked(house: House, stream: bool) -> None:
    await house.serve([adapted("canned")], plugins=[plugin("canned", refuse=True)])
    answer = await house.ask(stream=stream)
    assert (answer.status, answer.json["error"]["code"]) == (400, "content_filter")
    assert answer.json["error"]["message"] == "not here"
    assert house.engine.bodies == []


@pytest.mark.parametrize("hang", [False, True])
async def test_a_failing_plugin_fails_the_request_or_is_left_out(house: House, hang: bool) -> None:
    required, ignored = plugin("failing", hang=hang, timeout=1), plugin("failing", "Ignore", hang=hang, timeout=1)
    await house.serve([adapted("failing")], plugins=[required])
    failed = await house.ask()
    assert (failed.status, failed.json["error"]["type"]) == (500, "plugin_error")
    assert "'failing'" in failed.json["error"]["message"]
    assert house.engine.bodies == []
    await house.serve([adapted("failing")], plugins=[ignored])
    answer = await house.ask()
    assert (answer.text, house.engine.bodies[0]["messages"][-1]["content"]) == ("Canberra.", "hi")
    assert "failing" in answer.json["pilotfish"]["plugins"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_passes_through_the_plugins_in_reverse_order(house: House, stream: bool) -> None:
    house.say(small=Script([("one", -0.01), (" two", -0.01), (" thr", -0.01), ("ee", -0.01)]))
    await house.serve([adapted("prefix", "capitals")], plugins=[plugin("prefix", word="so"), plugin("capitals")])
    answer = await house.ask(stream=stream, logprobs=True)
    assert answer.text == "ONE TWO THREE"
    told = answer.chunks[-1]["pilotfish"] if stream else answer.json["pilotfish"]
    assert told["plugins"] == {"prefix": {"word": "so"}, "capitals": {"finish": "stop"}}
    assert told["stages"][0]["score"] == 990
    choices = [choice for chunk in answer.chunks for choice in chunk["choices"]] if stream else answer.json["choices"]
    assert all(choice["logprobs"] is None for choice in choices)


async def test_each_choice_has_a_stream_of_its_own(house: House) -> None:
    await house.serve([adapted("capitals")], plugins=[plugin("capitals")])
    streamed = await house.ask(n=2, stream=True)
    texts = ["", ""]
    for chunk in streamed.chunks:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
    assert texts == ["CANBERRA."] * 2
    whole = await house.ask(n=2)
    assert [choice["message"]["content"] for choice in whole.json["choices"]] == ["CANBERRA."] * 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_plugin_that_fails_on_an_answer_withholds_it_or_releases_it_unchanged(
    house: House, stream: bool
) -> None:
    house.say(small=Script([("one ", -0.01), ("two ", -0.01), ("three", -0.01)]))
    await house.serve([adapted("capitals")], plugins=[plugin("capitals", fail_at="three")])
    failed = await house.ask(stream=stream)
    error = failed.chunks[-1]["error"] if stream else failed.json["error"]
    assert error["type"] == "plugin_error"
    assert b"three" not in failed.raw
    assert len([body for body in house.engine.bodies if body["model"] == "large"]) == 0
    await house.serve([adapted("capitals")], plugins=[plugin("capitals", "Ignore", fail_at="three")])
    assert (await house.ask(stream=stream)).text == "ONE TWO three"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_plugin_refuses_an_answer_and_no_other_pool_is_asked(house: House, stream: bool) -> None:
    await house.serve([adapted("capitals")], plugins=[plugin("capitals", refuse_at="berra")])
    refused = await house.ask(stream=stream)
    error = refused.chunks[-1]["error"] if refused.raw.startswith(b"data:") else refused.json["error"]
    assert error["code"] == "content_filter"
    assert b"berra" not in refused.raw
    assert {body["model"] for body in house.engine.bodies} == {"small"}


async def test_a_plugin_that_is_not_installed_is_a_fault_only_where_it_is_required(house: House) -> None:
    router = adapted("nowhere")
    await house.serve([router], plugins=[plugin("nowhere")])
    answer = await house.ask()
    assert answer.status == 503
    assert "'nowhere'" in answer.json["error"]["message"]
    await house.serve([router], plugins=[plugin("nowhere", "Ignore")])
    assert (await house.ask()).text == "Canberra."


async def test_explain_asks_pools_what_the_plugins_made_of_the_request(house: House) -> None:
    await house.serve([adapted("prefix")], plugins=[plugin("prefix", word="so")])
    body = b'{"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}'
    explained = await house.post("/pilotfish/v1/explain", body)
    assert explained.json["plugins"] == {"prefix": {"word": "so"}}
    assert {body["messages"][-1]["content"] for body in house.engine.bodies} == {"so hi"}


@pytest.mark.parametrize(
    "broken",
    [
        plugin("mutating", "Ignore"),
        plugin("wrong", "Ignore", returns="messages"),
        plugin("wrong", "Ignore", returns="text"),
        plugin("wrong-answers", "Ignore", opens=False),
        plugin("wrong-answers", "Ignore", opens=True),
        plugin("unmade", "Ignore"),
    ],
    ids=lambda each: f"{each.name}-{'-'.join(map(str, each.spec.config.values()))}",
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_plugin_that_breaks_the_contract_is_left_out(
    house: House, broken: AdaptationPlugin, stream: bool
) -> None:
    await house.serve([adapted(broken.name), cascade("other")], plugins=[broken])
    assert (await house.ask(stream=stream)).text == "Canberra."
    assert house.engine.bodies[-1]["messages"][-1]["content"] == "hi"
    required = broken.model_copy(update={"spec": broken.spec.model_copy(update={"failure_policy": FailurePolicy.FAIL})})
    await house.serve([adapted(broken.name), cascade("other")], plugins=[required])
    failed = await house.ask(stream=stream)
    assert (failed.status, failed.json["error"]["type"]) in {(500, "plugin_error"), (503, "service_unavailable_error")}
    assert broken.name in failed.json["error"]["message"]
    assert (await house.ask("other", stream=stream)).text == "Canberra."


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_beside_held_text_are_sent(house: House, stream: bool) -> None:
    call = {"name": "weather", "arguments": "{}"}
    house.say(small=replace(SURE, finish_reason="tool_calls", tool_call=call))
    await house.serve([adapted("capitals")], plugins=[plugin("capitals")])
    answer = await house.ask(stream=stream)
    choices = [choice for each in (answer.chunks if stream else [answer.json]) for choice in each["choices"]]
    parts = [choice["delta"] if stream else choice["message"] for choice in choices]
    names = [made["function"].get("name") for part in parts for made in part.get("tool_calls") or ()]
    assert "weather" in names
    assert answer.text == "CANBERRA."


async def test_a_plugins_answer_has_the_usage_that_a_client_asks_for(house: House) -> None:
    await house.serve([adapted("canned")], plugins=[plugin("canned")])
    answer = await house.ask(stream=True, stream_options={"include_usage": True})
    assert (answer.chunks[-1]["choices"], answer.chunks[-1]["usage"]["total_tokens"]) == ([], 0)
    assert answer.text == "Forty-two."


async def test_explain_of_a_request_that_a_plugin_answers_asks_no_pool(house: House) -> None:
    await house.serve([adapted("canned")], plugins=[plugin("canned")])
    body = b'{"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}'
    explained = await house.post("/pilotfish/v1/explain", body)
    assert (explained.status, explained.json["stages"], explained.json["answered_by"]) == (200, [], None)
    assert house.engine.bodies == []


async def test_a_row_names_its_plugins_and_a_router_that_was_calibrated_with_others_says_so(
    house: House, tmp_path: Path
) -> None:
    house.settings = replace(house.settings, record_file=tmp_path / "log.jsonl")
    manifests = [plugin("prefix", word="so"), plugin("prefix", word="kindly")]
    for manifest in manifests:
        await house.serve([adapted("prefix"), cascade("other")], plugins=[manifest])
        await house.ask()
    await house.ask("other")
    assert "warning" not in (await house.get("/v1/models/assistant")).json
    router = adapted("prefix")
    assert house.gateway
    assert house.session
    await house.gateway.stop()
    await house.session.close()
    house.gateway = None
    first, second, without = await asyncio.to_thread(read_log, tmp_path / "log.jsonl")
    assert first.plugins != second.plugins
    assert (bool(first.plugins), without.plugins) == (True, None)
    for digest, stale in ((second.plugins, False), (first.plugins, True), ("none", True)):
        annotations = {"pilotfish.dev/calibrated-with-plugins": digest}
        metadata = router.metadata.model_copy(update={"annotations": annotations})
        await house.serve([router.model_copy(update={"metadata": metadata})], plugins=manifests[1:])
        assert ("warning" in (await house.get("/v1/models/assistant")).json) is stale
        body = b'{"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}'
        explained = (await house.post("/pilotfish/v1/explain", body)).json
        assert ("other plugins" in explained.get("warning", "")) is stale


async def test_a_plugin_whose_pool_is_gone_is_left_out(house: House) -> None:
    house.states["large"] = (PoolState.FAILED, "out of memory")
    await house.serve([adapted("prefix")], plugins=[plugin("prefix", "Ignore", word="asked")])
    answer = await house.ask()
    assert answer.text == "Canberra."
    assert "out of memory" in answer.json["pilotfish"]["plugins"]["prefix"]["error"]
    metrics = (await house.get("/metrics")).raw.decode()
    assert 'pilotfish_plugin_failures_total{plugin="prefix",reason="Call"} 1.0' in metrics
