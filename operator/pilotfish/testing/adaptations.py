"""Contract suites for adaptations: what the gateway relies on.

A test module subclasses the suite of each protocol that its adaptation implements, in a class whose name starts with
`Test`. Both suites may be subclassed by one class:

    class TestContract(OnRequestContract, OnAnswerContract):
        plugin = HouseRules
        settings = Settings({"text": "Use SI units."})
        answers = ("It is 5 miles long.",)

`pilotfish.testing.preparing` has the suite for adaptations that prepare.
"""

import asyncio
import copy
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from pilotfish.api.modelpool import Task, Tier
from pilotfish.base.errors import RequestError
from pilotfish.plugin_api.adaptations import (
    Answered,
    AnswerStream,
    CalledPool,
    Channel,
    Conversation,
    Declaration,
    Mode,
    OnRequest,
    Refused,
    Rewritten,
    Scope,
)
from pilotfish.plugin_api.preparing import Preparing
from pilotfish.plugin_api.scorers import message_text
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.extension_points import ADAPTATIONS
from pilotfish.testing.answers import FINISH_REASONS, SEED, Reading, check_notes, random_answers, random_parts, read
from pilotfish.testing.models import FailingModels, SilentModels, StandInModels
from pilotfish.testing.preparing import CheckedProgress, InFolder, InMemoryDocuments, StandInWorkspace
from pilotfish.testing.settings import refused_field

POOLS = tuple(CalledPool("small", Task.GENERATE, Tier.SMALL, external) for external in (True, False))
EXTERNAL_EMBEDDER = CalledPool("embedder", Task.EMBED, Tier.SMALL, external=True)
QUESTION = {"role": "user", "content": "What is the capital of Australia?"}
SEARCH = {
    "type": "function",
    "function": {"name": "search", "description": "Search the web.", "parameters": {"type": "object"}},
}
CONVERSATIONS = (
    Conversation((QUESTION,)),
    Conversation((QUESTION,), stream=True, max_tokens=1, context_tokens=0),
    Conversation((QUESTION,), choices=3, context_tokens=40),
    Conversation(({"role": "user", "content": ""},)),
    Conversation(({"role": "system", "content": "Be brief."}, QUESTION, {"role": "assistant", "content": "Canberra."})),
    Conversation(
        (
            QUESTION,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "search", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "17", "tool_call_id": "a"},
        ),
        tools=(SEARCH,),
    ),
    Conversation(
        (
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Ein Bild: 鯨"},
                    {"type": "image_url", "image_url": {"url": "data:,"}},
                ],
            },
        )
    ),
    Conversation(({"role": "user", "content": "word " * 5_000},), context_tokens=100),
)
ANSWERS = (
    "",
    "Canberra.",
    "Canberra is the capital. It was founded in 1913. Is it not 鯨? Yes: \u00e4, \U0001f40b!\n\n- one\n- two\n",
    'See [1] and <b>2</b>; {"a": "b\\n"} e.g. at https://example.org/?q=1, or +49 30 1234567.',
    "word " * 400,
)
TEXT = Channel()
BYTES_PER_TOKEN = 4
ARGUMENTS = '{"query": "the capital \\u0041 of \\"Australia\\"", "count": 3}'


Open = Callable[..., AnswerStream | None]
"""Makes a stream for one answer. It may be given the pools."""


class AdaptationContract(InFolder):
    """What every adaptation keeps. `plugin` is the class; `settings` are valid settings for it.

    `documents` are contents by path, for an adaptation that prepares. Where `deterministic` is False, results for equal
    input may differ.
    """

    plugin: type[Any]
    settings = Settings()
    documents: ClassVar[Mapping[str, bytes]] = {}
    deterministic = True
    conversations: Sequence[Conversation] = CONVERSATIONS

    def models(self) -> StandInModels:
        """The pools that the adaptation asks."""
        return StandInModels()

    async def make(self) -> Any:
        """An adaptation to test, prepared if it prepares."""
        made = self.plugin.from_settings(self.settings)
        if not isinstance(made, Preparing):
            return made
        workspace = StandInWorkspace(self.folder / "prepared")
        documents = InMemoryDocuments(self.documents)
        await made.prepare(documents=documents, into=workspace, models=self.models(), progress=CheckedProgress())
        return self.plugin.from_settings(replace(self.settings, prepared=workspace.path))

    def asked(self) -> list[Conversation]:
        """The conversations that the adaptation sees, by its scope."""
        if Declaration.of(self.plugin.from_settings(self.settings)).scope is Scope.REQUEST:
            return list(copy.deepcopy(self.conversations))
        strings = Conversation((QUESTION, {"role": "user", "content": "Canberra."}), pool=EXTERNAL_EMBEDDER)
        calls = [replace(each, pool=pool) for each in copy.deepcopy(self.conversations) for pool in POOLS]
        return [strings, *calls]

    def test_the_class_implements_a_protocol(self) -> None:
        ADAPTATIONS.check(self.plugin)

    def test_the_declaration_is_valid(self) -> None:
        declared = Declaration.of(self.plugin)
        made = Declaration.of(self.plugin.from_settings(self.settings))
        assert (made.roles, made.scope, made.protects) == (declared.roles, declared.scope, declared.protects)

    def test_an_unknown_field_of_config_is_refused_by_name(self) -> None:
        settings = replace(self.settings, config={**self.settings.config, "noSuchField": 1})
        assert refused_field(self.plugin, settings) == "config.noSuchField"


