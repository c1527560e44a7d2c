"""Adaptations around every call of a pool: of the strategy, of scorers, and of other plugins."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from pilotfish.plugin_api.adaptations import (
    AnswerStream,
    Channel,
    Conversation,
    Escalate,
    OnAnswer,
    OnRequest,
    Refused,
    Release,
    Rewritten,
    Scope,
)
from pilotfish.plugin_api.models import Models
from pilotfish.testing.stand_in_engine import Script

from .adapting import Configured, adapted, install, plugin
from .conftest import Answered, House, cascade, pool, resource, router

GREETING = Script([("Hello ", -0.01), ("<P", -0.01), ("1>", -0.01), (".", -0.01)])


class Unmasking:
    """Restores the name, and holds what may become its placeholder."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.rest = ""

    async def push(self, text: str) -> Release | Escalate | Refused:
        if self.config.get("escalate"):
            return Escalate("not restored", Release(text))
        self.rest = (self.rest + text).replace("<P1>", "Alice")
        cut = max(self.rest.rfind(part) for part in ("<", "<P", "<P1"))
        cut = cut if cut >= 0 and "<P1>".startswith(self.rest[cut:]) else len(self.rest)
        text, self.rest = self.rest[:cut], self.rest[cut:]
        return Release(text, held=len(self.rest))

    async def end(self, finish_reason: str | None) -> Release | Escalate | Refused:
        return Release(self.rest)


class Masking(Configured):
    """Replaces a name in what external pools are asked, and restores it in their answers."""

    scope: ClassVar = Scope.CALL
    protects: ClassVar = True
    hold_tokens: ClassVar = 1

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        assert conversation.pool
        if self.config.get("ask"):
            await models.complete("helper", [{"role": "user", "content": "which names does Alice have?"}])
        if self.config.get("fail"):
            raise ValueError("broken")
        if not conversation.pool.external:
            return None
        masked = ({**each, "content": each["content"].replace("Alice", "<P1>")} for each in conversation.messages)
        return Rewritten(tuple(masked), notes={conversation.pool.name: conversation.pool.task.value})

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        return Unmasking(self.config) if conversation.pool and conversation.pool.external else None


class Asking(Configured):
    """Asks its pool in every way that there is."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        question = [{"role": "user", "content": "who is Alice?"}]
        whole = (await models.complete("helper", question))["choices"][0]["message"]["content"]
        parts = [part async for part in models.stream("helper", question)]
        sizes = [vector[0] for vector in await models.embed("helper", ["Alice", "Alice and Bob"])]
        return Rewritten(conversation.messages, notes={"whole": whole, "parts": parts, "sizes": sizes})


class Looking(Configured):
    """Notes the room in the context window."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        return Rewritten(conversation.messages, notes={"room": conversation.context_tokens})


