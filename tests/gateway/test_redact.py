"""The plugin redact in the gateway: external pools never see a value, and clients get it back."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from pilotfish.api import AdaptationPlugin
from pilotfish.testing.stand_in_engine import EngineFault, Script
from pilotfish_redact import numbers

from .conftest import Answered, House, cascade, pool, resource, router

ADDRESS, IBAN = "anna@mail.example", "DE89 3704 0044 0532 0130 00"
PAID = {"name": "pay", "arguments": orjson.dumps({"to": IBAN}).decode()}
SENT = [
    {"role": "system", "content": f"The customer is {ADDRESS}."},
    {"role": "user", "content": [{"type": "text", "text": f"Pay {IBAN}, and write to {ADDRESS}."}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "a",
                "type": "function",
                "function": {"name": "pay", "arguments": orjson.dumps({"to": IBAN}).decode()},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": f'{{"paid": true, "receipt": "{ADDRESS}"}}'},
]
TOOLS = [{"type": "function", "function": {"name": "pay", "description": f"Pays, for example to {IBAN}"}}]


def redact(**config: Any) -> AdaptationPlugin:
    return resource(f"""
apiVersion: pilotfish.dev/v1alpha1
kind: AdaptationPlugin
metadata: {{name: redact}}
spec: {{type: redact, failurePolicy: Fail, config: {config!r}}}
""")


def external(name: str) -> Any:
    return resource(f"""
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {{name: {name}}}
spec: {{tier: Large, external: {{baseURL: "https://api.example.com/v1", model: {name}}}}}
""")


USES = ", plugins: [{pluginRef: {name: redact}}]"
DIRECT = router("assistant", "{type: Direct, direct: {poolRef: {name: large}}}", USES)


async def placeholders(house: House) -> tuple[str, str]:
    """What stands for the address and the account in the last call, after one that was made to see it."""
    await house.ask(messages=SENT, tools=TOOLS)
    system, user = house.engine.bodies[-1]["messages"][:2]
    address = system["content"].removeprefix("The customer is ").removesuffix(".")
    account = user["content"][0]["text"].removeprefix("Pay ").removesuffix(f", and write to {address}.")
    return address, account


def pieces(text: str) -> Iterator[tuple[str, float]]:
    """Tokens of three characters, so that placeholders arrive in parts."""
    return ((text[start : start + 3], -0.01) for start in range(0, len(text), 3))


def arguments(answer: Answered) -> Any:
    """The arguments of the tool call of an answer."""
    if not answer.raw.startswith(b"data:"):
        return orjson.loads(answer.json["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])
    deltas = [choice["delta"] for chunk in answer.chunks for choice in chunk["choices"]]
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    return orjson.loads("".join(call.get("arguments") or "" for call in calls))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_external_pool_sees_placeholders_and_the_client_values(house: House, *, stream: bool) -> None:
    await house.serve([DIRECT], [pool("small"), external("large")], plugins=[redact()])
    address, account = await placeholders(house)
    said = f"I paid {account}. {address} and {address[:-1]} know, EMAIL-BBBBBBBBBB does not. EMAIL-"
    house.say(large=Script(list(pieces(said))))
    answer = await house.ask(messages=SENT, tools=TOOLS, stream=stream)
    assert answer.text == said.replace(account, IBAN).replace(address, ADDRESS)
    for body in house.engine.bodies:
        sent = orjson.dumps(body).decode()
        assert ADDRESS not in sent
        assert "3704" not in sent
        assert sent.count(address) == 3
        assert sent.count(account) == 3
    report = answer.chunks[-1] if stream else answer.json
    assert report["pilotfish"]["plugins"] == {"redact": {"masked": {"EMAIL": 1, "IBAN": 1}}}


@pytest.mark.parametrize("stream", [False, True])
async def test_arguments_of_tools_are_restored(house: House, *, stream: bool) -> None:
    await house.serve([DIRECT], [pool("small"), external("large")], plugins=[redact()])
    address, account = await placeholders(house)
    made = orjson.dumps({"to": account, "note": f'for "{address}"'}).decode()
    call = {"name": "pay", "arguments": made}
    parts = tuple(made[start : start + 5] for start in range(0, len(made), 5))
    script = Script([("Ok.", -0.01)], finish_reason="tool_calls", tool_call=call)
    house.say(large=replace(script, arguments=parts) if stream else script)
    answer = await house.ask(messages=SENT, tools=TOOLS, stream=stream)
    assert arguments(answer) == {"to": IBAN, "note": f'for "{ADDRESS}"'}


@pytest.mark.parametrize("stream", [False, True])
async def test_internal_pools_see_values_and_the_next_external_one_does_not(house: House, *, stream: bool) -> None:
    house.say(small=Script([("Mel", -2.5), ("bourne", -2.5)]))
    await house.serve([cascade(extra=USES)], [pool("small"), external("large")], plugins=[redact()])
    await house.ask(messages=SENT, stream=stream)
    first, second = house.engine.bodies
    assert (first["model"], second["model"]) == ("small", "large")
    assert ADDRESS in str(first)
    assert ADDRESS not in str(second)


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_leaves_where_a_recogniser_fails(
    house: House, monkeypatch: pytest.MonkeyPatch, *, stream: bool
) -> None:
    def fail(text: str) -> None:
        raise ZeroDivisionError(text)

    monkeypatch.setattr(numbers, "ibans", fail)
    await house.serve([DIRECT], [pool("small"), external("large")], plugins=[redact()])
    answer = await house.ask(messages=SENT, stream=stream)
    assert (answer.status, answer.json["error"]["type"]) == (500, "plugin_error")
    assert ADDRESS.encode() not in answer.raw
    assert house.engine.bodies == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_pool_that_breaks_off_inside_a_placeholder(house: House, *, stream: bool) -> None:
    """What is held is no placeholder: the client gets it before the error, or with it nothing."""
    await house.serve([DIRECT], [pool("small"), external("large")], plugins=[redact()])
    address, _ = await placeholders(house)
    tokens = list(pieces(f"To {address}"))
    house.say(large=Script(tokens, fault=EngineFault.HALF, after=4))
    answer = await house.ask(messages=SENT, stream=stream)
    assert address.encode() not in answer.raw
    assert ADDRESS.encode() not in answer.raw


async def test_a_picture_is_refused_before_anything_leaves(house: House) -> None:
    await house.serve([DIRECT], [pool("small"), external("large")], plugins=[redact()])
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    answer = await house.ask(messages=[{"role": "user", "content": [{"type": "text", "text": "What?"}, picture]}])
    assert (answer.status, answer.json["error"]["code"]) == (400, "content_filter")
    assert "config.attachments" in answer.json["error"]["message"]
    assert house.engine.bodies == []


async def test_prompts_are_masked(house: House) -> None:
    await house.serve([DIRECT], [pool("small"), external("large")], plugins=[redact()])
    answer = await house.ask(path="/v1/completions", prompt=f"mail {ADDRESS}")
    assert answer.status == 200
    assert ADDRESS not in str(house.engine.bodies)


async def test_other_parameters_are_masked(house: House) -> None:
    await house.serve([DIRECT], [pool("small"), external("large")], plugins=[redact()])
    more = {"user": ADDRESS, "metadata": {"account": IBAN}, "stop": [ADDRESS, "END"], "seed": 2147483648, "top_p": 0.5}
    await house.ask(messages=SENT, **more)
    (body,) = house.engine.bodies
    address = body["user"]
    assert address.startswith("EMAIL-")
    assert body["stop"] == [address, "END"]
    assert (body["seed"], body["top_p"]) == (2147483648, 0.5)
    assert address in body["messages"][0]["content"]
    assert ADDRESS not in str(body)
    assert IBAN not in str(body)
