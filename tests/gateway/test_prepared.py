"""Adaptations that prepare: nothing waits for a folder, and a new one takes over whole."""

import asyncio
import threading
from pathlib import Path
from typing import Any, Self

import pytest
from preparing_plugin import Shouting, registry

from pilotfish.api import AdaptationPlugin
from pilotfish.gateway import prepared as prepared_module
from pilotfish.plugin_api.settings import Settings
from pilotfish.preparing import Preparation, prepare
from pilotfish.preparing.documents import Origins

from .conftest import SURE, House, cascade, resource, slow


class Slow(Shouting):
    """Is loaded once a test allows it."""

    allowed = threading.Event()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        if settings.prepared and not cls.allowed.wait(10):
            raise TimeoutError
        return super().from_settings(settings)


def plugin(policy: str, **config: Any) -> AdaptationPlugin:
    found: AdaptationPlugin = resource(f"""
apiVersion: pilotfish.dev/v1alpha1
kind: AdaptationPlugin
metadata: {{name: handbook}}
spec:
  type: shouting
  config: {config}
  failurePolicy: {policy}
  sources: [{{name: pages, configMapRef: {{name: pages}}}}]
""")
    return found


@pytest.fixture
def installed(house: House, monkeypatch: pytest.MonkeyPatch) -> type[Slow]:
    Slow.allowed.clear()
    monkeypatch.setattr(prepared_module, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(prepared_module, "MOST_RETRY_SECONDS", 0.01)
    house.registry = registry(Slow)
    return Slow


async def folder(to: Path, text: str, given: AdaptationPlugin) -> Path:
    preparation = Preparation(given, origins=Origins({"pages": {"a": text.encode()}}))
    return (await prepare(preparation, to, progress=lambda *_: None, registry=registry(Slow))).path


async def asked(house: House) -> str:
    """The first message that the pool gets for a new request, or the error that the client gets."""
    answer = await house.ask()
    if answer.status != 200:
        return str(answer.json["error"]["message"])
    return str(house.engine.bodies[-1]["messages"][0]["content"])


async def until(text: str, house: House) -> None:
    async with asyncio.timeout(10):
        while text not in await asked(house):
            pass


@pytest.mark.parametrize("policy", ["Ignore", "Fail"])
async def test_until_the_folder_is_loaded_the_failure_policy_applies(
    house: House, installed: type[Slow], tmp_path: Path, policy: str
) -> None:
    given, routers = plugin(policy), [cascade(extra=", plugins: [{pluginRef: {name: handbook}}]")]

    async def check(reason: str) -> None:
        answer = await house.ask()
        if policy == "Ignore":
            assert answer.status == 200
            assert house.engine.bodies[-1]["messages"][0]["content"] == "hi"
        else:
            assert answer.status == 503
            assert f"plugin 'handbook': {reason}" in answer.json["error"]["message"]

    await house.serve(routers, plugins=[given])
    await check("it is not prepared yet")
    made = await folder(tmp_path, "one", given)
    await house.serve(routers, plugins=[given], prepared={given.key: made})
    await check("what it prepared is being loaded")
    installed.allowed.set()
    await until('{"a": "ONE"}', house)


async def test_a_new_folder_takes_over_once_it_is_loaded_and_open_requests_keep_theirs(
    house: House, installed: type[Slow], tmp_path: Path
) -> None:
    given, routers = plugin("Fail"), [cascade(extra=", plugins: [{pluginRef: {name: handbook}}]")]
    installed.allowed.set()
    first = await folder(tmp_path, "one", given)
    await house.serve(routers, plugins=[given], prepared={given.key: first})
    await until('{"a": "ONE"}', house)

    installed.allowed.clear()
    changed = plugin("Fail", quiet=False)
    second = await folder(tmp_path, "two", changed)
    await house.serve(routers, plugins=[changed], prepared={given.key: first})
    assert await asked(house) == '{"a": "ONE"}', "a changed config waits for its folder"
    await house.serve(routers, plugins=[changed], prepared={given.key: second})
    assert await asked(house) == '{"a": "ONE"}'
    house.say(small=slow(SURE, 0.02))
    opened = asyncio.create_task(house.ask(stream=True))
    installed.allowed.set()
    await until('{"a": "TWO"}', house)
    assert (await opened).text == "Canberra."


async def test_a_folder_that_cannot_be_loaded_is_tried_again(
    house: House, installed: type[Slow], tmp_path: Path
) -> None:
    given, routers = plugin("Fail"), [cascade(extra=", plugins: [{pluginRef: {name: handbook}}]")]
    installed.allowed.set()
    made = await folder(tmp_path, "one", given)
    late = tmp_path / "late"
    await house.serve(routers, plugins=[given], prepared={given.key: late})
    await until("cannot be loaded", house)
    assert "No such file" in await asked(house)
    late.symlink_to(made)
    await until('{"a": "ONE"}', house)