class Blocking(Configured):
    """Computes where it delays every other request."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        if self.config.get("thread"):
            await models.compute(time.sleep, self.config["seconds"])
        else:
            time.sleep(self.config["seconds"])  # noqa: ASYNC251 - the fault that is tested
        return None


PLUGINS: Mapping[str, type[OnRequest] | type[OnAnswer]] = {
    "masking": Masking, "asking": Asking, "looking": Looking, "blocking": Blocking,
}  # fmt: skip


@pytest.fixture(autouse=True)
def installed(house: House) -> None:
    install(house, __name__, PLUGINS)


def external(name: str) -> Any:
    return resource(f"""
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {{name: {name}}}
spec: {{tier: Large, external: {{baseURL: "https://api.example.com/v1", model: {name}}}}}
""")


def direct(*names: str, to: str = "large") -> Any:
    uses = ", ".join(f"{{pluginRef: {{name: {name}}}}}" for name in names)
    return router("assistant", f"{{type: Direct, direct: {{poolRef: {{name: {to}}}}}}}", f", plugins: [{uses}]")


def told(answer: Answered) -> dict[str, Any]:
    return answer.chunks[-1]["pilotfish"] if answer.raw.startswith(b"data:") else answer.json["pilotfish"]


ALICE = [{"role": "user", "content": "greet Alice"}]
POOLS = [pool("small"), external("large")]


@pytest.mark.parametrize("stream", [False, True])
async def test_every_call_of_an_external_pool_is_adapted(house: House, stream: bool) -> None:
    house.say(large=GREETING)
    await house.serve([direct("asking", "masking")], POOLS, plugins=[plugin("asking"), plugin("masking")])
    answer = await house.ask(stream=stream, messages=ALICE)
    assert answer.text == "Hello Alice."
    assert len(house.engine.bodies) == 3
    assert "Alice" not in str(house.engine.bodies)
    notes = told(answer)["plugins"]
    assert notes["asking"] == {
        "whole": "Hello Alice.", "parts": ["Hello ", "Alice", "."], "sizes": [len("<P1>"), len("<P1> and Bob")],
    }  # fmt: skip
    assert notes["masking"] == {"large": "Generate"}


async def test_internal_pools_are_asked_as_they_are_where_the_plugin_leaves_them(house: House) -> None:
    await house.serve([direct("masking", to="small")], POOLS, plugins=[plugin("masking")])
    await house.ask(messages=ALICE)
    assert house.engine.bodies[-1]["messages"] == ALICE


@pytest.mark.parametrize("stream", [False, True])
async def test_a_judge_of_tokens_reads_the_pools_own_answer(house: House, stream: bool) -> None:
    house.say(small=GREETING)
    pools = [external("small"), pool("large", "Large")]
    await house.serve([adapted("masking")], pools, plugins=[plugin("masking")])
    answer = await house.ask(stream=stream, messages=ALICE)
    assert (answer.text, told(answer)["stages"][0]["score"]) == ("Hello Alice.", 990)


async def test_a_judge_of_whole_answers_reads_what_is_released_and_its_calls_are_adapted(house: House) -> None:
    house.say(small=GREETING)
    scorer = "{name: self-check}"
    judged = cascade(scorer=scorer, extra=", plugins: [{pluginRef: {name: masking}}]")
    await house.serve([judged], [external("small"), pool("large", "Large")], plugins=[plugin("masking")])
    answer = await house.ask(messages=ALICE)
    checks = [body for body in house.engine.bodies if body["messages"] != ALICE]
    assert answer.status == 200
    assert len(told(answer)["scorer_calls"]) >= 1
    assert any("Hello <P1>." in str(body) for body in checks)
    assert all("Alice" not in str(body) for body in house.engine.bodies if body["model"] == "small")


@pytest.mark.parametrize("names", [("masking",), ("asking", "masking")], ids="+".join)
async def test_no_request_reaches_a_pool_where_a_plugin_that_protects_fails(
    house: House, names: tuple[str, ...]
) -> None:
    manifests = [plugin("asking", "Ignore"), plugin("masking", fail=True)]
    await house.serve([direct(*names)], POOLS, plugins=manifests)
    answer = await house.ask(messages=ALICE)
    assert (answer.status, answer.json["error"]["type"]) == (500, "plugin_error")
    assert house.engine.bodies == []


async def test_failures_of_a_plugin_that_protects_cannot_be_ignored(house: House) -> None:
    await house.serve([direct("masking")], POOLS, plugins=[plugin("masking", "Ignore")])
    answer = await house.ask(messages=ALICE)
    assert answer.status == 503
    assert "failurePolicy" in answer.json["error"]["message"]
    assert house.engine.bodies == []


async def test_a_plugins_own_calls_do_not_pass_through_itself(house: House) -> None:
    await house.serve([direct("masking")], POOLS, plugins=[plugin("masking", ask=True)])
    answer = await house.ask(messages=ALICE)
    assert [body["messages"][0]["content"] for body in house.engine.bodies] == [
        "which names does Alice have?", "greet <P1>",
    ]  # fmt: skip
    assert [call["pool"] for call in told(answer)["plugin_calls"]] == ["large"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_of_a_call_of_the_strategy_can_be_escalated(house: House, stream: bool) -> None:
    house.say(small=GREETING)
    pools = [external("small"), pool("large", "Large")]
    await house.serve([adapted("masking")], pools, plugins=[plugin("masking", escalate=True)])
    answer = await house.ask(stream=stream, messages=ALICE)
    assert answer.text == "Canberra it is."
    assert [(stage["pool"], stage["verdict"]) for stage in told(answer)["stages"]] == [
        ("small", "Rejected"), ("large", "Accepted"),
    ]  # fmt: skip


@pytest.mark.parametrize("hidden", [{"prompt": ["Alice"]}, {"prompt": "hi", "suffix": "Alice"}], ids=str)
async def test_strings_that_a_plugin_that_protects_cannot_see_are_refused(
    house: House, hidden: Mapping[str, Any]
) -> None:
    await house.serve([direct("masking")], POOLS, plugins=[plugin("masking")])
    answer = await house.ask(path="/v1/completions", **hidden)
    assert (answer.status, answer.json["error"]["param"] in hidden) == (400, True)
    assert house.engine.bodies == []


async def test_the_room_is_that_of_the_smallest_window_of_the_plan(house: House) -> None:
    sizes = {"small": 4096, "large": 512}
    small, large = (pool(name, extra=f", engine: {{maxModelLength: {size}}}") for name, size in sizes.items())
    await house.serve([adapted("looking")], [small, large], plugins=[plugin("looking")])
    room = told(await house.ask(max_tokens=100))["plugins"]["looking"]["room"]
    assert 380 < room < 512 - 100
    await house.serve([adapted("looking")], plugins=[plugin("looking")])
    assert told(await house.ask())["plugins"]["looking"]["room"] is None


async def test_a_plugin_that_blocks_the_event_loop_is_named_and_has_failed(house: House) -> None:
    await house.serve([adapted("blocking")], plugins=[plugin("blocking", "Ignore", seconds=1.1)])
    answer = await house.ask()
    assert answer.text == "Canberra."
    assert "Models.compute" in told(answer)["plugins"]["blocking"]["error"]
    metrics = (await house.get("/metrics")).raw.decode()
    assert 'pilotfish_plugin_failures_total{plugin="blocking",reason="Blocked"} 1.0' in metrics
    assert 'pilotfish_plugin_blocked_seconds_total{plugin="blocking"}' in metrics
    await house.serve([adapted("blocking")], plugins=[plugin("blocking", "Ignore", seconds=1.1, thread=True)])
    assert "plugins" not in told(await house.ask())
