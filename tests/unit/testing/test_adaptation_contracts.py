"""The contract suites for adaptations fail for adaptations with the mistakes that they are there for."""

import asyncio
import inspect
from typing import ClassVar

import pytest

from pilotfish.api.common import Model
from pilotfish.base.errors import RequestError
from pilotfish.plugin_api.adaptations import Escalate, Mode, Refused, Release, Rewritten, Role
from pilotfish.plugin_api.preparing import Prepared
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.testing.adaptations import OnAnswerContract, OnRequestContract
from pilotfish.testing.preparing import PreparingContract


class Adaptation:
    @classmethod
    def from_settings(cls, settings):
        read_config(Model, settings)
        return cls()


class Asking(Adaptation):
    """Puts what its pool writes in front of the conversation, if there is room."""

    roles: ClassVar = (Role("expert"), Role("other", optional=True))

    async def on_request(self, *, conversation, models):
        if conversation.context_tokens is not None and conversation.context_tokens < 10:
            return None
        answer = await models.complete("expert", conversation.messages)
        if models.has("other"):
            await models.complete("other", conversation.messages)
        text = answer["choices"][0]["message"]["content"]
        return Rewritten(({"role": "system", "content": text}, *conversation.messages), notes={"text": text})


class Changing(Asking):
    async def on_request(self, *, conversation, models):
        conversation.messages[-1]["content"] = ""
        return await super().on_request(conversation=conversation, models=models)


class Overflowing(Asking):
    async def on_request(self, *, conversation, models):
        return Rewritten(({"role": "system", "content": "word " * 1000}, *conversation.messages))


class Undeclared(Asking):
    async def on_request(self, *, conversation, models):
        await models.complete("judge", conversation.messages)


class Required(Asking):
    async def on_request(self, *, conversation, models):
        await models.complete("other", conversation.messages)


class Sharing(Asking):
    async def on_request(self, *, conversation, models):
        self.conversation = conversation
        result = await super().on_request(conversation=conversation, models=models)
        return result and Rewritten(self.conversation.messages)


class Wrapping(Asking):
    async def on_request(self, *, conversation, models):
        try:
            return await super().on_request(conversation=conversation, models=models)
        except RequestError as error:
            raise ValueError("the expert failed") from error


class Swallowing(Asking):
    async def on_request(self, *, conversation, models):
        try:
            return await super().on_request(conversation=conversation, models=models)
        except asyncio.CancelledError:
            return None


class Leaving(Asking):
    async def on_request(self, *, conversation, models):
        self.task = asyncio.create_task(models.complete("expert", conversation.messages))
        return await asyncio.shield(self.task) and None


class Words(Adaptation):
    """Replaces each `a` by `aa`, a word at a time."""

    hold_tokens: ClassVar = 20

    def on_answer(self, *, conversation, state, models, channel):
        return WordStream()


class WordStream:
    def __init__(self):
        self.held = ""

    async def push(self, text):
        ready, space, self.held = (self.held + text).rpartition(" ")
        return Release(ready.replace("a", "aa") + space)

    async def end(self, finish_reason):
        return Release(self.held.replace("a", "aa"))


class Streaming(Words):
    def __init__(self, *made):
        self.made = made

    def on_answer(self, *, conversation, state, models, channel):
        return type(self).Stream()


class Losing(Streaming):
    """Loses what it holds at the end."""

    class Stream(WordStream):
        async def end(self, finish_reason):
            return Release("")


class Splitting(Streaming):
    """Looks for its word in each part alone."""

    class Stream(WordStream):
        async def push(self, text):
            return Release(text.replace("Canberra", "Sydney"))


class Holding(Streaming):
    """Holds everything."""

    class Stream(WordStream):
        async def push(self, text):
            self.held += text
            return Release("")


class LateEscalation(Streaming):
    class Stream(WordStream):
        async def end(self, finish_reason):
            return Escalate("not sure", Release(""))


