"""The plugins knowledge-card, decompose and prompt-retrieval in the gateway: what pools are asked, and what fails."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pilotfish.api import AdaptationPlugin
from pilotfish.preparing import Preparation, prepare
from pilotfish.preparing.documents import Origins
from pilotfish.testing.stand_in_engine import EngineFault, Script

from .conftest import House, resource, router

QUESTION = "What is the capital of Australia, and which river flows through the capital of Austria?"
CARD = "The capital of Australia is Canberra."
PARTS = "1. What is the capital of Australia?\n2. Which river flows through the capital of Austria?"
ROLES = {"knowledge-card": ("expert",), "decompose": ("splitter", "solver"), "prompt-retrieval": ()}
ROUTER = "{type: Direct, direct: {poolRef: {name: large}}}"


def plugin(kind: str, policy: str = "Fail", **config: Any) -> AdaptationPlugin:
    pools = ", ".join(f"{{role: {role}, name: small}}" for role in ROLES[kind])
    sources = "[{name: pages, configMapRef: {name: pages}}]" if kind == "prompt-retrieval" else "[]"
    found: AdaptationPlugin = resource(f"""
apiVersion: pilotfish.dev/v1alpha1
kind: AdaptationPlugin
metadata: {{name: prompting}}
spec:
  type: {kind}
  config: {config!r}
  poolRefs: [{pools}]
  sources: {sources}
  timeoutSeconds: 1
  failurePolicy: {policy}
""")
    return found


async def ask(house: House, given: AdaptationPlugin, prepared: Path | None = None) -> Any:
    direct = router("assistant", ROUTER, ", plugins: [{pluginRef: {name: prompting}}]")
    folders = {} if prepared is None else {given.key: prepared}
    await house.serve([direct], plugins=[given], prepared=folders)
    return await house.ask(messages=[{"role": "user", "content": QUESTION}])


def sent(house: House, model: str) -> list[str]:
    return [body["messages"][-1]["content"] for body in house.engine.bodies if body["model"] == model]


def says(text: str) -> Script:
    return Script([(text, -0.1)])


async def test_the_large_pool_reads_the_card_of_the_small_one(house: House) -> None:
    house.say(small=says(CARD))
    answer = await ask(house, plugin("knowledge-card"))
    assert sent(house, "small") == [QUESTION]
    assert sent(house, "large")[0].endswith(f"\n{CARD}\n\n{QUESTION}")
    assert answer.json["pilotfish"]["plugins"]["prompting"]["cards"][0]["card"] == CARD


async def test_the_large_pool_reads_the_answers_to_the_parts(house: House) -> None:
    house.say(small=says(PARTS))
    await ask(house, plugin("decompose"))
    assert len(sent(house, "small")) == 3
    assert sent(house, "large")[0].count("- W") == 2


@pytest.mark.parametrize("kind", ["knowledge-card", "decompose"])
@pytest.mark.parametrize("fault", [EngineFault.REFUSES, EngineFault.STALLS, EngineFault.GARBAGE])
async def test_a_pool_that_fails_counts_by_the_failure_policy(house: House, kind: str, fault: EngineFault) -> None:
    house.say(small=Script([("Hm.", -0.1)], fault=fault))
    ignored = await ask(house, plugin(kind, "Ignore"))
    assert ignored.status == 200
    assert sent(house, "large") == [QUESTION]
    assert "error" in ignored.json["pilotfish"]["plugins"]["prompting"]
    failed = await ask(house, plugin(kind, "Fail"))
    assert (failed.status, len(sent(house, "large"))) == (500, 1)
    assert "'prompting'" in failed.json["error"]["message"]


async def test_prepared_demonstrations_are_turns_before_the_question(house: House, tmp_path: Path) -> None:
    given = plugin("prompt-retrieval", demonstrations=1)
    rows = b'{"input": "What is the capital of Austria?", "output": "Vienna"}\n{"input": "Add 1 and 2", "output": "3"}'
    preparation = Preparation(given, origins=Origins({"pages": {"rows.jsonl": rows}}))
    folder = (await prepare(preparation, tmp_path, progress=lambda *_: None, registry=house.registry)).path
    async with asyncio.timeout(10):
        while (await ask(house, given, folder)).status != 200:  # 503 until the folder is loaded
            pass
    (body,) = house.engine.bodies
    assert [message["content"] for message in body["messages"]] == [
        "What is the capital of Austria?",
        "Vienna",
        QUESTION,
    ]
