"""What leaves for an external pool, and what comes back."""

import asyncio
import itertools
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from pilotfish.api.modelpool import Task, Tier
from pilotfish.base.errors import ConfigError, ModelUnavailable
from pilotfish.plugin_api.adaptations import CalledPool, Channel, Conversation, Declaration, Refused, Rewritten, Scope
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnAnswerContract, OnRequestContract
from pilotfish.testing.models import StandInModels
from pilotfish_redact import Redact, numbers
from pilotfish_redact.placeholders import LABELS, LETTERS, Placeholders, Restorer, RestoringStream
from pilotfish_redact.spans import Kind

EXTERNAL = CalledPool("far", Task.GENERATE, Tier.LARGE, external=True)
INTERNAL = CalledPool("near", Task.GENERATE, Tier.SMALL, external=False)
EMAIL, IBAN, CARD = "anna@mail.example", "DE89370400440532013000", "4111111111111111"
NO_NAMES = StandInModels(missing=frozenset({"names"}))


class TestContract(OnRequestContract, OnAnswerContract):
    plugin = Redact
    settings = Settings({"attachments": "Send"})
    conversation = Conversation(({"role": "user", "content": f"Who is {EMAIL}?"},))
    unchanged = ("EMAIL-", "EMAIL-BBBBBBBBBB and CARD-", "I", "")


def redact(**config: Any) -> Redact:
    return Redact.from_settings(Settings(config))


async def masked(
    plugin: Redact, *contents: Any, tools: tuple[Mapping[str, Any], ...] = (), models: StandInModels = NO_NAMES
) -> Rewritten:
    messages = tuple(each if isinstance(each, dict) else {"role": "user", "content": each} for each in contents)
    asked = Conversation(messages, tools, pool=EXTERNAL)
    rewritten = await plugin.on_request(conversation=asked, models=models)
    assert isinstance(rewritten, Rewritten), rewritten
    return rewritten


async def restored(plugin: Redact, sent: Rewritten, *parts: str, tool_call: int | None = None) -> str:
    """What the client gets of an answer that arrives in these parts."""
    stream = plugin.on_answer(
        conversation=Conversation(sent.messages), state=sent.state, models=NO_NAMES, channel=Channel(0, tool_call)
    )
    assert stream is not None
    released = [await stream.push(part) for part in parts]
    return "".join(each.text for each in [*released, await stream.end("stop")])  # type: ignore[union-attr]


def test_it_protects_calls_and_has_no_required_pool() -> None:
    declared = Declaration.of(Redact)
    assert (declared.scope, declared.protects) == (Scope.CALL, True)
    assert [(role.name, role.optional) for role in declared.roles] == [("names", True)]


async def test_a_value_has_one_placeholder_in_all_messages_tools_and_calls() -> None:
    plugin = redact()
    tool = {"type": "function", "function": {"name": "mail", "description": f"Mails {EMAIL}"}}
    sent = await masked(
        plugin,
        {"role": "system", "content": f"You serve {EMAIL}."},
        [{"type": "text", "text": f"Who is {EMAIL}?"}],
        {"role": "tool", "tool_call_id": "a", "content": json.dumps({"to": [EMAIL], "n": 1})},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "function": {"name": "mail", "arguments": r'{"to": "anna\u0040mail.example"}'}}],
        },
        tools=(tool,),
    )
    placeholder = sent.messages[0]["content"].removeprefix("You serve ").removesuffix(".")
    leaving = json.dumps([sent.messages, sent.tools])
    assert leaving.count(placeholder) == 5
    assert "mail.example" not in leaving
    assert sent.tools == ({"type": "function", "function": {"name": "mail", "description": f"Mails {placeholder}"}},)
    assert json.loads(sent.messages[2]["content"]) == {"to": [placeholder], "n": 1}
    assert sent.notes == {"masked": {"EMAIL": 1}}
    again = await masked(plugin, IBAN, f"once more: {EMAIL}")
    assert again.messages[1]["content"] == f"once more: {placeholder}"
    assert await restored(plugin, again, f"I wrote to {placeholder}.") == f"I wrote to {EMAIL}."


async def test_a_value_is_masked_where_nothing_says_what_it_is_too() -> None:
    sent = await masked(redact(), "my SSN is 078051121", "078051121", "x_078051121")
    (placeholder,) = sent.state.values
    assert [each["content"] for each in sent.messages] == [f"my SSN is {placeholder}", placeholder, f"x_{placeholder}"]