class OnRequestContract(AdaptationContract):
    """What every OnRequest keeps."""

    async def test_every_conversation_gets_a_valid_result_and_is_left_unchanged(self) -> None:
        made = await self.make()
        for conversation in self.asked():
            before, models = copy.deepcopy(conversation), self.models()
            check_result(await made.on_request(conversation=conversation, models=models), conversation)
            assert conversation == before, "on_request changed the conversation that it was given"
            _check_roles(made, models)

    async def test_roles_that_are_optional_may_have_no_pool(self) -> None:
        made = await self.make()
        optional = frozenset(role.name for role in Declaration.of(made).roles if role.optional)
        for conversation in self.asked():
            models = self.models()
            models.missing |= optional
            check_result(await made.on_request(conversation=conversation, models=models), conversation)
            assert not optional & set(models.asked), "a role without a pool was asked: check it with Models.has"

    async def test_requests_at_the_same_time_do_not_change_results(self) -> None:
        """One adaptation serves all requests of a router."""
        if not self.deterministic:
            return
        made, asked = await self.make(), self.asked()
        alone = [await made.on_request(conversation=each, models=self.models()) for each in asked]
        calls = [made.on_request(conversation=each, models=self.models()) for each in (*asked, *asked)]
        together = await asyncio.gather(*calls)
        assert [_compared(each) for each in together] == [_compared(each) for each in (*alone, *alone)]

    async def test_a_pool_that_fails_is_reported_as_its_error(self) -> None:
        made = await self.make()
        for conversation in self.asked():
            await _with_failing_pools(lambda models: made.on_request(conversation=conversation, models=models))  # noqa: B023

    async def test_cancellation_ends_all_calls_to_pools(self) -> None:
        made = await self.make()
        for conversation in self.asked():
            await _cancelled(lambda models: made.on_request(conversation=conversation, models=models))  # noqa: B023