class OpenGate(Streaming):
    """Releases what it should judge as a whole."""

    mode: ClassVar = Mode.GATE

    class Stream(WordStream):
        async def push(self, text):
            return Refused("no cities") if "Canberra" in text else Release(text)

        async def end(self, finish_reason):
            return Release("")


class Arguments(Streaming):
    class Stream(WordStream):
        async def push(self, text):
            return Release(text.replace("}", ""))


class Counting(Adaptation):
    """Prepares a file with the size of each document."""

    prepared_format: ClassVar = 1

    async def prepare(self, *, documents, into, models, progress):
        for done, document in enumerate(documents):
            progress(done, len(documents), document.path)
            if not into.has(f"{document.path}.size"):
                into.write(f"{document.path}.size", str(len(documents.read(document))).encode())
        return Prepared(len(documents))


class Forgetting(Counting):
    """Counts in memory what an interruption lets it forget."""

    async def prepare(self, *, documents, into, models, progress):
        fresh = [document for document in documents if not into.has(document.path)]
        for document in fresh:
            into.write(document.path, documents.read(document))
        into.write("count", str(len(fresh)).encode())
        return Prepared(len(documents))


async def failures(contract, plugin, **attributes):
    """The names of the tests of a suite that fail for a plugin."""
    suite = type("Suite", (contract,), {"plugin": plugin, "settings": Settings(), **attributes})()
    failed = []
    for name in [each for each in dir(suite) if each.startswith("test_")]:
        suite.setup_method()
        try:
            result = getattr(suite, name)()
            await result if inspect.isawaitable(result) else None
        except Exception:  # noqa: BLE001 - any exception fails a test
            failed.append(name)
        finally:
            suite.teardown_method()
    return failed


async def test_correct_adaptations_pass():
    assert await failures(OnRequestContract, Asking) == []
    assert await failures(OnAnswerContract, Words) == []
    assert await failures(PreparingContract, Counting, documents={"a": b"1", "b": b"22"}) == []


@pytest.mark.parametrize(
    ("plugin", "test"),
    [
        (Changing, "test_every_conversation_gets_a_valid_result_and_is_left_unchanged"),
        (Overflowing, "test_every_conversation_gets_a_valid_result_and_is_left_unchanged"),
        (Undeclared, "test_every_conversation_gets_a_valid_result_and_is_left_unchanged"),
        (Required, "test_roles_that_are_optional_may_have_no_pool"),
        (Sharing, "test_requests_at_the_same_time_do_not_change_results"),
        (Wrapping, "test_a_pool_that_fails_is_reported_as_its_error"),
        (Swallowing, "test_cancellation_ends_all_calls_to_pools"),
    ],
)
async def test_a_mistake_of_on_request_fails(plugin, test):
    assert test in await failures(OnRequestContract, plugin)


async def test_a_call_that_outlives_its_request_fails():
    assert "test_cancellation_ends_all_calls_to_pools" in await failures(OnRequestContract, Leaving)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


@pytest.mark.parametrize(
    ("plugin", "test"),
    [
        (Losing, "test_answers_without_a_reason_for_a_change_are_released_unchanged"),
        (Splitting, "test_how_an_answer_arrives_does_not_change_what_is_released"),
        (OpenGate, "test_how_an_answer_arrives_does_not_change_what_is_released"),
        (Holding, "test_no_more_is_held_back_than_declared"),
        (LateEscalation, "test_every_finish_reason_ends_an_answer"),
        (Arguments, "test_arguments_of_tool_calls_stay_json"),
    ],
)
async def test_a_mistake_of_an_answer_stream_fails(plugin, test):
    assert test in await failures(OnAnswerContract, plugin, unchanged=("One two.",))


async def test_a_preparation_that_does_not_continue_fails():
    documents = {"a": b"1", "b": b"22"}
    assert "test_an_interrupted_preparation_continues" in await failures(
        PreparingContract, Forgetting, documents=documents
    )