@pytest.mark.parametrize("value", [4111111111111111, 4111111111111111.0, "4111111111111111"])
async def test_numbers_in_json_are_masked(value: float | str) -> None:
    sent = await masked(redact(), {"role": "tool", "content": json.dumps({"card": value, "cvc": 123, "ok": True})})
    content = json.loads(sent.messages[0]["content"])
    assert content["card"].startswith("CARD-")
    assert (content["cvc"], content["ok"]) == (123, True)


async def test_in_tool_arguments_values_are_escaped() -> None:
    models = StandInModels(['- Robert "Bobby" Tables\n- None of them'])
    plugin = redact()
    sent = await masked(plugin, 'Write to Robert "Bobby" Tables at a\\b@mail.example', models=models)
    name = next(each for each, value in sent.state.values.items() if value == 'Robert "Bobby" Tables')
    arguments = json.dumps({"to": f"Hello {name},", name: [name]})
    for size in range(1, len(arguments)):
        parts = [arguments[at : at + size] for at in range(0, len(arguments), size)]
        made = json.loads(await restored(plugin, sent, *parts, tool_call=0))
        assert made == {"to": 'Hello Robert "Bobby" Tables,', 'Robert "Bobby" Tables': ['Robert "Bobby" Tables']}
    assert await restored(plugin, sent, f"Hello {name}") == 'Hello Robert "Bobby" Tables'


async def test_internal_pools_see_values_unless_all_are_masked() -> None:
    asked = Conversation(({"role": "user", "content": EMAIL},), pool=INTERNAL)
    assert await redact().on_request(conversation=asked, models=NO_NAMES) is None
    assert isinstance(await redact(pools="All").on_request(conversation=asked, models=NO_NAMES), Rewritten)


async def test_nothing_personal_leaves_the_call_alone() -> None:
    plugin = redact(kinds=["Email"], keep=["Support@mail.example"])
    asked = Conversation(({"role": "user", "content": f"support@mail.example {CARD}"},), pool=EXTERNAL)
    assert await plugin.on_request(conversation=asked, models=NO_NAMES) is None
    assert plugin.on_answer(conversation=asked, state=None, models=NO_NAMES, channel=Channel()) is None


async def test_what_looks_like_a_placeholder_stays_the_users() -> None:
    plugin = redact()
    first = (await masked(plugin, EMAIL)).messages[0]["content"]
    sent = await masked(plugin, f"{EMAIL} and {first} and EMAIL-BBBBBBBBBB")
    second = sent.messages[0]["content"].split()[0]
    assert second != first
    answer = f"{first} {second} EMAIL-BBBBBBBBBB {second[:-1]} {second.lower()} EMAIL- {second}{second}"
    wanted = answer.replace(second, EMAIL)
    assert await restored(plugin, sent, answer) == wanted
    assert await restored(plugin, sent, *answer) == wanted


async def test_the_key_of_placeholders_is_each_objects_own() -> None:
    assert (await masked(redact(), EMAIL)).messages != (await masked(redact(), EMAIL)).messages


def test_no_placeholder_begins_inside_of_another_one() -> None:
    """No text around placeholders can make another one: see the module's docstring."""
    alphabet = set("".join(map(chr, LETTERS.values())))
    assert len(alphabet) == 16
    for first, second in itertools.product(LABELS.values(), repeat=2):
        assert second[0] not in alphabet
        for start in range(1 if first == second else 0, len(first)):
            inside = f"{first}-"[start:]
            assert not inside.startswith(f"{second}-"[: len(inside)])


STREAMS = 20_000


async def test_restoring_does_not_depend_on_how_an_answer_arrives() -> None:
    choose = random.Random(11)
    placeholders = Placeholders(b"key", ())
    values = ['a"b\\c', "EMAIL-", "x", "鯨\n", "ID-B"]
    names = [placeholders.of(value, kind) for value, kind in zip(values, Kind, strict=False)]
    restorer = Restorer(placeholders.values)
    pieces = [
        *names,
        *names,
        *(name[: choose.randint(1, 14)] for name in names * 3),
        "EMAIL-",
        "I",
        "P",
        "-",
        " ",
        "B",
        "é",
    ]
    for _ in range(STREAMS):
        text = "".join(choose.choices(pieces, k=choose.randint(1, 7)))
        json_string = choose.random() < 0.5
        stream = RestoringStream(restorer, json_string)
        released, place = "", 0
        while place < len(text):
            size = choose.randint(1, 9)
            released += (await stream.push(text[place : place + size])).text
            place += size
            held = stream._held
            assert not held or any(name.startswith(held) and name != held for name in names)
        released += (await stream.end("stop")).text
        whole = restorer.restore(text, json_string=json_string)
        assert released == whole
        for place, name in enumerate(names):
            text = text.replace(name, f"\0{place}\0")
        for place, value in enumerate(values):
            text = text.replace(f"\0{place}\0", json.dumps(value, ensure_ascii=False)[1:-1] if json_string else value)
        assert whole == text


