"""Runs the contract suites of a loaded plugin without pytest."""

import asyncio
import inspect
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnAnswerContract, OnRequestContract
from pilotfish.testing.preparing import PreparingContract
from pilotfish.testing.scorers import AnswerScorerContract, JudgeScorerContract, PromptScorerContract

SUITES: Mapping[str, Mapping[str, type]] = {
    "pilotfish.adaptations": {
        "on_request": OnRequestContract,
        "on_answer": OnAnswerContract,
        "prepare": PreparingContract,
    },
    "pilotfish.scorers": {
        "predict": PromptScorerContract,
        "judge": JudgeScorerContract,
        "start": AnswerScorerContract,
    },
}
"""The contract suites by group, and by the method whose presence makes a plugin subject to the suite."""
WITHOUT_SUITE = {
    "pilotfish.sources": "it needs an address: subclass pilotfish.testing.sources.SourceContract",
    "pilotfish.logits": "it needs models: subclass pilotfish.testing.logits.LogitsContract",
}


@dataclass(frozen=True)
class Result:
    """One check. `error` is empty where it passed. `skipped`: the reason why it was not run."""

    name: str
    error: str = ""
    skipped: str = ""


def run_suites(group: str, plugin: type, settings: Settings, documents: Mapping[str, bytes]) -> Iterator[Result]:
    """Run the tests of all suites that apply to the plugin. Must be called outside of an event loop."""
    suites = [suite for method, suite in SUITES.get(group, {}).items() if hasattr(plugin, method)]
    reason = _skipped(group, plugin, settings, documents)
    if reason or not suites:
        yield Result("contract suite", skipped=reason or WITHOUT_SUITE.get(group, f"there is none for {group}"))
        return
    attributes = {"plugin": plugin, "settings": settings, "documents": documents}
    contract = type("Contract", tuple(suites), attributes)
    for name in sorted(name for name in dir(contract) if name.startswith("test_")):
        yield Result(name.removeprefix("test_").replace("_", " "), error=_run(contract(), name))


def _skipped(group: str, plugin: type, settings: Settings, documents: Mapping[str, bytes]) -> str:
    if group == "pilotfish.adaptations" and hasattr(plugin, "prepare") and not documents:
        return "the plugin prepares: add --documents, a folder with documents that it can read"
    if not hasattr(plugin, "from_settings"):
        return ""
    try:
        cast("Any", plugin).from_settings(settings)
    except ConfigError as error:
        return f"no valid config was found ({error}): add --manifests with one"
    except Exception as error:  # noqa: BLE001 - a plugin's code may raise anything; the suite reports it
        return f"from_settings failed with {type(error).__name__}: {error}"
    return ""


def _run(suite: Any, name: str) -> str:
    """Run one test. Returns the error, empty where it passed."""
    for step in ("setup_method", name):
        try:
            result: object = getattr(suite, step, lambda: None)()
            if inspect.isawaitable(result):
                asyncio.run(_awaited(result))
        except Exception as error:  # noqa: BLE001 - any exception fails a test
            return f"{type(error).__name__}: {error}".split("\nassert ")[0]
        finally:
            if step == name:
                getattr(suite, "teardown_method", lambda: None)()
    return ""


async def _awaited(result: Awaitable[object]) -> None:
    await result
