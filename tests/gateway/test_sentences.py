"""The plugins that read an answer by sentences, verify and rewrite, in the gateway."""

from dataclasses import replace
from typing import Any

import pytest

from pilotfish.api import AdaptationPlugin
from pilotfish.testing.stand_in_engine import EngineFault, Script

from .adapting import adapted
from .conftest import Answered, House, pool, resource

CONTEXT = "Employees of Acme get 28 days of paid leave each year. Trains are booked by the travel desk."
QUESTION = f"{CONTEXT}\n\nQuestion:\nHow many days of leave do I get?"
RIGHT = "Employees get 28 days of paid leave each year."
WRONG = "Managers receive another 12 bonus holidays."


def says(*sentences: str) -> Script:
    """A script with a token for each letter group of five."""
    text = " ".join(sentences)
    return Script([(text[start : start + 5], -0.01) for start in range(0, len(text), 5)])


def plugin(kind: str, role: str = "", policy: str = "Fail", **config: Any) -> AdaptationPlugin:
    refs = f"[{{role: {role}, name: judge}}]" if role else "[]"
    return resource(f"""
apiVersion: pilotfish.dev/v1alpha1
kind: AdaptationPlugin
metadata: {{name: {kind}}}
spec: {{type: {kind}, poolRefs: {refs}, failurePolicy: {policy}, config: {config!r}}}
""")


async def served(house: House, adaptation: AdaptationPlugin) -> None:
    pools = [pool("small"), pool("large", "Large"), pool("judge")]
    await house.serve([adapted(adaptation.name)], pools, plugins=[adaptation])


async def ask(house: House, *, stream: bool) -> Answered:
    return await house.ask(messages=[{"role": "user", "content": QUESTION}], stream=stream)


@pytest.mark.parametrize("stream", [False, True])
async def test_verify_escalates_before_the_first_byte(house: House, *, stream: bool) -> None:
    house.say(small=says(RIGHT, WRONG), large=says(RIGHT))
    await served(house, plugin("verify", action="Escalate"))
    answer = await ask(house, stream=stream)
    assert answer.status == 200
    assert answer.text == RIGHT
    stages = (answer.chunks[-1] if stream else answer.json)["pilotfish"]["stages"]
    assert [(stage["pool"], stage["verdict"]) for stage in stages] == [("small", "Rejected"), ("large", "Accepted")]
    assert stages[0]["plugin"] == "verify"
    assert stages[0]["notes"]["sentences"][0]["sentence"] == WRONG


@pytest.mark.parametrize("stream", [False, True])
async def test_the_last_pools_answer_is_flagged_where_nothing_is_left_to_ask(house: House, *, stream: bool) -> None:
    house.say(small=says(WRONG), large=says(RIGHT, WRONG))
    await served(house, plugin("verify", action="Escalate", flag=" [?]"))
    answer = await ask(house, stream=stream)
    assert answer.text == f"{RIGHT} {WRONG} [?]"
    notes = (answer.chunks[-1] if stream else answer.json)["pilotfish"]["plugins"]["verify"]
    assert notes["checked"] == 2


async def test_verify_refuses_in_the_middle_of_a_stream(house: House) -> None:
    house.say(small=says(RIGHT, WRONG))
    await served(house, plugin("verify", action="Refuse", message="no source"))
    answer = await ask(house, stream=True)
    assert "no source" in answer.chunks[-1]["error"]["message"]
    assert answer.text == f"{RIGHT} "


async def test_verify_observes_without_a_change(house: House) -> None:
    house.say(small=says(RIGHT, WRONG))
    await served(house, plugin("verify", action="Observe"))
    answer = await ask(house, stream=True)
    assert answer.text == f"{RIGHT} {WRONG}"
    (noted,) = answer.chunks[-1]["pilotfish"]["plugins"]["verify"]["sentences"]
    assert noted["sentence"] == WRONG


@pytest.mark.parametrize(("says_so", "answered_by"), [("Yes", "small"), ("No", "large")])
async def test_a_small_pool_judges_each_sentence(house: House, says_so: str, answered_by: str) -> None:
    house.say(small=says(WRONG), large=says(RIGHT), judge=Script([(says_so, -0.1)]))
    weights = {"bias": 0, "words": 0, "pairs": 0, "numbers": 0, "yes": 1000}
    await served(house, plugin("verify", "judge", action="Escalate", weights=weights))
    answer = await ask(house, stream=True)
    report = answer.chunks[-1]["pilotfish"]
    assert report["answered_by"] == answered_by
    assert {call["pool"] for call in report["plugin_calls"]} == {"judge"}


@pytest.mark.parametrize("stream", [False, True])
async def test_rewrite_releases_what_the_corrector_writes(house: House, *, stream: bool) -> None:
    house.say(small=says(RIGHT, "See:\n\n```\nx = 1\n```\n", WRONG), judge=says("Corrected."))
    await served(house, plugin("rewrite", "corrector", sentences=1))
    answer = await ask(house, stream=stream)
    assert answer.text == "Corrected. Corrected.\n\n```\nx = 1\n```\n Corrected."
    assert (answer.chunks[-1] if stream else answer.json)["pilotfish"]["plugins"]["rewrite"]["windows"] == {
        "corrected": 3
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_what_rewrite_holds_is_released_once_if_its_pool_fails(house: House, *, stream: bool) -> None:
    text = f"{RIGHT} {WRONG} The end."
    house.say(small=says(text), judge=replace(says("Corrected."), fault=EngineFault.REFUSES))
    await served(house, plugin("rewrite", "corrector", "Ignore", sentences=2))
    answer = await ask(house, stream=stream)
    assert answer.text == text
    assert "error" in (answer.chunks[-1] if stream else answer.json)["pilotfish"]["plugins"]["rewrite"]