async def test_masking_and_restoring_gives_back_what_was_written() -> None:
    choose = random.Random(5)
    plugin = redact()
    values = [EMAIL, IBAN, CARD, "+49 30 901820", "203.0.113.9", "2001:db8::8a2e:370:7334", "078-05-1121"]
    between = [" ", ", ", "\n", "\u200b;", " é ", " EMAIL-", ") (", '"', " x=", " 7 ", "\\n"]
    for _ in range(1000):
        chosen = choose.choices(values, k=choose.randint(1, 8))
        text = "".join(choose.choice(between) + value for value in chosen) + choose.choice(between)
        sent = await masked(plugin, text)
        content = sent.messages[0]["content"]
        assert not any(value in content for value in chosen), content
        assert await restored(plugin, sent, *content) == text


IMAGE = {"type": "image_url", "image_url": {"url": "https://u:p@host.example/a.png"}}


async def test_what_cannot_be_masked_is_refused() -> None:
    for messages, tools in (
        (({"role": "user", "content": [{"type": "text", "text": EMAIL}, IMAGE]},), ()),
        (({"role": "user", "content": EMAIL},), ({"function": {"name": f"pay-{CARD}"}},)),
    ):
        asked = Conversation(messages, tools, pool=EXTERNAL)
        refused = await redact().on_request(conversation=asked, models=NO_NAMES)
        assert isinstance(refused, Refused)
        assert "'far'" in refused.message
        assert CARD not in refused.message
    sent = await masked(redact(attachments="Send"), [{"type": "text", "text": EMAIL}, IMAGE])
    assert sent.messages[0]["content"][1] == IMAGE


async def test_names_that_a_pool_lists_are_masked_with_their_parts() -> None:
    models = StandInModels(["1. Anna Schmidt\n- someone\n* Zoë\nNot There\n"])
    plugin = redact()
    sent = await masked(plugin, "Anna Schmidt met Zoë.", "Frau Schmidt and Annabel", models=models)
    left = " ".join(message["content"] for message in sent.messages)
    assert not {"Anna", "Schmidt", "Zoë"} & set(left.replace(".", "").split())
    assert "Annabel" in left
    assert await restored(plugin, sent, *left) == "Anna Schmidt met Zoë. Frau Schmidt and Annabel"


class Broken(StandInModels):
    """Pools that fail, or never answer."""

    hangs = False

    async def complete(self, role: str, messages: Any, **parameters: Any) -> Mapping[str, Any]:
        if self.hangs:
            await asyncio.Event().wait()
        raise ModelUnavailable("gone")


class Hanging(Broken):
    hangs = True


async def test_no_fault_lets_anything_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault ends in an exception, and none in a conversation: the gateway then sends nothing."""
    asked = Conversation(({"role": "user", "content": EMAIL},), pool=EXTERNAL)
    with pytest.raises(ModelUnavailable):
        await redact().on_request(conversation=asked, models=Broken())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await redact().on_request(conversation=asked, models=Hanging())

    def fail(text: str) -> None:
        raise ZeroDivisionError

    deep: Any = EMAIL
    for _ in range(5000):
        deep = [deep]
    for content in (deep, "[" * 100_000):
        with pytest.raises(RecursionError):
            await redact().on_request(
                conversation=Conversation(({"role": "user", "content": EMAIL, "more": content},), pool=EXTERNAL),
                models=NO_NAMES,
            )
    monkeypatch.setattr(numbers, "cards", fail)
    with pytest.raises(ZeroDivisionError):
        await redact().on_request(conversation=asked, models=NO_NAMES)


async def test_answers_that_never_end_hold_only_the_beginning_of_a_placeholder() -> None:
    sent = await masked(redact(), EMAIL)
    stream = RestoringStream(sent.state, json_string=False)
    for _ in range(1000):
        assert len((await stream.push("EMAIL-" * 100)).text) >= 594


@pytest.mark.parametrize(
    ("config", "field", "reason"),
    [
        ({"regions": ["DE", "XX"]}, "config.regions.1", "is no region of phone numbers: use a code"),
        ({"kinds": ["Passport"]}, "config.kinds.0", "'Email'"),
        ({"kinds": []}, "config.kinds", "at least 1"),
        ({"pools": "Some"}, "config.pools", "'External' or 'All'"),
        ({"attachments": True}, "config.attachments", "'Refuse' or 'Send'"),
        ({"secret": []}, "config.secret", "unknown field"),
    ],
)
def test_config_that_is_not_valid_is_refused_by_field(config: dict[str, object], field: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        Redact.from_settings(Settings(config))
    assert refused.value.field == field
