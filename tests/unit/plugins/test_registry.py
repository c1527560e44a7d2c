"""What is installed is listed without an import, checked once when it is loaded, and refused with its owner's name."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pilotfish.base.errors import PluginError
from pilotfish.plugin_api.adaptations import Conversation, OnRequest, Rewritten
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.sources.local import FileSource
from pilotfish.plugins.extension_points import ADAPTATIONS, EXTENSION_POINTS, SCORERS, SOURCES, ExtensionPoint
from pilotfish.plugins.registry import Installed, Registry

FILE = "pilotfish.plugins.builtin.sources.local:FileSource"

UNITS = """
from dataclasses import dataclass

from pilotfish.plugin_api.adaptations import Rewritten


@dataclass
class Units:
    system: str

    @classmethod
    def from_settings(cls, settings):
        return cls(settings.config["system"])

    async def on_request(self, *, conversation, models):
        rule = {"role": "system", "content": f"Give {self.system} units."}
        return Rewritten(messages=(rule, *conversation.messages))
"""


def installed(
    name: str, value: str, *, point: ExtensionPoint[object] = SOURCES, distribution: str = "acme"
) -> Installed:
    return Installed(point.group, name, distribution, "1.2", EntryPoint(name, value, point.group))


def test_every_plugin_of_this_environment_loads() -> None:
    registry = Registry.installed()
    assert {"file", "gs", "hf", "https", "package", "pvc", "s3"} <= set(registry.names(SOURCES))
    for point in EXTENSION_POINTS:
        for name in registry.names(point):
            registry.load(point, name)
    assert isinstance(registry.load(SOURCES, "file")(), FileSource)


async def test_a_new_adaptation_is_one_class_and_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_units.py").write_text(UNITS)
    metadata = tmp_path / "acme_units-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-units\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(f"[{ADAPTATIONS.group}]\nunits = acme_units:Units\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry.installed()
    assert "units" in registry.names(ADAPTATIONS)
    assert "acme_units" not in sys.modules
    plugin = registry.load(ADAPTATIONS, "units").from_settings(Settings({"system": "SI"}))
    assert isinstance(plugin, OnRequest)
    question = {"role": "user", "content": "How far is the moon?"}
    rewritten = await plugin.on_request(conversation=Conversation((question,)), models=None)  # type: ignore[arg-type]
    assert rewritten == Rewritten(({"role": "system", "content": "Give SI units."}, question))
    monkeypatch.delitem(sys.modules, "acme_units")


class Synchronous:
    @classmethod
    def from_settings(cls, settings): ...

    def on_request(self, *, conversation, models): ...


class AsynchronousAnswers:
    @classmethod
    def from_settings(cls, settings): ...

    async def on_answer(self, *, conversation, state, models): ...


class OtherParameters:
    @classmethod
    def from_settings(cls, settings): ...

    async def on_request(self, *, prompt, models): ...


class NotMade:
    async def on_request(self, *, conversation, models): ...


class OfInstances:
    def from_settings(self, settings): ...

    async def on_request(self, *, conversation, models): ...


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (Synchronous, "does not implement OnRequest: method `on_request` must be `async def`"),
        (AsynchronousAnswers, "method `on_answer` must not be `async def`"),
        (
            OtherParameters,
            r"`on_request` must accept \(self, \*, conversation, models\): missing a required argument: 'prompt'",
        ),
        (NotMade, "does not implement OnRequest: method `from_settings` is missing"),
        (OfInstances, "method `from_settings` must accept .*settings"),
        (Synchronous(), "is not a class"),
    ],
)
def test_an_adaptation_that_does_not_fit_is_refused_with_what_is_missing(
    plugin: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type(sys)("acme_wrong")
    module.Wrong = plugin  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_wrong", module)
    registry = Registry([installed("wrong", "acme_wrong:Wrong", point=ADAPTATIONS)])
    with pytest.raises(PluginError, match=reason) as caught:
        registry.load(ADAPTATIONS, "wrong")
    assert str(caught.value).startswith("pilotfish.adaptations 'wrong' of acme 1.2 (acme_wrong:Wrong) ")


def test_listing_imports_nothing() -> None:
    registry = Registry([installed("broken", "no_such_module:Thing"), installed("lazy", "wave:open")])
    sys.modules.pop("wave", None)
    assert registry.names(SOURCES) == ["broken", "lazy"]
    assert [entry.name for entry in registry.entries()] == ["broken", "lazy"]
    assert "wave" not in sys.modules


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PluginError, match="'ftp': install it, or use one of: file"):
        Registry([installed("file", FILE)]).load(SOURCES, "ftp")


def test_two_distributions_with_one_name_are_refused_when_it_is_used() -> None:
    registry = Registry([installed("file", FILE), installed("file", FILE, distribution="other"), installed("b", FILE)])
    with pytest.raises(PluginError, match=r"acme 1\.2 and other 1\.2: uninstall all but one"):
        registry.load(SOURCES, "file")
    registry.load(SOURCES, "b")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_module:Thing", "No module named 'no_such_module'"),
        ("wave:no_such_name", "has no attribute 'no_such_name'"),
        ("wave:Error", "`files` is missing; method `read` is missing; method `resolve` is missing"),
        ("pilotfish_future_source:Source", "requires plugin API 99, this is 1"),
    ],
)
def test_a_plugin_that_does_not_fit_is_refused_with_its_owner(
    value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    future = type(sys)("pilotfish_future_source")
    future.Source = type("Source", (FileSource,), {"plugin_api_version": 99})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pilotfish_future_source", future)
    with pytest.raises(PluginError, match=reason) as caught:
        Registry([installed("x", value)]).load(SOURCES, "x")
    assert str(caught.value).startswith("pilotfish.sources 'x' of acme 1.2")


def test_a_class_that_is_no_scorer_is_refused_with_every_way_to_be_one() -> None:
    registry = Registry([installed("none", "wave:Error", point=SCORERS)])
    with pytest.raises(PluginError, match=r"AnswerScorer: .*`start`.* or JudgeScorer: .*`judge`.* or PromptScorer"):
        registry.load(SCORERS, "none")
