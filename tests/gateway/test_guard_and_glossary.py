"""The plugins guard and glossary in the gateway."""

from typing import Any

import pytest

from pilotfish.api import AdaptationPlugin
from pilotfish.testing.stand_in_engine import Script

from .adapting import adapted
from .conftest import Answered, House, resource, router, slow

FINE, SECRET = "All of it is well known to everyone.", "It is called Project Falcon inside."
WORDS: dict[str, Any] = {"name": "falcon", "words": ["Project Falcon"], "message": "We do not talk about it."}
TERM = {"term": "paid time off", "aliases": ["PTO"], "definition": "Days off with full pay."}


def plugin(kind: str, **config: Any) -> AdaptationPlugin:
    return resource(f"""
apiVersion: pilotfish.dev/v1alpha1
kind: AdaptationPlugin
metadata: {{name: {kind}}}
spec: {{type: {kind}, failurePolicy: Fail, config: {config!r}}}
""")


def says(*sentences: str) -> Script:
    """A script with tokens of four characters."""
    text = " ".join(sentences)
    return Script([(text[start : start + 4], -0.01) for start in range(0, len(text), 4)])


def notes(answer: Answered) -> Any:
    report = answer.chunks[-1] if answer.raw.startswith(b"data:") else answer.json
    return report["pilotfish"]["plugins"]


async def asked(house: House, content: str, *, stream: bool) -> Answered:
    return await house.ask(messages=[{"role": "user", "content": content}], stream=stream)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_in_which_a_check_finds_something_reaches_no_pool(house: House, *, stream: bool) -> None:
    await house.serve([adapted("guard")], plugins=[plugin("guard", checks=[WORDS])])
    answer = await asked(house, "What is project falcon?", stream=stream)
    assert (answer.status, answer.json["error"]["message"]) == (400, WORDS["message"])
    assert house.engine.bodies == []


@pytest.mark.parametrize("stream", [False, True])
async def test_no_sentence_leaves_in_which_a_check_finds_something(house: House, *, stream: bool) -> None:
    house.say(small=says(FINE, SECRET, FINE))
    await house.serve([adapted("guard")], plugins=[plugin("guard", checks=[WORDS])])
    answer = await asked(house, "hi", stream=stream)
    assert b"Falcon" not in answer.raw
    assert WORDS["message"].encode() in answer.raw
    assert (answer.text if stream else "") == (f"{FINE} " if stream else "")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_pool_is_asked_where_the_first_sentence_is_bad(house: House, *, stream: bool) -> None:
    house.say(small=says(SECRET, FINE), large=says(FINE))
    check = {**WORDS, "where": ["Answer"], "action": "Escalate"}
    await house.serve([adapted("guard")], plugins=[plugin("guard", checks=[check])])
    answer = await asked(house, "hi", stream=stream)
    assert answer.text == FINE
    assert {body["model"] for body in house.engine.bodies} == {"small", "large"}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_repeats_itself_is_ended(house: House, *, stream: bool) -> None:
    house.say(small=slow(says(FINE, *["I am stuck here."] * (10_000 if stream else 50))))
    check = {"name": "loop", "where": ["Answer"], "repetition": {"times": 6, "characters": 100}}
    direct = router(
        "assistant", "{type: Direct, direct: {poolRef: {name: small}}}", ", plugins: [{pluginRef: {name: guard}}]"
    )
    await house.serve([direct], plugins=[plugin("guard", checks=[check])])
    answer = await asked(house, "hi", stream=stream)
    assert b"refused by the check 'loop'" in answer.raw
    if stream:
        assert answer.text.count("I am stuck here.") < 10
        await house.engine.happened("cancelled", "small")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_observer_notes_and_changes_nothing(house: House, *, stream: bool) -> None:
    house.say(small=says(FINE, SECRET))
    await house.serve([adapted("guard")], plugins=[plugin("guard", checks=[WORDS], answers="Observe")])
    answer = await asked(house, "hi", stream=stream)
    assert answer.text == f"{FINE} {SECRET}"
    assert notes(answer) == {"guard": {"answer": {"falcon": 1.0}}}


@pytest.mark.parametrize("stream", [False, True])
async def test_pools_get_the_definitions_of_terms(house: House, *, stream: bool) -> None:
    await house.serve([adapted("glossary")], plugins=[plugin("glossary", entries=[TERM])])
    answer = await asked(house, "How much PTO is left?", stream=stream)
    sent = house.engine.bodies[-1]["messages"][-1]["content"]
    assert sent.splitlines()[1:] == [
        "- paid time off (here: PTO): Days off with full pay.", "", "How much PTO is left?",
    ]  # fmt: skip
    assert notes(answer) == {"glossary": {"terms": {"paid time off": "PTO"}}}