class OnAnswerContract(AdaptationContract):
    """What every OnAnswer keeps, on `answers` and `count` random answers of their fragments, in random parts.

    For `conversation`, the answers are those of a request that the adaptation has seen, if it sees requests.
    `unchanged` are answers that are released as they are.
    """

    answers: Sequence[str] = ANSWERS
    arguments: Sequence[str] = (ARGUMENTS,)
    unchanged: Sequence[str] = ()
    count = 200
    conversation = CONVERSATIONS[0]

    async def streams(self, channel: Channel = TEXT) -> Open:
        """Makes streams for answers to `conversation`."""
        made, conversation, state = await self.make(), self.conversation, None
        if Declaration.of(made).scope is Scope.CALL:
            conversation = replace(conversation, pool=POOLS[0])
        if isinstance(made, OnRequest):
            result = await made.on_request(conversation=conversation, models=self.models())
            if isinstance(result, Rewritten):
                tools = conversation.tools if result.tools is None else result.tools
                conversation, state = replace(conversation, messages=result.messages, tools=tools), result.state

        def opened(models: StandInModels | None = None) -> AnswerStream | None:
            stream: AnswerStream | None = made.on_answer(
                conversation=conversation, state=state, models=models or self.models(), channel=channel
            )
            return stream

        return opened

    async def test_how_an_answer_arrives_does_not_change_what_is_released(self) -> None:
        await self._check_parts(self.answers, TEXT)

    async def test_answers_without_a_reason_for_a_change_are_released_unchanged(self) -> None:
        for whole, text in zip(await self._check_parts(self.unchanged, TEXT, count=0), self.unchanged, strict=False):
            assert (whole.withheld, whole.text) == (None, text)

    async def test_arguments_of_tool_calls_stay_json(self) -> None:
        for whole in await self._check_parts(self.arguments, Channel(tool_call=0), count=0):
            if not whole.withheld:
                json.loads(whole.text)

    async def test_no_more_is_held_back_than_declared(self) -> None:
        """The gateway counts four bytes as one token."""
        declared = Declaration.of(await self.make())
        opened, numbers = await self.streams(), random.Random(SEED)  # noqa: S311 - test data
        if declared.mode is Mode.OBSERVE or declared.hold_tokens is None or opened() is None:
            return
        for text in random_answers(self.answers, self.count // 10):
            parts = random_parts(text[:2000], numbers)
            read_in_parts = await read(_stream(opened), parts)
            for place, released in enumerate(read_in_parts.released):
                whole = await read(_stream(opened), ["".join(parts[: place + 1])])
                held = whole.text[len(released) :]
                size = len(held.encode("utf-8", "replace"))
                assert size <= BYTES_PER_TOKEN * declared.hold_tokens, f"{size} bytes are held back: {held!r}"

    async def test_choices_do_not_affect_each_other(self) -> None:
        first, second = await self.streams(Channel(0)), await self.streams(Channel(1))
        one, other = first(), second()
        if one is None or other is None or not self.deterministic:
            return
        for text in self.answers:
            alone = await read(_stream(first), [text] if text else [])
            both = await asyncio.gather(read(_stream(first), list(text)), read(_stream(second), list(text[::-1])))
            assert bool(both[0].withheld) == bool(alone.withheld)
            assert alone.withheld or both[0].text == alone.text

    async def test_every_finish_reason_ends_an_answer(self) -> None:
        opened = await self.streams()
        for reason in FINISH_REASONS:
            for text in self.answers:
                if stream := opened():
                    await read(stream, [text] if text else [], reason)

    async def test_a_pool_that_fails_for_an_answer_is_reported_as_its_error(self) -> None:
        opened = await self.streams()
        for text in self.answers:
            await _with_failing_pools(partial(_read_whole, opened, text))

    async def test_cancellation_of_an_answer_ends_all_calls_to_pools(self) -> None:
        opened = await self.streams()
        for text in self.answers:
            await _cancelled(partial(_read_whole, opened, text))

    async def _check_parts(
        self, answers: Sequence[str], channel: Channel, count: int | None = None
    ) -> Sequence[Reading]:
        mode = Declaration.of(await self.make()).mode
        opened, numbers = await self.streams(channel), random.Random(SEED)  # noqa: S311 - test data
        if opened() is None:
            return []
        readings = []
        for text in random_answers(answers, self.count if count is None else count):
            whole = await read(_stream(opened), [text] if text else [])
            readings.append(whole)
            parts = random_parts(text, numbers)
            split = await read(_stream(opened), parts)
            if mode is Mode.OBSERVE or not self.deterministic:
                continue
            if whole.withheld:
                assert mode is not Mode.GATE or split.withheld or split.text != text, (
                    f"the answer {text!r} is withheld as a whole, but released in the parts {parts}"
                )
            else:
                assert not split.withheld, f"the answer {text!r} is released as a whole, but withheld in parts {parts}"
                assert split.text == whole.text, f"other text is released for the parts {parts}"
        return readings


def check_result(result: object, conversation: Conversation) -> None:
    """A result of `on_request` is of one of its types, and what it asks for can be sent to a pool."""
    match result:
        case Rewritten():
            _check_messages(result, conversation)
        case Answered():
            assert isinstance(result.text, str)
        case Refused():
            assert result.message, "Refused without a message"
        case None:
            return
        case _:
            raise AssertionError(f"on_request returned {type(result).__name__}")
    check_notes(result.notes)


def _check_messages(result: Rewritten, conversation: Conversation) -> None:
    assert result.messages, "Rewritten without messages"
    assert all(isinstance(message["role"], str) for message in result.messages)
    if conversation.pool and conversation.pool.task is not Task.GENERATE:
        assert len(result.messages) == len(conversation.messages), "the number of strings changed"
    json.dumps([*map(dict, result.messages)])
    json.dumps([*map(dict, result.tools or ())])
    if conversation.context_tokens is not None:
        added = _words(result.messages) - _words(conversation.messages)
        assert added <= conversation.context_tokens, (
            f"{added} words were added, but context_tokens is {conversation.context_tokens}"
        )


def _words(messages: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(message_text(message).split()) for message in messages)


def _compared(result: object) -> object:
    """A result without `state`, whose values need not be comparable."""
    return replace(result, state=None) if isinstance(result, Rewritten) else result


def _check_roles(made: object, models: StandInModels) -> None:
    unknown = set(models.asked) - {role.name for role in Declaration.of(made).roles}
    assert not unknown, f"roles that are not declared were asked: {sorted(unknown)}"


async def _read_whole(opened: Open, text: str, models: StandInModels) -> object:
    stream = opened(models)
    return stream and await read(stream, [text] if text else [])


def _stream(opened: Open) -> AnswerStream:
    stream = opened()
    assert stream is not None, "on_answer returned a stream for one answer, and None for another one"
    return stream


async def _with_failing_pools(call: Callable[[StandInModels], Awaitable[object]]) -> None:
    """Results are allowed, because a plugin may do without a pool. The only exception allowed is RequestError."""
    try:
        await call(FailingModels())
    except RequestError:
        return


async def _cancelled(call: Callable[[StandInModels], Awaitable[object]]) -> None:
    models = SilentModels()
    others = asyncio.all_tasks()
    task = asyncio.ensure_future(call(models))
    reached = asyncio.ensure_future(models.reached.wait())
    try:
        await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
        await asyncio.wait({task})
    finally:
        reached.cancel()
        await asyncio.wait({reached})
    assert not models.asked or task.cancelled(), "a cancelled call did not end with CancelledError"
    assert asyncio.all_tasks() <= others, "calls to pools continue after the request was cancelled"
